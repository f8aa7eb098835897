"""An object store in a bucket of an S3 server with versions and object lock.

`objects/<first two characters of the key>/<key>`: the same layout as in a
folder, which listings of a server that keeps folders cope with.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime

from kernel.errors import CodedError
from storage.errors import ImmutableConflict, ObjectMissing, ObjectTooLarge, StorageFailed
from storage.objects.port import ObjectWriter, check_key, is_key
from storage.s3.bucket import Bucket, sha256_text
from storage.s3.lock_times import bounded

PART_BYTES = 8 << 20
MAX_PARTS = 10_000  # of the protocol: 78 GiB
_PARTS_IN_FLIGHT = 2  # of one object: with the one that fills up and its copy, 32 MiB
_PREFIX = "objects/"


class BucketStore:
    """`ObjectStore` on a bucket. Safe from many threads; a process makes its own.

    Write-once is the server's `If-None-Match: *`; of one that does not hold it,
    `Bucket` looks who was first. Large objects go in parts.
    """

    locks = True

    def __init__(self, bucket: Bucket, prefix: str = _PREFIX) -> None:
        """See `storage.s3.self_test`, which a service runs before it serves. `prefix`: of
        all names, for a second store in one bucket."""
        self._bucket = bucket
        self._prefix = prefix

    def create(self, key: str) -> ObjectWriter:
        return _BucketWriter(self._bucket, self._name(key))

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        def store(item: tuple[str, bytes]) -> None:
            # In one request whatever the size: a writer's parts would wait for these threads.
            key, data = item
            if not self._bucket.put_new(self._name(key), data):
                _compare(self._bucket, self._name(key), len(data), hashlib.sha256(data).digest())

        deque(self._bucket.in_parallel(store, items), maxlen=0)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start < 0 or (stop is not None and stop < start):
            raise ValueError("a range has 0 <= start <= stop")
        return self._bucket.read_first(self._name(key), start, stop)

    def size(self, key: str) -> int:
        name = self._name(key)
        return self._bucket.stat(name, self._bucket.first_version(name)).size

    def delete(self, key: str) -> None:
        self._bucket.remove(self._name(key))

    def retain(self, key: str, until: datetime) -> None:
        self._bucket.lock(self._name(key), bounded(until))

    def retained_until(self, key: str) -> datetime | None:
        name = self._name(key)
        return self._bucket.stat(name, self._bucket.oldest_version(name)).locked_until

    def retains(self, key: str, until: datetime) -> bool:
        locked = self.retained_until(key)
        return locked is not None and locked >= bounded(until)

    def keys(self) -> Iterator[tuple[str, datetime]]:
        for name, stored in self._bucket.names(self._prefix):
            key = name.rpartition("/")[2]
            if is_key(key) and name == self._name(key):
                yield key, stored

    def strangers(self) -> Iterator[str]:
        seen = ""
        for entry in self._bucket.versions(self._prefix):
            key = entry.name.rpartition("/")[2]
            path = entry.name.removeprefix(self._prefix)
            if not (is_key(key) and entry.name == self._name(key)):
                yield path
            elif entry.marker:
                yield f"{path} (deleted, version {entry.version})"
            elif entry.name == seen:
                yield f"{path} (version {entry.version})"
            seen = entry.name

    def _name(self, key: str) -> str:
        return object_name(key, self._prefix)


class _BucketWriter:
    """One object on its way in. Small ones go in one request, at `commit`."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name
        self._held = bytearray()
        self._size = 0
        self._sha256 = hashlib.sha256()  # of the parts
        self._upload: str | None = None
        self._parts: list[tuple[str, str]] = []  # ETag and checksum
        self._running: deque[Future[tuple[str, str]]] = deque()
        self._open = True

    def write(self, data: bytes | bytearray) -> None:
        self._check_open()
        try:
            self._size += len(data)
            view = memoryview(data)
            while view:
                room = PART_BYTES - len(self._held)
                self._held += view[:room]
                view = view[room:]
                if len(self._held) == PART_BYTES and view:
                    self._send_part()
        except BaseException:
            self.abort()
            raise

    def commit(self) -> None:
        self._check_open()
        try:
            if self._upload is None:
                self._store_whole()
            else:
                self._send_part()
                self._finish_parts(self._upload)
        except BaseException:
            self.abort()
            raise
        self._open = False
        self._held.clear()

    def abort(self) -> None:
        if not self._open:
            return
        self._open = False
        self._held.clear()
        for future in self._running:
            future.cancel()
        if self._upload is not None:
            # Nobody sees the parts; what cannot be dropped now the server drops in a day.
            with suppress(CodedError):
                self._bucket.drop_parts(self._name, self._upload)

    def _store_whole(self) -> None:
        data = bytes(self._held)
        if not self._bucket.put_new(self._name, data):
            _compare(self._bucket, self._name, len(data), hashlib.sha256(data).digest())

    def _send_part(self) -> None:
        """Send what is held, in the background; wait first if enough is under way."""
        if self._upload is None:
            self._upload = self._bucket.begin_parts(self._name)
        while len(self._running) >= _PARTS_IN_FLIGHT:
            self._parts.append(self._running.popleft().result())
        number = len(self._parts) + len(self._running) + 1
        if number > MAX_PARTS:
            raise ObjectTooLarge(limit=MAX_PARTS * PART_BYTES)
        data, upload = bytes(self._held), self._upload
        self._sha256.update(data)
        self._held.clear()

        def send() -> tuple[str, str]:
            return self._bucket.put_part(self._name, upload, number, data), sha256_text(data)

        self._running.append(self._bucket.in_background(send))

    def _finish_parts(self, upload: str) -> None:
        while self._running:
            self._parts.append(self._running.popleft().result())
        if not self._bucket.finish_parts(self._name, upload, self._parts):
            try:
                self._compare()
            except ObjectMissing:
                raise StorageFailed(problem="the parts are gone") from None

    def _compare(self) -> None:
        _compare(self._bucket, self._name, self._size, self._sha256.digest())

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("this writer has committed or was aborted")


def _compare(bucket: Bucket, name: str, size: int, sha256: bytes) -> None:
    """The name is taken: by the same bytes, or `ImmutableConflict`."""
    if bucket.stat(name, bucket.first_version(name)).size != size:
        raise ImmutableConflict()
    known = hashlib.sha256()
    for block in bucket.read_first(name, 0, None):
        known.update(block)
    if known.digest() != sha256:
        raise ImmutableConflict()


def object_name(key: str, prefix: str = _PREFIX) -> str:
    """Where the object lies in its bucket."""
    return f"{prefix}{check_key(key)[:2]}/{key}"
