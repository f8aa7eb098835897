"""Pages of rows, newest first, by a cursor that survives inserts.

The cursor says after which (time, id) to go on. It is opaque to callers, and
not secret: whoever makes one up sees only what the query shows them anyway.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    Select,
    Table,
    bindparam,
    literal,
    literal_column,
    select,
    tuple_,
    union,
)

from kernel.clock import parse_time, time_text
from ledger.records import Row
from materials_api.errors import CursorInvalid
from storage.database import ReadTx
from storage.database.prepared import Prepared

T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R", bound=Mapping[Any, Any])


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items and, if there are more, the cursor of the next page."""

    items: tuple[T, ...]
    next: str | None

    def map(self, change: Callable[[T], U]) -> "Page[U]":
        return Page(tuple(change(item) for item in self.items), self.next)


def page_of(
    tx: ReadTx,
    query: Select[Any],
    at: ColumnElement[Any],
    key: ColumnElement[Any],
    *,
    cursor: str | None,
    limit: int,
) -> Page[RowMapping]:
    """Up to `limit` rows of `query` by falling (`at`, `key`); `key` is unique.

    Both columns must be among those selected. `CursorInvalid` for a cursor
    that was not handed out by a page. For what one holder has: all of it is read.
    """
    if cursor is not None:
        time, last = _parse(cursor)
        before = tuple_(literal(time, at.type), literal(last, key.type))
        query = query.where(tuple_(at, key) < before)
    rows = tx.all(query.order_by(at.desc(), key.desc()).limit(limit + 1))
    return _page(rows, at.name, key.name, limit)


def page_of_parts(
    tx: ReadTx,
    table: Table,
    parts: Sequence[Mapping[str, object]],
    at: str,
    key: str,
    *,
    cursor: str | None,
    limit: int,
) -> Page[Row]:
    """The same of a table of which the caller sees more than fits a page: the rows that have
    the values of one of the `parts`, by column. A row of several parts counts once.

    With an index of a part's columns, `at` and `key`, as many entries of it are read for
    each part as may be shown, however many there are; hence a part for each state (ADR 0029).
    """
    if not parts:
        return Page((), None)
    given: dict[str, object] = {"most": limit + 1}
    if cursor is not None:
        given["time"], given["last"] = _parse(cursor)
    for number, part in enumerate(parts):
        given |= {f"{name}_{number}": value for name, value in part.items()}
    shape = tuple(tuple(part) for part in parts)
    rows = _prepared(table, shape, at, key, cursor is not None).all(tx, given)
    return _page(rows, at, key, limit)


@lru_cache(maxsize=64)
def _prepared(
    table: Table,
    parts: tuple[tuple[str, ...], ...],
    at: str,
    key: str,
    after: bool,
) -> Prepared:
    """Prepared once for each form that lists have: to build it anew takes 30 ms."""
    time, last = table.c[at], table.c[key]
    falling = (time.desc(), last.desc())
    found = []
    for number, names in enumerate(parts):
        part = select(time, last).where(
            *(
                table.c[name] == bindparam(f"{name}_{number}", type_=table.c[name].type)
                for name in names
            )
        )
        if after:
            # As one row: PostgreSQL begins in the index there, and at its end with an "or".
            before = tuple_(bindparam("time", type_=time.type), bindparam("last", type_=last.type))
            part = part.where(tuple_(time, last) < before)
        found.append(_first(part.order_by(*falling)).subquery())
    # Sub-selects, as SQLite orders and limits no part of a union.
    together = union(*map(select, found)).subquery()
    page = _first(
        select(together.c[key]).order_by(together.c[at].desc(), together.c[key].desc())
    ).subquery()
    rows = select(table).join(page, page.c[key] == last).order_by(*falling)
    return Prepared(rows)


def _first(query: Select[Any]) -> Select[Any]:
    return query.limit(bindparam("most", type_=Integer)).offset(literal_column("0"))


def _page(rows: Sequence[R], at: str, key: str, limit: int) -> Page[R]:
    if len(rows) <= limit:
        return Page(tuple(rows), None)
    shown = tuple(rows[:limit])
    return Page(shown, _text(shown[-1][at], shown[-1][key]))


def _text(at: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(f"{time_text(at)}{key}".encode()).decode().rstrip("=")


def _parse(cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
        return parse_time(text[:24]), text[24:]
    except (binascii.Error, ValueError) as error:
        raise CursorInvalid() from error
