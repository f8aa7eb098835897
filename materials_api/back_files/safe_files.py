"""Files inside one folder, opened so that nothing leads out of it.

Every part of a path is opened relative to the part before and no link is
followed (`openat` with `O_NOFOLLOW`), so that there is no moment between a
check and its use.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BLOCK_BYTES = 1 << 20


class FileRefused(Exception):
    """`code` is one of `manifest.PROBLEMS`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class OpenFile:
    """A plain file, open for reading. `size` in bytes, as it was when opened."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size

    def read(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop), fewer at the end."""
        parts: list[bytes] = []
        while start < stop and (part := os.pread(self._fd, stop - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def blocks(self) -> Iterator[bytes]:
        """The whole content in blocks of 1 MiB."""
        at = 0
        while block := os.pread(self._fd, BLOCK_BYTES, at):
            yield block
            at += len(block)


class Folder:
    """A folder whose files may be read. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    @contextmanager
    def open(self, path: str) -> Iterator[OpenFile]:
        """Open a relative path (`manifest.safe_path` checked its form); `FileRefused`."""
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") for part in parts):
            raise FileRefused("row_path")
        with _coded():
            fd = self._descend(parts)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FileRefused("file_kind")
            yield OpenFile(fd, status.st_size)
        except OSError as error:
            raise FileRefused("file_unreadable") from error
        finally:
            os.close(fd)

    def _descend(self, parts: list[str]) -> int:
        folders: list[int] = []
        try:
            at = self._fd
            for part in parts[:-1]:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                at = os.open(part, flags, dir_fd=at)
                folders.append(at)
            # Non-blocking, so that a pipe does not wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(parts[-1], flags, dir_fd=at)
        finally:
            for fd in folders:
                with suppress(OSError):
                    os.close(fd)


@contextmanager
def _coded() -> Iterator[None]:
    """Turn what the system says of a path into a code."""
    try:
        yield
    except FileNotFoundError:
        raise FileRefused("file_missing") from None
    except OSError as error:
        # A link gives ELOOP or ENOTDIR; a socket ENXIO; a closed folder EACCES.
        code = "file_unreadable" if isinstance(error, PermissionError) else "file_kind"
        raise FileRefused(code) from error
