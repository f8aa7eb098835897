"""The documents agree with the code, with each other, and with the Makefile."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from ledger.records import open_row
from ledger.tables import ledger_entries
from runtime.store import open_store
from scripts.generate_docs import PARTS, ROOT, documents, problem_codes, render

if TYPE_CHECKING:
    from tests.conftest import Played

PAGES = [
    *documents(),
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_generated_parts_are_current(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert render(text) == text, "run: make docs"


def test_every_generated_part_stands_in_some_document() -> None:
    found = set()
    for path in documents():
        found |= set(re.findall(r"<!-- generated: ([a-z-]+) -->", path.read_text(encoding="utf-8")))
    assert found == set(PARTS)


def test_a_part_that_is_out_of_date_is_seen() -> None:
    stale = "a\n<!-- generated: lifecycle-case -->\nold\n<!-- end -->\nb\n"
    fresh = render(stale)
    assert fresh.startswith("a\n<!-- generated: lifecycle-case -->\n```mermaid\nstateDiagram-v2\n")
    assert fresh.endswith("```\n<!-- end -->\nb\n")
    assert render(fresh) == fresh
    with pytest.raises(KeyError):
        render("<!-- generated: no-such-part -->\n<!-- end -->\n")


def test_the_table_of_problem_codes_is_complete() -> None:
    rows = problem_codes().splitlines()
    codes = [row.split("`")[1] for row in rows[2:]]
    assert codes == sorted(set(codes))
    assert {"migration_missing", "empty_file", "illegal_transition"} <= set(codes)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_that_exist(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [
        target.partition("#")[0]
        for target in re.findall(r"\]\(([^)]+)\)", text)
        if not target.startswith(("https://", "#"))
    ]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(
        re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named - known == set()


def test_every_make_target_says_what_it_is_for() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert phony
    assert explained == phony


def test_both_readmes_name_the_same_commands_and_pages() -> None:
    english = (ROOT / "README.md").read_text(encoding="utf-8")
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    for pattern in (r"^\| `(mianjiao [^`]+)`", r"\]\((docs/[^)]+)\)", r"^make \w+"):
        assert re.findall(pattern, english, re.MULTILINE) == re.findall(
            pattern, chinese, re.MULTILINE
        )


def test_every_decision_record_is_listed_and_says_what_was_rejected() -> None:
    folder = ROOT / "docs" / "adr"
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    listed = re.findall(r"\]\(([0-9]{4}-[^)]+)\)", (folder / "README.md").read_text("utf-8"))
    assert listed == [path.name for path in records]
    for path in records:
        text = path.read_text(encoding="utf-8")
        for heading in ("## Context", "## Decision", "## Rejected", "## Consequences"):
            assert heading in text, path.name


def test_formats_names_every_kind_of_record_and_its_fields(played: "Played") -> None:
    # `played`: the store after the demo story, by the conftest of all tests.
    documented = _documented_kinds()
    with open_store(played.data) as store, store.database.read() as tx:
        for row in tx.all(select(ledger_entries)):
            if row["sealed"] is None and not row["public"]:
                continue  # erased
            record = open_row(store.vault, row)
            fields = set(record.body) - {"v", "kind", "entity", "at"}
            assert fields - documented[record.kind] == set(), record.kind


def _documented_kinds() -> dict[str, set[str]]:
    """Kind → the words of its row in docs/formats.md."""
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    kinds: dict[str, set[str]] = {}
    for first, fields in re.findall(r"^\| (`[a-z]+[^|]*) \| (.*)\|$", text, re.MULTILINE):
        words = set(re.findall(r"\w+", fields))
        for kind in re.findall(r"`([a-z_.]+)`", first):
            kinds[kind] = words
        family = re.match(r"`(\w+)\.<event>`: (.*)", first)
        if family:
            for event in re.findall(r"\w+", family[2]):
                kinds[f"{family[1]}.{event}"] = words
    return kinds
