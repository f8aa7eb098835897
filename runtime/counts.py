"""The counts on the front page, kept for a while where counting is slow.

Counting reads every row of an index: a millisecond for ten thousand, seconds for a
hundred million. So a count is kept for fifty times as long as it took, and the page
says when it was made.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from kernel.clock import Clock
from license_service.tables import licenses
from materials_api.tables import cases, materials, verifications
from storage.database import Database, ReadTx

_QUICK_SECONDS = 0.01  # what is counted faster than this is counted each time
_KEPT_TIMES = 50
_KEPT_SECONDS = 300.0  # but never longer


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of the store, all from one snapshot, and when it was taken."""

    at: datetime
    materials: int
    licenses: int
    cases: int
    allowed: int
    denied: int


class KeptCounts:
    """Counts at most so often. Safe from many threads: one counts, the others take the last."""

    def __init__(
        self, database: Database, clock: Clock, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._clock = clock
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._counts: Counts | None = None
        self._until = 0.0

    def read(self) -> Counts:
        known = self._counts
        if known is not None and self._elapsed() < self._until:
            return known
        if not self._lock.acquire(blocking=known is None):
            assert known is not None  # noqa: S101 - otherwise it would have waited
            return known
        try:
            if self._counts is not known and self._counts is not None:
                return self._counts  # somebody counted while this one waited
            began = self._elapsed()
            at = self._clock.now()
            with self._database.read() as tx:
                self._counts = _count(tx, at)
            ended = self._elapsed()
            took = ended - began
            kept = 0.0 if took < _QUICK_SECONDS else min(_KEPT_SECONDS, _KEPT_TIMES * took)
            self._until = ended + kept
            return self._counts
        finally:
            self._lock.release()


def _count(tx: ReadTx, at: datetime) -> Counts:
    count = func.count()
    outcomes = {
        str(row["outcome"]): int(row["n"])
        for row in tx.all(
            select(verifications.c.outcome, count.label("n")).group_by(verifications.c.outcome)
        )
    }
    return Counts(
        at=at,
        materials=int(tx.scalar(select(count).select_from(materials))),
        licenses=int(tx.scalar(select(count).select_from(licenses))),
        cases=int(tx.scalar(select(count).select_from(cases))),
        allowed=outcomes.get("allowed", 0),
        denied=outcomes.get("denied", 0),
    )
