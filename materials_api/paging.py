"""Pages of rows, newest first, by a cursor that survives inserts.

The cursor says after which (time, id) to go on. It is opaque to callers, and
not secret: whoever makes one up sees only what the query shows them anyway.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Select, and_, or_

from kernel.clock import parse_time, time_text
from materials_api.errors import CursorInvalid
from storage.database import ReadTx

T = TypeVar("T")
U = TypeVar("U")


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
    that was not handed out by a page.
    """
    if cursor is not None:
        time, last = _parse(cursor)
        query = query.where(or_(at < time, and_(at == time, key < last)))
    rows = tx.all(query.order_by(at.desc(), key.desc()).limit(limit + 1))
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
