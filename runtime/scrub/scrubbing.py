"""A scrub from its first unit to its last, or from where the last one was cut off."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future
from typing import TypeAlias

from ledger.merkle import TILE_WIDTH
from ledger.retired import shard_of
from ledger.scrub import bundle_count
from runtime.errors import ScrubStopped
from runtime.pool.pools import Pool, local_pool, ray_pool
from runtime.pool.units import (
    MIB,
    Bundles,
    Result,
    ScrubUnit,
    count_objects,
    plan_bundles,
    plan_objects,
)
from runtime.scrub.progress import ScrubProgress
from runtime.store import Store

LEDGER, OBJECTS = "ledger", "objects"
_AHEAD = 3  # units in flight for each process
_SAVE_SECONDS = 1.0
# A unit of several objects: small enough that a kill loses seconds.
_UNIT_BYTES = 256 * MIB
_UNIT_SECONDS = 1

# (what, done, of how many, bytes read so far)
Tell: TypeAlias = Callable[[str, int, int, int], None]


def scrub(
    store: Store,
    progress: ScrubProgress,
    *,
    jobs: int,
    bytes_per_second: float | None,
    ray: str | None,
    tell: Tell,
) -> None:
    """Do what `progress` has not done yet, and keep it up to date, in memory and in its file.

    With `ray`, the address of a cluster, its processors do the work and `jobs` counts
    for nothing. Raises `ScrubStopped`, `RayMissing`, `RayUnreachable`.
    """
    chosen = (
        local_pool(store.data, bytes_per_second, jobs)
        if ray is None
        else ray_pool(store.data, bytes_per_second, ray)
    )
    with chosen as pool:
        run = _Run(store, progress, pool, tell)
        try:
            run.log()
            run.objects()
        finally:
            run.save()
    progress.finished = store.clock.now().timestamp()
    progress.save(store.data)


class _Run:
    """Gives units out and takes their results in order, so that one mark tells what is done."""

    def __init__(self, store: Store, progress: ScrubProgress, pool: Pool, tell: Tell) -> None:
        self._store = store
        self._progress = progress
        self._pool = pool
        self._tell = tell
        self._before = progress.seconds
        self._began = self._saved = time.monotonic()

    def log(self) -> None:
        progress = self._progress
        newest = self._store.ledger.checkpoint()
        heads = [*self._store.ledger.readers.finals(), newest]
        trees = [(shard_of(head.origin), head.size) for head in heads]
        # A tree is only ever smaller when an older store was put back.
        progress.bundles = min(progress.bundles, sum(bundle_count(size) for _, size in trees))
        total = sum(size for _, size in trees)

        def told() -> None:
            done = min(total, progress.bundles * TILE_WIDTH)
            self._tell(LEDGER, done, total, progress.bytes)

        self._all(plan_bundles(trees, progress.bundles), told)

    def objects(self) -> None:
        progress, database = self._progress, self._store.database
        most, rate = _UNIT_BYTES, self._pool.job.bytes_per_second
        if rate is not None:
            most = max(MIB, min(most, int(rate * _UNIT_SECONDS)))
        total = count_objects(database)

        def told() -> None:
            done = progress.objects
            self._tell(OBJECTS, done, max(total, done), progress.bytes)

        self._all(plan_objects(database, progress.after, most), told)

    def save(self) -> None:
        self._saved = time.monotonic()
        self._progress.seconds = self._before + self._saved - self._began
        self._progress.save(self._store.data)

    def _all(self, units: Iterable[ScrubUnit], told: Callable[[], None]) -> None:
        waiting: deque[tuple[ScrubUnit, Future[Result]]] = deque()
        told()
        for unit in units:
            waiting.append((unit, self._pool.submit(unit)))
            if len(waiting) >= self._pool.size * _AHEAD:
                self._take(*waiting.popleft())
                told()
        while waiting:
            self._take(*waiting.popleft())
            told()

    def _take(self, unit: ScrubUnit, future: Future[Result]) -> None:
        try:
            result = future.result()
        except BrokenExecutor as error:
            raise ScrubStopped(reason="worker_lost") from error
        if result.failure is not None:
            raise ScrubStopped(reason=result.failure)
        progress = self._progress
        progress.entries += result.entries
        progress.objects += result.objects
        progress.bytes += result.bytes
        progress.problems += result.problems
        if isinstance(unit, Bundles):
            progress.bundles = unit.done
        else:
            progress.after = unit.keys[-1]
        if time.monotonic() - self._saved >= _SAVE_SECONDS:
            self.save()
