"""The background thread that runs the sequencer: woken by commits, at most ten rounds a second."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from kernel.clock import Clock
from ledger.errors import OutsideUnreachable, SequencerBusy, SequencerLost
from ledger.lock import SequencerLock
from ledger.pkcs11.errors import TokenFailed, TokenNotFound
from ledger.sequencer import MAX_BATCH, Sequencer, reason_of
from storage.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    OutcomeUnknown,
    StorageFull,
    StoreAway,
)

INTERVAL = 0.1  # seconds between the starts of two rounds
LOOK_AGAIN = 0.1  # seconds after which entries of other processes are looked for
STAND_BY = 1.0  # seconds between two tries to take over
# What passes by itself: afterwards the sequencer starts anew and recovers.
_PASSING = (
    DatabaseBusy,
    DatabaseUnavailable,
    OutcomeUnknown,
    StorageFull,
    StoreAway,
    OutsideUnreachable,
    TokenFailed,
    TokenNotFound,
)

_log = logging.getLogger(__name__)


class Worker:
    """Runs rounds until `stop`, or until the sequencer fails; then its `failure` says why.

    The lock is asked before each round, and given back once the sequencer failed,
    so that another process can take over. A failure of the database's connection,
    of the lock alone, of a full disk, of a store or a PKCS#11 token that is away passes:
    this process then stands by, and recovers.
    """

    def __init__(
        self, sequencer: Sequencer, lock: SequencerLock, clock: Clock, interval: float = INTERVAL
    ) -> None:
        self._sequencer = sequencer
        self._lock = lock
        self._clock = clock
        self._interval = interval
        self.observe: Callable[[int, float], None] = _unobserved
        """Told after each round that wrote: how many entries, and how many seconds it took."""
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._leading = False

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def leading(self) -> bool:
        """Whether this process writes the log now; False while it stands by."""
        return self._leading

    def wake(self) -> None:
        """Something was committed. Never blocks, never fails."""
        self._woken.set()

    def start(self) -> None:
        """Take the lock, recover, and run. Raises what those raise.

        When nobody outside can be reached it runs all the same, signs nothing, and asks again.
        """
        try:
            self._lead(self._sequencer.recover)
        except OutsideUnreachable as error:
            _log.warning("the log is not written yet: %s", error.code)
        self._begin()

    def stand_by(self) -> None:
        """Run as soon as no other process does: at once, or when it ends.

        What recovery raises then ends the thread and is the sequencer's `failure`.
        """
        self._begin()

    def stop(self) -> None:
        """Publish what waits, then end the thread and release the lock."""
        if self._thread is None:
            return
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        self._thread = None
        self._lock.release()

    def once(self, at: datetime, then: Callable[[], None] = lambda: None) -> int:
        """Without the thread: take the lock, recover, publish all that waits, do what `then`
        does, release."""
        self._lock.acquire()
        try:
            total = count = self._sequencer.recover(at)
            while (count := self._sequencer.round(at)) > 0:
                total += count
            then()
            return total
        finally:
            self._lock.release()

    def _lead(self, recover: Callable[[datetime], int]) -> None:
        self._lock.acquire()
        try:
            recover(self._clock.now())
        except BaseException:
            self._lock.release()
            raise
        self._leading = True

    def _begin(self) -> None:
        self._stopping.clear()
        self._woken.set()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._leading:
                self._try_to_lead()
            if self._leading:
                self._run_rounds()
            if not self._passes():
                return
            self._stopping.wait(STAND_BY)

    def _try_to_lead(self) -> None:
        try:
            self._lead(self._sequencer.recover_anew)
        except SequencerBusy:
            self._sequencer.restart()  # another process writes the log: nothing is wrong here
        except _PASSING:
            pass  # and is tried again
        except BaseException as error:  # noqa: BLE001 - the sequencer keeps it as its failure
            _log.warning("the log was not taken over: %s", reason_of(error))

    def _passes(self) -> bool:
        """Whether the sequencer, if it failed, can be started anew."""
        failure = self._sequencer.failure
        if isinstance(failure, SequencerLost):
            return failure.details["step"] == "lock"
        return failure is None or isinstance(failure, _PASSING)

    def _run_rounds(self) -> None:
        try:
            while not self._stopping.is_set():
                self._woken.wait(LOOK_AGAIN)
                self._woken.clear()
                begun = time.monotonic()
                if not self._rounds():
                    return
                # Let commits gather, so that a busy log signs ten times a second.
                self._stopping.wait(max(0.0, begun + self._interval - time.monotonic()))
            self._rounds()
        finally:
            self._leading = False
            self._lock.release()

    def _rounds(self) -> bool:
        """Rounds until nothing more than one batch waits; False once the sequencer failed."""
        try:
            count = MAX_BATCH
            while count == MAX_BATCH:
                self._sequencer.check(self._lock.check)
                begun = time.monotonic()
                count = self._sequencer.round(self._clock.now())
                if count:
                    self.observe(count, time.monotonic() - begun)
        except BaseException as error:  # noqa: BLE001 - the sequencer keeps it as its failure
            _log.warning("the log stopped: %s", reason_of(error))
            return False
        return True


def _unobserved(entries: int, seconds: float) -> None:
    """Nobody asked."""
