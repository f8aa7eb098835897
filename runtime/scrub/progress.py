"""How far a scrub has come, in a small file beside the store: `scrub.json`.

It holds numbers, ids and codes. A scrub that was killed goes on from it; one that
came to its end leaves in it what it found, for whoever watches.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ledger.problems import Problem
from runtime.errors import ScrubBusy
from storage.objects.durable_file import device_errors, fsync_folder

FILE = "scrub.json"
LOCK = "scrub.lock"
_VERSION = 1


@dataclass(slots=True)
class ScrubProgress:
    """`bundles`: how many of the log are done; `after`: the last object key that is.

    Times are Unix seconds; `seconds` counts only while a scrub ran.
    """

    began: float
    bundles: int = 0
    after: str = ""
    entries: int = 0
    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    finished: float | None = None

    def save(self, data: Path) -> None:
        """Replace the file, durably and at once."""
        path = data / FILE
        temporary = data / f"{FILE}.new"
        with device_errors():
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as target:
                json.dump({"v": _VERSION, **asdict(self)}, target, ensure_ascii=False)
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(path)
            fsync_folder(str(data))


def load(data: Path) -> ScrubProgress | None:
    """What the last scrub of this store left; None where there is none that can be read:
    then the next one simply begins at the beginning."""
    try:
        content: dict[str, Any] = json.loads((data / FILE).read_bytes())
        if content.pop("v") != _VERSION:
            return None
        content["problems"] = [Problem(**one) for one in content["problems"]]
        return ScrubProgress(**content)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """`ScrubBusy` while another scrub of this store runs; a killed one lets go at once."""
    with device_errors():
        descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ScrubBusy() from None
    try:
        yield
    finally:
        os.close(descriptor)
