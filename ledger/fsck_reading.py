"""What the `fsck` of every room needs: rows in pages, things that have records, findings.

Rows may hold anything: whoever reads one here expects `UNREADABLE`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from sqlalchemy import Column, ColumnElement, exists, select
from sqlalchemy.exc import SQLAlchemyError

from kernel.errors import CodedError
from kernel.ids import IdKind
from ledger.problems import Problem
from ledger.records import Row
from ledger.tables import ledger_entries
from storage.database import Database, ReadTx
from storage.errors import RowUnreadable

# What reading a damaged row raises, besides the coded errors of engine and ledger.
UNREADABLE = (
    SQLAlchemyError,
    RowUnreadable,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
)
PAGE = 500
_ENTRIES = ledger_entries.c

_SENTENCES = {
    "row_without_record": ("数据行没有存证记录", "a row has no record in the ledger"),
    "record_without_row": ("存证记录没有数据行", "a record in the ledger has no row"),
    "row_unreadable": ("数据行无法读取", "a row cannot be read"),
    "database_unreadable": ("数据库无法读取：{detail}", "the database cannot be read: {detail}"),
}


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the rows of every table, for processes that share a check: part `number` of
    `parts`. The first also does whatever is to be done once."""

    number: int = 0
    parts: int = 1

    @property
    def first(self) -> bool:
        return self.number == 0

    def has(self, key: object) -> bool:
        """Whether the row with this key is of this part: told by the key alone, so that it
        is of one part and no other, however the table grows meanwhile."""
        return self.parts == 1 or crc32(repr(key).encode()) % self.parts == self.number


WHOLE = Share()


class Findings:
    """The problems that one room finds, in the sentences of that room."""

    def __init__(self, sentences: Mapping[str, tuple[str, str]], share: Share = WHOLE) -> None:
        """`sentences`: by code, Chinese and English, with `{detail}` where there is one."""
        self.share = share
        self._sentences = {**_SENTENCES, **sentences}
        self.problems: list[Problem] = []

    def add(self, code: str, where: str, detail: str = "") -> None:
        """`where` holds ids, names of tables and numbers only; `detail` names of columns."""
        zh, en = self._sentences[code]
        self.problems.append(
            Problem(code, where, zh.format(detail=detail), en.format(detail=detail))
        )

    def compare(self, code: str, where: str, row: Row, expected: Mapping[str, object]) -> None:
        """Name the columns in which the row is not what the records say."""
        self.columns(code, where, (name for name, told in expected.items() if row[name] != told))

    def columns(self, code: str, where: str, wrong: Iterable[str]) -> None:
        named = ", ".join(wrong)
        if named:
            self.add(code, where, named)

    @contextmanager
    def guarded(self, where: str, code: str = "database_unreadable") -> Iterator[None]:
        """What cannot be read is a problem like any other, and does not end the check."""
        try:
            yield
        except CodedError as error:
            self.add(code, where, error.code)
        except UNREADABLE as error:
            self.add(code, where, type(error).__name__)

    def strays(self, database: Database, kind: IdKind, key: "Column[Any]") -> None:
        """Rows of this kind without any record, and things with records that have no row."""
        if not self.share.first:
            return
        recorded = exists().where(_ENTRIES.entity == key, _ENTRIES.public.is_(False))
        with self.guarded(key.table.name), database.read() as tx:
            for one in tx.execute(select(key).where(~recorded).order_by(key)).scalars():
                self.add("row_without_record", str(one))
            self.lost_things(tx, kind, key)

    def lost_things(self, tx: ReadTx, kind: IdKind, key: "Column[Any]") -> None:
        """Things of this kind with records of their own, erased ones included, and no row."""
        query = (
            select(_ENTRIES.entity)
            .where(is_of(_ENTRIES.entity, kind), _ENTRIES.public.is_(False))
            .where(~exists().where(key == _ENTRIES.entity))
        )
        for one in tx.execute(query.distinct().order_by(_ENTRIES.entity)).scalars():
            self.add("record_without_row", str(one))

    def lost_entries(self, database: Database, kind: str, key: "Column[Any]", prefix: str) -> None:
        """Entries of this kind that no row names by `key`; said of `prefix` and their id."""
        query = select(_ENTRIES.entry_id).where(
            _ENTRIES.kind == kind, ~exists().where(key == _ENTRIES.entry_id)
        )
        with self.guarded(key.table.name), database.read() as tx:
            for one in tx.execute(query.order_by(_ENTRIES.entry_id)).scalars():
                self.add("record_without_row", f"{prefix}{one}")

    def each(
        self,
        database: Database,
        key: "Column[Any]",
        check: Callable[[ReadTx, Row], None],
        tell: Callable[[int], None] = lambda _done: None,
    ) -> None:
        """Check every row of the table that is of this share, found by its unique column
        `key`; what no check can read is named. `tell(n)` is called after `n` more rows.
        """
        with self.guarded(key.table.name):
            for page in pages(database, key, self.share):
                with database.read() as tx:
                    for row in self._rows(tx, key, page):
                        with self.guarded(f"{key.table.name}/{row[key.name]}", "row_unreadable"):
                            check(tx, row)
                tell(len(page))

    def _rows(self, tx: ReadTx, key: "Column[Any]", page: Sequence[Any]) -> Sequence[Row]:
        query = select(key.table).order_by(key)
        try:
            return tx.all(query.where(key.in_(page)))
        except UNREADABLE:
            found: list[Row] = []
            for one in page:
                with self.guarded(f"{key.table.name}/{one}", "row_unreadable"):
                    found += tx.all(query.where(key == one))
            return found


def pages(database: Database, key: "Column[Any]", share: Share = WHOLE) -> Iterator[list[Any]]:
    """All values of a unique column in order, or those of a share, about `PAGE` at a time.

    Each page is a snapshot of its own: a long one would hold up the write-ahead
    log of a store that is being served.
    """
    after: Any = None
    size = PAGE * share.parts
    while True:
        query = select(key).order_by(key).limit(size)
        if after is not None:
            query = query.where(key > after)
        with database.read() as tx:
            found = list(tx.execute(query).scalars())
        if page := [one for one in found if share.has(one)]:
            yield page
        if len(found) < size:
            return
        after = found[-1]


def is_of(column: "Column[Any]", kind: IdKind) -> ColumnElement[bool]:
    """Whether it holds an id of this kind: as a range, which an index answers."""
    prefix = f"{kind.value}_"
    return (column >= prefix) & (column < prefix[:-1] + chr(ord("_") + 1))


def entries_of(tx: ReadTx, *kinds: str) -> set[str]:
    """The ids of all entries of these kinds."""
    return set(tx.execute(select(_ENTRIES.entry_id).where(_ENTRIES.kind.in_(kinds))).scalars())


def places(tx: ReadTx, entry_ids: Sequence[str]) -> dict[str, int]:
    """The position of each entry in the journal: their order, where times are equal."""
    found: dict[str, int] = {}
    for start in range(0, len(entry_ids), PAGE):
        some = entry_ids[start : start + PAGE]
        query = select(_ENTRIES.entry_id, _ENTRIES.position).where(_ENTRIES.entry_id.in_(some))
        found |= {row["entry_id"]: row["position"] for row in tx.all(query)}
    return found
