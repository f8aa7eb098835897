"""How far the log is behind: the depth of its queue, and the age of what waits longest."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select

from ledger.tables import ledger_entries, ledger_heads
from storage.database import ReadTx

_WAITING = (
    select(ledger_entries.c.position)
    .where(ledger_entries.c.leaf_index.is_(None))
    .order_by(ledger_entries.c.position)  # else SQLite goes through an index of all entries
    .limit(bindparam("most"))
    .subquery()
)
# The first 100,000 entries of the index of what waits: some milliseconds.
_DEPTH = select(func.count()).select_from(_WAITING)
_OLDEST = (
    select(ledger_entries.c.at)
    .where(ledger_entries.c.leaf_index.is_(None))
    .order_by(ledger_entries.c.position)
    .limit(1)
)
_HEAD = select(ledger_heads.c.updated_at, ledger_heads.c.size, ledger_heads.c.successor).where(
    ledger_heads.c.shard == bindparam("shard")
)


@dataclass(frozen=True, slots=True)
class QueueState:
    """`depth` stops at the number asked for. `oldest`: when the entry was written that
    waits longest. `size`, `signed_at`: of the newest signed head, None before the first.
    `ended`: another shard follows this one."""

    depth: int = 0
    oldest: datetime | None = None
    size: int = 0
    signed_at: datetime | None = None
    ended: bool = False


def queue_state(tx: ReadTx, shard: str, most: int) -> QueueState:
    """Read it; cheap however many entries there are."""
    depth = int(tx.scalar(_DEPTH, {"most": most}))
    head = tx.one(_HEAD, {"shard": shard})
    return QueueState(
        depth,
        tx.scalar(_OLDEST) if depth else None,
        0 if head is None else head["size"],
        None if head is None else head["updated_at"],
        head is not None and head["successor"] is not None,
    )


def signed_at(tx: ReadTx, shard: str) -> datetime | None:
    """When the newest head was signed."""
    head = tx.one(_HEAD, {"shard": shard})
    return None if head is None else head["updated_at"]
