"""Follows the published checkpoint in a process that does not write the log now.

Readers then find the newest head in memory, as they do where the log is written, and
those who wait for an entry are woken within an interval, not at their own next look.
"""

import logging
import threading
import time
from collections.abc import Callable

from ledger.reader import LogReader
from ledger.sequencer import reason_of

INTERVAL = 0.1  # seconds between two looks, if a look takes no longer
FRESH = 1.0  # seconds for which a look counts; then readers look for themselves

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
        self._thread: threading.Thread | None = None
        self._looked: float | None = None
        self._told = False

    @property
    def fresh(self) -> bool:
        """Whether the head in memory is the published one, or was a moment ago."""
        looked = self._looked
        return looked is not None and time.monotonic() - looked < FRESH

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._looked = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._leading():
                self._look()
            self._stopping.wait(self._interval)

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self._reader.refresh()
        except Exception as error:  # noqa: BLE001 - whoever reads looks for itself, and is told
            if not self._told:
                _log.warning("the checkpoint was not read: %s", reason_of(error))
            self._told = True
            return
        self._told = False
        self._looked = began
