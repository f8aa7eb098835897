"""Looks at what the service rests on, once a second, and says what is missing.

Readiness, back-pressure and metrics all read the last look from memory: nothing is
counted per request, and a database that hangs cannot hang whoever asks for health.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernel.clock import Clock
from kernel.errors import CodedError
from ledger.errors import OutsideUnreachable, ShardEnded
from ledger.sequencer import reason_of
from ledger.service import Ledger
from runtime.disk import MIB, Reserve, free_space
from runtime.errors import DiskLow, QueueTooDeep
from runtime.metrics import Metrics
from runtime.queue_state import QueueState, queue_state
from runtime.settings import Settings
from runtime.unexpected import describe
from storage.database import Database
from storage.errors import ObjectMissing, StorageFailed, StorageFull
from storage.objects import ObjectStore

log = logging.getLogger("mianjiao.watch")

DATABASE = "database"
OBJECTS = "objects"
LOG = "log"
DISK = "disk"
QUEUE = "queue"
CANARY = "canary"
WATCH = "watch"
WHAT = (DATABASE, OBJECTS, LOG, DISK, QUEUE, CANARY, WATCH)
# Without these not even reading works.
FOR_READS = frozenset({DATABASE, OBJECTS, WATCH})

# What cannot work without a folder.
_OF_PLACE = {"data": DATABASE, "objects": OBJECTS, "log": LOG}
_FOLDER = "folder_missing"
_NO_OBJECT = "0" * 32  # a key that no object has
_OBJECT_LOOKS = 5  # the object store is asked at every fifth look
_EVIDENCE_LOOKS = 5
STALLED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. `missing`: a reason for each of `WHAT` that is not as it should be."""

    missing: Mapping[str, str] = field(default_factory=dict)
    queue: QueueState = field(default_factory=QueueState)
    free: Mapping[str, int] = field(default_factory=dict)


