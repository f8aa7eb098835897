import gc
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SM3, Hash
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import (
    EmptyObject,
    ImmutableConflict,
    KeyMissing,
    ObjectCorrupt,
    ObjectMissing,
    ObjectTooLarge,
)
from storage.keyvault import FileKeyVault, WrappedKey
from storage.objects import FilesystemStore, ObjectRef, SealedObjects
from storage.objects.chunked_encryption import sealed_size
from storage.objects.sealed_writer import INLINE_BYTES

MIB = 1 << 20
LIMIT = 64 * MIB
# Around every border: chunk, inline path, step, whole-message path.
SIZES = [
    1,
    20_480,
    16_384,
    INLINE_BYTES - 1,
    INLINE_BYTES,
    INLINE_BYTES + 1,
    MIB,
    MIB + 1,
    3 * MIB + 16_384,
]


def content(size: int) -> bytes:
    return hashlib.shake_256(b"content").digest(size)


def sm3(data: bytes) -> bytes:
    state = Hash(SM3())
    state.update(data)
    return state.finalize()


def path_of(store: FilesystemStore, ref: ObjectRef) -> Path:
    return store.root / ref.object_key[:2] / ref.object_key


def files(store: FilesystemStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_sm3_is_the_one_of_the_standard() -> None:
    # GB/T 32905-2016, appendix A.1.
    from storage.objects.hashing import sm3_digest

    assert sm3_digest(b"abc").hex() == (
        "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    )


@pytest.mark.parametrize("size", SIZES)
def test_digests_and_sizes_are_those_of_the_content(sealed: SealedObjects, size: int) -> None:
    data = content(size)
    stored = sealed.put([data], limit=LIMIT)
    assert (stored.size, stored.sha256, stored.sm3) == (
        size,
        hashlib.sha256(data).digest(),
        sm3(data),
    )
    assert isinstance(sealed.store, FilesystemStore)
    on_disk = path_of(sealed.store, stored.ref()).read_bytes()
    assert stored.cipher_size == len(on_disk) == sealed_size(size)
    assert stored.cipher_sha256 == hashlib.sha256(on_disk).digest()
    assert b"".join(sealed.read(stored.ref())) == data
    assert sealed.rehash(stored.ref()).sm3 is None
    digests = sealed.rehash(stored.ref(), sm3=True)
    assert (digests.size, digests.sha256, digests.sm3) == (size, stored.sha256, stored.sm3)
    sealed.rehash(stored.ref(), cipher=True)


@pytest.mark.parametrize("block", [997, 65_536, 300_000, MIB, 5 * MIB])
def test_any_size_of_blocks_gives_the_same_content(sealed: SealedObjects, block: int) -> None:
    data = content(2 * MIB + 12_345)
    stored = sealed.put(
        (data[at : at + block] for at in range(0, len(data), block)), limit=len(data)
    )
    assert stored.sha256 == hashlib.sha256(data).digest()
    assert stored.sm3 == sm3(data)
    assert b"".join(sealed.read(stored.ref())) == data


def test_a_buffer_that_the_caller_reuses_is_copied(sealed: SealedObjects) -> None:
    writer = sealed.begin(limit=LIMIT)
    buffer = bytearray(MIB)
    for value in (1, 2, 3):
        buffer[:] = bytes([value]) * MIB
        writer.write(buffer)
    stored = writer.finish()
    assert stored.sm3 == sm3(b"".join(bytes([value]) * MIB for value in (1, 2, 3)))


Ranged = tuple[SealedObjects, dict[int, ObjectRef]]


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Ranged:
    """One object of each size, made once for all examples."""
    folder = tmp_path_factory.mktemp("ranged")
    vault = FileKeyVault.create(folder / "vault.json")
    objects = SealedObjects(FilesystemStore(folder / "objects", create=True), vault)
    sizes = (1, 16_384, 16_385, 50_000, 1_300_000, 2 * MIB)
    return objects, {size: objects.put([content(size)], limit=LIMIT).ref() for size in sizes}


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_range_is_a_slice(ranged: Ranged, data: st.DataObject) -> None:
    objects, known = ranged
    size = data.draw(st.sampled_from(sorted(known)))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size + 10))
    blocks = list(objects.read(known[size], start, stop))
    assert b"".join(blocks) == content(size)[start:stop]
    assert all(len(block) <= MIB + 16_384 for block in blocks)


def test_a_range_outside_the_object_is_an_error(sealed: SealedObjects) -> None:
    ref = sealed.put([b"data"], limit=LIMIT).ref()
    for start, stop in ((5, None), (-1, 2), (3, 2)):
        with pytest.raises(ValueError, match="range"):
            sealed.read(ref, start, stop)


