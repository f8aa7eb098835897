"""Follows the published checkpoint in a process that does not write the log now.

Readers then find the newest head in memory, as they do where the log is written, and
those who wait for an entry are woken within an interval, not at their own next look.
A look is a request to the store of the log, so it is only often while somebody waits.
"""

import logging
import threading
import time
from collections.abc import Callable

from ledger.checkpoints import SignedCheckpoint
from ledger.reader import LogReader
from ledger.sequencer import reason_of

INTERVAL = 0.1  # seconds between two looks while somebody waits, if a look takes no longer
FRESH = 0.2  # seconds for which a look counts; then readers look for themselves
QUIET = 1.0  # seconds between two looks while nobody waits
LINGER = 0.3  # seconds for which a call counts: longer than waiters let pass between two

_log = logging.getLogger(__name__)


class Follower:
    """Looks in a thread of its own between `start` and `stop`. Safe from many threads."""

    def __init__(
        self, reader: LogReader, leading: Callable[[], bool], interval: float = INTERVAL
    ) -> None:
        """`leading`: whether this process writes the log itself; then there is no need."""
        self._reader = reader
        self._leading = leading
        self._interval = interval
        self._stopping = threading.Event()
        self._called = threading.Event()
        self._called_until = 0.0
        self._thread: threading.Thread | None = None
        self._looked: float | None = None
        self._told = False

    def newest(self) -> SignedCheckpoint:
        """The published checkpoint, as it is or was a moment ago. Raises what
        `LogReader.refresh` raises."""
        looked = self._looked
        fresh = looked is not None and time.monotonic() - looked < FRESH
        return self._reader.published() if fresh or self._leading() else self._refresh()

    def call(self) -> None:
        """Somebody waits for what is published next, and calls again while they do."""
        self._called_until = time.monotonic() + LINGER
        self._called.set()

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._called.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._looked = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._leading():
                self._look()
            self._stopping.wait(self._interval)
            if time.monotonic() >= self._called_until:
                self._called.wait(QUIET)
            self._called.clear()

    def _look(self) -> None:
        try:
            self._refresh()
        except Exception as error:  # noqa: BLE001 - whoever reads looks for itself, and is told
            if not self._told:
                _log.warning("the checkpoint was not read: %s", reason_of(error))
            self._told = True
            return
        self._told = False

    def _refresh(self) -> SignedCheckpoint:
        began = time.monotonic()
        signed = self._reader.refresh()
        if self._thread is not None:
            self._looked = began
        return signed