class Watch:
    """Looks in a thread of its own between `start` and `stop`. Safe from many threads."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        database: Database,
        objects: ObjectStore,
        ledger: Ledger,
        places: Mapping[str, Path],
        reserve: Reserve,
        metrics: Metrics,
        canary: Callable[[], str | None],
        evidence: Callable[[], None] = lambda: None,
        stalled: float = STALLED_SECONDS,
    ) -> None:
        """`places`: folders whose disks must not run full. `canary`: why the last check
        by writing failed, or None. `evidence`: tells the metrics of
        evidence from outside. A look that takes longer than `stalled` seconds hangs."""
        self._settings = settings
        self._clock = clock
        self._database = database
        self._objects = objects
        self._ledger = ledger
        self._places = places
        self._reserve = reserve
        self._metrics = metrics
        self._canary = canary
        self._evidence = evidence
        self._sequences = True
        self._stalled = stalled
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._look = Look()
        self._began: float | None = None
        self._asked = DATABASE
        self._looks = 0
        self._told: set[str] = set()
        self._log_full = False
        self._objects_reason: str | None = None
        self.refusal: CodedError | None = None
        """Why writes are refused now; None: they are not."""

    # --- The thread ---

    def start(self, *, sequences: bool = True) -> None:
        """Look once, then again and again. `sequences`: this process must be writing the
        log, or stand by; of one that leaves it to others only what waits is asked."""
        self._sequences = sequences
        self._reserve.hold()
        self.look()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._reserve.release()

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.watch_seconds):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                self._metrics.unexpected.inc()
                log.error("watch_failed", extra={"error": describe(error)})

    # --- What others read ---

    @property
    def last(self) -> Look:
        return self._look

    def missing(self) -> dict[str, str]:
        """What is missing now, each with its reason; empty: ready."""
        found = dict(self._look.missing)
        if self._looks == 0:
            found[WATCH] = "not_started"
        # Known at once, without waiting for the next look.
        failure = self._ledger.sequencer.failure
        if isinstance(failure, OutsideUnreachable):
            pass  # work is accepted meanwhile: see `waiting`
        elif failure is not None:
            found[LOG] = reason_of(failure)
        elif self._sequences and not self._ledger.running:
            found[LOG] = "not_started"
        began = self._began
        if began is not None and time.monotonic() - began > self._stalled:
            found[self._asked] = "not_answering"
        return found

    def waiting(self) -> dict[str, str]:
        """What waits for somebody outside, each with its reason, while work is accepted."""
        failure = self._ledger.sequencer.failure
        return {LOG: failure.code} if isinstance(failure, OutsideUnreachable) else {}

    # --- One look ---

    def look(self) -> None:
        """Ask everything once, and remember the answers."""
        self._began = time.monotonic()
        missing: dict[str, str] = {}
        free = self._disks(missing)
        gone = bool(missing.keys() - {DISK})
        self._help_log()
        queue = self._queue(missing)
        if self._looks % _EVIDENCE_LOOKS == 0 and DATABASE not in missing:
            self._tell_of_evidence()
        self._object_store(missing)
        self._asked = LOG
        if self._ledger.sequencer.failure is None and self._late(queue):
            missing[LOG] = "late"
        if queue.ended:
            missing[LOG] = ShardEnded.code  # also where others write the log: start again
        reason = self._canary()
        if reason is not None:
            missing[CANARY] = reason
        if queue.depth >= self._settings.queue_limit:
            missing[QUEUE] = QueueTooDeep.code
        self.refusal = _refusal(missing, gone)
        self._look = Look(missing, queue, free)
        self._began = None
        self._tell(queue, free)

    def _disks(self, missing: dict[str, str]) -> dict[str, int]:
        self._asked = DISK
        free, gone = free_space(self._places)
        for place in gone:
            missing[_OF_PLACE.get(place, DISK)] = _FOLDER
        low = self._settings.disk_low_mib * MIB
        if DISK in self._look.missing:
            low += self._reserve.size  # so that it does not go back and forth
        if free and min(free.values()) < low:
            missing[DISK] = DiskLow.code
        elif not gone and not self._reserve.held:
            self._reserve.hold()
        return free

    def _help_log(self) -> None:
        """A log that a full disk stopped tries again by itself: give it the reserve."""
        if isinstance(self._ledger.sequencer.failure, StorageFull):
            self._log_full = True
            if self._reserve.release():
                log.warning("reserve_given_up")
        elif self._log_full and self._ledger.leading:
            self._log_full = False
            self._metrics.log_restarts.inc()
            log.warning("log_taken_up")

    def _queue(self, missing: dict[str, str]) -> QueueState:
        self._asked = DATABASE
        try:
            with self._database.read() as tx:
                return queue_state(tx, self._ledger.shard, self._settings.queue_limit)
        except Exception as error:  # noqa: BLE001 - whatever it is, the database does not answer
            missing[DATABASE] = reason_of(error)
            return self._look.queue

    def _object_store(self, missing: dict[str, str]) -> None:
        self._asked = OBJECTS
        if self._looks % _OBJECT_LOOKS == 0 or self._objects_reason is not None:
            self._objects_reason = None
            try:
                self._objects.size(_NO_OBJECT)
            except ObjectMissing:
                pass  # it looked
            except Exception as error:  # noqa: BLE001 - whatever it is, the store does not answer
                self._objects_reason = reason_of(error)
        self._looks += 1
        if self._objects_reason is not None:
            missing[OBJECTS] = self._objects_reason

    def _tell_of_evidence(self) -> None:
        """Evidence is no part of readiness: what goes wrong here is asked again."""
        self._asked = LOG  # the store of tiles may have to be asked
        try:
            self._evidence()
        except Exception as error:  # noqa: BLE001 - the log may be away: the look goes on
            log.warning("evidence_not_told", extra={"reason": reason_of(error)})

    def _late(self, queue: QueueState) -> bool:
        if queue.oldest is None:
            return False
        waited = (self._clock.now() - queue.oldest).total_seconds()
        return waited > self._settings.log_late_seconds

    def _tell(self, queue: QueueState, free: Mapping[str, int]) -> None:
        metrics, now = self._metrics, self._clock.now()
        missing = self.missing()
        for what in WHAT:
            metrics.missing.labels(what).set(what in missing)
        metrics.ready.set(not missing)
        metrics.log_waits.set(bool(self.waiting()))
        metrics.queue_depth.set(queue.depth)
        waited = 0.0 if queue.oldest is None else (now - queue.oldest).total_seconds()
        metrics.oldest_waiting.set(max(0.0, waited))
        if queue.signed_at is not None:
            metrics.checkpoint_age.set(max(0.0, (now - queue.signed_at).total_seconds()))
        metrics.log_size.set(queue.size)
        for place, space in free.items():
            metrics.disk_free.labels(place).set(space)
        for what in sorted(missing.keys() - self._told):
            log.warning("missing", extra={"what": what, "reason": missing[what]})
        for what in sorted(self._told - missing.keys()):
            log.warning("back", extra={"what": what})
        self._told = set(missing)


def _refusal(missing: Mapping[str, str], gone: bool) -> CodedError | None:
    """Why writes are refused while this is missing; `gone`: a folder is."""
    if gone:
        return StorageFailed(problem=_FOLDER)
    if DISK in missing:
        return DiskLow(seconds=60)
    if QUEUE in missing:
        return QueueTooDeep(seconds=5)
    return None
