"""The folder of a backup: what lies where, one writer at a time, replaced as a whole.

backup.json              the manifest; renamed into place last
rows-<digest>.sqlite3    all rows, from one snapshot
objects/                 ciphertext, as in a store; what is there already is not copied again
log/<shard>/             the published log, as it is served
backup.lock              held by whoever writes; also marks a backup that was begun
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.backup.errors import (
    BackupBusy,
    BackupFolderForeign,
    BackupInvalid,
    BackupMissing,
)
from runtime.backup.manifest import MANIFEST, Manifest, parse_manifest
from storage.objects.durable_file import device_errors, fsync_folder

LOCK = "backup.lock"
OBJECTS = "objects"
LOG = "log"
_BLOCK = 1 << 20


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder if need be and keep others out of it."""
    if folder.exists() and not folder.is_dir():
        raise BackupFolderForeign(path=str(folder))
    known = folder.is_dir() and any((folder / name).exists() for name in (LOCK, MANIFEST))
    if folder.is_dir() and not known and any(folder.iterdir()):
        raise BackupFolderForeign(path=str(folder))
    with device_errors():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BackupBusy(path=str(folder)) from None
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> Manifest:
    """`BackupMissing`, `BackupInvalid`."""
    try:
        with device_errors_but_missing():
            return parse_manifest((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise BackupMissing(path=str(folder)) from None
    except ValueError as error:
        raise BackupInvalid(reason=f"{MANIFEST}: {error}") from error


@contextmanager
def device_errors_but_missing() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        with device_errors():
            raise error


def put_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write or replace a file: whole or not at all, durable on return."""
    temporary = path.with_name(f".{path.name}.new")
    with device_errors():
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        fsync_folder(str(path.parent))


def digest_file(path: Path) -> tuple[int, str]:
    """Size and SHA-256 in hex; the file is made durable."""
    digest = hashlib.sha256()
    size = 0
    with device_errors(), path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
        os.fsync(file.fileno())
    return size, digest.hexdigest()
