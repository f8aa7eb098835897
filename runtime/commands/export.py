"""`mianjiao export`: a closed case as a package in a new folder, with its receipt beside it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel.principals import Principal, Role

if TYPE_CHECKING:
    from runtime.store import Store

# The operator at the machine; not the form of a credential's id, so nobody else acts as it.
LOCAL: Final = Principal(subject="local", role=Role.OPERATOR)
EVIDENCE_SECONDS: Final = 15.0
RECEIPT_SUFFIX: Final = ".receipt.json"


def export(data: Path, case: str, output: Path) -> int:
    """Export `case` (its id or number) from the store in `data` into the new folder `output`.

    Prints progress and where the package is. The store may be served by another
    process meanwhile: that one then gives the records their place in the log.
    0, also when the receipt of the export is still to come; refusals are raised.
    """
    from archive.errors import TargetExists
    from archive.package import export_to_folder
    from runtime.store import open_store

    target = output.expanduser().absolute()
    beside = target.with_name(target.name + RECEIPT_SUFFIX)
    if beside.exists():
        raise TargetExists()
    with open_store(data) as store:
        case_id = _case_id(store, case)
        _sequence(store)
        progress = _Progress()
        made = export_to_folder(store.archive, LOCAL, case_id, target, progress)
        progress.close()
        print(f"归档包 package   {target}")
        print(f"  {made.payload_files} 个文件 files，{made.payload_bytes} 字节 bytes")
        print(f"  检查点 checkpoint {store.ledger.origin} {made.tree_size}")
        held, receipts = _with_evidence(target)
        print(f"  外部证据 evidence   {held}/{receipts} 份凭证 receipts")
        _sequence(store)
        if not store.ledger.wait_for(made.entry_id, EVIDENCE_SECONDS):
            print("  归档凭证补全中，稍后可再取 / the receipt of the export is pending")
            return 0
        with store.database.read() as tx:
            receipt = store.ledger.evidence.receipt(tx, made.entry_id)
        _write(beside, receipt)
        print(f"归档凭证 receipt {beside}")
    print("核验 verify      mianjiao verify " + _quoted(target) + " --policy POLICY")
    return 0


def _case_id(store: "Store", case: str) -> str:
    """The id of the case that is named by its id or its number (办件编码)."""
    from sqlalchemy import select

    from kernel.ids import IdKind, is_id
    from materials_api.errors import CaseUnknown
    from materials_api.tables import cases

    if is_id(case, IdKind.CASE):
        return case
    with store.database.read() as tx:
        found = tx.scalar(select(cases.c.case_id).where(cases.c.number == case))
    if found is None:
        raise CaseUnknown()
    return str(found)


def _sequence(store: "Store") -> None:
    """Give what waits its place in the log, unless a server does so already."""
    from ledger.errors import SequencerBusy

    try:
        store.ledger.sequence(store.clock.now())
    except SequencerBusy:
        return


def _with_evidence(package: Path) -> tuple[int, int]:
    """How many receipts of the package have evidence from outside, and how many there are:
    one that was made too early is made again."""
    from ledger.receipts import parse_receipt

    found = [parse_receipt(one.read_bytes()) for one in (package / "receipts").iterdir()]
    return sum(bool(one.anchors) for one in found), len(found)


class _Progress:
    """One line on standard error, on a terminal only."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, step: str, done: int, total: int) -> None:
        if not self._shown:
            return
        name = {"write": "写入 writing", "check": "自检 checking"}.get(step, step)
        share = f" {done * 100 // total}%" if step == "write" and total else ""
        print(f"\r\033[K{name}{share}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _write(path: Path, data: bytes) -> None:
    from archive.bag import sync_folder

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


def _quoted(path: Path) -> str:
    from shlex import quote

    return quote(str(path))
