"""`fsck` of the rows: each leaf has its row, each record opens and matches, erasures are proved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from kernel.clock import parse_time
from kernel.errors import CodedError
from kernel.ids import IdKind, is_id
from ledger.errors import RecordCorrupt, RecordErased
from ledger.heads import Head, load
from ledger.leaves import ENDED, LOST, PUBLIC_ENTITY
from ledger.merkle import TILE_WIDTH
from ledger.problems import Problem
from ledger.records import OpenedRecord, open_row
from ledger.tables import ledger_entries
from ledger.tiles import tile_width
from storage.database import Database
from storage.errors import RowUnreadable
from storage.keyvault import KeyVault

_UNREADABLE = (SQLAlchemyError, RowUnreadable, ValueError, TypeError, OverflowError)
_PAGE = 256
_placed = (
    select(
        ledger_entries.c.entry_id,
        ledger_entries.c.leaf_index,
        func.lag(ledger_entries.c.leaf_index)
        .over(
            partition_by=ledger_entries.c.entity,
            order_by=ledger_entries.c.position,
        )
        .label("before"),
        ledger_entries.c.shard,
        func.lag(ledger_entries.c.shard)
        .over(
            partition_by=ledger_entries.c.entity,
            order_by=ledger_entries.c.position,
        )
        .label("shard_before"),
    )
    .where(ledger_entries.c.leaf_index.is_not(None), ledger_entries.c.entity != PUBLIC_ENTITY)
    .subquery()
)
# Shards sort as they follow one another. The log's own leaves stand where they must.
_OUT_OF_ORDER = select(_placed.c.entry_id).where(
    or_(
        _placed.c.shard_before > _placed.c.shard,
        (_placed.c.shard_before == _placed.c.shard) & (_placed.c.before > _placed.c.leaf_index),
    )
)


@dataclass(frozen=True, slots=True)
class _Ended:
    at: datetime
    entity: str


class Erasures:
    """What rows say was erased, and what `ended` leaves say: by shard and index."""

    def __init__(self) -> None:
        self.erased: dict[tuple[str, int], _Ended] = {}
        self.ended: dict[tuple[str, int], _Ended] = {}


class RowCheck:
    """Compares `ledger_entries` with one shard of the log, 256 indexes at a time.

    An erasure in one shard may be told of in a later one: the checks of all shards share
    `erasures`.
    """

    def __init__(
        self,
        database: Database,
        vault: KeyVault,
        head: Head,
        erasures: Erasures | None = None,
    ) -> None:
        self.problems: list[Problem] = []
        self._database = database
        self._vault = vault
        self._shard = head.shard
        self._head = head
        self._rows: dict[int, RowMapping] = {}
        self._found = erasures or Erasures()

    def leaves(self, number: int) -> list[bytes | None]:
        """Read the rows of bundle `number`; the leaf of each index, None where there is none."""
        columns = ledger_entries.c
        first = number * TILE_WIDTH
        last = first + tile_width(self._head.size, 0, number)
        found = self._read(
            columns.shard == self._shard, columns.leaf_index >= first, columns.leaf_index < last
        )
        if found is None:
            found = []
            for index in range(first, last):
                one = self._read(columns.shard == self._shard, columns.leaf_index == index)
                if one is None:
                    self._add("row_unreadable", f"{self._shard}/{index}")
                found += one or []
        self._rows = {row["leaf_index"]: row for row in found}
        return [_leaf(self._rows.get(index)) for index in range(first, last)]

    def compare(
        self, number: int, rows: Sequence[bytes | None], entries: Sequence[bytes | None]
    ) -> None:
        """Compare those rows with the entries that the log holds, and open every record."""
        for at, entry in enumerate(entries):
            index = number * TILE_WIDTH + at
            row = self._rows.get(index)
            if row is None:
                self._add("leaf_without_record", f"{self._shard}/{index}")
                continue
            if entry is not None and rows[at] != entry:
                self._add("row_differs", self._where(row), "leaf")
            self._open(row, index)

    def rest(self, earlier: Sequence[Head] = ()) -> None:
        """Rows without a place in the checked trees, the order of rows, and all erasures;
        once, after all bundles. `earlier`: the heads of the other shards."""
        columns = ledger_entries.c
        after = -1
        heads = {head.shard: head for head in (*earlier, self._head)}
        placed = dict.fromkeys(heads, 0)
        while True:
            page = self._read(
                columns.position > after,
                or_(
                    columns.leaf_index.is_(None),
                    columns.shard.is_(None),
                    columns.shard.not_in(list(heads)),
                    columns.leaf_index < 0,
                    *(
                        (columns.shard == head.shard) & (columns.leaf_index >= head.size)
                        for head in heads.values()
                    ),
                ),
                limit=_PAGE,
            )
            if page is None:
                self._add("row_unreadable", f"position > {after}")
                break
            staged = {one: self.staged_size(heads[one]) for one in heads} if page else {}
            for row in page:
                if (shard := self._unplaced(row, heads, staged)) is not None:
                    placed[shard] += 1
                after = row["position"]
            if len(page) < _PAGE:
                break
        for shard, head in heads.items():
            if placed[shard] < head.staged_size - head.size:
                self._add("leaf_without_record", f"{shard}/{head.size}+")
        self._order()
        self._erasures()

    def staged_size(self, head: Head | None = None) -> int:
        """How many indexes are handed out by now, in this shard or that of `head`."""
        head = head or self._head
        try:
            with self._database.read() as tx:
                return load(tx, head.shard).staged_size
        except (*_UNREADABLE, CodedError):
            return head.staged_size

    def _unplaced(
        self, row: RowMapping, heads: Mapping[str, Head], staged: Mapping[str, int]
    ) -> str | None:
        """Check one such row; in which shard it has an index that was handed out, if in any."""
        index, shard = row["leaf_index"], row["shard"]
        if index is None and shard is None:
            self._open(row, None)
            return None
        known = shard in heads and isinstance(index, int)
        if known and heads[shard].size <= index < staged[shard]:
            self._open(row, index)  # placed since we began, or in a round that was cut off
            return str(shard)
        self._add("row_without_leaf", self._where(row))
        return None

    def _open(self, row: RowMapping, index: int | None) -> None:
        where = self._where(row)
        erased_at = row["erased_at"]
        try:
            record = open_row(self._vault, row)
        except RecordErased:
            if row["kind"] == LOST and erased_at is None and index is not None:
                self._add("lost_in_restore", f"{self._shard}/{index}")
                return
            left = (row["sealed"], row["wrapped_key"], row["key_epoch"])
            if index is None or not isinstance(erased_at, datetime) or left != (None, None, None):
                self._add("record_lost", where)
            else:
                self._found.erased[row["shard"], index] = _Ended(erased_at, row["entity"])
            return
        except RecordCorrupt as error:
            self._add("record_corrupt", where, str(error.details["reason"]))
            return
        except _UNREADABLE:
            self._add("row_unreadable", where)
            return
        if erased_at is not None:
            self._add("erasure_undone", where)
        if not is_id(record.entry_id, IdKind.ENTRY):
            self._add("row_differs", where, "entry_id")
        if record.kind == ENDED and not record.salt:
            self._note_ended(record)

    def _note_ended(self, record: OpenedRecord) -> None:
        body = record.body
        indexes = body.get("indexes")
        shard = body.get("shard")
        if body.get("reason") != "erased" or not isinstance(shard, str):
            return
        for index in indexes if isinstance(indexes, list) else []:
            if isinstance(index, int):
                at = parse_time(str(body["at"]))
                self._found.ended[shard, index] = _Ended(at, record.entity)

    def _erasures(self) -> None:
        all_erased, all_ended = self._found.erased, self._found.ended
        for (shard, index), erased in all_erased.items():
            where = f"{shard}/{index}"
            ended = all_ended.get((shard, index))
            if ended is None:
                self._add("record_lost", where)
            elif ended != erased:
                self._add("row_differs", where, "erased_at or entity")
        columns = ledger_entries.c
        for shard, index in sorted(all_ended.keys() - all_erased.keys()):
            # Looked at again: it may have been erased since we passed it.
            rows = self._read(columns.shard == shard, columns.leaf_index == index)
            if rows and rows[0]["sealed"] is not None:
                self._add("erasure_undone", f"{shard}/{index}")

    def _order(self) -> None:
        """`latest` goes by position: it must never disagree with the log."""
        try:
            with self._database.read() as tx:
                for entry_id in tx.execute(_OUT_OF_ORDER).scalars():
                    self._add("rows_out_of_order", str(entry_id))
        except _UNREADABLE as error:
            self._add("database_unreadable", "ledger_entries", type(error).__name__)

    def _read(
        self, *where: ColumnElement[bool], limit: int | None = None
    ) -> Sequence[RowMapping] | None:
        statement = select(ledger_entries).where(*where).order_by(ledger_entries.c.position)
        try:
            with self._database.read() as tx:
                return tx.all(statement.limit(limit))
        except _UNREADABLE:
            return None

    def _where(self, row: RowMapping) -> str:
        return str(row["entry_id"])

    def _add(self, code: str, where: str, detail: str = "") -> None:
        self.problems.append(Problem.of(code, where, detail))


def _leaf(row: RowMapping | None) -> bytes | None:
    leaf = row["leaf"] if row is not None else None
    return leaf if isinstance(leaf, bytes) else None
