"""The rows of anchoring: transactions, and evidence kept. Every change is one unit of work."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, or_, select, update

from ledger.leaves import EVIDENCE
from ledger.tables import anchors, chain_transactions, ledger_entries
from storage.database import ReadTx, WriteTx

PENDING, MINED, FINAL, LOST = "pending", "mined", "final", "lost"
REVERTED, REPLACED, REORGANISED = "reverted", "replaced", "reorganised"
REFUSED = "refused"
CHAIN_KIND, STAMP_KIND = "chain", "stamp"


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction, as saved."""

    hash: bytes
    source: str
    nonce: int
    price: int
    raw: bytes
    shard: str
    previous_size: int
    size: int
    root: bytes
    checkpoint: bytes
    state: str
    reason: str | None
    block: int | None
    block_hash: bytes | None
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """Evidence about the checkpoint of `size` entries, as kept. `expires_at`: stamps only."""

    position: int
    kind: str
    source: str
    shard: str
    size: int
    checkpoint: bytes
    evidence: bytes
    state: str
    at: datetime
    expires_at: datetime | None


def save(tx: WriteTx, signed: Transaction, *, replaces: bool) -> bool:
    """Save a transaction before it is sent. Unless it `replaces` another with its nonce, it
    is the only one that waits: False, and nothing is saved, if another process has one."""
    if not replaces and open_transactions(tx, signed.source, PENDING):
        return False
    values = {
        "transaction_hash": signed.hash,
        "source": signed.source,
        "nonce": signed.nonce,
        "price": signed.price,
        "raw": signed.raw,
        "shard": signed.shard,
        "previous_size": signed.previous_size,
        "size": signed.size,
        "root": signed.root,
        "checkpoint": signed.checkpoint,
        "state": PENDING,
        "reason": signed.reason,
        "block": None,
        "block_hash": None,
        "signed_at": signed.signed_at,
        "changed_at": signed.signed_at,
    }
    tx.execute(insert(chain_transactions), values)
    return True


def change(tx: WriteTx, at: datetime, transaction: Transaction, state: str, **values: Any) -> None:
    """Move a transaction on; `reason`, `block`, `block_hash` become what is given, or null."""
    told: dict[str, Any] = {"reason": None, "block": None, "block_hash": None, **values}
    tx.execute(
        update(chain_transactions)
        .where(chain_transactions.c.transaction_hash == transaction.hash)
        .values(state=state, changed_at=at, **told)
    )


def open_transactions(tx: ReadTx, source: str, state: str) -> list[Transaction]:
    """Those in this state, oldest nonce first, the dearest of a nonce last."""
    columns = chain_transactions.c
    rows = tx.all(
        select(chain_transactions)
        .where(columns.source == source, columns.state == state)
        .order_by(columns.nonce, columns.price, columns.signed_at)
    )
    return [_transaction(row) for row in rows]


def last_signed(tx: ReadTx, source: str) -> datetime | None:
    """When the newest transaction was signed that cost something: mined, or still waiting."""
    columns = chain_transactions.c
    row = tx.one(
        select(columns.signed_at)
        .where(columns.source == source)
        .where(or_(columns.state != LOST, columns.reason == REVERTED))
        .order_by(columns.signed_at.desc())
        .limit(1)
    )
    return None if row is None else row["signed_at"]


def keep(
    tx: WriteTx,
    at: datetime,
    *,
    kind: str,
    source: str,
    shard: str,
    size: int,
    checkpoint: bytes,
    evidence: bytes,
    state: str,
    expires_at: datetime | None = None,
) -> None:
    """Unless this source's evidence about this checkpoint is kept already: another process
    may have asked for it at the same time."""
    columns = anchors.c
    same = (columns.kind == kind, columns.source == source, columns.size == size)
    kept = select(columns.position).where(columns.shard == shard, *same)
    if tx.scalar(kept.where(columns.state.in_((MINED, FINAL))).limit(1)):
        return
    tx.execute(
        insert(anchors),
        {
            "kind": kind,
            "source": source,
            "shard": shard,
            "size": size,
            "checkpoint": checkpoint,
            "evidence": evidence,
            "state": state,
            "at": at,
            "expires_at": expires_at,
        },
    )


def replace_evidence(
    tx: WriteTx, position: int, evidence: bytes, state: str, expires_at: datetime | None = None
) -> None:
    tx.execute(
        update(anchors)
        .where(anchors.c.position == position)
        .values(evidence=evidence, state=state, expires_at=expires_at)
    )


def ending(
    tx: ReadTx, kind: str, source: str, before: datetime, most: int = 100
) -> list[KeptAnchor]:
    """Evidence whose certificates end before this time, the first to end first."""
    columns = anchors.c
    rows = tx.all(
        select(anchors)
        .where(columns.kind == kind, columns.source == source, columns.expires_at < before)
        .order_by(columns.expires_at, columns.position)
        .limit(most)
    )
    return [_kept(row) for row in rows]


