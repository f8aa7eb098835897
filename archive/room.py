"""What the use cases of the archive room work with, wired once by `runtime`."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from materials_api.room import MaterialsRoom

GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class ArchiveRoom:
    """The room's parts. Safe to share between threads, as each part is.

    `exports` is a folder of the store's own, for packages that are being built;
    it is empty at rest. `software` is named in each package as its maker.
    """

    materials: MaterialsRoom
    exports: Path
    software: str = "Mianjiao 免交"
    package_bytes: int = 256 * GIB
    """The largest package, in bytes of payload."""
    kept: timedelta = timedelta(days=7)
    """How long a package that was made over HTTP can be fetched."""
    wait_seconds: float = 15.0
    """How long an export waits for records to reach a published checkpoint."""
