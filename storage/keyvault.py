"""Key-encryption keys: data keys are stored wrapped, and only a vault can unwrap them.

Each object and each ledger record has a data key of its own. It is kept in the
database, wrapped here; to erase is to destroy the wrapped key. Key-encryption
keys have epochs, so that they can be replaced while older wraps stay readable.
"""

import hmac
import json
import os
import secrets
import stat
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kernel.canonical import JsonValue, canonical_bytes
from storage.errors import (
    KeyMissing,
    KeyRotated,
    ObjectCorrupt,
    VaultExists,
    VaultInvalid,
    VaultMissing,
)

KEY_BYTES = 32
MAC_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_FORMAT = "mianjiao.vault/v1"
_MAX_FILE_BYTES = 1 << 20
# A destroyed key stays in the memory of a running process for this long, for readers
# that took a row just before its key was wrapped anew. Nothing is wrapped with it.
_LINGER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key under the key-encryption key of `epoch`.

    `blob` is nonce (12 bytes) ‖ AES-256-GCM(kek, key, aad=context): 28 bytes
    longer than the key.
    """

    epoch: int
    blob: bytes


class KeyVault(Protocol):
    """Wraps data keys and computes keyed digests. Safe to call from many threads.

    `context` binds a wrap to its place (an object key, an entry id): a wrap
    moved to another row does not open. Keys never leave the vault; a vault may
    be a device. Random 96-bit nonces bound one epoch to 2^32 wraps.
    """

    @property
    def current_epoch(self) -> int:
        """The epoch that new wraps are made under."""
        ...

    def wrap(self, dek: bytes, context: bytes) -> WrappedKey: ...

    def wrap_many(self, deks: Sequence[bytes], contexts: Sequence[bytes]) -> list[WrappedKey]:
        """`wrap` of each key under the context at the same place: for bulk work."""
        ...

    @property
    def oldest_epoch(self) -> int:
        """The oldest epoch whose key still exists: what is wrapped under an older one
        can be opened by nobody."""
        ...

    def require(self, epochs: Iterable[int]) -> None:
        """`KeyRotated` unless new wraps of all these epochs may still be stored.

        To be called in the write transaction that stores them: an epoch is destroyed
        in one as well, and only when no row is wrapped under it (see `rotation`).
        """
        ...

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The data key. `KeyMissing`: that epoch is not here or was destroyed.
        `ObjectCorrupt`: the blob or the context is not what was wrapped."""
        ...

    def mac(self, purpose: str, data: bytes) -> bytes:
        """32 bytes, HMAC-SHA-256; the same for ever, whatever the epoch.

        `purpose` separates uses and is a short word without NUL. It serves for
        look-up indexes over personal data, which a plain digest would reveal.
        """
        ...


class FileKeyVault:
    """A `KeyVault` in one JSON file that only its owner can read.

    The keys are in memory while the process runs: it protects a stolen
    database or object store, not a stolen machine.
    """

    def __init__(
        self,
        keys: Mapping[int, bytes],
        current_epoch: int,
        mac_key: bytes,
        path: Path | None = None,
    ) -> None:
        """Use `open` or `create`; this takes keys that are already in hand. Without
        `path` they are in memory alone, and cannot be rotated."""
        self._path = path
        self._mac_key = mac_key
        self._lock = threading.Lock()
        self._seen = _stamp(path)
        self._lingering: tuple[float, dict[int, AESGCM]] = (0.0, {})
        self._ring = _Ring.of(keys, current_epoch)

    @classmethod
    def create(cls, path: Path) -> "FileKeyVault":
        """Make a vault with fresh keys, durable on return. `VaultExists` if there is one."""
        keys = {1: secrets.token_bytes(KEY_BYTES)}
        mac_key = secrets.token_bytes(MAC_BYTES)
        data = _encode(keys, 1, mac_key)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise VaultExists(path=str(path)) from None
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        _sync_folder(path.parent)
        return cls(keys, 1, mac_key, path)

    @classmethod
    def open(cls, path: Path) -> "FileKeyVault":
        """Read an existing vault; it is never made by accident.

        `VaultMissing`: no such file. `VaultInvalid`: others may read it, it is
        not a plain file, or its content is damaged.
        """
        keys, current, mac_key = _read(path)
        return cls(keys, current, mac_key, path)

    @property
    def current_epoch(self) -> int:
        return self._now().current

    @property
    def oldest_epoch(self) -> int:
        return min(self._now().keys)

    def require(self, epochs: Iterable[int]) -> None:
        if not self._now().keys.keys() >= set(epochs):
            raise KeyRotated()

    # --- Rotation: see `storage.rotation`, which calls these in a write transaction ---

    def begin_epoch(self) -> int:
        """Make the key of a new epoch, durably; the epoch that wraps are now made under.
        No change while an older one still exists: that rotation is to be finished."""
        return self._change(_begun)

    def destroy_older(self) -> int:
        """Destroy the keys of all epochs but the current one, which is returned.

        The file is replaced, and the old file's bytes are overwritten where the file
        system writes in place. Copies of the file elsewhere are the operator's to destroy.
        """
        return self._change(_only_current)

    def _change(
        self, change: "Callable[[dict[int, bytes], int], tuple[dict[int, bytes], int]]"
    ) -> int:
        path = self._path
        if path is None:
            raise ValueError("a vault in memory is not rotated")
        with self._lock:
            keys, current, mac_key = _read(path)
            after, epoch = change(keys, current)
            if after != keys:
                _replace(path, _encode(after, epoch, mac_key))
        self._now()
        return epoch

    def _now(self) -> "_Ring":
        """The keys as they are in the file: another process may have rotated them."""
        stamp = _stamp(self._path)
        if stamp != self._seen and self._path is not None:
            with self._lock:
                keys, current, _ = _read(self._path)
                ring = _Ring.of(keys, current)
                gone = {e: c for e, c in self._ring.ciphers.items() if e not in keys}
                self._lingering = (time.monotonic() + _LINGER_SECONDS, gone)
                self._ring, self._seen = ring, stamp
        elif self._lingering[1] and time.monotonic() > self._lingering[0]:
            self._lingering = (0.0, {})
        return self._ring

    def wrap(self, dek: bytes, context: bytes) -> WrappedKey:
        return self.wrap_many([dek], [context])[0]

    def wrap_many(self, deks: Sequence[bytes], contexts: Sequence[bytes]) -> list[WrappedKey]:
        # One draw for all nonces: each draw gives up the interpreter lock, and
        # beside a busy thread it takes up to 5 ms to get it back.
        random = os.urandom(_NONCE_BYTES * len(deks))
        ring = self._now()
        encrypt, epoch = ring.ciphers[ring.current].encrypt, ring.current
        wrapped = []
        for at, (dek, context) in enumerate(zip(deks, contexts, strict=True)):
            nonce = random[at * _NONCE_BYTES : (at + 1) * _NONCE_BYTES]
            wrapped.append(WrappedKey(epoch, nonce + encrypt(nonce, dek, context)))
        return wrapped

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        cipher = self._now().ciphers.get(wrapped.epoch) or self._lingering[1].get(wrapped.epoch)
        if cipher is None:
            raise KeyMissing(epoch=wrapped.epoch)
        blob = wrapped.blob
        if len(blob) < _NONCE_BYTES + _TAG_BYTES:
            raise ObjectCorrupt(part="wrapped_key")
        try:
            return cipher.decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], context)
        except InvalidTag:
            raise ObjectCorrupt(part="wrapped_key") from None

    def mac(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self._mac_key, purpose.encode() + b"\0" + data, "sha256")


