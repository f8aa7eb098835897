"""The contract of the `ObjectStore` port. A new implementation joins in conftest.STORES."""

import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import ImmutableConflict, ObjectKeyInvalid, ObjectMissing, ObjectRetained
from storage.objects import ObjectStore
from storage.objects.bucket_store import PART_BYTES
from storage.objects.port import BLOCK_BYTES, new_object_key

DATA = bytes(range(256)) * 100


def put(store: ObjectStore, data: bytes, key: str | None = None) -> str:
    key = key or new_object_key()
    writer = store.create(key)
    writer.write(data)
    writer.commit()
    return key


def get(store: ObjectStore, key: str, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(store.read(key, start, stop))


def keys(store: ObjectStore) -> set[str]:
    return {key for key, _ in store.keys()}  # noqa: SIM118 - no mapping


def test_what_was_put_is_read_back(any_store: ObjectStore) -> None:
    key = put(any_store, DATA)
    assert get(any_store, key) == DATA
    assert any_store.size(key) == len(DATA)


def test_any_split_of_writes_is_one_object(any_store: ObjectStore) -> None:
    key = new_object_key()
    writer = any_store.create(key)
    for block in (b"", b"a", bytearray(b"bc"), b"d" * 3_000_000):
        writer.write(block)
    writer.commit()
    assert get(any_store, key) == b"abc" + b"d" * 3_000_000


def test_an_empty_object_is_an_object(any_store: ObjectStore) -> None:
    key = put(any_store, b"")
    assert any_store.size(key) == 0
    assert get(any_store, key) == b""


def test_nothing_is_visible_before_commit_or_after_abort(any_store: ObjectStore) -> None:
    key = new_object_key()
    writer = any_store.create(key)
    writer.write(DATA)
    assert keys(any_store) == set()
    with pytest.raises(ObjectMissing):
        any_store.read(key)
    writer.abort()
    writer.abort()
    assert keys(any_store) == set()
    put(any_store, b"other", key)
    assert get(any_store, key) == b"other"


def test_a_writer_that_ended_takes_nothing_more(any_store: ObjectStore) -> None:
    for end in ("commit", "abort"):
        writer = any_store.create(new_object_key())
        getattr(writer, end)()
        with pytest.raises(ValueError, match="committed or was aborted"):
            writer.write(b"more")
        with pytest.raises(ValueError, match="committed or was aborted"):
            writer.commit()


def test_abort_after_commit_keeps_the_object(any_store: ObjectStore) -> None:
    key = new_object_key()
    writer = any_store.create(key)
    writer.write(DATA)
    writer.commit()
    writer.abort()
    assert get(any_store, key) == DATA


def test_the_same_bytes_again_succeed(any_store: ObjectStore) -> None:
    key = put(any_store, DATA)
    put(any_store, DATA, key)
    assert get(any_store, key) == DATA


@pytest.mark.parametrize("other", [b"", DATA[:-1], DATA + b"x", b"x" + DATA[1:], DATA[:-1] + b"x"])
def test_other_bytes_are_a_conflict_and_change_nothing(
    any_store: ObjectStore, other: bytes
) -> None:
    key = put(any_store, DATA)
    with pytest.raises(ImmutableConflict):
        put(any_store, other, key)
    assert get(any_store, key) == DATA
    assert keys(any_store) == {key}


def test_a_difference_far_inside_a_large_object_is_a_conflict(any_store: ObjectStore) -> None:
    large = bytes(3 * BLOCK_BYTES)
    key = put(any_store, large)
    with pytest.raises(ImmutableConflict):
        put(any_store, large[:-1] + b"x", key)
    put(any_store, large, key)


@pytest.mark.parametrize("same", [True, False])
def test_of_racing_writers_one_stores_and_the_others_compare(
    any_store: ObjectStore, same: bool
) -> None:
    for _ in range(10):
        key = new_object_key()
        barrier = threading.Barrier(4)

        def race(number: int, key: str = key, barrier: threading.Barrier = barrier) -> bool:
            writer = any_store.create(key)
            writer.write(b"same" if same else b"from %d" % number)
            barrier.wait(10)
            try:
                writer.commit()
            except ImmutableConflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(race, range(4), timeout=30))
        winners = [number for number in range(4) if won[number]]
        if same:
            assert len(winners) == 4
            assert get(any_store, key) == b"same"
        else:
            assert len(winners) == 1
            assert get(any_store, key) == b"from %d" % winners[0]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.integers(0, 26_000), length=st.integers(0, 30_000))
