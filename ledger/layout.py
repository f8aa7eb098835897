"""Where the parts of a log lie in the folder of its store, and what it may be called."""

import re
from pathlib import Path

from ledger.errors import OriginInvalid
from ledger.notes import is_key_name
from storage.errors import StoreMissing
from storage.objects import FilesystemStore

MAX_ORIGIN_BYTES = 255  # tlog-cosignature: the origin has a one-byte length
SHARD = re.compile(r"[0-9]{4}(-[0-9]{1,3})?", re.ASCII)
STOPS = "stops"  # folder in which stops are noted


def origin_of(name: str, shard: str) -> str:
    """`name/shard`; `OriginInvalid` if nobody could sign under it."""
    origin = f"{name}/{shard}"
    if not is_key_name(origin) or len(origin.encode()) > MAX_ORIGIN_BYTES:
        raise OriginInvalid(reason="1 to 255 bytes, no spaces, no plus sign")
    if not SHARD.fullmatch(shard) or not name or name.startswith("/") or name.endswith("/"):
        raise OriginInvalid(reason="name without outer slashes, shard a year")
    return origin


def log_path(directory: Path) -> Path:
    """Where the shards lie exactly as they are served, unless they lie in a bucket."""
    return directory / "log"


def stops_store(directory: Path) -> FilesystemStore:
    """Where stops are noted; made where a store is older than they are."""
    folder = directory / STOPS
    try:
        return FilesystemStore(folder)
    except StoreMissing:
        return FilesystemStore(folder, create=True)


def lock_path(directory: Path, shard: str) -> Path:
    return directory / f"sequencer-{shard}.lock"
