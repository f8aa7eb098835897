"""The way in of a sealed object: hashed, encrypted and written while it streams by."""

import hashlib
from dataclasses import dataclass

from storage.errors import EmptyObject, ObjectTooLarge
from storage.keyvault import KeyVault, WrappedKey
from storage.objects.chunked_encryption import Encryptor, sealed_size
from storage.objects.hashing import Sm3Thread, sm3_digest
from storage.objects.port import ObjectStore, new_object_key

# Below this, a thread costs more than it saves: a small object is done inline.
INLINE_BYTES = 256 * 1024
_STEP_BYTES = 1 << 20  # what is hashed, encrypted and written at a time: a multiple of a chunk


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """What it takes to read an object again: the content of its `objects` row."""

    object_key: str
    size: int
    cipher_size: int
    cipher_sha256: bytes
    wrapped_key: WrappedKey


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Content that is now durable.

    Sizes in bytes; `sha256` and `sm3` of the plaintext, `cipher_sha256` of the
    stored bytes, so that a scrub needs no keys.
    """

    object_key: str
    size: int
    sha256: bytes
    sm3: bytes
    cipher_size: int
    cipher_sha256: bytes
    wrapped_key: WrappedKey

    def ref(self) -> ObjectRef:
        """How to read it, before or without its row."""
        return ObjectRef(
            self.object_key, self.size, self.cipher_size, self.cipher_sha256, self.wrapped_key
        )


class SealedWriter:
    """One object on its way in. `finish` or `abort` ends it; an error aborts it."""

    def __init__(self, store: ObjectStore, vault: KeyVault, limit: int) -> None:
        self._store = store
        self._vault = vault
        self._limit = limit
        self._held = bytearray()
        self._stream: _Stream | None = None
        self._ended = False
        self.size = 0  # plaintext bytes taken so far

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Take any number of bytes. `ObjectTooLarge` aborts; so does a device error."""
        if self._ended:
            raise ValueError("this writer has finished or was aborted")
        view = memoryview(block)
        try:
            self.size += len(view)
            if self.size > self._limit:
                raise ObjectTooLarge(limit=self._limit)
            for at in range(0, len(view), _STEP_BYTES):
                self._held += view[at : at + _STEP_BYTES]
                if len(self._held) >= _STEP_BYTES:
                    self._pass_on(_STEP_BYTES)
        except BaseException:
            self.abort()
            raise

    def finish(self) -> StoredObject:
        """Make it durable. `EmptyObject` if nothing was written."""
        if self._ended:
            raise ValueError("this writer has finished or was aborted")
        try:
            if self._stream is None and self.size <= INLINE_BYTES:
                stored, data = seal_whole(bytes(self._held), self._vault, self._limit)
                writer = self._store.create(stored.object_key)
                writer.write(data)
                writer.commit()
            else:
                stream = self._pass_on(len(self._held))
                stored = stream.finish(self.size)
        except BaseException:
            self.abort()
            raise
        self._ended = True
        return stored

    def abort(self) -> None:
        """Drop what was written. Does nothing after `finish` or a second time."""
        if not self._ended:
            self._ended = True
            self._held.clear()
            if self._stream is not None:
                self._stream.abort()

    def _pass_on(self, count: int) -> "_Stream":
        if self._stream is None:
            self._stream = _Stream(self._store, self._vault)
        self._stream.write(bytes(self._held[:count]))
        del self._held[:count]
        return self._stream


class _Stream:
    """The large path: SM3 in its own thread; SHA-256, encryption, writing in the caller's."""

    def __init__(self, store: ObjectStore, vault: KeyVault) -> None:
        self._object_key, self._wrapped, self._encryptor = _fresh(vault)
        self._sha256 = hashlib.sha256()
        self._cipher_sha256 = hashlib.sha256()
        self._writer = store.create(self._object_key)
        self._sm3 = Sm3Thread()

    def write(self, block: bytes) -> None:
        self._sm3.update(block)
        self._sha256.update(block)
        self._store_bytes(self._encryptor.update(block))

    def finish(self, size: int) -> StoredObject:
        self._sm3.end()
        self._store_bytes(self._encryptor.finalize())
        self._writer.commit()
        return StoredObject(
            object_key=self._object_key,
            size=size,
            sha256=self._sha256.digest(),
            sm3=self._sm3.digest(),
            cipher_size=sealed_size(size),
            cipher_sha256=self._cipher_sha256.digest(),
            wrapped_key=self._wrapped,
        )

    def abort(self) -> None:
        self._sm3.end()
        self._writer.abort()

    def _store_bytes(self, data: bytes) -> None:
        self._cipher_sha256.update(data)
        self._writer.write(data)


def seal_whole(content: bytes, vault: KeyVault, limit: int) -> tuple[StoredObject, bytes]:
    """Hash and encrypt content that is in memory: what it will be, and the bytes to store."""
    if not content:
        raise EmptyObject()
    if len(content) > limit:
        raise ObjectTooLarge(limit=limit)
    object_key, wrapped, encryptor = _fresh(vault)
    data = encryptor.update(content) + encryptor.finalize()
    stored = StoredObject(
        object_key=object_key,
        size=len(content),
        sha256=hashlib.sha256(content).digest(),
        sm3=sm3_digest(content),
        cipher_size=len(data),
        cipher_sha256=hashlib.sha256(data).digest(),
        wrapped_key=wrapped,
    )
    return stored, data


def _fresh(vault: KeyVault) -> tuple[str, WrappedKey, Encryptor]:
    """A new object key, its data key (wrapped), and an encryptor under both."""
    object_key = new_object_key()
    context = object_key.encode()
    input_key = Encryptor.generate_key()
    return object_key, vault.wrap(input_key, context), Encryptor(input_key, context)
