"""An object store that fails in turn, and a caller that tries again.

Every fault exists twice: not carried out, and carried out all the same. The
port says that the same call may succeed later; so a caller who repeats it must
see the contract of the port, whatever was carried out how often.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import Enum
from itertools import cycle
from typing import TypeVar

from storage.errors import StorageFailed
from storage.objects import ObjectStore
from storage.objects.port import check_key

T = TypeVar("T")


class Fault(Enum):
    NONE = "none"
    BEFORE = "fails and is not carried out"
    AFTER = "is carried out and fails"
    TWICE = "is carried out twice"
    SLOW = "takes its time"


class FaultyStore:
    """Deals out `faults`, one for each call that reaches the device."""

    def __init__(self, inner: ObjectStore, faults: Iterable[Fault] = Fault) -> None:
        self._inner = inner
        self.locks = inner.locks
        # Of a tuple: several threads may ask at once, and an enumeration's own iterator
        # is a generator, which refuses that.
        self._faults = cycle(tuple(faults))

    def create(self, key: str) -> "_FaultyWriter":
        return _FaultyWriter(self, key)

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        held = list(items)
        self.call(lambda: self._inner.put_many(held))

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self.call(lambda: self._inner.read(key, start, stop))

    def size(self, key: str) -> int:
        return self.call(lambda: self._inner.size(key))

    def delete(self, key: str) -> None:
        self.call(lambda: self._inner.delete(key))

    def retain(self, key: str, until: datetime) -> None:
        self.call(lambda: self._inner.retain(key, until))

    def retained_until(self, key: str) -> datetime | None:
        return self.call(lambda: self._inner.retained_until(key))

    def retains(self, key: str, until: datetime) -> bool:
        return self.call(lambda: self._inner.retains(key, until))

    def keys(self) -> Iterator[tuple[str, datetime]]:
        return self.call(self._inner.keys)

    def strangers(self) -> Iterator[str]:
        return self.call(self._inner.strangers)

    def put(self, key: str, blocks: list[bytes]) -> None:
        """All of one writer's work."""

        def work() -> None:
            writer = self._inner.create(key)
            for block in blocks:
                writer.write(block)
            writer.commit()

        self.call(work)

    def call(self, work: Callable[[], T]) -> T:
        fault = next(self._faults)
        if fault is Fault.BEFORE:
            raise StorageFailed(problem="injected before")
        if fault is Fault.SLOW:
            time.sleep(0.005)
        result = work()
        if fault is Fault.TWICE:
            result = work()
        if fault is Fault.AFTER:
            raise StorageFailed(problem="injected after")
        return result


class PatientStore:
    """Repeats what a `FaultyStore` failed at, as its callers may."""

    def __init__(self, inner: FaultyStore) -> None:
        self._inner = inner
        self.locks = inner.locks

    def create(self, key: str) -> "_FaultyWriter":
        return _FaultyWriter(self, key)

    def put(self, key: str, blocks: list[bytes]) -> None:
        _patiently(lambda: self._inner.put(key, blocks))

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        held = list(items)
        _patiently(lambda: self._inner.put_many(held))

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return _patiently(lambda: self._inner.read(key, start, stop))

    def size(self, key: str) -> int:
        return _patiently(lambda: self._inner.size(key))

    def delete(self, key: str) -> None:
        _patiently(lambda: self._inner.delete(key))

    def retain(self, key: str, until: datetime) -> None:
        _patiently(lambda: self._inner.retain(key, until))

    def retained_until(self, key: str) -> datetime | None:
        return _patiently(lambda: self._inner.retained_until(key))

    def retains(self, key: str, until: datetime) -> bool:
        return _patiently(lambda: self._inner.retains(key, until))

    def keys(self) -> Iterator[tuple[str, datetime]]:
        return _patiently(self._inner.keys)

    def strangers(self) -> Iterator[str]:
        return _patiently(self._inner.strangers)


class _FaultyWriter:
    """Holds what is written until `commit`, so that it can be written again."""

    def __init__(self, store: FaultyStore | PatientStore, key: str) -> None:
        check_key(key)
        self._store = store
        self._key = key
        self._blocks: list[bytes] = []
        self._open = True

    def write(self, data: bytes | bytearray) -> None:
        self._check_open()
        self._blocks.append(bytes(data))

    def commit(self) -> None:
        self._check_open()
        self._open = False
        self._store.put(self._key, self._blocks)

    def abort(self) -> None:
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("this writer has committed or was aborted")


def _patiently(work: Callable[[], T]) -> T:
    for _ in range(10):
        try:
            return work()
        except StorageFailed:
            pass
    return work()
