"""An object store that tells how long it took to make objects durable."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from storage.objects import ObjectStore, ObjectWriter


class TimedObjects:
    """Any `ObjectStore`, observed. Everything else is the store's own."""

    def __init__(self, store: ObjectStore, observe: Callable[[float], None]) -> None:
        """`observe` gets the seconds of each put, from the last byte to durable; of a
        batch, once for all of it."""
        self._store = store
        self.locks = store.locks
        self._observe = observe

    def create(self, key: str) -> ObjectWriter:
        return _TimedWriter(self._store.create(key), self._observe)

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        began = time.monotonic()
        self._store.put_many(items)
        self._observe(time.monotonic() - began)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._store.read(key, start, stop)

    def size(self, key: str) -> int:
        return self._store.size(key)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def retain(self, key: str, until: datetime) -> None:
        self._store.retain(key, until)

    def retained_until(self, key: str) -> datetime | None:
        return self._store.retained_until(key)

    def retains(self, key: str, until: datetime) -> bool:
        return self._store.retains(key, until)

    def keys(self) -> Iterator[tuple[str, datetime]]:
        return self._store.keys()

    def strangers(self) -> Iterator[str]:
        return self._store.strangers()


class _TimedWriter:
    """The store's writer, with a watch on its commit."""

    def __init__(self, writer: ObjectWriter, observe: Callable[[float], None]) -> None:
        self._commit = writer.commit
        self._observe = observe
        self.write = writer.write
        self.abort = writer.abort

    def commit(self) -> None:
        began = time.monotonic()
        self._commit()
        self._observe(time.monotonic() - began)