@dataclass(frozen=True, slots=True)
class _Ring:
    """The keys of a moment. One cipher object per epoch: building it costs more than a wrap."""

    current: int
    keys: Mapping[int, bytes]
    ciphers: Mapping[int, AESGCM]

    @classmethod
    def of(cls, keys: Mapping[int, bytes], current: int) -> "_Ring":
        return cls(current, keys, {epoch: AESGCM(key) for epoch, key in keys.items()})


def _begun(keys: dict[int, bytes], current: int) -> tuple[dict[int, bytes], int]:
    if len(keys) > 1:
        return keys, current
    return {**keys, current + 1: secrets.token_bytes(KEY_BYTES)}, current + 1


def _only_current(keys: dict[int, bytes], current: int) -> tuple[dict[int, bytes], int]:
    return {current: keys[current]}, current


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """Tells one content of the file from another: it is replaced, never changed."""
    if path is None:
        return None
    try:
        facts = os.stat(path)  # noqa: PTH116 - on the path of every wrap
    except FileNotFoundError:
        raise VaultMissing(path=str(path)) from None
    return facts.st_ino, facts.st_mtime_ns


def _read(path: Path) -> tuple[dict[int, bytes], int, bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise VaultMissing(path=str(path)) from None
    except OSError as error:
        raise VaultInvalid(path=str(path), problem=error.strerror or "unreadable") from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise VaultInvalid(path=str(path), problem="not a plain file")
        if facts.st_mode & 0o077:
            raise VaultInvalid(path=str(path), problem="permissions must be 0600")
        data = file.read(_MAX_FILE_BYTES)
        replaced = not os.fstat(descriptor).st_nlink
    if replaced:  # and its bytes perhaps overwritten
        return _read(path)
    try:
        return _decode(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without the cause: its text could quote key material.
        raise VaultInvalid(path=str(path), problem="damaged content") from None


def _replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of the file, durably, and overwrite what stood there."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # of a rotation that was cut off
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    with path.open("r+b") as old:
        size = os.fstat(old.fileno()).st_size
        temporary.replace(path)
        _sync_folder(path.parent)
        old.write(bytes(size))
        old.flush()
        os.fsync(old.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _encode(keys: Mapping[int, bytes], current: int, mac_key: bytes) -> bytes:
    content: dict[str, JsonValue] = {
        "format": _FORMAT,
        "current": current,
        "keys": {str(epoch): b64encode(key).decode() for epoch, key in keys.items()},
        "mac_key": b64encode(mac_key).decode(),
    }
    # A damaged key must be named as such, not show as a store full of corrupt objects.
    check = sha256(canonical_bytes(content)).hexdigest()
    return json.dumps({**content, "sha256": check}, indent=1, sort_keys=True).encode() + b"\n"


def _decode(data: bytes) -> tuple[dict[int, bytes], int, bytes]:
    content = json.loads(data)
    check = content.pop("sha256")
    if content["format"] != _FORMAT or sha256(canonical_bytes(content)).hexdigest() != check:
        raise ValueError("format or checksum")
    keys = {int(epoch): b64decode(key, validate=True) for epoch, key in content["keys"].items()}
    mac_key = b64decode(content["mac_key"], validate=True)
    current = content["current"]
    if any(len(key) != KEY_BYTES for key in keys.values()) or len(mac_key) != MAC_BYTES:
        raise ValueError("key length")
    if type(current) is not int or current not in keys:
        raise ValueError("current epoch")
    return keys, current, mac_key
