"""`fsck` of the ledger: everything the log says, against everything that is stored.

It rebuilds the tree from the entry bundles and compares tiles, partial tiles,
checkpoint, head row and entry rows, and opens every record. It changes nothing
and may run beside a server: what is published when it starts is what it checks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from kernel.errors import CodedError
from ledger import heads
from ledger.checkpoints import Checkpoint, parse_checkpoint
from ledger.errors import FinalDiffers, LogMissing
from ledger.fsck_rows import Erasures, RowCheck
from ledger.fsck_tree import TreeCheck
from ledger.growth import grow
from ledger.heads import Head
from ledger.leaves import CLOSED, PublicLeaf, parse_leaf
from ledger.merkle import TILE_WIDTH
from ledger.problems import Problem, Progress, quiet
from ledger.reader import LogReader
from ledger.service import Ledger
from ledger.stops import COMPLETE, placed_stops
from ledger.tilestore import TileStore

HEAD = "ledger_heads"
CHECKPOINT = "checkpoint"


def fsck(ledger: Ledger, progress: Progress = quiet) -> list[Problem]:
    """Every problem of the log, in the order found; an empty list means clean.

    All its shards, the oldest first; what is said of a closed one is said of `<shard>/…`.
    `progress("ledger", done, entries)` is called after every 256 entries.
    """
    try:
        with ledger.database.read() as tx:
            heads.load(tx, ledger.shard)
            found = [heads.load(tx, shard) for shard in heads.shards(tx)]
    except (SQLAlchemyError, CodedError, ValueError, TypeError) as error:
        return [Problem.of("database_unreadable", HEAD, type(error).__name__)]
    problems: list[Problem] = []
    readers = _readers(ledger, found, problems)
    run = _Run(ledger, found, progress)
    for head in found:
        problems += run.shard(head, readers.get(head.shard))
    _check_stops(ledger, {head.shard: head.size for head in found}, problems)
    return problems


def _readers(
    ledger: Ledger, found: Sequence[Head], problems: list[Problem]
) -> dict[str, LogReader]:
    """Of each shard; the chain from the newest back to the first must be the rows'."""
    own = {ledger.shard: ledger.reader}
    earlier = [head for head in found if head.shard != ledger.shard]
    try:
        ledger.readers.retired.readers()
    except CodedError as error:
        # Without a checkpoint of the newest shard there is nothing to prove it by, which
        # is named already.
        if earlier and not isinstance(error, LogMissing):
            problems.append(Problem.of("shards_broken", ledger.shard, error.code))
    readers = own | {reader.shard: reader for reader in ledger.readers.retired.known}
    if set(readers) - {head.shard for head in found}:
        problems.append(Problem.of("shards_broken", HEAD, "a shard without its row"))
    for head, follower in zip(found, [*found[1:], None], strict=True):
        if head.successor != (None if follower is None else follower.shard):
            problems.append(Problem.of("head_invalid", HEAD, "successor"))
    return readers


