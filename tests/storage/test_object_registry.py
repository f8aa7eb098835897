import os
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from storage.database import Database, WriteTx
from storage.errors import KeyMissing, ObjectClaimed, ObjectMissing
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects, StoredObject, registry
from storage.objects.erasure import finish_erasures, pending
from storage.objects.port import new_object_key
from storage.objects.sweep import Swept, sweep
from storage.tables import objects

OWNER, OTHER = "mat_" + "0" * 26, "mat_" + "1" * 26
HOUR = timedelta(hours=1)


def stored_with_row(
    database: Database,
    sealed: SealedObjects,
    at: datetime,
    data: bytes = b"content",
) -> StoredObject:
    vault = FileKeyVault({1: bytes(32)}, 1, bytes(32))  # of the same epoch
    stored = sealed.put([data], limit=1 << 20)
    database.write(lambda tx: registry.add(tx, at, vault, stored))
    return stored


def rows(database: Database) -> set[str]:
    with database.read() as tx:
        return {row["object_key"] for row in tx.all(select(objects.c.object_key))}


def nothing_to_release(_tx: WriteTx, _keys: Sequence[str]) -> None:
    """No room above points at these objects."""


def age(store: FilesystemStore, key: str, stored_at: datetime) -> None:
    os.utime(store.root / key[:2] / key, (stored_at.timestamp(), stored_at.timestamp()))


def test_a_ref_from_the_row_reads_the_object(
    database: Database, sealed: SealedObjects, at: datetime
) -> None:
    stored = stored_with_row(database, sealed, at)
    with database.read() as tx:
        ref = registry.ref(tx, stored.object_key)
    assert ref == stored.ref()
    assert b"".join(sealed.read(ref)) == b"content"


def test_a_batch_is_added_in_one_statement(
    vault: FileKeyVault, database: Database, sealed: SealedObjects, at: datetime
) -> None:
    batch = sealed.put_many([b"a", b"b", b"c"], limit=10)
    database.write(lambda tx: registry.add_many(tx, at, vault, batch))
    database.write(lambda tx: registry.add_many(tx, at, vault, []))
    assert rows(database) == {item.object_key for item in batch}


def test_an_object_has_one_row(
    vault: FileKeyVault, database: Database, sealed: SealedObjects, at: datetime
) -> None:
    stored = stored_with_row(database, sealed, at)
    with pytest.raises(IntegrityError):
        database.write(lambda tx: registry.add(tx, at, vault, stored))


def test_a_claim_holds_and_may_be_repeated_by_its_owner(
    database: Database, sealed: SealedObjects, at: datetime
) -> None:
    key = stored_with_row(database, sealed, at).object_key
    database.write(lambda tx: registry.claim(tx, key, OWNER))
    database.write(lambda tx: registry.claim(tx, key, OWNER))
    with pytest.raises(ObjectClaimed):
        database.write(lambda tx: registry.claim(tx, key, OTHER))
    with database.read() as tx:
        assert registry.unreferenced(tx, at + HOUR) == []


def test_the_unknown_can_be_neither_claimed_nor_read_nor_erased(
    vault: FileKeyVault, database: Database, at: datetime
) -> None:
    key = new_object_key()
    for use in (
        lambda tx: registry.claim(tx, key, OWNER),
        lambda tx: registry.ref(tx, key),
        lambda tx: registry.erase(tx, at, vault, key),
    ):
        with pytest.raises(ObjectMissing):
            database.write(use)


def test_an_erased_object_can_be_neither_claimed_nor_read(
    vault: FileKeyVault, database: Database, sealed: SealedObjects, at: datetime
) -> None:
    key = stored_with_row(database, sealed, at).object_key
    database.write(lambda tx: registry.erase(tx, at, vault, key))
    database.write(lambda tx: registry.erase(tx, at + HOUR, vault, key))
    for use in (lambda tx: registry.claim(tx, key, OWNER), lambda tx: registry.ref(tx, key)):
        with pytest.raises(KeyMissing):
            database.write(use)
    with database.read() as tx:
        erased_at = tx.scalar(select(objects.c.erased_at).where(objects.c.object_key == key))
    assert erased_at == at


