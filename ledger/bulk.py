"""One insert of many rows at the driver's speed.

SQLAlchemy Core converts every value of every row: 9 µs a row, as much as SQLite
itself takes. Here the statement is compiled once per engine and rows are given
as tuples; only values that are the same in all rows are converted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, insert
from sqlalchemy.sql.compiler import SQLCompiler

from storage.database import WriteTx


class BulkInsert:
    """Inserts into `table`. Safe to share between threads; build it at module level.

    `columns` are given by each row and must hold str, bytes, int, bool or None;
    `shared` are given once for all rows and may hold any type of the table.
    """

    def __init__(self, table: Table, columns: Sequence[str], shared: Sequence[str]) -> None:
        self._table = table
        self._columns = list(columns)
        self._shared = list(shared)
        self._sql: dict[str, tuple[str, bool]] = {}

    def run(
        self, tx: WriteTx, rows: Sequence[tuple[Any, ...]], shared: Mapping[str, object]
    ) -> None:
        """Insert `rows` (values in the order of `columns`); no rows is no statement."""
        if not rows:
            return
        sql, by_position = self._statement(tx)
        common = tuple(self._converted(tx, name, shared[name]) for name in self._shared)
        given: list[Any] = [row + common for row in rows]
        if not by_position:
            names = [*self._columns, *self._shared]
            given = [dict(zip(names, row, strict=True)) for row in given]
        tx.connection.exec_driver_sql(sql, given)

    def _statement(self, tx: WriteTx) -> tuple[str, bool]:
        dialect = tx.connection.dialect
        known = self._sql.get(dialect.name)
        if known is not None:
            return known
        names = [*self._columns, *self._shared]
        # `inline`: Core would otherwise ask for each new primary key back.
        compiled = insert(self._table).inline().compile(dialect=dialect, column_keys=names)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101
        positions = compiled.positiontup
        if positions is not None and list(positions) != names:
            raise ValueError("list the columns in the table's order, the shared ones last")
        self._sql[dialect.name] = (compiled.string, positions is not None)
        return self._sql[dialect.name]

    def _converted(self, tx: WriteTx, name: str, value: object) -> object:
        dialect = tx.connection.dialect
        convert = self._table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        return value if convert is None else convert(value)
