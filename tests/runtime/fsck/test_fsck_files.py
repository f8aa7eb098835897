"""`fsck` names every file of the log, the objects and the keys that is not what it was."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from archive.fsck import fsck as check_archive
from kernel.clock import FixedClock
from kernel.errors import CodedError
from ledger.fsck import fsck as check_ledger
from ledger.fsck_reading import Findings
from ledger.problems import Problem, quiet
from materials_api.fsck.checking import fsck as check_materials
from materials_api.fsck.objects import Content, ObjectCheck
from materials_api.fsck.sentences import SENTENCES
from materials_api.materials.access import open_material
from materials_api.tables import material_files
from runtime.commands.fsck import run_checks
from runtime.store import Store, create_store, open_store

START = datetime(2026, 11, 24, 4, 20, 21, tzinfo=UTC)


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


def test_a_flipped_byte_of_bundles_tiles_and_checkpoint_is_named(young: Store) -> None:
    """A sample: the tests of the ledger flip every byte of every file of a log."""
    files = log_files(young)
    assert {path.name for path in files} >= {"checkpoint", "3"}
    for path in files:
        name, data = path.relative_to(young.data / "log" / young.ledger.shard), path.read_bytes()
        for at in range(0, len(data), 5 if len(data) < 250 else 97):
            with damaged(path, flip(data, at)):
                assert name.as_posix() in where(check_ledger(young.ledger)), (name, at)
    assert check_ledger(young.ledger) == []


def test_a_file_of_the_log_that_is_cut_lost_or_added_is_named(module_office: Any) -> None:
    store = module_office.store
    shard = store.data / "log" / store.ledger.shard
    for path in log_files(store):
        name, data = path.relative_to(shard).as_posix(), path.read_bytes()
        for bytes_left in (data[:-1], b"", data + b"x"):
            with damaged(path, bytes_left):
                assert name in where(check_ledger(store.ledger)), (name, len(bytes_left))
        current = name == "checkpoint" or path.name == str(store.ledger.checkpoint().size)
        with damaged(path, None):
            lost = where(check_ledger(store.ledger))
            # A partial tile of an older size serves those who still hold that checkpoint;
            # what it says stands in the newer one.
            assert (name in lost) == current or lost == set(), name
    for name in ("evil", "tile/0/x001/000", "tile/7/000", "tile/0/000.p/7x"):
        with added(shard / name, b"x" * 32):
            assert name in where(check_ledger(store.ledger))
    with added(store.data / "log" / "evil", b"x"):
        assert "log/evil" in where(run_checks(store, quiet))
    assert run_checks(store, quiet) == []


# --- Objects --------------------------------------------------------------------------


def object_files(store: Store) -> list[Path]:
    return sorted(path for path in (store.data / "objects").rglob("*") if path.is_file())


def test_a_flipped_byte_anywhere_in_an_object_is_named(module_office: Any) -> None:
    store = module_office.store
    with store.database.read() as tx:
        facts = open_material(store.materials, tx, module_office.ids["lease"])
    (file,) = facts.files
    content = Content(
        "the lease", facts.material_id, file.object_key, file.size, file.sha256, file.sm3
    )
    path = store.data / "objects" / file.object_key[:2] / file.object_key
    data = path.read_bytes()

    def problems() -> list[Problem]:
        found = Findings(SENTENCES)
        check = ObjectCheck(store.materials, found)
        check.expect(content)
        check.hash_waiting()
        return found.problems

    assert problems() == []
    for at in range(0, len(data), 3):
        with damaged(path, flip(data, at)):
            assert where(problems()) == {"the lease"}, at
    assert problems() == []


def test_an_object_that_is_flipped_cut_or_lost_is_named(module_office: Any) -> None:
    store = module_office.store
    files = object_files(store)
    # Materials of both cases, the old one, an upload that waits, a package.
    assert len(files) == 8
    for path in files:
        data = path.read_bytes()
        for number, left in enumerate((flip(data, len(data) // 2), data[:-1], None)):
            with damaged(path, left):
                problems = [*check_materials(store.materials), *check_archive(store.archive)]
            assert any(path.name in one.where for one in problems), (path.name, number)
    assert run_checks(store, quiet) == []


def test_a_file_among_the_objects_that_does_not_belong_there_is_named(
    module_office: Any,
) -> None:
    store = module_office.store
    objects = store.data / "objects"
    key = object_files(store)[0].name
    wrong = "00" if not key.startswith("00") else "01"
    for name in ("evil", "00/evil.txt", f"{wrong}/{key}", "zz/nothing"):
        with added(objects / name, b"x"):
            assert any(one.startswith(f"objects/{name.split('/n')[0]}") for one in names(store))
    with added(objects / "ab" / ("ab" + "0" * 30), b"x") as stray:
        assert names(store) == set()  # it may be on its way in, or wait for the sweep
        old = stray.stat().st_mtime - 3 * 86_400
        os.utime(stray, (old, old))
        assert names(store) == {f"objects/ab/ab{'0' * 30}"}
    assert names(store) == set()


def test_erased_content_that_lies_there_again_is_named(module_office: Any) -> None:
    store = module_office.store
    with store.database.read() as tx:
        erased = tx.scalar(
            select(material_files.c.object_key).where(
                material_files.c.material_id == module_office.ids["erased"]
            )
        )
    with added(store.data / "objects" / erased[:2] / erased, b"x"):
        assert ("object_kept", erased) in {
            (one.code, one.where) for one in check_materials(store.materials)
        }


# --- Keys -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vault.json", "log-2026.key"])
def test_a_flipped_byte_of_a_key_file_is_one_problem(
    small: tuple[Path, dict[str, str], FixedClock], tmp_path: Path, name: str
) -> None:
    folder, _, clock = small
    shutil.copytree(folder, tmp_path / "store")
    path = tmp_path / "store" / "keys" / name
    data = path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 12)):
        opening = open_store(tmp_path / "store", clock=clock)
        with damaged(path, flip(data, at)), pytest.raises(CodedError), opening:
            pass


def names(store: Store) -> set[str]:
    """Where files are named that do not belong."""
    return {one.where for one in run_checks(store, quiet) if one.code == "unexpected_file"}


@contextmanager
def added(path: Path, data: bytes) -> Iterator[Path]:
    folders = [one for one in (path.parent, *path.parent.parents) if not one.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        yield path
    finally:
        path.unlink()
        for folder in folders:
            folder.rmdir()
