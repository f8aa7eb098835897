"""Statements for the hot paths: compiled once, run on the driver's own cursor.

SQLAlchemy Core spends 60 to 120 µs on each execution, and 200 more if a select
is built anew; the same statement on the driver costs 10. Worth it where a
request runs the statement every time; everywhere else Core alone is plainer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Executable, Insert, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from storage.database.unit_of_work import ReadTx, WriteTx

Convert = Callable[[Any], Any]


class Prepared:
    """One statement with named parameters (`bindparam`, or an insert's columns).

    Build it at module level. Values are converted by the column types, as in
    Core; errors are SQLAlchemy's. Safe to share between threads.
    """

    def __init__(self, statement: Executable, columns: Sequence[str] = ()) -> None:
        """`columns`: for an insert, the columns that every call gives."""
        if isinstance(statement, Insert):
            # Without it Core would ask for the new primary key back.
            statement = statement.inline()
        self._statement = statement
        self._columns = list(columns) or None
        self._compiled: dict[str, _Compiled] = {}

    def run(self, tx: WriteTx, parameters: Mapping[str, Any]) -> int:
        """Insert, update or delete; the number of rows touched."""
        rowcount: int = self._execute(tx, parameters)[1].rowcount
        return rowcount

    def one(self, tx: ReadTx, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """The single row of a select by column name, or None. Two rows are a `ValueError`."""
        rows = self.all(tx, parameters)
        if len(rows) > 1:
            raise ValueError("more than one row")
        return rows[0] if rows else None

    def all(self, tx: ReadTx, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        compiled, cursor = self._execute(tx, parameters)
        try:
            # A damaged row may show here only: text that is no UTF-8, say.
            fetched = cursor.fetchall()
        except compiled.driver_error as error:
            raise compiled.wrapped(error) from error
        rows = [dict(zip(compiled.names, row, strict=True)) for row in fetched]
        for name, convert in compiled.results:
            for row in rows:
                row[name] = convert(row[name])
        return rows

    def _execute(self, tx: ReadTx, parameters: Mapping[str, Any]) -> "tuple[_Compiled, Any]":
        dialect = tx.connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(
                self._statement, self._columns, dialect
            )
        values = {**compiled.fixed, **parameters}
        for name, convert in compiled.binds:
            values[name] = convert(values[name])
        if compiled.positions is None:
            given: Any = {name: values[name] for name in compiled.parameters}
        else:
            given = [values[name] for name in compiled.positions]
        try:
            return compiled, tx.driver.execute(compiled.sql, given, **compiled.options)
        except compiled.driver_error as error:
            raise compiled.wrapped(error) from error


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    positions: list[str] | None  # order of the parameters, where the driver has no names
    parameters: list[str]
    fixed: dict[str, Any]  # values that the statement itself holds, converted
    binds: list[tuple[str, Convert]]
    names: list[str]
    results: list[tuple[str, Convert]]
    driver_error: type[Exception]
    options: dict[str, bool]  # of the driver's `execute`

    def wrapped(self, error: Exception) -> BaseException:
        """The driver's error as Core would raise it."""
        return DBAPIError.instance(self.sql, None, error, self.driver_error, hide_parameters=True)


def _compile(statement: Executable, columns: list[str] | None, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)  # noqa: S101
    names: list[str] = []
    results: list[tuple[str, Convert]] = []
    if isinstance(statement, Select):
        for column in statement.selected_columns:
            names.append(column.key or "")
            convert = _implementation(column.type, dialect).result_processor(dialect, None)
            if convert is not None:
                results.append((names[-1], convert))
    binds: list[tuple[str, Convert]] = []
    fixed: dict[str, Any] = {}
    for name, parameter in compiled.binds.items():
        if parameter.expanding:
            raise ValueError("a list for IN has no fixed length: use Core")
        convert = _implementation(parameter.type, dialect).bind_processor(dialect)
        if not parameter.required:
            fixed[name] = convert(parameter.value) if convert else parameter.value
        elif convert:
            binds.append((name, convert))
    driver_error: type[Exception] = dialect.loaded_dbapi.Error
    return _Compiled(
        compiled.string,
        list(compiled.positiontup) if compiled.positiontup is not None else None,
        list(compiled.binds),
        fixed,
        binds,
        names,
        results,
        driver_error,
        # Planned by the server at its first use, and kept with the connection.
        {"prepare": True} if dialect.name == "postgresql" else {},
    )


def _implementation(column_type: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return column_type.dialect_impl(dialect)
