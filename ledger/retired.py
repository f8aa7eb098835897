"""Shards that have ended, as their successors tell of them.

The first leaf of a shard names the last checkpoint of the one before, and the keys that
signed it. It is proved under the successor's own checkpoint, so whoever trusts the newest
shard's keys can go back to the first, and no row is believed on the way.
"""

import re
import threading
from dataclasses import dataclass

from kernel.canonical import JsonValue
from ledger.checkpoints import Checkpoint
from ledger.errors import InclusionInvalid, KeyMalformed, LeafMalformed, NotInLog
from ledger.layout import SHARD
from ledger.leaves import CLOSED, OPENED, PublicLeaf, parse_leaf, public_leaf
from ledger.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from ledger.notes import VerifierKey
from ledger.reader import LogReader
from ledger.tilestore import OpensShards

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a shard ended: its last checkpoint, and the keys that signed it."""

    final: Checkpoint
    keys: tuple[VerifierKey, ...]

    @property
    def shard(self) -> str:
        return shard_of(self.final.origin)

    def reader(self, shards: OpensShards) -> LogReader:
        """Reads it, and believes no other checkpoint. `LogMissing` if its place is gone."""
        return LogReader(shards.open(self.shard), self.shard, *self.keys, final=self.final)

    def body(self) -> dict[str, JsonValue]:
        """As it stands in the successor's first leaf, Ed25519 key first."""
        return {
            "origin": self.final.origin,
            "size": self.final.size,
            "root": self.final.root.hex(),
            "vkey": self.keys[0].text,
            "mldsa44_vkey": self.keys[1].text,
        }


def shard_of(origin: str) -> str:
    """The last part of `name/shard`."""
    return origin.rpartition("/")[2]


def ended_before(entry: bytes, origin: str) -> Ended | None:
    """What the first entry of the log `origin` says of the shard before; None: it was the first.

    `LeafMalformed` if it is no such entry, or says what cannot be.
    """
    leaf = parse_leaf(entry)
    if not isinstance(leaf, PublicLeaf) or leaf.kind != OPENED or leaf.body.get("origin") != origin:
        raise LeafMalformed(reason="the shard's first entry is not its opening")
    previous = leaf.body.get("previous")
    if previous is None:
        return None
    try:
        return _ended(previous, origin)
    except KeyMalformed as error:
        raise LeafMalformed(reason="a key of the shard before") from error


def _ended(value: JsonValue, successor: str) -> Ended:
    if not isinstance(value, dict):
        raise LeafMalformed(reason="the shard before")
    origin, size, root = value.get("origin"), value.get("size"), value.get("root")
    if not isinstance(origin, str) or not SHARD.fullmatch(shard_of(origin)):
        raise LeafMalformed(reason="the origin of the shard before")
    same = origin.rpartition("/")[0] == successor.rpartition("/")[0]
    if not same or shard_of(origin) >= shard_of(successor):
        raise LeafMalformed(reason="the origin of the shard before")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise LeafMalformed(reason="the size of the shard before")
    if not isinstance(root, str) or not _HEX.fullmatch(root) or len(root) != 2 * HASH_SIZE:
        raise LeafMalformed(reason="the root of the shard before")
    names = ("vkey", "mldsa44_vkey")
    keys = tuple(VerifierKey.parse(str(value.get(name))) for name in names)
    if any(key.name != origin for key in keys):
        raise LeafMalformed(reason="a key of the shard before")
    return Ended(Checkpoint(origin, size, bytes.fromhex(root)), keys)


def opening_body(successor: JsonValue, ended: Ended) -> dict[str, JsonValue]:
    """The body, but for its time, of the first entry of the shard that follows one that ended:
    `successor` as the last entry of that one names it."""
    if not isinstance(successor, dict):
        raise LeafMalformed(reason="the shard that follows")
    return {**successor, "previous": ended.body()}


def opening_after(closed: PublicLeaf, ended: Ended) -> bytes:
    """The first entry of the next shard, from the last one of the shard that ended: both say
    the time of the transaction that made them. `LeafMalformed`."""
    successor, at = closed.body.get("successor"), closed.body.get("at")
    if closed.kind != CLOSED or at is None:
        raise LeafMalformed(reason="the last entry of a closed shard")
    return public_leaf(OPENED, {"at": at, **opening_body(successor, ended)})


def proved_before(reader: LogReader) -> Ended | None:
    """`ended_before` of the first entry that stands in the tree of `reader`: the published
    one, or the one with which its shard ended.

    `NotInLog` if it does not stand there; what reading tiles raises.
    """
    head = reader.final or reader.published().checkpoint
    entry = reader.bundle(0, head.size)[0]
    try:
        verify_inclusion(leaf_hash(entry), 0, head.size, reader.path(0, head.size), head.root)
    except InclusionInvalid as error:
        raise NotInLog(entry=f"{reader.shard}/0") from error
    return ended_before(entry, reader.key.name)


class Retired:
    """Readers of all shards before the newest. Safe from many threads.

    They are found once, going back from the newest, and only as far as is asked for.
    """

    def __init__(self, newest: LogReader, shards: OpensShards) -> None:
        self._shards = shards
        self._lock = threading.Lock()
        self._found = [newest]  # the newest first
        self._whole = False

    def readers(self) -> tuple[LogReader, ...]:
        """The oldest first. Raises what `proved_before` does; `LogMissing` also while the
        newest shard has published nothing, or where the place of another is gone."""
        with self._lock:
            while self._further():
                pass
            return tuple(self._found[:0:-1])

    def reader(self, shard: str) -> LogReader | None:
        """Of this shard; None if it never was. Raises as `readers`."""
        with self._lock:
            # Shards sort as they follow one another.
            while self._found[-1].shard > shard and self._further():
                pass
            return next((one for one in self._found[1:] if one.shard == shard), None)

    @property
    def known(self) -> tuple[LogReader, ...]:
        """Those found until now, the oldest first."""
        return tuple(self._found[:0:-1])

    def _further(self) -> bool:
        """Find one more; False: there is none."""
        if self._whole:
            return False
        ended = proved_before(self._found[-1])
        self._whole = ended is None
        if ended is not None:
            self._found.append(ended.reader(self._shards))
        return ended is not None
