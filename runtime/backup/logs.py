"""The shards of a log in backups and restores: found, verified whole, and in their order."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kernel.canonical import JsonValue
from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_checkpoint
from ledger.errors import KeyMalformed, LogMissing, SequencerBusy, TilePathInvalid
from ledger.growth import Tail, grow
from ledger.leaves import CLOSED, PublicLeaf, parse_leaf
from ledger.merkle import TILE_WIDTH, leaf_hash
from ledger.mirror import check_log, copy_log
from ledger.notes import VerifierKey
from ledger.reader import LogReader
from ledger.retired import Ended, Retired, opening_after, proved_before, shard_of
from ledger.tiles import TilePath, tile_width
from ledger.tilestore import OpensShards, Shards, TileStore
from runtime.backup.errors import BackupInvalid
from runtime.backup.folder import put_file
from storage.objects.durable_file import fsync_folder

Tell = Callable[[int, int], None]
ROUND_SECONDS = 3.0  # much longer than from a round's first tile to its checkpoint


@dataclass(frozen=True, slots=True)
class Verified:
    """A shard's log at hand, and the checkpoint under which all of it was verified."""

    reader: LogReader
    signed: SignedCheckpoint


@dataclass(frozen=True, slots=True)
class Begun:
    """A shard that the last one at hand names, whose place is there with nothing published:
    `opening` is its first entry, which follows from how that one ended."""

    shard: str
    origin: str
    keys: tuple[VerifierKey, ...]
    opening: bytes

    @property
    def checkpoint(self) -> Checkpoint:
        """The first that it can sign, however often."""
        return Checkpoint(self.origin, 1, leaf_hash(self.opening))


class AnyOf:
    """To be read from: of each shard the largest published log among several places."""

    def __init__(self, places: Sequence[Callable[[str], TileStore | None]]) -> None:
        self._places = places

    def open(self, shard: str) -> TileStore:
        found: list[tuple[int, TileStore]] = []
        for place in self._places:
            tiles = place(shard)
            if tiles is None or (data := tiles.checkpoint()) is None:
                continue
            lines = data.split(b"\n", 2)  # nothing is verified yet
            size = int(lines[1]) if len(lines) == 3 and lines[1].isdigit() else -1
            found.append((size, tiles))
        if not found:
            raise LogMissing()
        return max(found, key=lambda one: one[0])[1]

    def unpublished(self, shard: str) -> list[TileStore]:
        """The places that are there for this shard, of which none has a checkpoint."""
        found = [tiles for place in self._places if (tiles := place(shard)) is not None]
        return found if all(one.checkpoint() is None for one in found) else []


def earlier_logs(reader: LogReader, places: OpensShards, tell: Tell) -> list[Verified]:
    """All shards before that of `reader`, the oldest first, each verified whole."""
    return [
        Verified(one, check_log(one, places.open(one.shard), tell))
        for one in Retired(reader, places).readers()
    ]


def later_logs(found: Verified, places: AnyOf, tell: Tell) -> tuple[list[Verified], Begun | None]:
    """All shards after a log, if it has ended; and the one that has published nothing yet, if
    its place is at hand. `BackupInvalid` where the next is not at hand, or does not go on
    where this one ended."""
    logs: list[Verified] = []
    while (closed := _closing(found)) is not None:
        origin, keys = _successor(closed)
        try:
            tiles = places.open(shard_of(origin))
        except LogMissing:
            begun = _begun(found, closed, places)
            if begun is None:
                reason = f"the log goes on in {origin}, which is missing"
                raise BackupInvalid(reason=reason) from None
            return logs, begun
        reader = LogReader(tiles, shard_of(origin), *keys)
        following = Verified(reader, check_log(reader, tiles, tell))
        before = proved_before(reader)
        if before is None or before.final != found.signed.checkpoint:
            raise BackupInvalid(reason=f"{origin} does not go on where the shard before ended")
        logs.append(following)
        found = following
    return logs, None


def _begun(found: Verified, closed: PublicLeaf, places: AnyOf) -> Begun | None:
    """The next shard, if nothing but its opening, which a round that was cut off may have
    written, lies in its place."""
    origin, keys = _successor(closed)
    opening = opening_after(closed, Ended(found.signed.checkpoint, found.reader.keys))
    blobs = {path.text: (path, data) for path, data in grow(Tail(0), [opening]).blobs.items()}
    stores = places.unpublished(shard_of(origin))
    for tiles in stores:
        for name in tiles.names():
            if name not in blobs or tiles.get(blobs[name][0]) != blobs[name][1]:
                return None
    return Begun(shard_of(origin), origin, keys, opening) if stores else None


def _closing(found: Verified) -> PublicLeaf | None:
    """The entry that closes a log; None: it goes on."""
    size = found.signed.checkpoint.size
    entry = found.reader.bundle((size - 1) // TILE_WIDTH, size)[(size - 1) % TILE_WIDTH]
    leaf = parse_leaf(entry)
    return leaf if isinstance(leaf, PublicLeaf) and leaf.kind == CLOSED else None


def _successor(closed: PublicLeaf) -> tuple[str, tuple[VerifierKey, ...]]:
    named: JsonValue = closed.body.get("successor")
    if not isinstance(named, dict):
        raise BackupInvalid(reason="the last entry of a closed shard")
    try:
        keys = tuple(VerifierKey.parse(str(named.get(one))) for one in ("vkey", "mldsa44_vkey"))
    except KeyMalformed as error:
        raise BackupInvalid(reason="the keys of the next shard") from error
    return str(named.get("origin")), keys


def bring(log: Verified, shards: Shards, aside: Path, tell: Tell) -> None:
    """Put a verified log into its place, where the same log, or part of it, may be already: a
    bucket that outlived the rows. What lies there of a round that nobody published is moved
    into the folder `aside`: another entry will get its index, and other bytes its names.
    `SequencerBusy` if it is a round of a process that writes this log now."""
    tiles = place_of(log.reader.shard, shards)
    held = _checkpoint(tiles)
    size = log.signed.checkpoint.size
    if held is not None and held.size <= size and log.reader.root(held.size) == held.root:
        beyond = _beyond(tiles, held.size)
        if beyond:
            time.sleep(ROUND_SECONDS)
            if _checkpoint(tiles) != held or _beyond(tiles, held.size) != beyond:
                raise SequencerBusy()
        for path in beyond:
            _keep(aside, Path(log.reader.shard, path.text), tiles.get(path))
            tiles.discard(path)
    copy_log(log.reader, log.signed, tiles, held, tell)


def _checkpoint(tiles: TileStore) -> Checkpoint | None:
    data = tiles.checkpoint()
    return None if data is None else parse_checkpoint(data).checkpoint


def place_of(shard: str, shards: Shards) -> TileStore:
    """Made where there is none."""
    try:
        return shards.open(shard)
    except LogMissing:
        return shards.create(shard)


def _keep(folder: Path, name: Path, data: bytes) -> None:
    """A new file, durable with the folders above it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    put_file(path, data)
    for above in name.parents:  # the last is the folder itself
        fsync_folder(str(folder / above))
    fsync_folder(str(folder.parent))


def _beyond(tiles: TileStore, size: int) -> list[TilePath]:
    """The blobs that the first `size` entries do not have."""
    found = []
    for name in sorted(tiles.names()):
        with suppress(TilePathInvalid):  # for fsck to name
            path = TilePath.parse(name)
            if path.width > tile_width(size, path.level or 0, path.index):
                found.append(path)
    return found
