"""`fsck` of the rows: each leaf has its row, each record opens and matches, erasures are proved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from kernel.clock import parse_time
from kernel.errors import CodedError
from kernel.ids import IdKind, is_id
from ledger.errors import RecordCorrupt, RecordErased
from ledger.heads import Head, load
from ledger.leaves import ENDED, LOST
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
            partition_by=(ledger_entries.c.entity, ledger_entries.c.shard),
            order_by=ledger_entries.c.position,
        )
        .label("before"),
    )
    .where(ledger_entries.c.leaf_index.is_not(None))
    .subquery()
)
_OUT_OF_ORDER = select(_placed.c.entry_id).where(_placed.c.before > _placed.c.leaf_index)


@dataclass(frozen=True, slots=True)
class _Ended:
    at: datetime
    entity: str


class RowCheck:
    """Compares `ledger_entries` with the log, 256 indexes at a time."""

    def __init__(self, database: Database, vault: KeyVault, shard: str, head: Head) -> None:
        self.problems: list[Problem] = []
        self._database = database
        self._vault = vault
        self._shard = shard
        self._head = head
        self._rows: dict[int, RowMapping] = {}
        self._erased: dict[int, _Ended] = {}
        self._ended: dict[int, _Ended] = {}

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

    def rest(self) -> None:
        """Rows without a place in the checked tree, the order of rows, and all erasures."""
        columns = ledger_entries.c
        after = -1
        placed = 0
        while True:
            page = self._read(
                columns.position > after,
                or_(
                    columns.leaf_index.is_(None),
                    columns.shard.is_(None),
                    columns.shard != self._shard,
                    columns.leaf_index >= self._head.size,
                    columns.leaf_index < 0,
                ),
                limit=_PAGE,
            )
            if page is None:
                self._add("row_unreadable", f"position > {after}")
                break
            staged = self.staged_size() if page else 0
            for row in page:
                placed += self._unplaced(row, staged)
                after = row["position"]
            if len(page) < _PAGE:
                break
        if placed < self._head.staged_size - self._head.size:
            self._add("leaf_without_record", f"{self._shard}/{self._head.size}+")
        self._order()
        self._erasures()

    def staged_size(self) -> int:
        """How many indexes are handed out by now."""
        try:
            with self._database.read() as tx:
                return load(tx, self._shard).staged_size
        except (*_UNREADABLE, CodedError):
            return self._head.staged_size

    def _unplaced(self, row: RowMapping, staged: int) -> bool:
        """Check one such row; whether it has an index that was handed out."""
        index, shard = row["leaf_index"], row["shard"]
        if index is None and shard is None:
            self._open(row, None)
            return False
        if shard == self._shard and isinstance(index, int) and self._head.size <= index < staged:
            self._open(row, index)  # placed since we began, or in a round that was cut off
            return True
        self._add("row_without_leaf", self._where(row))
        return False

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
                self._erased[index] = _Ended(erased_at, row["entity"])
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
        if body.get("reason") != "erased" or body.get("shard") != self._shard:
            return
        for index in indexes if isinstance(indexes, list) else []:
            if isinstance(index, int):
                at = parse_time(str(body["at"]))
                self._ended[index] = _Ended(at, record.entity)

    def _erasures(self) -> None:
        for index, erased in self._erased.items():
            where = f"{self._shard}/{index}"
            ended = self._ended.get(index)
            if ended is None:
                self._add("record_lost", where)
            elif ended != erased:
                self._add("row_differs", where, "erased_at or entity")
        columns = ledger_entries.c
        for index in sorted(self._ended.keys() - self._erased.keys()):
            # Looked at again: it may have been erased since we passed it.
            rows = self._read(columns.shard == self._shard, columns.leaf_index == index)
            if rows and rows[0]["sealed"] is not None:
                self._add("erasure_undone", f"{self._shard}/{index}")

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
