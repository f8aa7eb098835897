"""The manifest of back files: encodings, rows, dates, and paths that try to leave."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from materials_api.back_files.manifest import (
    COLUMNS,
    PROBLEMS,
    Known,
    ManifestRow,
    RowProblem,
    detect_encoding,
    parse_manifest,
    safe_path,
)
from materials_api.errors import ManifestTooLarge, ManifestUnreadable
from materials_api.limits import ManifestLimits

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
LIMITS = ManifestLimits()
KNOWN = Known(frozenset({"lease_contract"}), {"310125001000": "310125001000"}.get)
GOOD = {
    "holder_type": "001",
    "holder_code": "91310199MA1Y7K2D1G",
    "holder_name": "上海云间禾味餐饮管理有限公司",
    "material_type": "lease_contract",
    "title": "房屋租赁合同（101室）",
    "source_case": "HS-2019-0001",
    "matter": "310125001000",
    "provenance": "certified_copy",
    "certified_by": "陈晓岚",
    "certified_at": "2026-10-01",
    "issued_at": "2019/3/5",
    "valid_until": "2029-03-04",
    "files": "扫描/合同 第1页.pdf|扫描\\合同 第2页.pdf",
}


def text_of(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def parse(text: str, limits: ManifestLimits = LIMITS) -> list[ManifestRow | RowProblem]:
    return list(parse_manifest(io.StringIO(text, newline=""), KNOWN, NOW, limits))


def problem(**changes: str) -> tuple[str, str | None]:
    (found,) = parse(text_of(GOOD | changes))
    assert isinstance(found, RowProblem), found
    assert found.zh
    assert found.en
    return found.code, found.field


def test_a_good_row_is_read_whole() -> None:
    (row,) = parse(text_of(GOOD))
    assert isinstance(row, ManifestRow)
    assert row.line == 2
    assert row.files == ("扫描/合同 第1页.pdf", "扫描/合同 第2页.pdf")
    assert row.certified_at == datetime(2026, 9, 30, 16, tzinfo=UTC)
    assert row.issued_at == datetime(2019, 3, 4, 16, tzinfo=UTC)
    # The last day named still counts: the end is exclusive.
    assert row.valid_until == datetime(2029, 3, 4, 16, tzinfo=UTC)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings_are_told_apart(encoding: str) -> None:
    data = text_of(GOOD | {"title": "合同𠮷"}).encode(encoding)

    def blocks() -> Iterator[bytes]:
        # Cut inside characters.
        return (data[at : at + 3] for at in range(0, len(data), 3))

    found = detect_encoding(blocks, LIMITS)
    assert found == ("gb18030" if encoding == "gb18030" else "utf-8-sig")
    (row,) = parse(data.decode(found))
    assert isinstance(row, ManifestRow)
    assert row.title == "合同𠮷"


def test_bytes_in_neither_encoding_and_too_many_are_refused() -> None:
    with pytest.raises(ManifestUnreadable):
        detect_encoding(lambda: [b"\xff\xff\xff"], LIMITS)
    with pytest.raises(ManifestTooLarge):
        detect_encoding(lambda: [b"a" * 11], ManifestLimits(bytes=10))


def test_columns_may_stand_in_any_order_but_all_must_be_there() -> None:
    (row,) = parse(text_of(GOOD, columns=tuple(reversed(COLUMNS))))
    assert isinstance(row, ManifestRow)
    with pytest.raises(ManifestUnreadable, match="the header lacks files"):
        parse(text_of(GOOD, columns=COLUMNS[:-1]))
    with pytest.raises(ManifestUnreadable, match="doubled"):
        parse(text_of(GOOD, columns=(*COLUMNS, "files")))
    with pytest.raises(ManifestUnreadable):
        parse(text_of(GOOD, columns=(*COLUMNS, "surplus")))
    with pytest.raises(ManifestUnreadable):
        parse("")


@pytest.mark.parametrize(
    "path",
    [
        "../secret.pdf",
        "a/../../secret.pdf",
        "..\\secret.pdf",
        "/etc/passwd",
        "\\\\server\\share\\a.pdf",
        "C:\\a.pdf",
        "c:a.pdf",
        "a//b.pdf",
        "a/",
        "..",
    ],
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    assert safe_path(path, LIMITS) is None
    assert problem(files=path) == ("row_path", "files")
    assert problem(files="good.pdf|" + path) == ("row_path", "files")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"holder_code": "91310199MA1Y7K2D1H"}, "row_holder", "holder_code"),
        ({"holder_type": "999"}, "row_holder", "holder_code"),
        ({"holder_name": " "}, "row_blank", "holder_name"),
        ({"material_type": "dream"}, "row_material_type", "material_type"),
        ({"matter": "310125009000"}, "row_matter", "matter"),
        ({"matter": "x"}, "row_matter", "matter"),
        ({"provenance": "hearsay"}, "row_provenance", "provenance"),
        ({"certified_by": ""}, "row_certification", "certified_by"),
        ({"certified_by": "", "certified_at": ""}, "row_certification", "certified_by"),
        ({"provenance": "back_scan", "certified_at": ""}, "row_certification", "certified_by"),
        ({"certified_at": "2026-11-25"}, "row_date", "certified_at"),
        ({"issued_at": "2019-02-29"}, "row_date", "issued_at"),
        ({"issued_at": "2026-11-25"}, "row_date", "issued_at"),
        ({"issued_at": "5.3.2019"}, "row_date", "issued_at"),
        ({"valid_until": "2019-03-04"}, "row_date", "valid_until"),
        ({"source_case": "a b"}, "row_case", "source_case"),
        ({"files": " | "}, "row_files", "files"),
        ({"files": "a.pdf|a.pdf"}, "row_files", "files"),
        ({"files": "a.pdf|./a.pdf"}, "row_files", "files"),
        ({"files": "|".join(f"{n}.pdf" for n in range(65))}, "row_files", "files"),
        ({"title": "合同\u202efdp"}, "row_text", "title"),
        ({"title": "一" * 201}, "row_text", "title"),
    ],
)
def test_a_wrong_row_has_its_code(changes: dict[str, str], code: str, field: str) -> None:
    assert problem(**changes) == (code, field)


def test_a_wrong_row_does_not_stop_the_others() -> None:
    found = parse(text_of(GOOD, GOOD | {"matter": "x"}, GOOD) + "\r\n\r\n" + "only,two\r\n")
    assert [type(item) for item in found] == [ManifestRow, RowProblem, ManifestRow, RowProblem]
    assert isinstance(found[1], RowProblem)
    assert found[1].line == 3
    assert isinstance(found[3], RowProblem)
    assert found[3].code == "row_columns"


def test_a_broken_quote_ends_the_manifest() -> None:
    with pytest.raises(ManifestUnreadable):
        parse(text_of(GOOD) + '"open')


def test_the_number_of_rows_is_limited() -> None:
    with pytest.raises(ManifestTooLarge):
        parse(text_of(GOOD, GOOD, GOOD), ManifestLimits(rows=2))


def test_every_code_has_both_sentences() -> None:
    assert all(zh and en for zh, en in PROBLEMS.values())


@given(st.text(max_size=60))
def test_a_safe_path_never_leaves_its_folder(text: str) -> None:
    path = safe_path(text, LIMITS)
    if path is not None:
        parts = path.split("/")
        assert ".." not in parts
        assert "" not in parts
        assert not path.startswith("/")


@given(st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=40)))
def test_no_cell_makes_the_parser_fail(changes: dict[str, str]) -> None:
    for found in parse(text_of(GOOD | changes)):
        assert isinstance(found, ManifestRow) or found.code in PROBLEMS
