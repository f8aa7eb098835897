"""An object store that is read no faster than it was told, whatever kind it is."""

import time
from collections.abc import Callable, Iterator

from runtime.timed_objects import TimedObjects
from storage.objects import ObjectStore


class PacedObjects(TimedObjects):
    """Any `ObjectStore`; its reads together stay under a rate. For one thread."""

    def __init__(
        self,
        store: ObjectStore,
        bytes_per_second: float,
        *,
        elapsed: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(store, lambda _seconds: None)
        self._rate = bytes_per_second
        self._elapsed = elapsed
        self._sleep = sleep
        self._free_at = 0.0  # when what was read so far is paid for

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return self._slowly(super().read(key, start, stop))

    def _slowly(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            now = self._elapsed()
            self._free_at = max(self._free_at, now) + len(block) / self._rate
            self._sleep(self._free_at - now)
            yield block