@pytest.mark.parametrize("size", [100, 16_384, INLINE_BYTES + 1])
def test_the_same_content_twice_shares_no_key_no_bytes_no_place(
    sealed: SealedObjects, size: int
) -> None:
    one, two = (sealed.put([content(size)], limit=LIMIT) for _ in range(2))
    assert one.sha256 == two.sha256
    assert one.object_key != two.object_key
    assert one.cipher_sha256 != two.cipher_sha256
    with pytest.raises(ObjectCorrupt):
        sealed.rehash(replace(one.ref(), wrapped_key=two.wrapped_key))


def test_an_empty_object_is_refused_and_leaves_nothing(sealed: SealedObjects) -> None:
    for blocks in ([], [b""], [b"", b""]):
        with pytest.raises(EmptyObject):
            sealed.put(blocks, limit=LIMIT)
    with pytest.raises(EmptyObject):
        sealed.put_many([b""], limit=LIMIT)
    assert isinstance(sealed.store, FilesystemStore)
    assert files(sealed.store) == []


@pytest.mark.parametrize("limit", [10, INLINE_BYTES, 2 * MIB])
def test_the_limit_is_inclusive_and_one_byte_more_leaves_nothing(
    sealed: SealedObjects, limit: int
) -> None:
    assert isinstance(sealed.store, FilesystemStore)
    with pytest.raises(ObjectTooLarge) as caught:
        sealed.put([content(limit), b"x"], limit=limit)
    assert caught.value.details == {"limit": limit}
    assert files(sealed.store) == []
    assert sealed.put([content(limit)], limit=limit).size == limit
    with pytest.raises(ObjectTooLarge):
        sealed.put_many([content(limit + 1)], limit=limit)


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_an_aborted_or_failed_upload_leaves_nothing(sealed: SealedObjects, size: int) -> None:
    assert isinstance(sealed.store, FilesystemStore)

    class Cut(Exception):
        pass

    def cut() -> Iterator[bytes]:
        yield content(size)
        raise Cut

    with pytest.raises(Cut):
        sealed.put(cut(), limit=LIMIT)
    writer = sealed.begin(limit=LIMIT)
    writer.write(content(size))
    writer.abort()
    writer.abort()
    with pytest.raises(ValueError, match="finished or was aborted"):
        writer.write(b"x")
    with pytest.raises(ValueError, match="finished or was aborted"):
        writer.finish()
    assert files(sealed.store) == []


def test_no_thread_outlives_its_upload(sealed: SealedObjects) -> None:
    before = set(threading.enumerate())
    sealed.put([content(2 * MIB)], limit=LIMIT)
    aborted = sealed.begin(limit=LIMIT)
    aborted.write(content(2 * MIB))
    aborted.abort()
    forgotten = sealed.begin(limit=LIMIT)
    forgotten.write(content(2 * MIB))
    del forgotten, aborted
    gc.collect()
    deadline = time.monotonic() + 10
    # Those of tests before this one may end meanwhile; none of ours may be left.
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) - before == set()
    assert isinstance(sealed.store, FilesystemStore)
    assert len(files(sealed.store)) == 1


def test_small_objects_start_no_thread(sealed: SealedObjects) -> None:
    before = set(threading.enumerate())
    writer = sealed.begin(limit=LIMIT)
    writer.write(content(INLINE_BYTES))
    assert set(threading.enumerate()) - before == set()
    writer.finish()


@pytest.mark.parametrize("size", [300, 16_384, MIB + 300])
def test_every_flipped_byte_of_the_stored_file_is_found(sealed: SealedObjects, size: int) -> None:
    assert isinstance(sealed.store, FilesystemStore)
    ref = sealed.put([content(size)], limit=LIMIT).ref()
    path = path_of(sealed.store, ref)
    whole = path.read_bytes()
    step = 1 if size < 1000 else 1009 if size < MIB else 200_003
    for at in sorted({*range(0, len(whole), step), 55, 56, len(whole) - 17, len(whole) - 1}):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([whole[at] ^ 0x80]))
        for read in (
            lambda: sealed.rehash(ref),
            lambda: sealed.rehash(ref, cipher=True),
            lambda: b"".join(sealed.read(ref)),
        ):
            with pytest.raises(ObjectCorrupt):
                read()
        with path.open("r+b") as file:
            file.seek(at)
            file.write(whole[at : at + 1])
    assert sealed.rehash(ref).sha256 == hashlib.sha256(content(size)).digest()


@pytest.mark.parametrize("size", [300, 16_384, 2 * MIB])
def test_a_shorter_or_longer_file_is_found(sealed: SealedObjects, size: int) -> None:
    assert isinstance(sealed.store, FilesystemStore)
    ref = sealed.put([content(size)], limit=LIMIT).ref()
    path = path_of(sealed.store, ref)
    whole = path.read_bytes()
    for other in (whole[:-1], whole[:56], whole[:10], b"", whole + b"x", whole + bytes(16_400)):
        path.write_bytes(other)
        for read in (
            lambda: sealed.rehash(ref),
            lambda: sealed.rehash(ref, cipher=True),
            lambda: b"".join(sealed.read(ref)),
            lambda: b"".join(sealed.read(ref, 0, 1)),
        ):
            with pytest.raises(ObjectCorrupt):
                read()


