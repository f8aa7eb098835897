"""Space on the disks of the store, and the part of it that is held back for the log."""

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MIB = 1 << 20
RESERVE = ".reserve"


def free_space(places: Mapping[str, Path]) -> dict[str, int]:
    """Free bytes for this user, by name of place; places on one disk count once, the first.

    `OSError` if a place is gone: a disk that is no longer mounted, say.
    """
    found: dict[str, int] = {}
    seen: set[int] = set()
    for name, path in places.items():
        device = path.stat().st_dev
        if device not in seen:
            seen.add(device)
            found[name] = shutil.disk_usage(path).free
    return found


class Reserve:
    """A file that takes up space, to be given up when the disk is full.

    With it the log can still finish what was acknowledged although others filled
    the disk. It holds nothing, and is there only while the store is being served.
    """

    def __init__(self, folder: Path, size: int) -> None:
        """`size` in bytes; 0: nothing is held back."""
        self._path = folder / RESERVE
        self.size = size

    @property
    def held(self) -> bool:
        return self._path.exists()

    def hold(self) -> bool:
        """Take the space; False if there is none."""
        if self.size == 0 or self.held:
            return True
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size)
        except OSError as error:
            self.release()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        finally:
            os.close(descriptor)
        return True

    def release(self) -> bool:
        """Give the space up; False if there was none to give."""
        held = self.held
        with suppress(FileNotFoundError):
            self._path.unlink()
        return held
