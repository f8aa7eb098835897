"""Locks follow what rows say, whatever happens between the two."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import literal, select

from storage.database import Database
from storage.errors import ObjectMissing, ObjectRetained, StoreAway
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects, registry
from storage.objects.bucket_store import BucketStore
from storage.objects.locking import Locked, apply_locks
from storage.s3 import Bucket
from storage.tables import objects
from tests.servers.fault_proxy import Fault, FaultProxy
from tests.servers.minio import MinioServer

NOW = datetime.now(UTC).replace(microsecond=123000)
LATER = NOW + timedelta(days=400, seconds=1, microseconds=5000)
NOTHING = Locked(0, [])
OWNER = "mat_" + "0" * 26


@pytest.fixture
def bucket(minio: MinioServer) -> Iterator[Bucket]:
    made = minio.bucket()
    yield made
    made.close()


@pytest.fixture
def bucket_store(bucket: Bucket) -> BucketStore:
    return BucketStore(bucket)


def stored(
    database: Database, store: BucketStore | FilesystemStore, vault: FileKeyVault, count: int = 1
) -> list[str]:
    """Keys of objects that a material has claimed, in the order of `apply_locks`."""
    made = SealedObjects(store, vault).put_many([b"content"] * count, limit=100)
    database.write(lambda tx: registry.add_many(tx, NOW, vault, made))
    keys = sorted(one.object_key for one in made)
    for key in keys:
        database.write(lambda tx, key=key: registry.claim(tx, key, OWNER))  # type: ignore[misc]
    return keys


def keep(database: Database, key: str, until: datetime) -> None:
    database.write(lambda tx: registry.keep(tx, select(literal(key)), until))


def row(database: Database, key: str) -> tuple[datetime | None, datetime | None]:
    with database.read() as tx:
        found = tx.one(select(objects).where(objects.c.object_key == key))
    assert found is not None
    return found["retain_until"], found["locked_until"]


def test_what_must_be_kept_is_locked_once_and_for_longer_when_it_must(
    database: Database, bucket_store: BucketStore, vault: FileKeyVault
) -> None:
    (key,) = stored(database, bucket_store, vault)
    assert apply_locks(database, bucket_store, NOW) == NOTHING  # nothing is known yet
    keep(database, key, LATER)
    assert row(database, key) == (LATER, None)
    assert apply_locks(database, bucket_store, NOW) == Locked(1, [])
    assert row(database, key) == (LATER, LATER)
    assert bucket_store.retains(key, LATER)
    assert not bucket_store.retains(key, LATER + timedelta(seconds=1))
    with pytest.raises(ObjectRetained):
        bucket_store.delete(key)
    assert apply_locks(database, bucket_store, NOW) == NOTHING
    keep(database, key, LATER - timedelta(days=1))
    assert row(database, key) == (LATER, LATER)
    keep(database, key, LATER + timedelta(days=1))
    assert apply_locks(database, bucket_store, NOW) == Locked(1, [])
    assert bucket_store.retains(key, LATER + timedelta(days=1))


def test_for_ever_is_as_long_as_servers_can_say(
    database: Database, bucket_store: BucketStore, vault: FileKeyVault
) -> None:
    (key,) = stored(database, bucket_store, vault)
    forever = datetime(9000, 12, 31, tzinfo=UTC)
    keep(database, key, forever)
    assert apply_locks(database, bucket_store, NOW) == Locked(1, [])
    assert bucket_store.retains(key, forever)
    assert apply_locks(database, bucket_store, NOW) == NOTHING


def test_a_lock_that_was_set_and_not_noted_is_noted_later(
    database: Database, bucket_store: BucketStore, vault: FileKeyVault
) -> None:
    """As after a crash between the two."""
    (key,) = stored(database, bucket_store, vault)
    keep(database, key, LATER)
    bucket_store.retain(key, LATER)
    assert apply_locks(database, bucket_store, NOW) == Locked(1, [])
    assert row(database, key) == (LATER, LATER)


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.LOST])
def test_a_server_that_goes_away_ends_it_and_what_was_done_is_noted(
    database: Database,
    bucket: Bucket,
    bucket_store: BucketStore,
    vault: FileKeyVault,
    minio: MinioServer,
    fault_proxy: FaultProxy,
    fault: Fault,
) -> None:
    keys = stored(database, bucket_store, vault, 5)
    for key in keys:
        keep(database, key, LATER)
    fault_proxy.plan = lambda method, path: fault if method == "PUT" and keys[2] in path else None
    through = Bucket(minio.settings(bucket.name, endpoint=fault_proxy.endpoint, tries=2))
    with pytest.raises(StoreAway):
        apply_locks(database, BucketStore(through), NOW)
    through.close()
    assert [row(database, key)[1] for key in keys] == [LATER, LATER, None, LATER, LATER]
    assert apply_locks(database, bucket_store, NOW) == Locked(1, [])
    assert all(bucket_store.retains(key, LATER) for key in keys)


def test_what_is_not_there_is_told_and_holds_up_nothing(
    database: Database, bucket_store: BucketStore, vault: FileKeyVault
) -> None:
    keys = stored(database, bucket_store, vault, 3)
    for key in keys:
        keep(database, key, LATER)
    bucket_store.delete(keys[0])
    assert apply_locks(database, bucket_store, NOW) == Locked(2, [keys[0]])
    assert apply_locks(database, bucket_store, NOW) == Locked(0, [keys[0]])
    with pytest.raises(ObjectMissing):
        bucket_store.retains(keys[0], LATER)


def test_what_was_erased_or_need_not_be_kept_any_more_is_not_locked(
    database: Database, bucket_store: BucketStore, vault: FileKeyVault
) -> None:
    erased, over = stored(database, bucket_store, vault, 2)
    keep(database, erased, LATER)
    keep(database, over, NOW)
    database.write(lambda tx: registry.erase(tx, NOW, vault, erased))
    assert apply_locks(database, bucket_store, NOW) == NOTHING
    for key in (erased, over):
        bucket_store.delete(key)


def test_a_folder_locks_nothing_and_does_not_say_that_it_did(
    database: Database, store: FilesystemStore, vault: FileKeyVault
) -> None:
    (key,) = stored(database, store, vault)
    keep(database, key, LATER)
    assert apply_locks(database, store, NOW) == NOTHING
    assert row(database, key) == (LATER, None)
    assert not store.retains(key, NOW)
