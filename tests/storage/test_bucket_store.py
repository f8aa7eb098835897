"""What is particular to the store in a bucket: names, versions, parts, memory, checksums."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.database import Database
from storage.errors import ImmutableConflict, ObjectMissing, ObjectRetained, StorageFailed
from storage.objects import SealedObjects, registry
from storage.objects.bucket_store import PART_BYTES, BucketStore, object_name
from storage.objects.erasure import finish_erasures
from storage.objects.port import new_object_key
from storage.objects.sweep import Swept, sweep
from storage.s3 import Bucket
from tests.servers.fault_proxy import PASSING, Fault, FaultProxy
from tests.servers.minio import ROOT, MinioServer, find_minio

KEY = "0123456789abcdef" * 2
NAME = f"objects/01/{KEY}"


@pytest.fixture
def bucket(minio: MinioServer) -> Iterator[Bucket]:
    made = minio.bucket()
    yield made
    made.close()


@pytest.fixture
def bucket_store(bucket: Bucket) -> BucketStore:
    return BucketStore(bucket)


@pytest.fixture
def proxied(minio: MinioServer, bucket: Bucket, fault_proxy: FaultProxy) -> Iterator[BucketStore]:
    """The same bucket by way of `fault_proxy`."""
    through = Bucket(minio.settings(bucket.name, endpoint=fault_proxy.endpoint))
    yield BucketStore(through)
    through.close()


def put(store: BucketStore, key: str, data: bytes) -> None:
    writer = store.create(key)
    writer.write(data)
    writer.commit()


def get(store: BucketStore, key: str) -> bytes:
    return b"".join(store.read(key))


def test_ci_has_a_real_server_that_enforces_locks() -> None:
    found = find_minio()
    assert found or os.environ.get("CI") != "true", "CI=true, and `make servers` built no server"


def test_strangers_are_named_and_are_no_objects(bucket: Bucket, bucket_store: BucketStore) -> None:
    put(bucket_store, KEY, b"data")
    bucket.put_new("objects/01/notes.txt", b"left by a person")
    bucket.put_new(f"objects/02/{KEY}", b"under the name of other keys")
    bucket.put_new("log/2026/checkpoint", b"no business of this store")
    assert [key for key, _ in bucket_store.keys()] == [KEY]  # noqa: SIM118
    assert sorted(bucket_store.strangers()) == ["01/notes.txt", f"02/{KEY}"]


def test_a_version_put_on_top_is_named_and_the_first_one_is_still_there(
    bucket: Bucket, bucket_store: BucketStore
) -> None:
    put(bucket_store, KEY, b"data")
    first = bucket.stat(NAME).version
    bucket.overwrite(NAME, b"forged")
    [stranger] = bucket_store.strangers()
    assert stranger == f"01/{KEY} (version {first})"
    assert bucket.oldest_version(NAME) == first
    assert bucket.get(NAME, first).data == b"data"


def test_an_object_hidden_by_a_delete_marker_is_named_and_deletable(
    bucket: Bucket, bucket_store: BucketStore
) -> None:
    put(bucket_store, KEY, b"data")
    bucket.remove_version(NAME, None)  # as a plain S3 client deletes
    with pytest.raises(ObjectMissing):
        bucket_store.read(KEY)
    assert [name for name in bucket_store.strangers() if "deleted" in name] != []
    bucket_store.delete(KEY)
    assert list(bucket.versions("objects/")) == []


def test_more_objects_than_a_page_of_a_listing(bucket: Bucket, bucket_store: BucketStore) -> None:
    items = {secrets.token_hex(16): b"x" for _ in range(1100)}
    bucket_store.put_many(items.items())
    assert {key for key, _ in bucket_store.keys()} == set(items)  # noqa: SIM118
    assert len(list(bucket.versions("objects/"))) == 1100


class LetsBothIn(Bucket):
    """A server that does not hold the condition (Ceph), in the moment of a race: a rival
    was there first, and the later one is stored on top all the same."""

    def _was_first(self, name: str, version: str | None) -> bool:
        content = b"".join(self.read_first(name, 0, None))
        self.remove_version(name, version)
        self.overwrite(name, self.rival)
        self.overwrite(name, content)
        return super()._was_first(name, self.stat(name).version)

    rival = b""


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("size", [3, PART_BYTES + 1])
def test_of_two_versions_the_first_counts_where_a_server_lets_both_in(
    bucket: Bucket, bucket_store: BucketStore, same: bool, size: int
) -> None:
    content = bytes(size)
    lenient = LetsBothIn(replace(bucket._settings, conditional_put=False))
    lenient.rival = content if same else b"rival"
    if same:
        put(BucketStore(lenient), KEY, content)
    else:
        with pytest.raises(ImmutableConflict):
            put(BucketStore(lenient), KEY, content)
    lenient.close()
    assert get(bucket_store, KEY) == lenient.rival
    assert list(bucket_store.strangers()) == []


def test_a_bit_that_flips_on_the_way_is_refused_by_the_server_and_sent_again(
    proxied: BucketStore, bucket_store: BucketStore, fault_proxy: FaultProxy
) -> None:
    fault_proxy.once(Fault.FLIPPED, "PUT")
    put(proxied, KEY, b"data" * 1000)
    assert fault_proxy.seen[Fault.FLIPPED] == 1
    assert get(bucket_store, KEY) == b"data" * 1000
    fault_proxy.once(Fault.FLIPPED, "PUT", "partNumber=2")
    key = new_object_key()
    put(proxied, key, bytes(2 * PART_BYTES + 7))
    assert fault_proxy.seen[Fault.FLIPPED] == 2
    assert get(bucket_store, key) == bytes(2 * PART_BYTES + 7)


def test_bytes_that_never_arrive_whole_are_never_stored(
    proxied: BucketStore, bucket_store: BucketStore, fault_proxy: FaultProxy
) -> None:
    fault_proxy.plan = lambda method, _path: Fault.FLIPPED if method == "PUT" else None
    with pytest.raises(StorageFailed):
        put(proxied, KEY, b"data")
    with pytest.raises(ObjectMissing):
        bucket_store.read(KEY)


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("step", ["POST uploads", "PUT partNumber=1", "POST uploadId"])
def test_each_step_of_a_large_object_may_fail_once(
    proxied: BucketStore,
    bucket_store: BucketStore,
    fault_proxy: FaultProxy,
    fault: Fault,
    step: str,
) -> None:
    content = secrets.token_bytes(1 << 20) * 8 + b"the end"
    fault_proxy.once(fault, *step.split())
    put(proxied, KEY, content)
    assert get(bucket_store, KEY) == content
    assert list(bucket_store.strangers()) == []


def test_a_large_object_that_is_aborted_leaves_nothing(
    bucket: Bucket, bucket_store: BucketStore
) -> None:
    writer = bucket_store.create(KEY)
    writer.write(bytes(3 * PART_BYTES))
    writer.abort()
    assert list(bucket.versions("")) == []


def test_a_connection_that_breaks_while_reading_is_taken_up_where_it_broke(
    proxied: BucketStore, bucket_store: BucketStore, fault_proxy: FaultProxy
) -> None:
    content = secrets.token_bytes(3_000_000)
    put(bucket_store, KEY, content)
    for start, stop in ((0, None), (1_234_567, None), (100, 2_900_000)):
        fault_proxy.once(Fault.CUT, "GET")
        assert b"".join(proxied.read(KEY, start, stop)) == content[start:stop]
    assert fault_proxy.seen[Fault.CUT] == 3


def test_a_connection_that_breaks_always_ends_in_a_named_error(
    proxied: BucketStore, bucket_store: BucketStore, fault_proxy: FaultProxy
) -> None:
    put(bucket_store, KEY, b"x")
    fault_proxy.plan = lambda method, _path: Fault.CUT if method == "GET" else None
    with pytest.raises(StorageFailed) as caught:
        b"".join(proxied.read(KEY))
    assert caught.value.code == "s3_unreachable"


LARGE = """
import resource, sys
from storage.objects.bucket_store import BucketStore
from storage.s3 import Bucket, S3Settings