def kept_of(tx: ReadTx, kind: str, source: str, state: str) -> list[KeptAnchor]:
    """Oldest first."""
    columns = anchors.c
    rows = tx.all(
        select(anchors)
        .where(columns.kind == kind, columns.source == source, columns.state == state)
        .order_by(columns.position)
    )
    return [_kept(row) for row in rows]


def newest_kept(tx: ReadTx, kind: str, source: str, shard: str) -> KeptAnchor | None:
    """About the largest checkpoint, whichever state the evidence is in."""
    found = [_newest(tx, kind, source, shard, state) for state in (MINED, FINAL)]
    return max(
        (one for one in found if one is not None),
        key=lambda one: (one.size, one.position),
        default=None,
    )


def _newest(tx: ReadTx, kind: str, source: str, shard: str, state: str) -> KeptAnchor | None:
    columns = anchors.c
    row = tx.one(
        select(anchors)
        .where(columns.kind == kind, columns.source == source, columns.shard == shard)
        .where(columns.state == state)
        .order_by(columns.size.desc(), columns.position.desc())
        .limit(1)
    )
    return None if row is None else _kept(row)


def covering(tx: ReadTx, shard: str, index: int, most: int = 8) -> list[KeptAnchor]:
    """Final evidence for an entry's receipt: of each source what is kept about the smallest
    checkpoint that holds the entry, which proves the earliest time; newest first."""
    columns = anchors.c
    found: list[KeptAnchor] = []
    for kind, source in _sources(tx, shard):
        same = (columns.shard == shard, columns.kind == kind, columns.source == source)
        size = tx.scalar(
            select(columns.size)
            .where(*same, columns.size > index, columns.state == FINAL)
            .order_by(columns.size)
            .limit(1)
        )
        if size is not None:
            rows = tx.all(
                select(anchors)
                .where(*same, columns.size == size, columns.state == FINAL)
                .order_by(columns.position.desc())
                .limit(most - len(found))
            )
            found += [_kept(row) for row in rows]
        if len(found) == most:
            break
    return found


def _sources(tx: ReadTx, shard: str) -> Iterator[tuple[str, str]]:
    """Kind and name of each source that has evidence about a shard, in their order. From one
    to the next by the index: there are few, and each has a row every some minutes."""
    columns = anchors.c
    names = (
        select(columns.kind, columns.source)
        .where(columns.shard == shard)
        .order_by(columns.kind, columns.source)
        .limit(1)
    )
    row = tx.one(names)
    while row is not None:
        kind, source = row["kind"], row["source"]
        yield kind, source
        row = tx.one(names.where(columns.kind == kind, columns.source > source))
        if row is None:
            row = tx.one(names.where(columns.kind > kind))


def _transaction(row: RowMapping) -> Transaction:
    return Transaction(
        hash=row["transaction_hash"],
        source=row["source"],
        nonce=row["nonce"],
        price=row["price"],
        raw=row["raw"],
        shard=row["shard"],
        previous_size=row["previous_size"],
        size=row["size"],
        root=row["root"],
        checkpoint=row["checkpoint"],
        state=row["state"],
        reason=row["reason"],
        block=row["block"],
        block_hash=row["block_hash"],
        signed_at=row["signed_at"],
    )


def _kept(row: RowMapping) -> KeptAnchor:
    return KeptAnchor(**dict(row))


def pending_since(tx: ReadTx, shard: str, covered: int, size: int) -> datetime | None:
    """When the oldest of the `size` entries was written that evidence about the first
    `covered` does not reach; None: it reaches all. Leaves that only name evidence want none
    themselves, or it would never end."""
    columns = ledger_entries.c
    at: datetime | None = tx.scalar(
        select(columns.at)
        .where(columns.shard == shard, columns.leaf_index >= covered, columns.leaf_index < size)
        .where(columns.kind != EVIDENCE)
        .order_by(columns.leaf_index)
        .limit(1)
    )
    return at


@dataclass(frozen=True, slots=True)
class Reached:
    """How far one source got, in entries; `at`: when its newest evidence was kept."""

    mined: int = 0
    final: int = 0
    waiting: int = 0
    at: datetime | None = None


def reached(tx: ReadTx, kind: str, source: str, shard: str) -> Reached:
    """Sizes of the newest checkpoint that is mined, that is final, and that waits; 0: none."""
    kept = {state: _newest(tx, kind, source, shard, state) for state in (MINED, FINAL)}
    moved = {state: _largest(tx, source, shard, state) for state in (PENDING, MINED, FINAL)}
    sizes = {
        state: max(0 if newest is None else newest.size, moved[state])
        for state, newest in kept.items()
    }
    return Reached(
        mined=max(sizes.values()),
        final=sizes[FINAL],
        waiting=moved[PENDING],
        at=max((newest.at for newest in kept.values() if newest is not None), default=None),
    )


def _largest(tx: ReadTx, source: str, shard: str, state: str) -> int:
    """Size of the largest checkpoint of this shard that a transaction in this state tells."""
    sent = chain_transactions.c
    size: int | None = tx.scalar(
        select(sent.size)
        .where(sent.source == source, sent.state == state, sent.shard == shard)
        .order_by(sent.size.desc())
        .limit(1)
    )
    return size or 0
