"""Inserts of many rows at the driver's speed: by COPY on PostgreSQL.

SQLAlchemy Core converts every value of every row: 9 µs a row, as much as SQLite
itself takes. Here statements of many rows are compiled once per engine; only
values that are the same in all rows are converted. A statement of many rows
also gives up the interpreter lock once instead of once a row: beside a busy
thread, each time can cost 5 ms.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Table, bindparam, insert
from sqlalchemy.sql.compiler import SQLCompiler

from storage.database import WriteTx

_CHUNK = 500  # rows in one statement: 4,500 parameters, where SQLite allows 32,766


class BulkInsert:
    """Inserts into `table`. Safe to share between threads; build it at module level.

    `columns` are given by each row and must hold str, bytes, int, bool or None;
    `shared` are given once for all rows and may hold any type of the table.
    """

    def __init__(self, table: Table, columns: Sequence[str], shared: Sequence[str]) -> None:
        self._table = table
        self._shared = list(shared)
        self._names = [*columns, *shared]
        self._statements: dict[tuple[str, int], tuple[str, list[str] | None]] = {}

    def run(
        self, tx: WriteTx, rows: Sequence[tuple[Any, ...]], shared: Mapping[str, object]
    ) -> None:
        """Insert `rows` (values in the order of `columns`); no rows is no statement."""
        common = tuple(self._converted(tx, name, shared[name]) for name in self._shared)
        if tx.copy_rows(self._table, self._names, [row + common for row in rows]):
            return
        for first in range(0, len(rows), _CHUNK):
            chunk = rows[first : first + _CHUNK]
            sql, names = self._statement(tx, len(chunk))
            values = tuple(chain.from_iterable([row + common for row in chunk]))
            given: Any = values if names is None else dict(zip(names, values, strict=True))
            tx.connection.exec_driver_sql(sql, given)

    def _statement(self, tx: WriteTx, count: int) -> tuple[str, list[str] | None]:
        """The SQL for `count` rows, and the names of its parameters where they have names."""
        dialect = tx.connection.dialect
        known = self._statements.get((dialect.name, count))
        if known is not None:
            return known
        rows: list[dict[str, Any]] = [
            {name: bindparam(f"{name}_{number}") for name in self._names} for number in range(count)
        ]
        names = [parameter.key for row in rows for parameter in row.values()]
        # `inline`: Core would otherwise ask for the new primary keys back.
        compiled = insert(self._table).inline().values(rows).compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101
        positions = compiled.positiontup
        if positions is not None and list(positions) != names:
            raise ValueError("list the columns in the table's order, the shared ones last")
        made = (compiled.string, None if positions is not None else names)
        self._statements[dialect.name, count] = made
        return made

    def _converted(self, tx: WriteTx, name: str, value: object) -> object:
        dialect = tx.connection.dialect
        convert = self._table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        return value if convert is None else convert(value)