def test_unreferenced_lists_what_is_older_and_unclaimed_oldest_first(
    database: Database, sealed: SealedObjects, at: datetime
) -> None:
    new = stored_with_row(database, sealed, at + HOUR).object_key
    old = stored_with_row(database, sealed, at - HOUR).object_key
    edge = stored_with_row(database, sealed, at).object_key
    claimed = stored_with_row(database, sealed, at - HOUR).object_key
    database.write(lambda tx: registry.claim(tx, claimed, OWNER))
    with database.read() as tx:
        assert registry.unreferenced(tx, at) == [old]
        assert registry.unreferenced(tx, at + 2 * HOUR) == [old, edge, new]
        assert registry.unreferenced(tx, at + 2 * HOUR, limit=1) == [old]


@pytest.mark.sqlite_only
def test_erasure_is_pending_until_the_write_ahead_log_is_empty(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
) -> None:
    stored = stored_with_row(database, sealed, at)
    with database.read() as old_snapshot:
        registry.ref(old_snapshot, stored.object_key)  # takes the snapshot
        database.write(lambda tx: registry.erase(tx, at, vault, stored.object_key))
        result = finish_erasures(database, store, vault, at)
        assert (result.done, result.pending) == ([], [stored.object_key])
        # The reader still sees the key; the bytes are gone already.
        assert registry.ref(old_snapshot, stored.object_key) == stored.ref()
        with pytest.raises(ObjectMissing):
            sealed.rehash(stored.ref())
    with database.read() as tx:
        assert pending(tx) == [stored.object_key]
    result = finish_erasures(database, store, vault, at)
    assert (result.done, result.pending) == ([stored.object_key], [])
    with database.read() as tx:
        assert pending(tx) == []
    assert finish_erasures(database, store, vault, at).done == []


@pytest.mark.sqlite_only
def test_what_was_erased_is_in_no_file_of_ours(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
    tmp_path: Path,
) -> None:
    # Enough rows that pages split, rows move, and old pages stand in the log.
    everything = sealed.put_many((secrets.token_bytes(200) for _ in range(600)), limit=1000)
    for start in range(0, 600, 50):
        database.write(lambda tx, s=start: registry.add_many(tx, at, vault, everything[s : s + 50]))
    for item in everything[::3]:
        database.write(lambda tx, k=item.object_key: registry.claim(tx, k, OWNER))
    bytes_of = {
        item.object_key: (store.root / item.object_key[:2] / item.object_key).read_bytes()
        for item in everything
    }
    gone, kept = everything[1::2], everything[::2]
    for item in gone:
        database.write(lambda tx, k=item.object_key: registry.erase(tx, at, vault, k))
    assert len(finish_erasures(database, store, vault, at).done) == len(gone)

    ours = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for item in gone:
        assert item.wrapped_key.blob not in ours
        assert item.wrapped_key.blob[:20] not in ours
        assert item.wrapped_key.blob[-20:] not in ours
        assert bytes_of[item.object_key][56:100] not in ours
    for item in kept:
        assert item.wrapped_key.blob in ours
        assert sealed.rehash(item.ref()).sha256 == item.sha256


@pytest.mark.sqlite_only
def test_a_wrapped_key_is_in_the_log_before_it_is_emptied(
    vault: FileKeyVault, database: Database, sealed: SealedObjects, at: datetime, tmp_path: Path
) -> None:
    # Shows that the test above looks for something that was there.
    stored = stored_with_row(database, sealed, at)
    database.write(lambda tx: registry.erase(tx, at, vault, stored.object_key))
    log = (tmp_path / "rows.sqlite3-wal").read_bytes()
    assert stored.wrapped_key.blob in log
    assert database.forget_deleted()
    assert (tmp_path / "rows.sqlite3-wal").read_bytes() == b""
    assert stored.wrapped_key.blob not in (tmp_path / "rows.sqlite3").read_bytes()


