"""The background thread that runs the sequencer: woken by commits, at most ten rounds a second."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from kernel.clock import Clock
from ledger.lock import FileLock
from ledger.sequencer import MAX_BATCH, Sequencer

INTERVAL = 0.1  # seconds between the starts of two rounds
LOOK_AGAIN = 1.0  # seconds after which entries of other processes are looked for


class Worker:
    """Runs rounds until `stop`, or until the sequencer fails; then `failure` says why."""

    def __init__(
        self, sequencer: Sequencer, lock: FileLock, clock: Clock, interval: float = INTERVAL
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

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Something was committed. Never blocks, never fails."""
        self._woken.set()

    def start(self) -> None:
        """Take the lock, recover, and run. Raises what those raise."""
        self._lock.acquire()
        try:
            self._sequencer.recover(self._clock.now())
        except BaseException:
            self._lock.release()
            raise
        self._stopping.clear()
        self._woken.set()
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Publish what waits, then end the thread and release the lock."""
        if self._thread is None:
            return
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        self._thread = None
        self._lock.release()

    def replace(self, sequencer: Sequencer) -> None:
        """Take another sequencer, after `stop`: the old one failed for good."""
        self._sequencer = sequencer

    def once(self, at: datetime) -> int:
        """Without the thread: take the lock, recover, publish all that waits, release."""
        self._lock.acquire()
        try:
            total = count = self._sequencer.recover(at)
            while (count := self._sequencer.round(at)) > 0:
                total += count
            return total
        finally:
            self._lock.release()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(LOOK_AGAIN)
            self._woken.clear()
            begun = time.monotonic()
            if not self._rounds():
                return
            # Let commits gather, so that a busy log signs ten times a second.
            self._stopping.wait(max(0.0, begun + self._interval - time.monotonic()))
        self._rounds()

    def _rounds(self) -> bool:
        """Rounds until nothing more than one batch waits; False once the sequencer failed."""
        try:
            count = MAX_BATCH
            while count == MAX_BATCH:
                begun = time.monotonic()
                count = self._sequencer.round(self._clock.now())
                if count:
                    self.observe(count, time.monotonic() - begun)
        except BaseException:  # noqa: BLE001 - the sequencer keeps it as its failure
            return False
        return True


def _unobserved(entries: int, seconds: float) -> None:
    """Nobody asked."""