def test_ranges_are_slices(any_store: ObjectStore, start: int, length: int) -> None:
    key = "0" * 32
    put(any_store, DATA, key)
    assert get(any_store, key, start, start + length) == DATA[start : start + length]
    assert get(any_store, key, start) == DATA[start:]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (5, 4), (-3, -1)])
def test_ranges_that_run_backwards_are_an_error(
    any_store: ObjectStore, start: int, stop: int | None
) -> None:
    key = put(any_store, DATA)
    with pytest.raises(ValueError, match="range"):
        any_store.read(key, start, stop)


def test_blocks_are_bounded(any_store: ObjectStore) -> None:
    key = put(any_store, bytes(3 * BLOCK_BYTES + 5))
    assert all(0 < len(block) <= BLOCK_BYTES for block in any_store.read(key))


def test_the_unknown_is_missing_at_the_call_itself(any_store: ObjectStore) -> None:
    with pytest.raises(ObjectMissing):
        any_store.read(new_object_key())
    with pytest.raises(ObjectMissing):
        any_store.size(new_object_key())


def test_delete_removes_and_is_no_error_twice(any_store: ObjectStore) -> None:
    key, other = put(any_store, DATA), put(any_store, b"other")
    any_store.delete(key)
    any_store.delete(key)
    with pytest.raises(ObjectMissing):
        any_store.read(key)
    assert keys(any_store) == {other}


def test_a_deleted_object_that_is_being_read_stays_readable(any_store: ObjectStore) -> None:
    key = put(any_store, bytes(5 * BLOCK_BYTES))
    reading = any_store.read(key)
    got = len(next(reading))
    any_store.delete(key)
    assert got + sum(map(len, reading)) == 5 * BLOCK_BYTES


def test_keys_come_with_the_time_they_were_stored(any_store: ObjectStore) -> None:
    key = put(any_store, DATA)
    [(found, stored)] = any_store.keys()
    assert found == key
    assert stored.tzinfo is UTC
    assert abs(stored - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "..",
        "../" + "0" * 29,
        "/etc/passwd",
        "0" * 31,
        "0" * 33,
        "0" * 31 + "\n",
        "0" * 32 + "\n",
        "0" * 31 + "/",
        "0" * 31 + "\0",
        "A" * 32,
        "g" * 32,
        "０" * 32,
        "." * 32,
    ],
)
def test_keys_of_another_form_are_refused_everywhere(any_store: ObjectStore, key: str) -> None:
    for use in (any_store.create, any_store.read, any_store.size, any_store.delete):
        with pytest.raises(ObjectKeyInvalid):
            use(key)
    with pytest.raises(ObjectKeyInvalid):
        any_store.put_many([(key, b"data")])


def test_a_batch_stores_all_of_its_objects(any_store: ObjectStore) -> None:
    items = {new_object_key(): secrets.token_bytes(1 + 100 * n) for n in range(150)}
    any_store.put_many(iter(items.items()))
    assert {key: get(any_store, key) for key in keys(any_store)} == items
    any_store.put_many(items.items())


def test_a_conflict_in_a_batch_is_raised_and_changes_nothing(any_store: ObjectStore) -> None:
    key = put(any_store, DATA)
    with pytest.raises(ImmutableConflict):
        any_store.put_many([(new_object_key(), b"a"), (key, b"b"), (new_object_key(), b"c")])
    assert get(any_store, key) == DATA


