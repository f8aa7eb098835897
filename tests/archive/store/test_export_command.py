"""`mianjiao export`: by id or number, beside a running server, verified by `mianjiao verify`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archive.errors import TargetExists
from materials_api.errors import CaseUnknown
from runtime.commands.export import export
from runtime.commands.verify import verify

ROOT = Path(__file__).parents[3]


@pytest.fixture
def closed(office: Any, tmp_path: Path) -> tuple[str, Path]:
    """A closed case, and a policy file that trusts the store's log."""
    policy = tmp_path / "policy.txt"
    policy.write_text(office.store.ledger.policy_text(), encoding="utf-8")
    case_id: str = office.closed_case()
    return case_id, policy


def test_a_case_is_exported_with_its_receipt_beside_it_and_verifies(
    tmp_path: Path, closed: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    case_id, policy = closed
    target = tmp_path / "out"
    assert export(tmp_path / "data", case_id, target) == 0
    text = capsys.readouterr().out
    assert str(target) in text
    beside = tmp_path / "out.receipt.json"
    assert str(beside) in text
    assert verify(target, policy, None, False) == 0
    text = capsys.readouterr().out
    assert "整包（含文书与说明）与导出时的存证一致" in text
    assert verify(beside, policy, target / "tagmanifest-sha256.txt", True) == 0
    capsys.readouterr()
    slip = target / "data" / "documents" / "0001.pdf"
    slip.write_bytes(slip.read_bytes() + b"\n")
    assert verify(target, policy, None, False) == 1


def test_a_case_is_named_by_its_number_too(
    office: Any, tmp_path: Path, closed: tuple[str, Path]
) -> None:
    from sqlalchemy import select

    from materials_api.tables import cases

    with office.store.database.read() as tx:
        number = tx.scalar(select(cases.c.number).where(cases.c.case_id == closed[0]))
    assert export(tmp_path / "data", str(number), tmp_path / "out") == 0
    assert (tmp_path / "out" / "bagit.txt").is_file()
    with pytest.raises(CaseUnknown):
        export(tmp_path / "data", "no such number", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_existing_target_or_receipt_is_refused(tmp_path: Path, closed: tuple[str, Path]) -> None:
    (tmp_path / "out.receipt.json").write_bytes(b"mine")
    with pytest.raises(TargetExists):
        export(tmp_path / "data", closed[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(TargetExists):
        export(tmp_path / "data", closed[0], tmp_path / "there")


def test_another_process_exports_while_the_store_is_being_served(
    office: Any, tmp_path: Path, closed: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    office.store.ledger.start()  # holds the lock, as a server does
    program = (
        "import sys, pathlib\n"
        "from runtime.commands.export import export\n"
        "data, case, out = sys.argv[1:]\n"
        "sys.exit(export(pathlib.Path(data), case, pathlib.Path(out)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data"), closed[0], str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.receipt.json").is_file(), done.stdout
    assert verify(tmp_path / "out", closed[1], None, True) == 0
    capsys.readouterr()
