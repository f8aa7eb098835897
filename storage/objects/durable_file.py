"""Write a file once, so that it is whole and durable or not there at all."""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.errors import ImmutableConflict, StorageFailed, StorageFull

_COMPARE_BYTES = 1 << 20
_FLUSH_BYTES = 16 << 20
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DurableFile:
    """The steps of a write-once put: write, fsync, link, fsync the folder.

    The temporary file is locked for as long as its writer lives, so that
    `remove_leftovers` can tell it from one whose writer was killed.
    """

    def __init__(self, path: str, incoming: str) -> None:
        """Bytes go to a file in the folder `incoming` (same file system), then to `path`."""
        self._path = path
        self.folder = path.rpartition("/")[0]
        with device_errors():
            self._temporary, self._descriptor = _open_locked(incoming)
        self._written = 0
        self._flushed = 0
        self._open = True

    def write(self, data: bytes | bytearray) -> None:
        left = memoryview(data)
        with self._or_abort():
            while left:
                count = os.write(self._descriptor, left)
                self._written += count
                left = left[count:]
            if self._written - self._flushed >= _FLUSH_BYTES:
                # Starts the write-back without waiting, so that the last fsync is short.
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._flushed = self._written

    def commit(self) -> None:
        """See `ObjectWriter.commit`."""
        self.place()
        with device_errors():
            fsync_folder(self.folder)

    def place(self) -> None:
        """All of `commit` but the folder's fsync, for a batch that shares it."""
        with self._or_abort():
            os.fsync(self._descriptor)
            try:
                os.link(self._temporary, self._path)
            except FileExistsError:
                self._compare()
        self.abort()

    def abort(self) -> None:
        if not self._open:
            return
        self._open = False
        # Nothing depends on these two: what is kept was fsynced and linked, and a
        # file that cannot be removed now is a leftover for the next start.
        with suppress(OSError):
            os.unlink(self._temporary)  # noqa: PTH108
        with suppress(OSError):
            os.close(self._descriptor)  # and with it the lock: the name goes first

    def __del__(self) -> None:
        # A writer that was forgotten, e.g. after an error in another thread.
        if getattr(self, "_open", False):
            self.abort()

    def _compare(self) -> None:
        """The name is taken: by the same bytes, made durable again, or `ImmutableConflict`."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_size != self._written:
                raise ImmutableConflict()
            at = 0
            while at < self._written:
                known = os.pread(descriptor, _COMPARE_BYTES, at)
                if not known or known != os.pread(self._descriptor, len(known), at):
                    raise ImmutableConflict()
                at += len(known)
            # Whoever linked it may not have come to its fsync yet.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _or_abort(self) -> Iterator[None]:
        if not self._open:
            raise ValueError("this writer has committed or was aborted")
        try:
            with device_errors():
                yield
        except BaseException:
            self.abort()
            raise


@contextmanager
def device_errors() -> Iterator[None]:
    """Turn errors of the device into `StorageFull` and `StorageFailed`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StorageFull() from error
        raise StorageFailed(problem=errno.errorcode.get(error.errno or 0, "unknown")) from error


def fsync_folder(folder: str) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(incoming: str) -> int:
    """Remove temporary files whose writers are gone; return how many."""
    removed = 0
    for path in Path(incoming).iterdir():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
        except BlockingIOError:
            pass  # its writer lives
        except FileNotFoundError:
            pass  # and has just finished
        finally:
            os.close(descriptor)
    return removed


def _open_locked(incoming: str) -> tuple[str, int]:
    while True:
        path = f"{incoming}/{secrets.token_hex(16)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        # `remove_leftovers` came between open and lock: once more.
        os.close(descriptor)
