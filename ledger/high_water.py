"""The newest signed head, remembered outside: in a file that lies on another disk.

Database and log folder may both be put back to an earlier state, by a snapshot of
the whole machine. Then only something that was not put back with them can tell.
"""

import os
import secrets
from pathlib import Path
from typing import Protocol

from ledger.checkpoints import SignedCheckpoint, parse_checkpoint
from ledger.errors import (
    CheckpointMalformed,
    HighWaterExists,
    HighWaterInvalid,
    HighWaterMissing,
    NoteMalformed,
)
from storage.objects.durable_file import device_errors, fsync_folder

_MAX_BYTES = 1 << 20


class HeadMemory(Protocol):
    """Remembers one signed checkpoint of one log. Used by the one sequencer."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def read(self) -> SignedCheckpoint:
        """The remembered one, its signatures not verified. `HighWaterMissing`,
        `HighWaterInvalid`."""
        ...

    def remember(self, checkpoint: bytes) -> None:
        """Replace it: atomic, and durable on return. The caller never goes back."""
        ...


class HighWaterFile:
    """A `HeadMemory` in a file. It is made by `create` alone: a lost one is an error."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return str(self._path)

    def create(self, checkpoint: bytes) -> None:
        """Make the file. `HighWaterExists`: what stands there is never replaced by this."""
        if self._path.exists():
            raise HighWaterExists(path=self.name)
        self.remember(checkpoint)

    def read(self) -> SignedCheckpoint:
        with device_errors():
            try:
                with self._path.open("rb") as file:
                    data = file.read(_MAX_BYTES)
            except FileNotFoundError:
                raise HighWaterMissing(path=self.name) from None
        try:
            return parse_checkpoint(data)
        except (NoteMalformed, CheckpointMalformed) as error:
            raise HighWaterInvalid(path=self.name) from error

    def remember(self, checkpoint: bytes) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        with device_errors():
            try:
                with temporary.open("xb") as file:
                    file.write(checkpoint)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
            finally:
                temporary.unlink(missing_ok=True)
            fsync_folder(str(self._path.parent))
