import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ObjectCorrupt
from storage.objects.chunked_encryption import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkDecryptor,
    Encryptor,
    open_whole,
    opened_size,
    sealed_size,
)


def _load_reference() -> ModuleType:
    path = Path(__file__).parent / "c2sp_reference.py"
    spec = importlib.util.spec_from_file_location("c2sp_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = _load_reference()
GOLDEN = json.loads(reference.VECTORS.read_text())["vectors"]
KEY, SALT, CONTEXT = bytes(range(32)), bytes(range(24)), b"0123456789abcdef"


def seal(message: bytes) -> bytes:
    encryptor = Encryptor(KEY, CONTEXT)
    return encryptor.update(message) + encryptor.finalize()


def open_by_chunks(key: bytes, context: bytes, sealed: bytes) -> bytes:
    decryptor = ChunkDecryptor(key, context, sealed[:HEADER_BYTES])
    body = sealed[HEADER_BYTES:]
    return b"".join(
        decryptor.open_chunk(at // SEALED_CHUNK_BYTES, body[at : at + SEALED_CHUNK_BYTES])
        for at in range(0, len(body), SEALED_CHUNK_BYTES)
    )


def test_the_generator_still_yields_the_golden_vectors() -> None:
    assert reference.text() + "\n" == reference.VECTORS.read_text()


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda v: f"{v['size']}-{bool(v['context'])}")
def test_golden_vectors_open(vector: dict[str, str | int]) -> None:
    key, salt = bytes.fromhex(str(vector["input_key"])), bytes.fromhex(str(vector["salt"]))
    context, size = str(vector["context"]).encode(), int(vector["size"])
    sealed = reference.encrypt(key, salt, context, reference.message(size))
    assert len(sealed) == vector["sealed_size"] == sealed_size(size)
    assert open_whole(key, context, sealed) == reference.message(size)
    assert open_by_chunks(key, context, sealed) == reference.message(size)


@pytest.mark.parametrize("size", reference.SIZES)
def test_what_we_seal_is_what_the_specification_says(size: int) -> None:
    message = reference.message(size)
    sealed = seal(message)
    assert sealed == reference.encrypt(KEY, sealed[:24], CONTEXT, message)


def test_each_message_draws_its_own_salt() -> None:
    assert seal(b"same")[:24] != seal(b"same")[:24]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40_000), max_size=6))
def test_any_split_of_writes_gives_the_same_message(blocks: list[bytes]) -> None:
    encryptor = Encryptor(KEY, CONTEXT)
    sealed = b"".join([*(encryptor.update(block) for block in blocks), encryptor.finalize()])
    message = b"".join(blocks)
    assert len(sealed) == sealed_size(len(message))
    assert open_whole(KEY, CONTEXT, sealed) == message


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 45))
def test_sizes_map_to_each_other(size: int) -> None:
    assert opened_size(sealed_size(size)) == size


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5 * SEALED_CHUNK_BYTES))
def test_a_length_is_accepted_exactly_when_some_message_has_it(length: int) -> None:
    body = length - HEADER_BYTES
    possible = body >= 0 and body % SEALED_CHUNK_BYTES >= 16
    if possible:
        assert sealed_size(opened_size(length)) == length
    else:
        with pytest.raises(ObjectCorrupt):
            opened_size(length)


@pytest.mark.parametrize("body", [0, 1, 15, SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 15])
def test_the_edges_of_impossible_lengths_are_refused(body: int) -> None:
    with pytest.raises(ObjectCorrupt):
        opened_size(HEADER_BYTES + body)


def test_more_than_the_greatest_number_of_chunks_is_refused() -> None:
    with pytest.raises(ObjectCorrupt):
        opened_size(HEADER_BYTES + (1 << 38) * SEALED_CHUNK_BYTES + 16)


@pytest.mark.parametrize("size", [0, 100, 16384, 16500])
def test_every_flipped_byte_is_refused(size: int) -> None:
    sealed = seal(reference.message(size))
    step = 1 if size < 1000 else 37  # every byte of the small ones
    edges = {*range(HEADER_BYTES + 20), *range(len(sealed) - 40, len(sealed))}
    for at in sorted({*range(0, len(sealed), step), *edges} & set(range(len(sealed)))):
        flipped = bytearray(sealed)
        flipped[at] ^= 0x01
        with pytest.raises(ObjectCorrupt):
            open_whole(KEY, CONTEXT, bytes(flipped))
        with pytest.raises(ObjectCorrupt):
            open_by_chunks(KEY, CONTEXT, bytes(flipped))


def test_every_truncation_is_refused() -> None:
    sealed = seal(reference.message(16384 + 50))
    lengths = {*range(0, 200), *range(16384, len(sealed))}
    for length in sorted(lengths):
        with pytest.raises(ObjectCorrupt):
            open_whole(KEY, CONTEXT, sealed[:length])


def test_a_message_cut_at_the_border_of_a_chunk_is_refused() -> None:
    sealed = seal(bytes(2 * CHUNK_BYTES))
    for chunks in range(3):
        cut = sealed[: HEADER_BYTES + chunks * SEALED_CHUNK_BYTES]
        with pytest.raises(ObjectCorrupt):
            opened_size(len(cut))
        with pytest.raises(ObjectCorrupt):
            open_whole(KEY, CONTEXT, cut)


def test_appended_bytes_are_refused() -> None:
    with pytest.raises(ObjectCorrupt):
        open_whole(KEY, CONTEXT, seal(b"short") + b"\0")


def test_the_wrong_key_or_context_fails_the_commitment_before_any_chunk() -> None:
    header = seal(b"message")[:HEADER_BYTES]
    for key, context in ((bytes(32), CONTEXT), (KEY, b"other"), (KEY, b"")):
        with pytest.raises(ObjectCorrupt) as caught:
            ChunkDecryptor(key, context, header)
        assert caught.value.details["part"] == "commitment"


def test_chunks_that_change_places_are_refused() -> None:
    sealed = seal(reference.message(3 * CHUNK_BYTES))
    chunks = [
        sealed[HEADER_BYTES + n * SEALED_CHUNK_BYTES :][:SEALED_CHUNK_BYTES] for n in range(3)
    ]
    decryptor = ChunkDecryptor(KEY, CONTEXT, sealed[:HEADER_BYTES])
    assert decryptor.open_chunk(2, chunks[2]) == reference.message(3 * CHUNK_BYTES)[-CHUNK_BYTES:]
    with pytest.raises(ObjectCorrupt):
        decryptor.open_chunk(1, chunks[2])


@pytest.mark.parametrize("chunk", [-1, 1 << 38])
def test_chunk_numbers_outside_a_message_are_an_error(chunk: int) -> None:
    decryptor = ChunkDecryptor(KEY, CONTEXT, seal(b"")[:HEADER_BYTES])
    with pytest.raises(ValueError, match="2\\^38"):
        decryptor.open_chunk(chunk, bytes(16))


def test_chunks_far_into_a_message_use_the_whole_counter() -> None:
    # A message of terabytes cannot be made here, one of its chunks can.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + SALT + CONTEXT
    derived = reference.hkdf_expand(KEY, info, 76)
    number = (1 << 38) - 1
    nonce = (int.from_bytes(derived[32:44], "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(derived[:32]).encrypt(nonce, b"far away", b"")
    decryptor = ChunkDecryptor(KEY, CONTEXT, SALT + derived[44:])
    assert decryptor.open_chunk(number, sealed) == b"far away"


def test_the_library_and_the_reference_agree_in_both_directions() -> None:
    message = reference.message(50_000)
    decryptor = Cobblestone256Decryptor(KEY, CONTEXT)
    sealed = reference.encrypt(KEY, SALT, CONTEXT, message)
    assert decryptor.update(sealed) + decryptor.finalize() == message
