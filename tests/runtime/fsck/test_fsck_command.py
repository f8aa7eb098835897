"""`mianjiao fsck` as a person meets it: exit codes, one line per problem, JSON."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.fsck_reading import Share
from ledger.problems import Problem
from runtime.commands.fsck import SHOWN, check_store, lines
from runtime.store import DATABASE


@pytest.fixture
def data(small: Any, tmp_path: Path) -> Path:
    folder, _, _ = small
    return Path(shutil.copytree(folder, tmp_path / "store"))


def edit(data: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(data / DATABASE, isolation_level=None)) as driver:
        assert driver.execute(statement, values).rowcount


def test_a_clean_store_exits_0_and_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_store(data, as_json=False) == 0
    assert capsys.readouterr().out == "未发现问题 / clean: test.example/2026\n"
    assert check_store(data, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"clean": True, "origin": "test.example/2026", "problems": []}


def test_problems_exit_1_with_a_line_for_each(
    data: Path, small: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = small[1]["lease"]
    edit(data, "UPDATE materials SET provenance = 'authority_issued' WHERE material_id = ?", lease)
    edit(data, "UPDATE licenses SET status = 'valid' WHERE status = 'suspended'")
    assert check_store(data, as_json=False) == 1
    printed = capsys.readouterr().out.splitlines()
    assert (
        f"{lease}: 材料的数据行与存证记录不一致：provenance / "
        "the row of a material does not agree with its record: provenance [material_row]"
    ) in printed
    assert printed[-1] == "发现 2 个问题 / 2 problems: license_row 1, material_row 1"
    assert check_store(data, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["clean"]
    assert [set(one) for one in told["problems"]] == [{"code", "where", "zh", "en"}] * 2


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE alembic_version SET version_num = 'x'", "migration_unknown"),
        ("DELETE FROM ledger_heads", "key_without_database"),
        ("UPDATE ledger_heads SET root = 'text'", "root_mismatch"),
        ("UPDATE ledger_entries SET leaf = x'00' WHERE leaf_index = 0", "record_corrupt"),
        ("UPDATE cases SET opened_at = 'yesterday' WHERE number = 'HS-1'", "row_unreadable"),
        ("DROP TABLE tickets", "database_unreadable"),
        ("PRAGMA writable_schema = 1", ""),
    ],
)
def test_whatever_is_damaged_is_a_problem_and_never_a_traceback(
    data: Path, capsys: pytest.CaptureFixture[str], statement: str, code: str
) -> None:
    with closing(sqlite3.connect(data / DATABASE, isolation_level=None)) as driver:
        driver.execute(statement)
        if not code:  # an index that a query trusts holds something else
            driver.execute(
                "UPDATE sqlite_schema SET sql = replace(sql, '(holder)', '(status)') "
                "WHERE name = 'ix_grants_holder'"
            )
            code = "database_damaged"
    assert check_store(data, as_json=True) == 1
    assert code in {one["code"] for one in json.loads(capsys.readouterr().out)["problems"]}


def test_ten_thousand_problems_are_counted_and_the_terminal_gets_the_first() -> None:
    problems = [Problem("row_differs", f"ent_{number}", "坏", "bad") for number in range(9_999)]
    problems.append(Problem("object_missing", "last", "缺", "missing"))
    shown = lines(problems, "-", SHOWN)
    assert len(shown) == SHOWN + 2
    assert shown[0] == "ent_0: 坏 / bad [row_differs]"
    assert shown[-2].startswith("… 另有 9800 个")
    assert shown[-1].endswith("10000 problems: row_differs 9999, object_missing 1")
    everything = lines(problems, "-", None)
    assert len(everything) == 10_001
    assert everything[-2] == "last: 缺 / missing [object_missing]"
    assert lines(problems[:1], "-", None)[-1] == "发现 1 个问题 / 1 problem: row_differs 1"


def test_processes_that_share_the_rows_find_what_one_finds(
    data: Path, small: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = small[1]
    edit(data, "UPDATE materials SET form = 'paper' WHERE material_id <> ?", ids["lease"])
    edit(data, "UPDATE cases SET variant = 'x'")
    edit(data, "UPDATE credentials SET version = version + 1")
    edit(data, "UPDATE audit SET org = 'x' WHERE id % 2 = 0")
    edit(data, "DELETE FROM audit WHERE id % 5 = 0")
    edit(data, "DELETE FROM imported_rows")
    edit(data, "UPDATE uploads SET size = size + 1")
    found = []
    for jobs in (1, 3):
        assert check_store(data, as_json=True, jobs=jobs) == 1
        problems = json.loads(capsys.readouterr().out)["problems"]
        found.append(sorted((one["code"], one["where"], one["en"]) for one in problems))
    assert found[0] == found[1]
    assert {"audit_row", "audit_missing", "case_row", "import_row", "upload_row"} <= {
        code for code, _, _ in found[0]
    }


def test_a_share_has_each_row_once() -> None:
    keys = [
        *range(500),
        *(f"mat_{number}" for number in range(500)),
        *(b"%d" % n for n in range(9)),
    ]
    shares = [[key for key in keys if Share(number, 4).has(key)] for number in range(4)]
    assert sorted(map(repr, sum(shares, []))) == sorted(map(repr, keys))  # noqa: RUF017
    assert all(len(share) > 150 for share in shares)
