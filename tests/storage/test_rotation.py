"""Keys in epochs: rewrapped while written to, killed anywhere, the old one really gone."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary

from ledger.tables import ledger_entries
from runtime.commands.keys import WRAPPED
from storage.database import Database
from storage.database.metadata import metadata
from storage.errors import KeyMissing, KeyRotated
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects, registry
from storage.objects.erasure import finish_erasures
from storage.rotation import WrappedColumn, rotate, waiting
from storage.tables import objects

TABLES = (WrappedColumn(objects.c.object_key, objects.c.object_key),)


def quiet(_what: str, _done: int, _total: int) -> None: ...


@dataclass
class Shelf:
    database: Database
    store: FilesystemStore
    vault: FileKeyVault
    sealed: SealedObjects
    at: datetime

    def keep(self, data: bytes) -> str:
        stored = self.sealed.put([data], limit=1000)
        self.database.write(lambda tx: registry.add(tx, self.at, self.vault, stored))
        return stored.object_key

    def read(self, key: str) -> bytes:
        with self.database.read() as tx:
            ref = registry.ref(tx, key)
        return b"".join(self.sealed.read(ref))


@pytest.fixture
def shelf(
    database: Database,
    store: FilesystemStore,
    vault: FileKeyVault,
    sealed: SealedObjects,
    at: datetime,
) -> Shelf:
    return Shelf(database, store, vault, sealed, at)


def test_every_key_is_rewrapped_and_the_old_one_is_gone(shelf: Shelf, tmp_path: Path) -> None:
    keys = [shelf.keep(b"content %d" % number) for number in range(1100)]
    old_key = json.loads((tmp_path / "vault.json").read_text())["keys"]["1"]
    done = rotate(shelf.database, shelf.vault, TABLES, quiet)
    assert (done.epoch, done.rewrapped) == (2, 1100)
    assert shelf.read(keys[0]) == b"content 0"
    assert shelf.read(keys[-1]) == b"content 1099"
    assert old_key not in (tmp_path / "vault.json").read_text()
    assert [path.name for path in tmp_path.glob("*vault*")] == ["vault.json"]
    assert FileKeyVault.open(tmp_path / "vault.json").oldest_epoch == 2


def test_what_was_erased_opens_in_an_older_copy_only_until_the_rotation(
    shelf: Shelf, tmp_path: Path
) -> None:
    key = shelf.keep(b"personal")
    with shelf.database.read() as tx:
        before = registry.ref(tx, key)  # what a backup made now would hold
    shelf.database.write(lambda tx: registry.erase(tx, shelf.at, shelf.vault, key))
    opened = FileKeyVault.open(tmp_path / "vault.json").unwrap(before.wrapped_key, key.encode())
    assert len(opened) == 32
    rotate(shelf.database, shelf.vault, TABLES, quiet)
    with pytest.raises(KeyMissing):
        FileKeyVault.open(tmp_path / "vault.json").unwrap(before.wrapped_key, key.encode())


def test_an_erasure_that_no_log_can_be_emptied_for_is_pending_until_the_rotation(
    shelf: Shelf,
) -> None:
    # A reader that stays holds the old snapshot: as on a server, nothing can be emptied.
    key = shelf.keep(b"personal")
    with shelf.database.read() as tx:
        registry.ref(tx, key)
        shelf.database.write(lambda tx: registry.erase(tx, shelf.at, shelf.vault, key))
        first = finish_erasures(shelf.database, shelf.store, shelf.vault, shelf.at)
        assert (first.done, first.pending) == ([], [key])
        rotate(shelf.database, shelf.vault, TABLES, quiet)
        second = finish_erasures(shelf.database, shelf.store, shelf.vault, shelf.at)
        assert (second.done, second.pending) == ([key], [])


def test_another_process_takes_the_new_keys_and_its_old_wraps_are_refused(
    shelf: Shelf, tmp_path: Path
) -> None:
    other = FileKeyVault.open(tmp_path / "vault.json")
    late = SealedObjects(shelf.store, other).put([b"sealed before"], limit=100)
    rotate(shelf.database, shelf.vault, TABLES, quiet)
    with pytest.raises(KeyRotated):
        shelf.database.write(lambda tx: registry.add(tx, shelf.at, other, late))
    again = SealedObjects(shelf.store, other).put([b"sealed after"], limit=100)
    assert again.wrapped_key.epoch == 2
    shelf.database.write(lambda tx: registry.add(tx, shelf.at, other, again))
    assert shelf.read(again.object_key) == b"sealed after"


def test_a_wrap_made_before_and_stored_during_a_rotation_is_rewrapped(shelf: Shelf) -> None:
    shelf.keep(b"first")
    late = shelf.sealed.put([b"late"], limit=100)
    stored = []

    def tell(_what: str, _done: int, _total: int) -> None:
        if not stored:
            stored.append(late.object_key)
            shelf.database.write(lambda tx: registry.add(tx, shelf.at, shelf.vault, late))

    rotate(shelf.database, shelf.vault, TABLES, tell)
    assert shelf.read(late.object_key) == b"late"
    with shelf.database.read() as tx:
        assert waiting(tx, TABLES, 2) == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["begun", "half", "destroyed"])
def test_a_rotation_that_was_cut_off_is_finished_by_the_next(
    shelf: Shelf, tmp_path: Path, step: str
) -> None:
    keys = [shelf.keep(b"%d" % number) for number in range(1001)]
    calls = []

    def tell(_what: str, done: int, _total: int) -> None:
        calls.append(done)
        if (step == "begun" and done) or (step == "half" and done > 500):
            raise Killed

    if step == "begun":
        shelf.database.write(lambda _tx: shelf.vault.begin_epoch())
    elif step == "half":
        with pytest.raises(Killed):
            rotate(shelf.database, shelf.vault, TABLES, tell)
    else:
        shelf.database.write(lambda _tx: shelf.vault.begin_epoch())
        (tmp_path / ".vault.json.new").write_bytes(b"half a fi")
    vault = FileKeyVault.open(tmp_path / "vault.json")
    assert vault.current_epoch == 2
    assert rotate(shelf.database, vault, TABLES, quiet).epoch == 2
    assert vault.oldest_epoch == 2
    assert [shelf.read(key) for key in (keys[0], keys[500], keys[-1])] == [b"0", b"500", b"1000"]
    assert not (tmp_path / ".vault.json.new").exists()


def test_no_table_with_wrapped_keys_is_forgotten() -> None:
    known = {table.key.table.name for table in WRAPPED}
    found = {
        table.name
        for table in metadata.sorted_tables
        for column in table.c
        if "wrapped" in column.name and isinstance(column.type, LargeBinary)
    }
    assert found == known == {"objects", ledger_entries.name}
