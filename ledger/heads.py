"""The row of a shard's head, and the compare-and-swaps that move it.

Every change names the epoch and the old values it expects. The epoch grows by
one with each process that takes the log over, so that an older one loses its
next swap. No row changed means: somebody else is writing, stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from sqlalchemy import Integer, bindparam, func, insert, or_, select, update

from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LogDiverged, LogExists, LogMissing, SequencerLost
from ledger.leaves import OPENED, PUBLIC_ENTITY
from ledger.merkle import EMPTY_ROOT
from ledger.tables import ledger_entries, ledger_heads
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared

_HEAD = ledger_heads.c
_ENTRY = ledger_entries.c
_BY_SHARD = Prepared(select(ledger_heads).where(_HEAD.shard == bindparam("shard")))
_OPENING = Prepared(
    select(_ENTRY.leaf)
    # Public leaves of the log itself are few: found by their entity, not among all.
    .where(_ENTRY.entity == PUBLIC_ENTITY, _ENTRY.kind == OPENED, _ENTRY.public.is_(True))
    .where(or_(_ENTRY.shard == bindparam("shard"), _ENTRY.shard.is_(None)))
    .order_by(_ENTRY.position)
    .limit(1)
)
# By order, SQLite takes the index of those that wait and not the one of all.
_WAITING = select(_ENTRY.position).where(_ENTRY.leaf_index.is_(None)).order_by(_ENTRY.position)
_FIRST_WAITING = Prepared(_WAITING.limit(1))
_SOME_WAITING = _WAITING.limit(bindparam("limit", type_=Integer))
_SOME = _SOME_WAITING.subquery().c.position
_EDGES = Prepared(
    select(
        func.min(_SOME).label("first"),
        func.max(_SOME).label("last"),
        func.count(_SOME).label("number"),
    )
)
# One statement for a run of neighbours: index = position + offset.
_STAGE_RUN = Prepared(
    update(ledger_entries)
    .where(_ENTRY.position.between(bindparam("first"), bindparam("last")))
    .where(_ENTRY.leaf_index.is_(None))
    .values(
        shard=bindparam("to_shard"),
        leaf_index=_ENTRY.position + bindparam("offset", type_=Integer),
    )
)
_STAGED = Prepared(
    select(_ENTRY.leaf_index, _ENTRY.leaf)
    .where(_ENTRY.shard == bindparam("shard"))
    .where(_ENTRY.leaf_index >= bindparam("size"), _ENTRY.leaf_index < bindparam("staged_size"))
    .order_by(_ENTRY.leaf_index)
)
# What a swap compares.
_KNOWN = ("shard", "epoch", "staged_size", "size", "root")


@cache
def _swapping(*names: str) -> Prepared:
    """Gives these columns new values where the head stands as it is known to stand."""
    return Prepared(
        update(ledger_heads)
        .where(*(_HEAD[name] == bindparam(f"known_{name}") for name in _KNOWN))
        .values({name: bindparam(name) for name in names})
    )


@dataclass(frozen=True, slots=True)
class Head:
    """`staged_size` indexes are handed out; `size`, `root`, `checkpoint` are signed."""

    shard: str
    origin: str
    epoch: int
    staged_size: int
    size: int
    root: bytes
    checkpoint: bytes
    successor: str | None = None  # the shard that follows; then this one never grows again


def create(tx: WriteTx, at: datetime, shard: str, origin: str) -> None:
    """The head of an empty shard. `LogExists` if there is one."""
    if find(tx, shard) is not None:
        raise LogExists()
    tx.execute(
        insert(ledger_heads),
        {
            "shard": shard,
            "origin": origin,
            "epoch": 0,
            "staged_size": 0,
            "size": 0,
            "root": EMPTY_ROOT,
            "checkpoint": b"",
            "updated_at": at,
        },
    )


def find(tx: ReadTx, shard: str) -> Head | None:
    row = _BY_SHARD.one(tx, {"shard": shard})
    if row is None:
        return None
    return Head(
        shard=row["shard"],
        origin=row["origin"],
        epoch=row["epoch"],
        staged_size=row["staged_size"],
        size=row["size"],
        root=row["root"],
        checkpoint=row["checkpoint"],
        successor=row["successor"],
    )


def load(tx: ReadTx, shard: str) -> Head:
    """The head, or `LogMissing`."""
    head = find(tx, shard)
    if head is None:
        raise LogMissing()
    return head


def opening_leaf(tx: ReadTx, shard: str) -> bytes | None:
    """The entry that stands, or will stand, first in the shard."""
    row = _OPENING.one(tx, {"shard": shard})
    return None if row is None else row["leaf"]


def newest_shard(tx: ReadTx) -> str | None:
    """The name of the last shard in name order: shards are years."""
    shard: str | None = tx.scalar(
        select(ledger_heads.c.shard).order_by(ledger_heads.c.shard.desc()).limit(1)
    )
    return shard


def shards(tx: ReadTx) -> list[str]:
    """The names of all shards, the oldest first."""
    return list(tx.execute(select(ledger_heads.c.shard).order_by(ledger_heads.c.shard)).scalars())


def predecessor(tx: ReadTx, shard: str) -> Head | None:
    """The head of the shard that ended with `shard` as its successor."""
    before: str | None = tx.scalar(
        select(ledger_heads.c.shard).where(ledger_heads.c.successor == shard)
    )
    return None if before is None else find(tx, before)


def end(tx: WriteTx, at: datetime, head: Head, successor: str, entry_id: str) -> Head:
    """Give the entry, which closes the shard, its last index; none is handed out after it."""
    if head.staged_size != head.size or head.successor is not None:
        raise SequencerLost(step="close")
    ended = replace(head, staged_size=head.size + 1, successor=successor)
    _swap(tx, head, "close", staged_size=ended.staged_size, successor=successor, updated_at=at)
    _place(tx, entry_id, head.shard, head.size)
    return ended


def begin(tx: WriteTx, at: datetime, shard: str, origin: str, entry_id: str) -> None:
    """The head of a shard whose first entry, the one given, is staged. `LogExists`."""
    create(tx, at, shard, origin)
    _swap(tx, load(tx, shard), "begin", staged_size=1)
    _place(tx, entry_id, shard, 0)


def follow(tx: WriteTx, at: datetime, known: Sequence[tuple[str, str]]) -> None:
    """Have the heads say what a log at hand shows: after a restore from a backup that knows
    fewer shards. `known`: shard and origin of all, the oldest first."""
    for number, (shard, origin) in enumerate(known):
        if find(tx, shard) is None:
            create(tx, at, shard, origin)
        successor = known[number + 1][0] if number + 1 < len(known) else None
        tx.execute(
            update(ledger_heads).where(ledger_heads.c.shard == shard).values(successor=successor)
        )


def _place(tx: WriteTx, entry_id: str, shard: str, index: int) -> None:
    columns = ledger_entries.c
    tx.execute(
        update(ledger_entries)
        .where(columns.entry_id == entry_id, columns.leaf_index.is_(None))
        .values(shard=shard, leaf_index=index)
    )


def take_over(tx: WriteTx, at: datetime, head: Head) -> Head:
    """Begin a new epoch: whoever wrote before loses."""
    taken = replace(head, epoch=head.epoch + 1)
    _swap(tx, head, "take_over", epoch=taken.epoch, updated_at=at)
    return taken


def pending(tx: ReadTx) -> bool:
    """Whether some entry has no index yet."""
    return _FIRST_WAITING.one(tx, {}) is not None


def stage(tx: WriteTx, at: datetime, head: Head, limit: int) -> Head:
    """Give at most `limit` waiting entries their indexes, in order of position.

    The indexes are final once this commits; nothing else ever assigns them.
    """
    if head.staged_size != head.size or head.successor is not None:
        raise SequencerLost(step="stage")
    runs = _waiting_runs(tx, limit)
    if not runs:
        return head
    index = head.size
    staged = replace(head, staged_size=index + sum(last - first + 1 for first, last in runs))
    # First the swap: who is superseded must lose there, not over an index that is taken.
    _swap(tx, head, "stage", staged_size=staged.staged_size, updated_at=at)
    for first, last in runs:
        count = last - first + 1
        offset = index - first
        run = {"first": first, "last": last, "to_shard": head.shard, "offset": offset}
        if _STAGE_RUN.run(tx, run) != count:
            raise SequencerLost(step="stage")
        index += count
    return staged


def staged_leaves(tx: ReadTx, head: Head) -> list[bytes]:
    """The leaves of the indexes from `size` to `staged_size`, which must be without gaps."""
    rows = _STAGED.all(
        tx, {"shard": head.shard, "size": head.size, "staged_size": head.staged_size}
    )
    indexes = [row["leaf_index"] for row in rows]
    if indexes != list(range(head.size, head.staged_size)):
        raise LogDiverged(reason="staged entries have gaps")
    return [row["leaf"] for row in rows]


def commit(tx: WriteTx, at: datetime, head: Head, signed: SignedCheckpoint) -> Head:
    """Move the signed head from (`size`, `root`) to the checkpoint's."""
    moved = replace(
        head,
        size=signed.checkpoint.size,
        root=signed.checkpoint.root,
        checkpoint=signed.encode(),
    )
    _swap(
        tx,
        head,
        "commit",
        size=moved.size,
        root=moved.root,
        checkpoint=moved.checkpoint,
        updated_at=at,
    )
    return moved


def _swap(tx: WriteTx, expected: Head, step: str, **values: object) -> None:
    known = {f"known_{name}": getattr(expected, name) for name in _KNOWN}
    if _swapping(*values).run(tx, {**known, **values}) != 1:
        raise SequencerLost(step=step)


def _waiting_runs(tx: ReadTx, limit: int) -> list[tuple[int, int]]:
    """Positions of at most `limit` waiting entries, as runs of neighbours."""
    edges = _EDGES.one(tx, {"limit": limit})
    if edges is None or edges["number"] == 0:
        return []
    first, last = edges["first"], edges["last"]
    if last - first + 1 == edges["number"]:  # as nearly always: no need to fetch each
        return [(first, last)]
    return _runs(list(tx.execute(_SOME_WAITING, {"limit": limit}).scalars()))


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers joined: [3, 4, 5, 9] gives [(3, 5), (9, 9)]."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and runs[-1][1] + 1 == position:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs
