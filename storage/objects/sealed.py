"""Sealed objects: plaintext in and out of a store that sees ciphertext only.

Nothing is held whole in memory. Each attempt has a key, salt and object key of
its own; the data key is returned wrapped, and only the database keeps it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator

from storage.errors import ObjectCorrupt
from storage.keyvault import KeyVault
from storage.objects.chunked_encryption import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkDecryptor,
    open_whole,
    opened_size,
)
from storage.objects.hashing import Digests, Sm3Thread, sm3_digest
from storage.objects.port import ObjectStore
from storage.objects.sealed_writer import ObjectRef, SealedWriter, StoredObject, seal_whole

_WHOLE_BYTES = 1 << 20  # ciphertexts up to this size are opened in one piece


class SealedObjects:
    """Hashes and encrypts on the way in; decrypts and checks on the way out.

    Safe to call from many threads; a writer belongs to one thread at a time.
    """

    def __init__(self, store: ObjectStore, vault: KeyVault) -> None:
        self.store = store
        self._vault = vault

    def begin(self, *, limit: int) -> SealedWriter:
        """Start a new object of at most `limit` bytes of plaintext."""
        return SealedWriter(self.store, self._vault, limit)

    def put(self, blocks: Iterable[bytes], *, limit: int) -> StoredObject:
        """Store what `blocks` yield. `EmptyObject`, `ObjectTooLarge`; then, or if
        `blocks` raises, nothing is stored."""
        writer = self.begin(limit=limit)
        try:
            for block in blocks:
                writer.write(block)
            return writer.finish()
        finally:
            writer.abort()  # does nothing after `finish`

    def put_many(self, contents: Iterable[bytes], *, limit: int) -> list[StoredObject]:
        """Store many small objects with fewer waits for the disk; all are durable on
        return, in the order of `contents`. On an error none is to be referred to."""
        done: list[StoredObject] = []

        def sealed() -> Iterator[tuple[str, bytes]]:
            for content in contents:
                stored, data = seal_whole(content, self._vault, limit)
                done.append(stored)
                yield stored.object_key, data

        self.store.put_many(sealed())
        return done

    def read(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Plaintext bytes [start, stop), in blocks of about 1 MiB; `stop` past the
        end is the end.

        Every byte is authenticated before it is yielded, and the length when the
        end is part of the range. The call itself raises `ObjectMissing`,
        `KeyMissing`, and `ObjectCorrupt` for a wrong length or key; a damaged
        chunk raises when it is reached.
        """
        return self._read(ref, start, stop, _unseen)

    def _read(
        self, ref: ObjectRef, start: int, stop: int | None, seen: Callable[[bytes], object]
    ) -> Iterator[bytes]:
        """`read`; `seen` gets every stored byte that it reads, in their order."""
        end = ref.size if stop is None else min(stop, ref.size)
        if not 0 <= start <= end:
            raise ValueError("a range has 0 <= start <= stop and starts within the object")
        if opened_size(ref.cipher_size) != ref.size:
            raise ObjectCorrupt(part="row")
        if self.store.size(ref.object_key) != ref.cipher_size:
            raise ObjectCorrupt(part="length")
        header = b"".join(self.store.read(ref.object_key, 0, HEADER_BYTES))
        seen(header)
        decryptor = ChunkDecryptor(*self._key(ref), header)
        first = start // CHUNK_BYTES
        # The last chunk proves the length, even when it is empty.
        last = end // CHUNK_BYTES if end == ref.size else max(end - 1, start) // CHUNK_BYTES
        stored = self.store.read(
            ref.object_key,
            HEADER_BYTES + first * SEALED_CHUNK_BYTES,
            min(HEADER_BYTES + (last + 1) * SEALED_CHUNK_BYTES, ref.cipher_size),
        )
        opened = _opened(decryptor, _tapped(stored, seen), first)
        return _cut(opened, start - first * CHUNK_BYTES, end - start)

    def rehash(self, ref: ObjectRef, *, sm3: bool = False, cipher: bool = False) -> Digests:
        """Read, decrypt and hash the whole content; the caller compares the digests.

        With `cipher` the stored bytes are compared with their own digest, in the same
        read. `ObjectMissing`, `KeyMissing`, `ObjectCorrupt` as in `read`.
        """
        stored = hashlib.sha256() if cipher else None
        seen = stored.update if stored else _unseen
        if ref.cipher_size <= _WHOLE_BYTES:
            digests = self._rehash_whole(ref, seen, with_sm3=sm3)
        else:
            sha256 = hashlib.sha256()
            beside = Sm3Thread() if sm3 else None
            for block in self._read(ref, 0, None, seen):
                if beside:
                    beside.update(block)
                sha256.update(block)
            digests = Digests(ref.size, sha256.digest(), beside.digest() if beside else None)
        if stored and stored.digest() != ref.cipher_sha256:
            raise ObjectCorrupt(part="ciphertext")
        return digests

    def _rehash_whole(
        self, ref: ObjectRef, seen: Callable[[bytes], object], *, with_sm3: bool
    ) -> Digests:
        # The hot path of a verification: one read of the file, one buffer.
        stored = b"".join(self.store.read(ref.object_key, 0, ref.cipher_size + 1))
        if len(stored) != ref.cipher_size:
            raise ObjectCorrupt(part="length")
        seen(stored)
        plain = open_whole(*self._key(ref), stored)
        if len(plain) != ref.size:
            raise ObjectCorrupt(part="row")
        digest = hashlib.sha256(plain).digest()
        return Digests(len(plain), digest, sm3_digest(plain) if with_sm3 else None)

    def _key(self, ref: ObjectRef) -> tuple[bytes, bytes]:
        """The data key and the context it is used in."""
        context = ref.object_key.encode()
        return self._vault.unwrap(ref.wrapped_key, context), context


def _unseen(_stored: bytes) -> None:
    """For reads whose stored bytes nobody else looks at."""


def _tapped(stored: Iterator[bytes], seen: Callable[[bytes], object]) -> Iterator[bytes]:
    for block in stored:
        seen(block)
        yield block


def _opened(decryptor: ChunkDecryptor, stored: Iterator[bytes], chunk: int) -> Iterator[bytes]:
    """Open the stored blocks, which start with chunk number `chunk`."""
    held = b""
    for block in stored:
        held += block
        view = memoryview(held)
        whole = len(held) // SEALED_CHUNK_BYTES * SEALED_CHUNK_BYTES
        opened = []
        for at in range(0, whole, SEALED_CHUNK_BYTES):
            opened.append(decryptor.open_chunk(chunk, view[at : at + SEALED_CHUNK_BYTES]))
            chunk += 1
        yield b"".join(opened)
        held = held[whole:]
    if held:
        yield decryptor.open_chunk(chunk, held)


def _cut(blocks: Iterator[bytes], skip: int, length: int) -> Iterator[bytes]:
    """Drop `skip` bytes, yield `length`, and read the rest to its end for its checks."""
    for block in blocks:
        part = block[skip : skip + length]
        skip -= min(skip, len(block))
        length -= len(part)
        if part:
            yield part
    if length:
        # The file became shorter while it was read.
        raise ObjectCorrupt(part="length")
