"""Flips one bit of a stored file, or edits one row, asks the part of `fsck` that looks
at it, and puts it back.

All of `fsck` takes a second, so each kind of file is checked by the part that
reads it: `tests/runtime/fsck` shows that the whole calls these parts.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from archive.fsck import fsck as check_archive
from kernel.clock import FixedClock
from kernel.errors import CodedError
from ledger.fsck import fsck as check_ledger
from ledger.fsck_reading import Findings
from ledger.keys import open_key_file
from ledger.problems import Problem
from materials_api.fsck.checking import fsck as check_materials
from materials_api.fsck.objects import Content, ObjectCheck
from materials_api.fsck.sentences import SENTENCES
from runtime.store import Store, create_store, open_store
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault
from tests.runtime.fsck.conftest import NOON, make
from tests.runtime.fsck.test_fsck_database import Rows, checks_of, edits_of, silent


@dataclass
class Found:
    """How many of each kind were made, and which were not named."""

    made: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


def make_small(folder: Path) -> dict[str, str]:
    """A closed store with something of everything, at `folder/store`; the ids in it."""
    clock = FixedClock(NOON)
    create_store(folder / "store", "test.example", clock)
    with open_store(folder / "store", clock=clock) as store:
        return make(store, clock, folder)


class Flipper:
    """Flips bits in the files of an open store."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store, self._rng = store, rng
        self.found = Found()
        contents = _contents(store)
        self._contents = {one.object_key: one for one in contents}
        files = [path for path in store.data.rglob("*") if path.is_file()]
        self._log = [path for path in files if "log" in path.relative_to(store.data).parts]
        self._keys = [path for path in files if path.parent.name == "keys"]
        self._objects = [path for path in files if path.name in self._contents]
        self._exports = [
            path
            for path in files
            if "objects" in path.relative_to(store.data).parts and path.name not in self._contents
        ]

    def flip(self) -> None:
        """One bit somewhere: most in objects and in the log, some in keys and packages."""
        kind = self._rng.choices(
            ("object", "log", "key", "package"), (600, 250, 140, 10 if self._exports else 0)
        )[0]
        files = {
            "object": self._objects, "log": self._log, "key": self._keys,
            "package": self._exports,
        }[kind]  # fmt: skip
        path = self._rng.choice(files)
        data = path.read_bytes()
        if not data:
            return
        bit = self._rng.randrange(len(data) * 8)
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with _other(path, bytes(changed)):
            named = self._named(kind, path)
        self.found.made[kind] += 1
        if not named:
            self.found.missed.append(f"bit {bit} of {path.relative_to(self._store.data)}")

    def _named(self, kind: str, path: Path) -> bool:
        if kind == "object":
            found = Findings(SENTENCES)
            check = ObjectCheck(self._store.materials, found)
            check.expect(self._contents[path.name])
            check.hash_waiting()
            return bool(found.problems)
        if kind == "log":
            return bool(check_ledger(self._store.ledger))
        if kind == "package":
            return bool(check_archive(self._store.archive))
        try:
            if path.suffix == ".key":
                return open_key_file(path).key.text != self._store.ledger.vkey
            FileKeyVault.open(path)
        except CodedError:
            return True
        return False


def _contents(store: Store) -> list[Content]:
    """What `fsck` would hash, as it finds it itself."""
    taken: list[Content] = []

    def take(_: Any, content: Content) -> None:
        taken.append(content)

    with mock.patch.object(ObjectCheck, "expect", take):
        check_materials(store.materials)
    return taken


@contextmanager
def _other(path: Path, data: bytes) -> Iterator[None]:
    """Other bytes under this name for a while; the file itself is not touched."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    path.write_bytes(data)
    path.chmod(aside.stat().st_mode)
    try:
        yield
    finally:
        aside.replace(path)


class Editor:
    """Edits and deletes rows of an open store."""

    def __init__(self, store: Store, ids: dict[str, str], rng: random.Random) -> None:
        self._rows, self._rng = Rows(store, ids), rng
        self._store = store
        self.found = Found()
        # Some tables are empty here, as those of anchors that nobody configured.
        self._tables = [table for table in metadata.sorted_tables if self._rows.of(table)]

    def edit(self) -> None:
        """One value of one row, or one row gone, of those that carry meaning."""
        table = self._rng.choice(self._tables)
        rows = self._rows.of(table)
        check = checks_of(self._store, table.name)
        if self._rng.random() < 0.3:
            row = self._rng.choice(rows)
            if silent(table.name, "-", row) is None:
                with self._rows.deleted(table, row):
                    self._note("deletion", check, f"{table.name}: {row['_rowid']}")
            return
        self._rng.shuffle(rows)
        edits = list(edits_of(table, rows))
        if edits:
            row, column, value = self._rng.choice(edits)
            with self._rows.edited(table, row, column, value) as done:
                if done:
                    self._note("edit", check, f"{table.name}.{column} = {value!r}: {row}")

    def _note(self, kind: str, check: Callable[[], list[Problem]], what: str) -> None:
        self.found.made[kind] += 1
        if not check():
            self.found.missed.append(f"{kind} {what}")

    def close(self) -> None:
        self._rows.driver.close()