class _Run:
    """The check of one shard after the other."""

    def __init__(self, ledger: Ledger, found: Sequence[Head], progress: Progress) -> None:
        self._ledger = ledger
        self._heads = found
        self._progress = progress
        self._erasures = Erasures()
        self._total = sum(head.size for head in found)
        self._done = 0

    def shard(self, head: Head, reader: LogReader | None) -> list[Problem]:
        """`reader` None: nothing tells which keys sign it, which is a problem named already."""
        ledger, problems = self._ledger, list[Problem]()
        try:
            tiles = ledger.tiles if head.shard == ledger.shard else ledger.shards.open(head.shard)
        except CodedError as error:
            return [Problem.of("shards_broken", head.shard, error.code)]
        published = None if reader is None else _published(tiles, reader, problems)
        if reader is not None:
            _check_head(reader, head, problems)
        if published is not None and published.size > head.size:
            problems.append(Problem.of("database_older_than_log", HEAD))
        tree = TreeCheck(tiles, head.size, None if published is None else published.size)
        rows = RowCheck(ledger.database, ledger.vault, head, self._erasures)
        for number in range((head.size + TILE_WIDTH - 1) // TILE_WIDTH):
            leaves = rows.leaves(number)
            rows.compare(number, leaves, tree.bundle(number, leaves))
            done = min(head.size, (number + 1) * TILE_WIDTH)
            self._progress("ledger", self._done + done, self._total)
        self._done += head.size
        tree.upper_tiles()
        beyond = tree.names(_staged(ledger, head, tree))
        if head is self._heads[-1]:
            rows.rest(self._heads[:-1])
        grown = rows.staged_size()
        # Without growth meanwhile, what lies beyond was checked as the cut-off round.
        tree.strangers(beyond, grown if grown > head.staged_size else head.size)
        problems += tree.problems
        if tree.root(head.size) != head.root:
            problems.append(Problem.of("root_mismatch", HEAD))
        if (
            published is not None
            and published.size <= head.size
            and tree.root(published.size) != published.root
        ):
            problems.append(Problem.of("checkpoint_differs", CHECKPOINT))
        if head.shard != ledger.shard:
            problems = [replace(one, where=f"{head.shard}/{one.where}") for one in problems]
            problems += _check_end(ledger, head, reader)
        return problems + rows.problems


def _check_end(ledger: Ledger, head: Head, reader: LogReader | None) -> list[Problem]:
    """The last entry of a closed shard names the one that follows."""
    if reader is None or reader.final is None:
        return []
    wrong = Problem.of("shards_broken", head.shard, "its last entry does not close it")
    try:
        last = reader.final.size - 1
        entry = reader.bundle(last // TILE_WIDTH, last + 1)[last % TILE_WIDTH]
        follower = ledger.readers.of(head.successor or "")
        leaf = parse_leaf(entry)
    except CodedError:
        return [wrong]
    if not isinstance(leaf, PublicLeaf) or leaf.kind != CLOSED:
        return [wrong]
    named = leaf.body.get("successor")
    vkey = named.get("vkey") if isinstance(named, dict) else None
    return [] if vkey == follower.key.text else [wrong]


def _published(tiles: TileStore, reader: LogReader, problems: list[Problem]) -> Checkpoint | None:
    try:
        data = tiles.checkpoint()
        if data is None:
            problems.append(Problem.of("checkpoint_missing", CHECKPOINT))
            return None
        signed = parse_checkpoint(data)
        reader.verify(signed)
        if reader.final is not None and signed.checkpoint != reader.final:
            raise FinalDiffers(shard=reader.shard)
    except CodedError as error:
        problems.append(Problem.of("checkpoint_invalid", CHECKPOINT, error.code))
        return None
    return signed.checkpoint


def _check_head(reader: LogReader, head: Head, problems: list[Problem]) -> None:
    try:
        signed = parse_checkpoint(head.checkpoint)
        reader.verify(signed)
    except CodedError as error:
        problems.append(Problem.of("head_invalid", HEAD, error.code))
        return
    if signed.checkpoint != Checkpoint(head.origin, head.size, head.root):
        problems.append(Problem.of("head_invalid", HEAD, "the row and its checkpoint differ"))
    if head.staged_size < head.size:
        problems.append(Problem.of("head_invalid", HEAD, "staged_size"))


def _check_stops(ledger: Ledger, sizes: Mapping[str, int], problems: list[Problem]) -> None:
    """Each stop below the size of its shard is noted, and nothing else is."""
    stored = ledger.stops.stored()  # before the rows, which then know all of them
    if ledger.stops.key(COMPLETE) not in stored:
        return  # restored, or older than notes: the next start makes them
    try:
        with ledger.database.read() as tx:
            placed = placed_stops(tx)
    except (SQLAlchemyError, CodedError, ValueError, TypeError):
        return  # the rows are named by RowCheck
    for one in placed:
        signed = one.leaf_index < sizes.get(one.shard, 0)
        if signed and ledger.stops.key(one.stop) not in stored:
            problems.append(Problem.of("stop_not_noted", one.entry_id))
    known = ledger.stops.keys_of(one.stop for one in placed)
    for key in sorted(stored - known):
        problems.append(Problem.of("history_cut", f"stops/{key}"))


def _staged(ledger: Ledger, head: Head, tree: TreeCheck) -> dict[str, bytes]:
    """The blobs of a round that was cut off: they may be there, and then must be these."""
    tail = tree.tail()
    if head.staged_size <= head.size or tail is None:
        return {}
    try:
        with ledger.database.read() as tx:
            leaves = heads.staged_leaves(tx, head)
    except (SQLAlchemyError, CodedError, ValueError, TypeError):
        return {}  # the rows are named by RowCheck
    return {path.text: data for path, data in grow(tail, leaves).blobs.items()}


__all__ = ["Problem", "Progress", "fsck"]
