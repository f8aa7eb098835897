"""The port of object stores: opaque bytes under keys that the server makes."""

import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from storage.errors import ObjectKeyInvalid

BLOCK_BYTES = 1 << 20  # the largest block that a read yields
_KEY = re.compile(r"[0-9a-f]{32}")


def new_object_key() -> str:
    """128 random bits in hex: tells nothing, and spreads evenly over folders."""
    return secrets.token_hex(16)


def is_key(text: str) -> bool:
    """32 hex digits: no dot, slash or upper case that a file system could read as
    something else."""
    return _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Return `key` if it has the form of one, else `ObjectKeyInvalid`."""
    if not is_key(key):
        raise ObjectKeyInvalid()
    return key


class ObjectWriter(Protocol):
    """One object on its way in; used by one thread at a time.

    Nothing is visible under the key before `commit`, nor after `abort`. An
    error from `write` or `commit` leaves the writer aborted. A writer that is
    forgotten, or whose process dies, leaves nothing that a reader can see.
    """

    def write(self, data: bytes | bytearray) -> None: ...

    def commit(self) -> None:
        """Make the object visible, whole, and durable: it survives a power cut
        once this returns. If the key is taken: the same bytes succeed (and are
        made durable again), other bytes raise `ImmutableConflict` and change
        nothing. Of two writers that race, one stores and the other compares."""
        ...

    def abort(self) -> None:
        """Drop what was written. Does nothing after `commit` or a second time."""
        ...


class ObjectStore(Protocol):
    """Write-once objects by key. Safe to call from many threads and processes.

    Content is ciphertext: the store is not trusted with keys nor believed.
    Errors: `ObjectKeyInvalid` for any key that `check_key` refuses,
    `StorageFull` when there is no space, `StorageFailed` for a device that
    fails or a server that does not answer: whether something was stored is not
    known then, and the same call may succeed later.
    """

    locks: bool
    """Whether `retain` holds against the owner: of a bucket it does, of a folder it cannot."""

    def create(self, key: str) -> ObjectWriter: ...

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store many small objects, each as `create`, `write`, `commit` would;
        all are durable on return. On an error some are stored and some not:
        the caller gave out no key yet, and a sweep removes them."""
        ...

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes [start, stop), in blocks of at most 1 MiB; without `stop`, to
        the end. Ends early where the object does. `ObjectMissing` is raised by
        the call itself, not by the first block. A deleted object that is being
        read stays readable."""
        ...

    def size(self, key: str) -> int:
        """`ObjectMissing` if there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, durably; an unknown key is no error. For sweeps and
        erasure alone. `ObjectRetained` until `retained_until`: nothing changed, the
        object is still read, and the same call succeeds later."""
        ...

    def retain(self, key: str, until: datetime) -> None:
        """Let nobody delete the object before `until` (UTC), the operator included.

        Only ever extends, and may be repeated. `ObjectMissing` if there is none.
        What holds afterwards is what `retained_until` says: a folder cannot
        refuse its owner, and keeps nothing; a bucket keeps it in whole seconds,
        and dates beyond the year 2261 to the end of that year.
        """
        ...

    def retained_until(self, key: str) -> datetime | None:
        """Until when the store refuses `delete`; None if it does not, or never did.
        `ObjectMissing` if there is no object."""
        ...

    def retains(self, key: str, until: datetime) -> bool:
        """Whether it refuses `delete` at least until then, as after `retain(key, until)`.
        `ObjectMissing` if there is no object."""
        ...

    def keys(self) -> Iterator[tuple[str, datetime]]:
        """Every key and the time it was stored (UTC), in no order. Objects that
        come or go meanwhile may be missed or shown."""
        ...

    def strangers(self) -> Iterator[str]:
        """Names in the store that are no object's, and second versions of objects, in
        words for a person. For a check; `keys` passes over them."""
        ...
