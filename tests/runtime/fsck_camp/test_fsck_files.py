"""`fsck` names a flip of any byte with meaning, in the database file as in all others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.clock import FixedClock
from ledger.fsck import fsck as check_ledger
from ledger.problems import Problem
from runtime.store import Store, create_store, open_store
from tests.conftest import START

FLIPS = 120  # of the database file; more than half hit something that has meaning


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]


def where(problems: list[Problem]) -> set[str]:
    return {one.where for one in problems}


@contextmanager
def damaged(path: Path, data: bytes | None) -> Iterator[None]:
    """Other bytes in a file, or no file, for a while."""
    whole = path.read_bytes()
    path.unlink()
    if data is not None:
        path.write_bytes(data)
        path.chmod(0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
        path.chmod(0o600)


# --- The files of the log -----------------------------------------------------------


def log_files(store: Store) -> list[Path]:
    return sorted(path for path in (store.data / "log").rglob("*") if path.is_file())


@pytest.fixture
def young(tmp_path: Path) -> Iterator[Store]:
    """A store with three leaves, whose files are small."""
    clock = FixedClock(START)
    create_store(tmp_path / "young", "test.example", clock)
    with open_store(tmp_path / "young", clock=clock) as store:
        store.database.write(
            lambda tx: store.ledger.journal.record(tx, clock.now(), "task.done", "tsk_x", {})
        )
        store.ledger.sequence(clock.now())
        yield store


def test_every_flipped_byte_of_bundles_tiles_and_checkpoint_is_named(young: Store) -> None:
    files = log_files(young)
    assert {path.name for path in files} >= {"checkpoint", "3"}
    for path in files:
        name, data = path.relative_to(young.data / "log" / young.ledger.shard), path.read_bytes()
        for at in range(len(data)):
            # The long public leaf that announces the catalogue is sampled.
            if len(data) > 1_000 and at % 7:
                continue
            with damaged(path, flip(data, at)):
                assert name.as_posix() in where(check_ledger(young.ledger)), (name, at)
    assert check_ledger(young.ledger) == []