def test_a_sweep_removes_old_unclaimed_objects_and_strays_only(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
) -> None:
    unused = stored_with_row(database, sealed, at - 2 * HOUR).object_key
    recent = stored_with_row(database, sealed, at).object_key
    claimed = stored_with_row(database, sealed, at - 2 * HOUR).object_key
    database.write(lambda tx: registry.claim(tx, claimed, OWNER))
    stray, young_stray = (sealed.put([b"x"], limit=10).object_key for _ in range(2))
    for key in (unused, claimed, stray):
        age(store, key, at - 2 * HOUR)
    for key in (recent, young_stray):
        age(store, key, at)
    result = sweep(database, store, vault, at, older_than=HOUR, release=nothing_to_release)
    assert result == Swept(unclaimed=1, strays=1, erased=0, pending=0, locked=0)
    assert rows(database) == {recent, claimed}
    assert {key for key, _ in store.keys()} == {recent, claimed, young_stray}  # noqa: SIM118
    again = sweep(database, store, vault, at, older_than=HOUR, release=nothing_to_release)
    assert again == Swept(0, 0, 0, 0, 0)


@pytest.mark.sqlite_only
def test_a_sweep_finishes_erasures(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
) -> None:
    key = stored_with_row(database, sealed, at).object_key
    database.write(lambda tx: registry.claim(tx, key, OWNER))
    database.write(lambda tx: registry.erase(tx, at, vault, key))
    result = sweep(database, store, vault, at, older_than=HOUR, release=nothing_to_release)
    assert result == Swept(0, 0, erased=1, pending=0, locked=0)
    assert list(store.keys()) == []
    assert rows(database) == {key}


def test_a_sweep_lets_the_rooms_above_drop_their_rows_first(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
) -> None:
    with database.writer_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE pointers (object_key VARCHAR(128) REFERENCES objects (object_key))"
        )
    key = stored_with_row(database, sealed, at - 2 * HOUR).object_key

    def point(tx: WriteTx) -> None:
        tx.execute(text("INSERT INTO pointers VALUES (:key)"), {"key": key})

    database.write(point)
    with pytest.raises(IntegrityError):
        sweep(database, store, vault, at, older_than=HOUR, release=nothing_to_release)
    assert rows(database) == {key}
    assert b"".join(store.read(key))

    def release(tx: WriteTx, keys: Sequence[str]) -> None:
        for released in keys:
            tx.execute(text("DELETE FROM pointers WHERE object_key = :key"), {"key": released})

    assert sweep(database, store, vault, at, older_than=HOUR, release=release).unclaimed == 1
    assert rows(database) == set()


def test_an_object_claimed_while_the_sweep_looks_is_kept(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
) -> None:
    key = stored_with_row(database, sealed, at - 2 * HOUR).object_key

    def claim_it(tx: WriteTx, keys: Sequence[str]) -> None:
        if keys == [key]:
            registry.claim(tx, key, OWNER)

    assert sweep(database, store, vault, at, older_than=HOUR, release=claim_it).unclaimed == 0
    assert rows(database) == {key}
    assert b"".join(store.read(key))


def test_a_sweep_of_more_than_one_batch_removes_everything(
    vault: FileKeyVault,
    database: Database,
    sealed: SealedObjects,
    store: FilesystemStore,
    at: datetime,
) -> None:
    batch = sealed.put_many((b"x" for _ in range(1100)), limit=10)
    database.write(lambda tx: registry.add_many(tx, at - 2 * HOUR, vault, batch[:600]))
    for item in batch:
        age(store, item.object_key, at - 2 * HOUR)
    result = sweep(database, store, vault, at, older_than=HOUR, release=nothing_to_release)
    assert result == Swept(unclaimed=600, strays=500, erased=0, pending=0, locked=0)
    assert list(store.keys()) == []
