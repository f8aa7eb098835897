"""The shards of a log in backups and restores: found, verified whole, and in their order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernel.canonical import JsonValue
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import KeyMalformed, LogMissing
from ledger.leaves import CLOSED, PublicLeaf, parse_leaf
from ledger.merkle import TILE_WIDTH
from ledger.mirror import check_log
from ledger.notes import VerifierKey
from ledger.reader import LogReader
from ledger.retired import Retired, proved_before, shard_of
from ledger.tilestore import OpensShards, TileStore
from runtime.backup.errors import BackupInvalid

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """A shard's log at hand, and the checkpoint under which all of it was verified."""

    reader: LogReader
    signed: SignedCheckpoint


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


def earlier_logs(reader: LogReader, places: OpensShards, tell: Tell) -> list[Verified]:
    """All shards before that of `reader`, the oldest first, each verified whole."""
    return [
        Verified(one, check_log(one, places.open(one.shard), tell))
        for one in Retired(reader, places).readers()
    ]


def later_logs(found: Verified, places: OpensShards, tell: Tell) -> list[Verified]:
    """All shards after a log, if it has ended. `BackupInvalid` where the next is not at hand,
    or does not go on where this one ended."""
    logs: list[Verified] = []
    while (named := _successor(found)) is not None:
        origin, keys = named
        try:
            tiles = places.open(shard_of(origin))
        except LogMissing:
            raise BackupInvalid(reason=f"the log goes on in {origin}, which is missing") from None
        reader = LogReader(tiles, shard_of(origin), *keys)
        following = Verified(reader, check_log(reader, tiles, tell))
        before = proved_before(reader)
        if before is None or before.final != found.signed.checkpoint:
            raise BackupInvalid(reason=f"{origin} does not go on where the shard before ended")
        logs.append(following)
        found = following
    return logs


def _successor(found: Verified) -> tuple[str, tuple[VerifierKey, ...]] | None:
    size = found.signed.checkpoint.size
    try:
        entry = found.reader.bundle((size - 1) // TILE_WIDTH, size)[(size - 1) % TILE_WIDTH]
        leaf = parse_leaf(entry)
        if not isinstance(leaf, PublicLeaf) or leaf.kind != CLOSED:
            return None
        named: JsonValue = leaf.body.get("successor")
        if not isinstance(named, dict):
            raise BackupInvalid(reason="the last entry of a closed shard")
        keys = tuple(VerifierKey.parse(str(named.get(one))) for one in ("vkey", "mldsa44_vkey"))
    except KeyMalformed as error:
        raise BackupInvalid(reason="the keys of the next shard") from error
    return str(named.get("origin")), keys
