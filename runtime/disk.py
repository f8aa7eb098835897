"""Space on the disks of the store, and the part of it that is held back for the log."""

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MIB = 1 << 20
RESERVE = ".reserve"


def free_space(places: Mapping[str, Path]) -> tuple[dict[str, int], list[str]]:
    """Free bytes for this user by name of place, and the places that are gone or cannot
    be read: their disk is no longer mounted, say. Places on one disk count once, the first."""
    free: dict[str, int] = {}
    gone: list[str] = []
    seen: set[int] = set()
    for name, path in places.items():
        try:
            device = path.stat().st_dev
            if device not in seen:
                free[name] = shutil.disk_usage(path).free
                seen.add(device)
        except OSError:
            gone.append(name)
    return free, gone


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