def test_an_error_of_the_source_of_a_batch_comes_through(any_store: ObjectStore) -> None:
    class Broken(Exception):
        pass

    def source() -> "object":
        yield new_object_key(), b"a"
        raise Broken

    with pytest.raises(Broken):
        any_store.put_many(source())  # type: ignore[arg-type]


def test_a_large_object_passes_like_a_small_one(any_store: ObjectStore) -> None:
    # More than one part of a bucket's multipart upload, ending within and at a part.
    for size in (2 * PART_BYTES, 2 * PART_BYTES + 5):
        large = secrets.token_bytes(1 << 20) * (size >> 20) + b"x" * (size % (1 << 20))
        key = put(any_store, large)
        put(any_store, large, key)
        assert any_store.size(key) == size
        assert get(any_store, key, PART_BYTES - 3, PART_BYTES + 3) == large[PART_BYTES - 3 :][:6]
        with pytest.raises(ImmutableConflict):
            put(any_store, large[:-1] + b"y", key)
        with pytest.raises(ImmutableConflict):
            put(any_store, b"small", key)
        assert get(any_store, key) == large
        assert sorted(any_store.strangers()) == []


@pytest.mark.parametrize("same", [True, False])
def test_of_two_racing_writers_of_a_large_object_one_stores(
    any_store: ObjectStore, same: bool
) -> None:
    contents = [bytes([0 if same else number]) * (PART_BYTES + 9) for number in range(2)]
    key = new_object_key()
    barrier = threading.Barrier(2)
    won: list[int] = []

    def race(number: int) -> None:
        writer = any_store.create(key)
        writer.write(contents[number])
        barrier.wait(20)
        try:
            writer.commit()
            won.append(number)
        except ImmutableConflict:
            pass

    threads = [threading.Thread(target=race, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == (2 if same else 1)
    assert get(any_store, key) == contents[won[0]]
    assert list(any_store.strangers()) == []


def test_retention_is_extended_and_never_shortened(any_store: ObjectStore) -> None:
    key = put(any_store, DATA)
    assert any_store.retained_until(key) is None
    now = datetime.now(UTC)
    for days in (10, 3000, 20):
        any_store.retain(key, now + timedelta(days=days))
        any_store.retain(key, now + timedelta(days=days))
    until = any_store.retained_until(key)
    assert (until is not None) == any_store.locks == any_store.retains(key, now)
    assert any_store.retains(key, now + timedelta(days=3000)) == any_store.locks
    assert not any_store.retains(key, now + timedelta(days=3001))
    if until is not None:  # a folder keeps none
        assert timedelta(0) <= until - now - timedelta(days=3000) <= timedelta(seconds=1)
    for use in (any_store.retained_until, lambda key: any_store.retain(key, now)):
        with pytest.raises(ObjectMissing):
            use(new_object_key())


def test_a_permanent_retention_is_held_as_far_as_dates_go(any_store: ObjectStore) -> None:
    key = put(any_store, DATA)
    any_store.retain(key, datetime(9000, 12, 31, tzinfo=UTC))
    any_store.retain(key, datetime(9000, 12, 31, tzinfo=UTC))
    until = any_store.retained_until(key)
    assert until is None or until.year == 2105
    assert any_store.retains(key, datetime(9000, 12, 31, tzinfo=UTC)) == any_store.locks


def test_what_is_retained_is_not_deleted_and_says_until_when(any_store: ObjectStore) -> None:
    key, other = put(any_store, DATA), put(any_store, b"other")
    any_store.retain(key, datetime.now(UTC) + timedelta(seconds=2))
    until = any_store.retained_until(key)
    if until is not None:
        with pytest.raises(ObjectRetained) as caught:
            any_store.delete(key)
        assert caught.value.details["until"] == until.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert get(any_store, key) == DATA
        assert keys(any_store) == {key, other}
        assert list(any_store.strangers()) == []
        put(any_store, DATA, key)
        time.sleep((until - datetime.now(UTC)).total_seconds() + 0.1)
    any_store.delete(key)
    any_store.delete(other)
    assert keys(any_store) == set()
