"""Bulk import of back files: good rows in, bad rows named, killed runs resumed."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from materials_api.back_files.collection import Told, import_rows, known_words
from materials_api.back_files.manifest import ManifestRow, RowProblem
from materials_api.cases.lifecycle import CaseState
from materials_api.catalogue.terms import Provenance
from materials_api.limits import Limits
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.rule_errors import UploadReasonNeeded
from materials_api.tables import cases, imported_rows, materials
from storage.tables import objects

IMPORTER = Principal(new_id(IdKind.CREDENTIAL), Role.OPERATOR)


def row(hall, line: int, files: tuple[str, ...], **changes: object) -> ManifestRow:
    base = ManifestRow(
        line=line,
        holder_type="001",
        holder_code=hall.COMPANY.code,
        holder_name=hall.COMPANY.name,
        material_type="lease_contract",
        title="旧租赁合同",
        source_case="HS-2019-0001",
        matter=hall.FOOD,
        provenance="certified_copy",
        certified_by="老李",
        certified_at=hall.NOON.replace(year=2019),
        issued_at=None,
        valid_until=None,
        files=files,
    )
    return replace(base, **changes)


def run(hall, folder: Path, rows: list) -> tuple[list[Told], object]:
    told: list[Told] = []
    counts = import_rows(hall.room, IMPORTER, rows, folder, told.append)
    return told, counts


def write_files(hall, folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hall.pdf(name))


def count(hall, table) -> int:
    return hall.read(lambda tx: tx.scalar(select(func.count()).select_from(table)))


def test_rows_become_reusable_materials_of_a_closed_case(hall, tmp_path) -> None:
    write_files(hall, tmp_path, "扫描/一.pdf", "扫描/二.pdf", "三.pdf")
    rows = [
        row(hall, 2, ("扫描/一.pdf", "扫描/二.pdf")),
        row(hall, 3, ("三.pdf",), title="第二份", provenance="back_scan"),
    ]
    told, counts = run(hall, tmp_path, rows)
    assert (counts.rows, counts.imported, counts.refused) == (2, 2, 0)
    first = hall.material(told[0].material_id)
    assert first.agrees
    assert first.state is MaterialState.REUSABLE
    assert [file.name for file in first.files] == ["一.pdf", "二.pdf"]
    assert (first.certified_by, first.provenance) == ("老李", Provenance.CERTIFIED_COPY)
    assert first.retain_until is not None
    second = hall.material(told[1].material_id)
    assert second.provenance is Provenance.BACK_SCAN
    assert first.case_id == second.case_id
    case = hall.case(first.case_id)
    assert (case.state, case.origin, case.number) == (CaseState.CLOSED, "imported", "HS-2019-0001")
    # What was collected is offered to the next case of the holder.
    hall.advance(days=1)
    with pytest.raises(UploadReasonNeeded):
        hall.register(hall.open_case().case_id, requirement="lease_contract")


def test_a_second_run_imports_nothing_again(hall, tmp_path) -> None:
    write_files(hall, tmp_path, *(f"{n}.pdf" for n in range(5)))
    rows = [row(hall, n + 2, (f"{n}.pdf",), title=f"材料{n}") for n in range(5)]
    _, first = run(hall, tmp_path, rows[:3])
    before = count(hall, objects)
    moved = [replace(one, line=one.line + 10) for one in rows]
    told, second = run(hall, tmp_path, [*moved, moved[4]])
    assert (first.imported, second.imported, second.known) == (3, 2, 4)
    assert [one.known for one in sorted(told, key=lambda one: one.line)][:3] == [True] * 3
    assert count(hall, materials) == count(hall, imported_rows) == 5
    assert count(hall, objects) == before + 2
    (tmp_path / "0.pdf").write_bytes(b"%PDF-1.4 rewritten since")
    told, third = run(hall, tmp_path, [rows[0]])
    assert told[0].problem == RowProblem(2, "row_changed", "files")
    assert third.refused == 1


def test_bad_rows_are_named_and_good_ones_go_on(hall, tmp_path) -> None:
    write_files(hall, tmp_path, "good.pdf", "big.pdf")
    (tmp_path / "empty.pdf").touch()
    (tmp_path / "text.pdf").write_text("not a pdf")
    (tmp_path / "folder").mkdir()
    outside = tmp_path.parent / "outside.pdf"
    outside.write_bytes(hall.pdf("secret"))
    (tmp_path / "link.pdf").symlink_to(outside)
    (tmp_path / "linked").symlink_to(tmp_path.parent)
    os.mkfifo(tmp_path / "pipe.pdf")
    limit = hall.room.catalogue.type("lease_contract").size_limit
    with (tmp_path / "big.pdf").open("ab") as file:
        file.truncate(limit + 1)
    wanted = {
        "missing.pdf": "file_missing",
        "empty.pdf": "file_empty",
        "text.pdf": "file_content",
        "folder": "file_kind",
        "link.pdf": "file_kind",
        "linked/outside.pdf": "file_kind",
        "pipe.pdf": "file_kind",
        "good.pdf/x.pdf": "file_kind",
        "big.pdf": "file_too_large",
    }
    rows = [row(hall, n, (name,), title=name) for n, name in enumerate(wanted, start=2)]
    rows += [RowProblem(90, "row_date", "issued_at"), row(hall, 91, ("good.pdf", "missing.pdf"))]
    rows.append(row(hall, 99, ("good.pdf",)))
    told, counts = run(hall, tmp_path, rows)
    codes = {one.line: one.problem.code for one in told if one.problem is not None}
    assert codes == {
        **dict(enumerate(wanted.values(), start=2)),
        90: "row_date",
        91: "file_missing",
    }
    assert counts.imported == 1
    # A refused row leaves no object behind.
    assert count(hall, objects) == 1


def test_a_name_or_case_that_contradicts_is_left_to_a_person(hall, tmp_path) -> None:
    write_files(hall, tmp_path, "a.pdf", "b.pdf", "c.pdf", "d.pdf")
    live = hall.open_case(number="HS-LIVE")
    elder = {"holder_type": "111", "holder_code": hall.ELDER.code, "holder_name": "赵阿福"}
    rows = [
        row(hall, 2, ("a.pdf",)),
        row(hall, 3, ("b.pdf",), holder_name="上海云间禾味餐饮管理有限公司(旧)"),
        row(hall, 4, ("c.pdf",), **elder),
        row(hall, 5, ("d.pdf",), source_case=live.number),
    ]
    told, _ = run(hall, tmp_path, rows)
    codes = {one.line: None if one.problem is None else one.problem.code for one in told}
    assert codes == {2: None, 3: "holder_differs", 4: "case_differs", 5: "case_differs"}
    assert count(hall, cases) == 2


def test_a_row_that_stands_twice_is_imported_once_or_refused_twice(hall, tmp_path) -> None:
    write_files(hall, tmp_path, "a.pdf")
    rows = [row(hall, line, (name,)) for line, name in enumerate(("a.pdf", "b.pdf") * 2, 2)]
    told, counts = run(hall, tmp_path, rows)
    assert [(one.line, one.known) for one in told if one.problem is None] == [(4, True), (2, False)]
    assert {one.line: one.problem.code for one in told if one.problem} == {
        3: "file_missing",
        5: "file_missing",
    }
    assert (counts.imported, counts.known, counts.refused) == (1, 1, 2)


def test_large_files_are_streamed(hall, tmp_path) -> None:
    path = tmp_path / "large.pdf"
    path.write_bytes(hall.pdf("large") + b"\n%" + os.urandom(3 << 20))
    told, counts = run(hall, tmp_path, [row(hall, 2, ("large.pdf",))])
    assert counts.bytes == path.stat().st_size
    facts = hall.material(told[0].material_id)
    assert facts.files[0].size == path.stat().st_size


def test_known_words_are_the_catalogues(hall) -> None:
    known = known_words(hall.room)
    assert "lease_contract" in known.material_types
    for text in (hall.FOOD, "food_business_permit", "11310199MB2Y01016G4000131014000"):
        assert known.matter(text) == hall.FOOD
    assert known.matter("11310199MB2Y050414000131014000") is None
    assert known.matter("000000000000") is None


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {root!r}]
    import conftest as support
    import test_back_files as these
    hall = support.build_hall(
        Path(sys.argv[1]), support.FixedClock(support.NOON), create=False,
        limits=these.Limits(import_batch=7),
    )
    rows = [these.row(hall, n + 2, (f"{{n}}.pdf",), title=f"m{{n}}") for n in range(60)]
    left = int(sys.argv[3])
    def tell(one):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    these.import_rows(hall.room, these.IMPORTER, rows, Path(sys.argv[2]), tell)
    """
)


@pytest.mark.parametrize("after", [1, 40])
def test_a_killed_run_is_resumed_without_duplicates(hall, tmp_path, after) -> None:
    folder = tmp_path / "files"
    write_files(hall, folder, *(f"{n}.pdf" for n in range(60)))
    here = Path(__file__).resolve()
    script = KILLED.format(tests=str(here.parent), root=str(here.parents[3]))
    hall.room.database.close()
    killed = subprocess.run(
        [sys.executable, "-c", script, str(hall.path), str(folder), str(after)], check=False
    )
    assert killed.returncode == -9
    again = hall.reopen(Limits(import_batch=7))
    try:
        imported = count(again, materials)
        assert 0 < imported < 60
        rows = [row(again, n + 2, (f"{n}.pdf",), title=f"m{n}") for n in range(60)]
        _, counts = run(again, folder, rows)
        assert counts.known == imported
        assert counts.imported == 60 - imported
        assert count(again, materials) == count(again, imported_rows) == 60
        assert again.problems() == []
    finally:
        again.room.database.close()
