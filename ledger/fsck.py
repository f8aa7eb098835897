"""`fsck` of the ledger: everything the log says, against everything that is stored.

It rebuilds the tree from the entry bundles and compares tiles, partial tiles,
checkpoint, head row and entry rows, and opens every record. It changes nothing
and may run beside a server: what is published when it starts is what it checks.
"""

from sqlalchemy.exc import SQLAlchemyError

from kernel.errors import CodedError
from ledger import heads
from ledger.checkpoints import Checkpoint, parse_checkpoint
from ledger.fsck_rows import RowCheck
from ledger.fsck_tree import TreeCheck
from ledger.growth import grow
from ledger.heads import Head
from ledger.merkle import TILE_WIDTH
from ledger.problems import Problem, Progress, quiet
from ledger.service import Ledger
from ledger.stops import placed_stops

HEAD = "ledger_heads"
CHECKPOINT = "checkpoint"


def fsck(ledger: Ledger, progress: Progress = quiet) -> list[Problem]:
    """Every problem of the log, in the order found; an empty list means clean.

    `progress("ledger", done, entries)` is called after every 256 entries.
    """
    problems: list[Problem] = []
    published = _published(ledger, problems)
    try:
        with ledger.database.read() as tx:
            head = heads.load(tx, ledger.shard)
    except (SQLAlchemyError, CodedError, ValueError, TypeError) as error:
        return [*problems, Problem.of("database_unreadable", HEAD, type(error).__name__)]
    _check_head(ledger, head, problems)
    if published is not None and published.size > head.size:
        problems.append(Problem.of("database_older_than_log", HEAD))
    tree = TreeCheck(ledger.tiles, head.size, None if published is None else published.size)
    rows = RowCheck(ledger.database, ledger.vault, ledger.shard, head)
    for number in range((head.size + TILE_WIDTH - 1) // TILE_WIDTH):
        leaves = rows.leaves(number)
        rows.compare(number, leaves, tree.bundle(number, leaves))
        progress("ledger", min(head.size, (number + 1) * TILE_WIDTH), head.size)
    tree.upper_tiles()
    beyond = tree.names(_staged(ledger, head, tree))
    rows.rest()
    grown = rows.staged_size()
    # Without growth meanwhile, what lies beyond was checked as the cut-off round.
    tree.strangers(beyond, grown if grown > head.staged_size else head.size)
    problems += tree.problems
    problems += rows.problems
    _check_stops(ledger, head.size, problems)
    if tree.root(head.size) != head.root:
        problems.append(Problem.of("root_mismatch", HEAD))
    if (
        published is not None
        and published.size <= head.size
        and tree.root(published.size) != published.root
    ):
        problems.append(Problem.of("checkpoint_differs", CHECKPOINT))
    return problems


def _published(ledger: Ledger, problems: list[Problem]) -> Checkpoint | None:
    try:
        data = ledger.tiles.checkpoint()
        if data is None:
            problems.append(Problem.of("checkpoint_missing", CHECKPOINT))
            return None
        signed = parse_checkpoint(data)
        ledger.reader.verify(signed)
    except CodedError as error:
        problems.append(Problem.of("checkpoint_invalid", CHECKPOINT, error.code))
        return None
    return signed.checkpoint


def _check_head(ledger: Ledger, head: Head, problems: list[Problem]) -> None:
    try:
        signed = parse_checkpoint(head.checkpoint)
        ledger.reader.verify(signed)
    except CodedError as error:
        problems.append(Problem.of("head_invalid", HEAD, error.code))
        return
    if signed.checkpoint != Checkpoint(head.origin, head.size, head.root):
        problems.append(Problem.of("head_invalid", HEAD, "the row and its checkpoint differ"))
    if head.staged_size < head.size:
        problems.append(Problem.of("head_invalid", HEAD, "staged_size"))


def _check_stops(ledger: Ledger, size: int, problems: list[Problem]) -> None:
    """Each stop below `size` is noted, and nothing else is."""
    stored = ledger.stops.stored()  # before the rows, which then know all of them
    try:
        with ledger.database.read() as tx:
            placed = placed_stops(tx)
    except (SQLAlchemyError, CodedError, ValueError, TypeError):
        return  # the rows are named by RowCheck
    for entry, index, stop in placed:
        if index < size and ledger.stops.key(stop) not in stored:
            problems.append(Problem.of("stop_not_noted", entry))
    known = ledger.stops.keys_of(stop for _, _, stop in placed)
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