def test_a_range_is_refused_only_if_its_own_chunks_are_damaged(sealed: SealedObjects) -> None:
    assert isinstance(sealed.store, FilesystemStore)
    ref = sealed.put([content(100_000)], limit=LIMIT).ref()
    path = path_of(sealed.store, ref)
    flipped = bytearray(path.read_bytes())
    flipped[56 + 16_400 + 5] ^= 1  # in the second chunk
    path.write_bytes(flipped)
    assert b"".join(sealed.read(ref, 0, 16_384)) == content(16_384)
    with pytest.raises(ObjectCorrupt):
        b"".join(sealed.read(ref, 0, 16_385))


def test_a_row_that_does_not_fit_the_object_is_refused(sealed: SealedObjects) -> None:
    ref = sealed.put([content(5000)], limit=LIMIT).ref()
    wrapped = ref.wrapped_key
    for wrong in (
        replace(ref, size=4999),
        replace(ref, cipher_size=ref.cipher_size - 1),
        replace(ref, wrapped_key=WrappedKey(wrapped.epoch, bytes(60))),
    ):
        with pytest.raises(ObjectCorrupt):
            sealed.rehash(wrong)
        with pytest.raises(ObjectCorrupt):
            sealed.read(wrong)
    with pytest.raises(ObjectCorrupt):
        sealed.rehash(replace(ref, cipher_sha256=bytes(32)), cipher=True)
    with pytest.raises(KeyMissing):
        sealed.rehash(replace(ref, wrapped_key=WrappedKey(9, wrapped.blob)))
    with pytest.raises(ObjectMissing):
        sealed.rehash(replace(ref, object_key="0" * 32))
    with pytest.raises(ObjectMissing):
        sealed.read(replace(ref, object_key="0" * 32))


def test_another_vault_opens_nothing(sealed: SealedObjects, tmp_path: Path) -> None:
    ref = sealed.put([b"data"], limit=LIMIT).ref()
    stranger = SealedObjects(sealed.store, FileKeyVault.create(tmp_path / "other.json"))
    with pytest.raises(ObjectCorrupt):
        stranger.rehash(ref)


@pytest.mark.parametrize("size", [400, 400_000])
def test_no_plaintext_reaches_the_disk(sealed: SealedObjects, size: int) -> None:
    assert isinstance(sealed.store, FilesystemStore)
    phrase = "上海云间禾味餐饮管理有限公司".encode()
    sealed.put([(phrase * (size // len(phrase) + 1))[:size]], limit=LIMIT)
    [file] = files(sealed.store)
    assert phrase[:9] not in file.read_bytes()


def test_a_batch_keeps_the_order_of_its_contents(sealed: SealedObjects) -> None:
    contents = [content(1 + 150 * n) for n in range(200)]
    stored = sealed.put_many(iter(contents), limit=LIMIT)
    assert [item.sha256 for item in stored] == [hashlib.sha256(c).digest() for c in contents]
    assert [item.sm3 for item in stored] == [sm3(c) for c in contents]
    assert [b"".join(sealed.read(item.ref())) for item in stored] == contents


def test_writers_in_many_threads_do_not_mix(sealed: SealedObjects) -> None:
    results: dict[int, bytes] = {}

    def upload(number: int) -> None:
        data = content(MIB + number) + bytes([number])
        stored = sealed.put(
            (data[at : at + 70_000] for at in range(0, len(data), 70_000)), limit=LIMIT
        )
        assert stored.sha256 == hashlib.sha256(data).digest()
        results[number] = b"".join(sealed.read(stored.ref()))[-1:]

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {number: bytes([number]) for number in range(6)}


def test_memory_stays_bounded_while_a_large_object_streams_through(sealed: SealedObjects) -> None:
    import tracemalloc

    block = content(MIB)
    tracemalloc.start()
    try:
        stored = sealed.put((block for _ in range(48)), limit=LIMIT)
        for _ in sealed.read(stored.ref()):
            pass
        sealed.rehash(stored.ref())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stored.size == 48 * MIB
    assert peak < 16 * MIB


def test_a_conflict_of_the_store_comes_through(sealed: SealedObjects) -> None:
    # Server-made keys do not collide; if one did, nothing is overwritten.
    stored = sealed.put([b"first"], limit=LIMIT)
    writer = sealed.store.create(stored.object_key)
    writer.write(b"second")
    with pytest.raises(ImmutableConflict):
        writer.commit()
    assert b"".join(sealed.read(stored.ref())) == b"first"