endpoint, name, user, password = sys.argv[1:]
store = BucketStore(Bucket(S3Settings(endpoint, name, user, password, secure=False)))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
writer = store.create("1" * 32)
block = bytes(1 << 20)
for number in range(200):
    writer.write(block)
    before = peak() if number == 7 else before if number > 7 else 0
writer.commit()
print(peak() - before, sum(map(len, store.read("1" * 32))))
"""


def test_a_large_object_takes_bounded_memory(minio: MinioServer, bucket: Bucket) -> None:
    settings = bucket._settings
    done = subprocess.run(
        [
            sys.executable, "-c", LARGE,
            minio.endpoint, bucket.name, settings.access_key, settings.secret_key,
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    grown, size = map(int, done.stdout.split())
    assert size == 200 << 20
    assert grown < 64  # MiB


def test_erasing_under_a_lock_destroys_the_key_and_leaves_ciphertext_until_it_ends(
    database: Database, bucket_store: BucketStore, vault: object, at: datetime
) -> None:
    sealed = SealedObjects(bucket_store, vault)  # type: ignore[arg-type]
    stored = sealed.put([b"content"], limit=1 << 20)
    key = stored.object_key
    database.write(lambda tx: registry.add(tx, at, vault, stored))
    database.write(lambda tx: registry.claim(tx, key, "mat_" + "0" * 26))
    now = datetime.now(UTC)
    bucket_store.retain(key, now + timedelta(seconds=2))
    database.write(lambda tx: registry.erase(tx, at, vault, key))
    result = finish_erasures(database, bucket_store, vault, at)
    assert (result.done, result.pending, result.locked) == ([key], [], [key])
    assert b"content" not in get(bucket_store, key)

    def swept() -> Swept:
        later = now + timedelta(days=2)
        return sweep(
            database,
            bucket_store,
            vault,
            later,
            older_than=timedelta(days=1),
            release=lambda *_: None,
        )

    assert swept() == Swept(unclaimed=0, strays=0, erased=0, pending=0, locked=1)
    wait = threading.Event()
    until = bucket_store.retained_until(key)
    assert until is not None
    wait.wait((until - datetime.now(UTC)).total_seconds() + 0.1)
    assert swept() == Swept(unclaimed=0, strays=1, erased=0, pending=0, locked=0)
    with pytest.raises(ObjectMissing):
        bucket_store.read(key)
    assert swept() == Swept(0, 0, 0, 0, 0)


def test_what_was_put_on_top_is_not_what_is_locked(
    bucket: Bucket, bucket_store: BucketStore
) -> None:
    key = new_object_key()
    name = object_name(key)
    put(bucket_store, key, b"ours")
    bucket.overwrite(name, b"theirs")
    until = datetime.now(UTC) + timedelta(hours=1)
    bucket_store.retain(key, until)
    assert bucket_store.retains(key, until)
    with pytest.raises(ObjectRetained):
        bucket_store.delete(key)
    assert get(bucket_store, key) == b"ours"
    assert list(bucket_store.strangers()) == []


def test_unclaimed_objects_under_a_lock_wait_as_well(
    database: Database, bucket_store: BucketStore, vault: object, at: datetime
) -> None:
    sealed = SealedObjects(bucket_store, vault)  # type: ignore[arg-type]
    stored = sealed.put([b"content"], limit=1 << 20)
    database.write(lambda tx: registry.add(tx, at, vault, stored))
    bucket_store.retain(stored.object_key, datetime.now(UTC) + timedelta(hours=1))
    later = datetime.now(UTC) + timedelta(days=2)
    result = sweep(
        database, bucket_store, vault, later, older_than=timedelta(days=1), release=lambda *_: None
    )
    assert (result.unclaimed, result.strays, result.locked) == (1, 0, 1)
    with pytest.raises(ObjectRetained):
        bucket_store.delete(stored.object_key)
