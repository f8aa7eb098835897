"""What a monitor remembers of a log: the head that it verified, with the tree's right edge."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kernel.canonical import JsonValue, NotCanonical, canonical_bytes, parse_record
from kernel.clock import parse_time, time_text
from kernel.errors import CodedError
from ledger.checkpoints import SignedCheckpoint, parse_any_checkpoint
from ledger.growth import Tail, bundle_of, tail_of
from ledger.merkle import TILE_WIDTH
from ledger.monitor.errors import MonitorStateInvalid
from ledger.notes import decode_base64
from ledger.proofs import hash_lines
from ledger.tiles import TilePath

STATE = "verified.json"
_KEYS = {"checkpoint", "edge", "grew_at"}
_CLOSED = "closed"


def _bundle_name(bundle: TilePath) -> str:
    return f"bundle-{bundle.index * TILE_WIDTH + bundle.width}"


@dataclass(frozen=True, slots=True)
class Verified:
    """A head whose whole tree was verified, its right edge, and when it was last seen to grow."""

    signed: SignedCheckpoint
    tail: Tail
    edge: Mapping[TilePath, bytes]
    grew_at: datetime
    closed: bytes | None = None  # the last entry, if it closes the log


class MonitorState:
    """One folder for one log: `verified.json`, the incomplete bundle beside it as
    `bundle-<size of the tree>`, for its entries may be long, and proofs of misbehaviour.

    `save` is atomic and durable on return. One monitor at a time.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def load(self) -> Verified | None:
        """What was saved last; None at the first look. `MonitorStateInvalid` if it is damaged."""
        path = self._folder / STATE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            value = parse_record(data)
            checkpoint, edge, grew_at = value["checkpoint"], value["edge"], value["grew_at"]
            closed = value.pop(_CLOSED, None)
            if set(value) != _KEYS or not isinstance(checkpoint, str):
                raise NotCanonical("keys")
            if not isinstance(closed, str | None):
                raise NotCanonical("types")
            if not isinstance(grew_at, str) or not isinstance(edge, dict):
                raise NotCanonical("types")
            signed = parse_any_checkpoint(checkpoint.encode())
            blobs = {
                TilePath.parse(name): decode_base64(str(blob)) or b"" for name, blob in edge.items()
            }
            if bundle := bundle_of(signed.checkpoint.size):
                blobs[bundle] = (self._folder / _bundle_name(bundle)).read_bytes()
            tail = tail_of(signed.checkpoint.size, blobs)
            at = parse_time(grew_at)
        except (NotCanonical, CodedError, FileNotFoundError, KeyError, ValueError) as error:
            raise MonitorStateInvalid(path=str(path), reason=type(error).__name__) from error
        if tail.root != signed.checkpoint.root:
            raise MonitorStateInvalid(path=str(path), reason="another root")
        return Verified(signed, tail, blobs, at, None if closed is None else closed.encode())

    def save(self, verified: Verified) -> None:
        bundle = bundle_of(verified.signed.checkpoint.size)
        if bundle is not None:
            self.write(_bundle_name(bundle), verified.edge[bundle])
        value: dict[str, JsonValue] = {
            "checkpoint": verified.signed.encode().decode(),
            "edge": {
                path.text: hash_lines([blob])[0]
                for path, blob in verified.edge.items()
                if path != bundle
            },
            "grew_at": time_text(verified.grew_at),
        }
        if verified.closed is not None:
            value[_CLOSED] = verified.closed.decode()
        self.write(STATE, canonical_bytes(value))
        for other in self._folder.glob("bundle-*"):
            if bundle is None or other.name != _bundle_name(bundle):
                other.unlink()

    def write(self, name: str, data: bytes) -> Path:
        """Replace a file of the folder, atomically and durably."""
        path = self._folder / name
        temporary = self._folder / f".{name}.new"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return path
