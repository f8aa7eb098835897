"""The one `MetaData` that every room's `tables.py` adds to, and shared column types."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, String
from sqlalchemy.types import TypeDecorator

from storage.errors import RowUnreadable

# Every constraint has a name, so that migrations can change it on both engines.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times in Python, on every engine.

    PostgreSQL keeps `timestamptz`; SQLite has no time zones, so the UTC wall
    time is stored and the zone is put back on reading. Naive times are refused.
    `RowUnreadable`: the stored value is no time, as only a damaged SQLite row can be.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        aware: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return aware.astimezone(UTC)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None]:
        convert = super().result_processor(dialect, coltype)
        assert convert is not None  # noqa: S101 - there is a process_result_value

        def read(value: Any) -> datetime | None:
            try:
                return convert(value)
            except (ValueError, TypeError) as error:
                raise RowUnreadable() from error

        return read


Id = String(30)  # a `kernel.ids` id
Code = String(64)  # a stable word: state, kind, reason
CreditCode = String(18)  # unified social credit code
