"""Tessera's fsck, a checker of C2SP logs that others wrote, from the program that `make servers`
built."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A fetcher that meets a wrong tile ends, and with all of them ended the program waits for ever.
FETCHERS = 16
SECONDS = 60
_WHOLE = re.compile(r"Successfully fsck'd log with size (\d+) and root \S+ \(([0-9a-f]{64})\)")
_WRONG = re.compile(r"fsck failed: (.*)")
_FATAL = re.compile(r"^F\d{4} .*?\] (.*)", re.MULTILINE)


def find_tessera() -> Path | None:
    """The program, or None where `make servers` was not run."""
    found = subprocess.run(
        [str(ROOT / "scripts/servers/tessera.sh"), "--path"], capture_output=True, text=True
    )
    return Path(found.stdout.strip()) if found.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Whole:
    """It read every bundle and tile under this head, and found them right."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


def fsck(program: Path, url: str, vkey: Path, origin: str | None = None) -> Whole | Refused:
    """What it says about the log at `url` under the key in the file `vkey`. Its exit code is 0
    in either case, so the words count; anything else, silence too, fails the test."""
    asked = [program, "-ui=false", f"-N={FETCHERS}", f"-storage_url={url}", f"-public_key={vkey}"]
    if origin is not None:
        asked.append(f"-origin={origin}")
    said = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS).stderr
    whole, wrong = _WHOLE.findall(said), _WRONG.findall(said) + _FATAL.findall(said)
    assert len(whole) + len(wrong) == 1, said
    if wrong:
        return Refused(wrong[0])
    ((size, root),) = whole
    return Whole(int(size), bytes.fromhex(root))
