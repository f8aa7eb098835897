"""Kills real processes at every step of journal and sequencer, and checks what is left.

`python kill_sequencer.py FOLDER STRIDE` makes one store and prints one JSON line
a process. Each child opens what its killed forerunners left, records and
sequences two batches, and kills itself with SIGKILL when its n-th call into the
operating system, the database or the signer is about to be made or has just
returned. A receipt that a child wrote down is acknowledged. After each child a
fresh process checks the whole log. The last child comes to its end.
"""

import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import ledger.tables  # noqa: F401 - registers its tables
from kernel.clock import FixedClock
from kernel.ids import IdKind, new_id
from ledger.fsck import fsck
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.service import Ledger
from storage.database import Database
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault

STEPS = frozenset(
    {
        "open",
        "write",
        "fsync",
        "link",
        "rename",
        "replace",
        "unlink",
        "rmdir",
        "mkdir",
        "execute",
        "executemany",
        "commit",
        "sign",
    }
)
CLOCK = FixedClock(datetime(2026, 11, 24, tzinfo=UTC))


class KillAtStep:
    """A profiler that counts the calls named in STEPS, twice each: before and after."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, _frame: object, event: str, function: object) -> None:
        if event in ("c_call", "c_return") and getattr(function, "__name__", "") in STEPS:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def open_ledger(folder: Path) -> Ledger:
    return Ledger.open(
        folder,
        database=Database(folder / "mianjiao.sqlite3"),
        vault=FileKeyVault.open(folder / "keys" / "vault.json"),
        clock=CLOCK,
    )


def make(folder: Path) -> None:
    (folder / "keys").mkdir(parents=True)
    database = Database(folder / "mianjiao.sqlite3", create=True)
    metadata.create_all(database.writer_engine)
    Ledger.create(
        folder,
        database=database,
        vault=FileKeyVault.create(folder / "keys" / "vault.json"),
        clock=CLOCK,
        name="log.example",
        shard="2026",
    )
    database.close()


def work(folder: Path, step: int) -> None:
    """Record and sequence two batches; write down each receipt, then each is acknowledged."""
    kill = KillAtStep(step)
    threading.setprofile(kill)
    log = open_ledger(folder)
    sys.setprofile(kill)
    for count in (3, 61):
        rows = [("case.noted", new_id(IdKind.CASE), {"n": number}) for number in range(count)]
        entries = log.database.write(
            lambda tx, rows=rows: log.journal.record_many(tx, CLOCK.now(), rows)
        )
        log.sequence(CLOCK.now())
        with log.database.read() as tx:
            receipt = log.evidence.receipt(tx, entries[-1].entry_id)
        sys.setprofile(None)
        (folder / "acknowledged" / entries[-1].entry_id).write_bytes(receipt)
        sys.setprofile(kill)
    sys.setprofile(None)
    threading.setprofile(None)
    log.database.close()


def check(folder: Path) -> tuple[list[str], list[str], int]:
    """Problems of the log as the killed process left it, and receipts that no longer hold."""
    log = open_ledger(folder)
    policy = parse_policy(log.policy_text().encode())
    problems = [f"{one.code} {one.where}" for one in fsck(log)]
    lost = []
    files = sorted((folder / "acknowledged").iterdir())
    with log.database.read() as tx:
        for file in files:
            old = verify_receipt(file.read_bytes(), policy)
            new = verify_receipt(log.evidence.receipt(tx, file.name), policy)
            held = isinstance(old, Evidence) and isinstance(new, Evidence)
            if not held or (old.index, old.record) != (new.index, new.record):
                lost.append(file.name)
    log.database.close()
    return problems, lost, len(files)


def main() -> None:
    folder, stride = Path(sys.argv[1]) / "data", int(sys.argv[2])
    pid = os.fork()
    if pid == 0:
        make(folder)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    (folder / "acknowledged").mkdir()
    step, finished = 0, False
    while not finished:
        pid = os.fork()
        if pid == 0:
            try:
                work(folder, step)
            except BaseException as error:  # noqa: BLE001 - reported by the exit status
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        finished = status == 0
        if not finished and os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"step {step} ended with status {status}")
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            problems, lost, count = check(folder)
            report = {
                "step": step,
                "finished": finished,
                "problems": problems,
                "lost": lost,
                "acknowledged": count,
            }
            os.write(writing, json.dumps(report).encode() + b"\n")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            print(pipe.read(), end="", flush=True)
        assert os.waitpid(pid, 0)[1] == 0
        step += stride


if __name__ == "__main__":
    main()
