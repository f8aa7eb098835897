"""A file lock that keeps a second sequencer waiting outside. For liveness only.

Safety is the compare-and-swap in `heads`: a lock that fails, or a file system
without locks, costs a stopped process and never a second root.
"""

import fcntl
import os
from pathlib import Path

from ledger.errors import SequencerBusy


class FileLock:
    """Held from `acquire` to `release`, or until the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock at once, or raise `SequencerBusy`."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SequencerBusy() from None
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
