"""Kills real processes at every step of a put, and of an upload with its row.

`python kill_puts.py FOLDER SCENARIO STRIDE` prepares one store and prints one
JSON line per process: `{"step": n, "acknowledged": [keys], "finished": false}`.
Each child opens what its killed forerunners left, does the same work under keys
of its own, and kills itself with SIGKILL when its n-th call into the operating
system or the database is about to be made or has just returned. The last child
comes to its end.
"""

import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from storage.database import Database
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects, registry
from storage.tables import objects

STEPS = frozenset(
    {"open", "flock", "write", "fsync", "link", "unlink", "close", "execute", "commit"}
)
AT = datetime(2026, 11, 24, tzinfo=UTC)


def key_of(step: int, number: int) -> str:
    return f"{step:016x}{number:016x}"


def payload(number: int) -> bytes:
    return bytes([number]) * (1000 if number % 2 else 300_000)


class KillAtStep:
    """A profiler that counts the calls named in STEPS, twice each: before and after."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, _frame: object, event: str, function: object) -> None:
        if event in ("c_call", "c_return") and getattr(function, "__name__", "") in STEPS:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def puts(folder: Path, step: int, acknowledge: "Acknowledge") -> None:
    """Plain puts: two new objects, the first one again."""
    store = FilesystemStore(folder / "objects")
    sys.setprofile(acknowledge.kill)
    for number in (1, 2, 1):
        writer = store.create(key_of(step, number))
        writer.write(payload(number))
        writer.commit()
        acknowledge(key_of(step, number))


def batch(folder: Path, step: int, acknowledge: "Acknowledge") -> None:
    """One batch; nothing of it is acknowledged before all of it is."""
    store = FilesystemStore(folder / "objects")
    threading.setprofile(acknowledge.kill)
    sys.setprofile(acknowledge.kill)
    store.put_many((key_of(step, number), payload(number)) for number in (1, 2, 3))
    for number in (1, 2, 3):
        acknowledge(key_of(step, number))


def uploads(folder: Path, step: int, acknowledge: "Acknowledge") -> None:
    """Sealed objects, each with its row, acknowledged after the commit."""
    store = FilesystemStore(folder / "objects")
    vault = FileKeyVault.open(folder / "vault.json")
    sealed = SealedObjects(store, vault)
    threading.setprofile(acknowledge.kill)
    database = Database(folder / "rows.sqlite3")
    sys.setprofile(acknowledge.kill)
    for number in (1, 2):
        stored = sealed.put([payload(number)], limit=1 << 20)
        database.write(lambda tx, stored=stored: registry.add(tx, AT, vault, stored))
        acknowledge(stored.object_key)


SCENARIOS = {"puts": puts, "batch": batch, "uploads": uploads}


class Acknowledge:
    """Tells the parent through a pipe: what was said before the kill was said."""

    def __init__(self, pipe: int, kill: KillAtStep) -> None:
        self._pipe = pipe
        self.kill = kill

    def __call__(self, key: str) -> None:
        sys.setprofile(None)
        os.write(self._pipe, f"{key}\n".encode())
        sys.setprofile(self.kill)


def prepare(folder: Path) -> None:
    FilesystemStore(folder / "objects", create=True)
    FileKeyVault.create(folder / "vault.json")
    database = Database(folder / "rows.sqlite3", create=True)
    with database.writer_engine.begin() as connection:
        metadata.create_all(connection, tables=[objects])
    database.close()


def run(folder: Path, scenario: str, step: int) -> tuple[list[str], int]:
    """Fork a child that dies at `step`; what it acknowledged, and its wait status."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        SCENARIOS[scenario](folder, step, Acknowledge(writing, KillAtStep(step)))
        sys.setprofile(None)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        acknowledged = pipe.read().split()
    return acknowledged, os.waitpid(child, 0)[1]


def main(folder: Path, scenario: str, stride: int) -> None:
    prepare(folder)
    step, finished = 0, False
    while not finished:
        acknowledged, status = run(folder, scenario, step)
        finished = status == 0
        if not finished and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"the child at step {step} failed with {status}")
        line = {"step": step, "acknowledged": acknowledged, "finished": finished}
        print(json.dumps(line), flush=True)
        step += stride


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
