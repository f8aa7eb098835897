"""Rows from a backup meet a newer log: each leaf finds its row, or is known to be lost.

Entries that waited when the backup was made get the place that the log gave them.
Public leaves are read back from the log itself. Of a blinded leaf without a record
nothing but its place is left: its row is of kind `lost`. What `ended` leaves say was
erased is erased here as well. Nothing is signed: the head is the log's own.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from kernel.ids import IdKind, new_id
from ledger import heads
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LogDiverged
from ledger.leaves import ENDED, LOST, PublicLeaf, parse_leaf
from ledger.merkle import TILE_WIDTH, leaf_hash
from ledger.reader import LogReader
from ledger.tables import ledger_entries, ledger_heads
from storage.database import ReadTx, WriteTx

_C = ledger_entries.c
_NOBODY = "lost"  # entity of rows about something that only the log knows
_PUBLIC = "log"
_PAGE = 500

# (entries done, entries in all)
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """An `ended` leaf that the backup did not have. `entity` None: nothing here is meant."""

    index: int
    reason: str
    at: datetime
    entity: str | None


@dataclass(slots=True)
class Adopted:
    """From which size to which; the indexes whose records are lost; what ended meanwhile,
    and what of that was erased, in whichever shard."""

    before: int
    after: int
    lost: list[int] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    erased: set[tuple[str, int]] = field(default_factory=set)  # shard and index


def adopt(
    tx: WriteTx, at: datetime, reader: LogReader, signed: SignedCheckpoint, tell: Tell
) -> Adopted:
    """Bring the rows of a shard to the tree of `signed`, which `reader` can read whole.

    `LogDiverged`: the rows are of another log, and nothing is believed.
    """
    head = heads.load(tx, reader.shard)
    size = signed.checkpoint.size
    if size < head.size or reader.root(head.size) != head.root:
        raise LogDiverged(reason="the rows' head is no prefix of the newest log")
    # Places that were handed out but not signed: the log says what became of them.
    tx.execute(
        update(ledger_entries)
        .where(_C.shard == head.shard, _C.leaf_index >= head.size)
        .values(shard=None, leaf_index=None)
    )
    waiting = _waiting(tx)
    adopted = Adopted(head.size, size)
    public: list[tuple[int, PublicLeaf]] = []
    for first, entries in _bundles(reader, size):
        known = _leaves(tx, head.shard, first, min(first + len(entries), head.size))
        placed: list[dict[str, Any]] = []
        made: list[dict[str, Any]] = []
        for index, entry in enumerate(entries, start=first):
            if index < head.size:
                if known.get(index) != entry:
                    raise LogDiverged(reason=f"entry {index} is not the row's")
            elif waiting[entry]:
                placed.append({"row": waiting[entry].popleft(), "index": index})
            else:
                leaf = parse_leaf(entry)
                made.append(_row(head.shard, index, entry, leaf, at))
                if isinstance(leaf, PublicLeaf):
                    public.append((index, leaf))
                else:
                    adopted.lost.append(index)
        if placed:
            tx.execute(
                update(ledger_entries)
                .where(_C.position == bindparam("row"))
                .values(shard=head.shard, leaf_index=bindparam("index")),
                placed,
            )
        if made:
            tx.execute(insert(ledger_entries), made)
        tell(first + len(entries), size)
    tx.execute(
        update(ledger_heads)
        .where(ledger_heads.c.shard == head.shard)
        .values(
            epoch=head.epoch + 1,
            staged_size=size,
            size=size,
            root=signed.checkpoint.root,
            checkpoint=signed.encode(),
            updated_at=at,
        )
    )
    _replay(tx, head.shard, public, adopted)
    return adopted


def begin(tx: WriteTx, at: datetime, shard: str, origin: str, opening: bytes) -> None:
    """A shard that another one named when it ended, and that has signed nothing: its head, and
    `opening` staged as its first entry, as `closing` left them."""
    row = _row(shard, 0, opening, parse_leaf(opening), at)
    entry_id = str(row["entry_id"])
    tx.execute(insert(ledger_entries), {**row, "shard": None, "leaf_index": None})
    heads.begin(tx, at, shard, origin, entry_id)


def _replay(
    tx: WriteTx, shard: str, public: Sequence[tuple[int, PublicLeaf]], adopted: Adopted
) -> None:
    by_hash: dict[str, str] = {}
    if any("leaves" in leaf.body for _, leaf in public if leaf.kind == ENDED):
        query = select(_C.leaf, _C.entity).execution_options(yield_per=_PAGE)
        by_hash = {leaf_hash(row.leaf).hex(): row.entity for row in tx.execute(query)}
    for index, leaf in public:
        if leaf.kind != ENDED:
            continue
        ended_at, reason = parse_time(str(leaf.body["at"])), str(leaf.body.get("reason"))
        # What stands in an earlier shard may end in a later one.
        where = str(leaf.body.get("shard"))
        indexes = _numbers(leaf.body.get("indexes"))
        entities = _entities(tx, where, indexes)
        named = leaf.body.get("leaves")
        entities |= {by_hash[one] for one in _texts(named) if one in by_hash}
        entity = next(iter(entities - {_NOBODY}), None)
        if reason == "erased":
            _erase(tx, where, indexes, entity or _NOBODY, ended_at)
            adopted.erased |= {(where, one) for one in indexes}
        tx.execute(
            update(ledger_entries)
            .where(_C.shard == shard, _C.leaf_index == index)
            .values(entity=entity or _NOBODY)
        )
        adopted.ended.append(Ended(index, reason, ended_at, entity))
    # Erased is not lost: somebody wanted it gone.
    adopted.lost = [one for one in adopted.lost if (shard, one) not in adopted.erased]


def _erase(
    tx: WriteTx, shard: str, indexes: Sequence[int], entity: str, ended_at: datetime
) -> None:
    values = {"sealed": None, "wrapped_key": None, "key_epoch": None}
    for start in range(0, len(indexes), _PAGE):
        tx.execute(
            update(ledger_entries)
            .where(_C.shard == shard, _C.leaf_index.in_(indexes[start : start + _PAGE]))
            .values(entity=entity, erased_at=ended_at, **values)
        )


def _entities(tx: ReadTx, shard: str, indexes: Sequence[int]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(indexes), _PAGE):
        some = indexes[start : start + _PAGE]
        query = select(_C.entity).where(_C.shard == shard, _C.leaf_index.in_(some))
        found |= set(tx.execute(query.distinct()).scalars())
    return found


def _row(shard: str, index: int, entry: bytes, leaf: object, at: datetime) -> dict[str, Any]:
    public = isinstance(leaf, PublicLeaf)
    return {
        "entry_id": new_id(IdKind.ENTRY),
        "entity": _PUBLIC if public else _NOBODY,
        "kind": leaf.kind if isinstance(leaf, PublicLeaf) else LOST,
        "public": public,
        "leaf": entry,
        "at": parse_time(str(leaf.body["at"])) if isinstance(leaf, PublicLeaf) else at,
        "shard": shard,
        "leaf_index": index,
    }


def _waiting(tx: ReadTx) -> "defaultdict[bytes, deque[int]]":
    """Rows without a place, by their leaf; in order, since public leaves may be alike."""
    found: defaultdict[bytes, deque[int]] = defaultdict(deque)
    query = select(_C.position, _C.leaf).where(_C.leaf_index.is_(None)).order_by(_C.position)
    for row in tx.execute(query):
        found[row.leaf].append(row.position)
    return found


def _leaves(tx: ReadTx, shard: str, first: int, stop: int) -> dict[int, bytes]:
    if first >= stop:
        return {}
    query = select(_C.leaf_index, _C.leaf).where(
        _C.shard == shard, _C.leaf_index >= first, _C.leaf_index < stop
    )
    return {row.leaf_index: row.leaf for row in tx.execute(query)}


def _bundles(reader: LogReader, size: int) -> Iterator[tuple[int, list[bytes]]]:
    for number in range(-(-size // TILE_WIDTH)):
        yield number * TILE_WIDTH, reader.bundle(number, size)


def _numbers(value: JsonValue) -> list[int]:
    return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []


def _texts(value: JsonValue) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
