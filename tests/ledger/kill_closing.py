"""Kills real processes at every step of closing a shard, and checks what is left.

`python kill_closing.py FOLDER STRIDE` makes one store and prints one JSON line for each
process. Each child gets a copy of it, closes its shard and begins the next one, and kills
itself with SIGKILL when its n-th call into the operating system, the database or the
signer is about to be made or has just returned; one more as soon as the place of the next
shard is made, before the transaction. A fresh process then starts as any server
does, closes the shard if it was not closed, and checks the whole log. The last child
comes to its end.
"""

import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType

from kernel.ids import IdKind, new_id
from ledger import heads
from ledger.closing import close_shard, prepare_successor, prepared_places
from ledger.fsck import fsck
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.service import Ledger
from ledger.shard_keys import signer_paths


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


killing = _load("kill_sequencer")


def record(log: Ledger, count: int) -> list[str]:
    rows = [("case.noted", new_id(IdKind.CASE), {"n": number}) for number in range(count)]
    at = killing.CLOCK.now()
    entries = log.database.write(lambda tx: log.journal.record_many(tx, at, rows))
    return [entry.entry_id for entry in entries]


def prepare(folder: Path) -> None:
    """Two receipts, and entries that wait."""
    killing.make(folder)
    log = killing.open_ledger(folder)
    (folder / "acknowledged").mkdir()
    entries = record(log, 300)
    log.sequence(killing.CLOCK.now())
    with log.database.read() as tx:
        for entry in (entries[0], entries[-1]):
            (folder / "acknowledged" / entry).write_bytes(log.evidence.receipt(tx, entry))
    record(log, 5)
    log.database.close()


def close(folder: Path) -> None:
    at = killing.CLOCK.now()
    log = killing.open_ledger(folder)
    if log.shard == "2026":
        close_shard(log, prepare_successor(log, "2027"), at)
        log.database.close()
        log = killing.open_ledger(folder)
    record(log, 2)
    log.sequence(at)
    log.database.close()


def work(folder: Path, step: int) -> None:
    kill = killing.KillAtStep(step)
    threading.setprofile(kill)
    sys.setprofile(kill)
    close(folder)
    sys.setprofile(None)
    threading.setprofile(None)


def work_until_placed(folder: Path) -> None:
    """Ends right after the successor's place was made."""
    place = folder / "log" / "2027"

    def kill(_frame: object, _event: str, _argument: object) -> None:
        if place.is_dir():
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(kill)
    close(folder)


def left_behind(log: Ledger) -> list[str]:
    """What lies beside the shards and nothing accounts for."""
    with log.database.read() as tx:
        known = {*heads.shards(tx), *prepared_places(log)}
    return list(log.shards.strangers(known))


def check(folder: Path) -> tuple[list[str], list[str], str]:
    """Start as a server would; then close what is not closed, and look at everything."""
    log = killing.open_ledger(folder)
    found, strangers = log.shard, left_behind(log)
    log.sequence(killing.CLOCK.now())
    log.database.close()
    close(folder)
    log = killing.open_ledger(folder)
    policy = parse_policy(log.policy_text().encode())
    problems = [f"{one.code} {one.where}" for one in fsck(log)]
    problems += [f"stranger {one}" for one in (*strangers, *left_behind(log))]
    if log.shard != "2027" or len(log.readers.finals()) != 1:
        problems.append("not closed")
    problems += [str(one) for one in signer_paths(folder / "keys", "2026") if one.exists()]
    problems += [one.name for one in (folder / "keys").iterdir() if one.name.startswith(".")]
    lost = []
    with log.database.read() as tx:
        for file in sorted((folder / "acknowledged").iterdir()):
            for receipt in (file.read_bytes(), log.evidence.receipt(tx, file.name)):
                if not isinstance(verify_receipt(receipt, policy), Evidence):
                    lost.append(file.name)
    log.database.close()
    return problems, lost, found


def in_child(job: object) -> int:
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        job()  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001 - reported by the exit status
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def main() -> None:
    folder, stride = Path(sys.argv[1]), int(sys.argv[2])
    assert in_child(lambda: prepare(folder / "first")) == 0
    step, finished = -stride, False
    while not finished:
        data = folder / "data"
        shutil.copytree(folder / "first", data)
        if step < 0:
            status = in_child(lambda data=data: work_until_placed(data))
            assert (data / "log" / "2027").is_dir()
        else:
            status = in_child(lambda data=data, step=step: work(data, step))
        finished = status == 0
        if not finished and os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"step {step} ended with status {status}")

        def tell(data: Path = data, step: int = step, finished: bool = finished) -> None:
            problems, lost, found = check(data)
            report = {
                "step": step,
                "finished": finished,
                "problems": problems,
                "lost": lost,
                "found": found,
            }
            print(json.dumps(report), flush=True)

        assert in_child(tell) == 0
        shutil.rmtree(data)
        step += stride


if __name__ == "__main__":
    main()
