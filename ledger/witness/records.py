"""What a witness remembers: the newest checkpoint that it cosigned, one file a log."""

import fcntl
import os
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint, parse_any_checkpoint
from ledger.cosignatures import verify_signatures
from ledger.notes import VerifierKey
from ledger.witness.errors import WitnessBusy, WitnessStateCorrupt
from storage.objects.durable_file import device_errors

CHECKPOINT = "checkpoint"


def origin_hash(origin: str) -> str:
    """The path of a log under the monitoring prefix: lowercase hex of SHA-256 of the origin."""
    return sha256(origin.encode()).hexdigest()


class WitnessRecords:
    """`<folder>/<origin hash>/checkpoint`, each the cosigned note as it is served.

    One process at a time (`WitnessBusy` otherwise), which serialises what it does with one
    origin. `put` is atomic and durable on return; when it raises, the old record or the new
    one stands, never less. The files may be served by a plain web server.
    """

    def __init__(self, folder: Path, keys: Sequence[VerifierKey]) -> None:
        """`keys`: the witness's own. A record that none of them signed is not believed."""
        self._keys = tuple(keys)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise WitnessBusy() from None
        for leftover in folder.glob(".new-*"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._lock)

    def get(self, origin: str) -> SignedCheckpoint | None:
        """The newest cosigned checkpoint; None: never cosigned one. `WitnessStateCorrupt`."""
        path = self._path(origin)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            signed = parse_any_checkpoint(data)
            cosigned = verify_signatures(signed, self._keys)
        except CodedError as error:
            raise WitnessStateCorrupt(path=str(path), reason=error.code) from error
        if not cosigned or signed.checkpoint.origin != origin:
            raise WitnessStateCorrupt(path=str(path), reason="not cosigned by this witness")
        return signed

    @device_errors()
    def put(self, signed: SignedCheckpoint) -> None:
        path = self._path(signed.checkpoint.origin)
        if not path.parent.is_dir():
            path.parent.mkdir()
        # Also when the folder stood there: a crash may have left its name unsynced.
        _sync_folder(self._folder)
        temporary = self._folder / f".new-{secrets.token_hex(16)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(signed.encode())
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def keep_proof(self, data: bytes) -> Path:
        """Keep a proof of misbehaviour, under its own digest; durable on return."""
        path = self._folder / f"split-view-{sha256(data).hexdigest()[:16]}.json"
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._folder)
        return path

    def _path(self, origin: str) -> Path:
        return self._folder / origin_hash(origin) / CHECKPOINT


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
