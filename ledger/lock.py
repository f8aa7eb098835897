"""Locks that keep a second sequencer waiting outside. For liveness only.

Safety is the compare-and-swap in `heads`: a lock that fails, or a file system
without locks, costs a stopped process and never a second root.
"""

import fcntl
import os
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL

from ledger.errors import SequencerBusy, SequencerLost
from storage.database import Database


class SequencerLock(Protocol):
    """At most one process holds it, from `acquire` until `release` or its own end.

    Used from one thread at a time. What a killed process held is free at once;
    what a machine held that is gone without a word, within five seconds.
    """

    def acquire(self) -> None:
        """Take the lock at once, or raise `SequencerBusy`."""
        ...

    def check(self) -> None:
        """`SequencerLost` if it is no longer held: somebody else may have it by now."""
        ...

    def release(self) -> None:
        """Give it back, if it is held."""
        ...


class FileLock:
    """For one machine: a lock on a file beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SequencerBusy() from None
        self._descriptor = descriptor

    def check(self) -> None:
        """A file that was removed keeps nobody out: the next one makes another."""
        if self._descriptor is not None:
            try:
                if os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                    return
            except FileNotFoundError:
                pass
        raise SequencerLost(step="lock")

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AdvisoryLock:
    """For any number of machines: an advisory lock of PostgreSQL on a session of its own."""

    def __init__(self, url: URL, shard: str) -> None:
        # Only here: an embedded store needs no driver of a server.
        from storage.database.session_lock import SessionLock

        self._lock = SessionLock(url, f"sequencer/{shard}")

    def acquire(self) -> None:
        if not self._lock.try_acquire():
            raise SequencerBusy()

    def check(self) -> None:
        if not self._lock.held():
            raise SequencerLost(step="lock")

    def release(self) -> None:
        self._lock.release()


def lock_of(database: Database, path: Path, shard: str) -> SequencerLock:
    """The lock that goes with the database: a file at `path`, or in the server."""
    place = database.place
    return FileLock(path) if isinstance(place, Path) else AdvisoryLock(place, shard)
