"""Statements for the hot paths: compiled once, run on the driver's own cursor.

SQLAlchemy Core spends 60 to 120 µs on each execution, and 200 more if a select
is built anew; the same statement on the driver costs 10. Worth it where a
request runs the statement every time; everywhere else Core alone is plainer.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Dialect, Executable, Insert, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from storage.database.unit_of_work import ReadTx, WriteTx

Convert = Callable[[Any], Any]

# Up to so many parameters and characters the driver remembers how it reads a statement.
_MOST_PARAMETERS = 50
_MOST_CHARACTERS = 4096
_PARAMETER = re.compile(r"%\((\w+)\)s")


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
        self._adds = statement.table if isinstance(statement, Insert) else None
        self._columns = list(columns) or None
        self._compiled: dict[str, _Compiled] = {}

    def run(self, tx: WriteTx, parameters: Mapping[str, Any]) -> int:
        """Insert, update or delete; the number of rows touched."""
        rowcount: int = self._execute(tx, parameters)[1].rowcount
        return rowcount

    def add(self, tx: WriteTx, parameters: Mapping[str, Any]) -> None:
        """Insert one row, when the transaction's next statement comes at the latest.

        On PostgreSQL all that wait are one statement (see `insert_together`), so an
        error of the row, a key that is taken say, may be raised by what comes next,
        or as the end of the unit of work. Nothing is stored then either.
        """
        if self._adds is None:
            raise ValueError("only an insert can wait")
        if tx.dialect.name == "postgresql":
            tx.hold(self, parameters)
        else:
            self._execute(tx, parameters)

    def one(self, tx: ReadTx, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """The single row of a select by column name, or None. Two rows are a `ValueError`."""
        rows = self.all(tx, parameters)
        if len(rows) > 1:
            raise ValueError("more than one row")
        return rows[0] if rows else None

    def all(self, tx: ReadTx, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        compiled = self._for(tx.dialect)
        key = _asked(self, parameters) if tx.ahead else ()
        fetched: Any = tx.ahead.get(key)
        if not isinstance(fetched, list):
            cursor = fetched or self._execute(tx, parameters)[1]
            try:
                # A damaged row may show here only: text that is no UTF-8, say.
                fetched = cursor.fetchall()
            except compiled.driver_error as error:
                raise compiled.wrapped(error) from error
            if key in tx.ahead:
                tx.ahead[key] = fetched
        rows = [dict(zip(compiled.names, row, strict=True)) for row in fetched]
        for name, convert in compiled.results:
            for row in rows:
                row[name] = convert(row[name])
        return rows

    def _execute(self, tx: ReadTx, parameters: Mapping[str, Any]) -> "tuple[_Compiled, Any]":
        if isinstance(tx, WriteTx):
            tx.flush()
        compiled = self._for(tx.dialect)
        given = compiled.given(parameters)
        try:
            return compiled, tx.driver.execute(compiled.sql, given, **compiled.options)
        except compiled.driver_error as error:
            raise compiled.wrapped(error) from error

    def _for(self, dialect: Dialect) -> "_Compiled":
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(
                self._statement, self._columns, dialect
            )
        return compiled


Wanted = tuple[Prepared, Mapping[str, Any]]


def read_ahead(tx: ReadTx, wanted: Iterable[Wanted]) -> None:
    """Ask all of these selects at once; `one` and `all` of this snapshot then have the rows.

    For reading whose questions are known before its answers are looked at: on PostgreSQL one
    wait for all of them. However often one is then asked, it is sent once. Only in a snapshot
    (`Database.read`), where the same question has the same answer.
    """
    if isinstance(tx, WriteTx):
        raise ValueError("what a transaction writes would not be seen")
    asked = {_asked(part, given): (part, given) for part, given in wanted}
    asked = {key: one for key, one in asked.items() if key not in tx.ahead}
    if tx.dialect.name != "postgresql":
        # No server to wait for: each is asked when its rows are wanted.
        tx.ahead.update(dict.fromkeys(asked))
        return
    if not asked:
        return
    # Only here: an embedded store needs no driver of a server.
    from storage.database.postgres import quieten

    sent: dict[tuple[Any, ...], Any] = {}
    try:
        with tx.driver.pipeline():
            for key, (part, given) in asked.items():
                compiled = part._for(tx.dialect)
                sent[key] = tx.driver.execute(
                    compiled.sql, compiled.given(given), **compiled.options
                )
    except compiled.driver_error as error:
        quieten(cast(Any, error))
        raise compiled.wrapped(error) from error
    tx.ahead.update(sent)


def _asked(part: Prepared, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same for the same question, if its parameters stand in the same order."""
    return (part, *parameters.values())


class _Together:
    """Some inserts as one statement of PostgreSQL: `WITH w0 AS (INSERT …), … SELECT 1`.

    One answer to wait for, one statement to plan and to read. Its parts see the tables
    as they were before it, and foreign keys are checked at its end.
    """

    def __init__(self, parts: Sequence[Prepared], dialect: Dialect) -> None:
        compiled = [part._for(dialect) for part in parts]
        self._compiled = compiled
        if len(parts) == 1:
            self.sql = compiled[0].sql
            self._names = [[(name, name) for name in compiled[0].parameters]]
            return
        parts_sql = []
        self._names = []
        for at, one in enumerate(compiled):
            parts_sql.append(f"w{at} AS ({_PARAMETER.sub(_renamed(at), one.sql)})")
            self._names.append([(name, f"w{at}_{name}") for name in one.parameters])
        self.sql = f"WITH {', '.join(parts_sql)} SELECT 1"

    def run(self, tx: WriteTx, rows: Sequence[Mapping[str, Any]]) -> None:
        given: dict[str, Any] = {}
        for one, names, row in zip(self._compiled, self._names, rows, strict=True):
            values = {**one.fixed, **row}
            for name, convert in one.binds:
                values[name] = convert(values[name])
            for name, renamed in names:
                given[renamed] = values[name]
        first = self._compiled[0]
        try:
            tx.driver.execute(self.sql, given, **first.options)
        except first.driver_error as error:
            raise DBAPIError.instance(
                self.sql, None, error, first.driver_error, hide_parameters=True
            ) from error


def _renamed(at: int) -> Callable[[re.Match[str]], str]:
    return lambda found: f"%(w{at}_{found[1]})s"


_together: dict[tuple[Prepared, ...], _Together] = {}


def insert_together(tx: WriteTx, waiting: Sequence[tuple[Prepared, Mapping[str, Any]]]) -> None:
    """Send inserts in as few statements as the order within each table allows."""
    for group in _groups(waiting, tx.dialect):
        parts = tuple(part for part, _ in group)
        known = _together.get(parts)
        if known is None:
            known = _together[parts] = _Together(parts, tx.dialect)
        known.run(tx, [row for _, row in group])


def _groups(
    waiting: Sequence[tuple[Prepared, Mapping[str, Any]]], dialect: Dialect
) -> Iterator[list[tuple[Prepared, Mapping[str, Any]]]]:
    """Runs of inserts of which no two go into one table: the parts of one statement have
    no order, and rows of one table are numbered in theirs."""
    group: list[tuple[Prepared, Mapping[str, Any]]] = []
    tables: set[Any] = set()
    parameters = characters = 0
    for part, row in waiting:
        compiled = part._for(dialect)
        names = len(compiled.parameters)
        # The renamed parameters, and what stands around the part.
        letters = len(compiled.sql) + 4 * names + 16
        if group and (
            part._adds in tables
            or parameters + names > _MOST_PARAMETERS
            or characters + letters > _MOST_CHARACTERS
        ):
            yield group
            group, tables, parameters, characters = [], set(), 0, 0
        group.append((part, row))
        tables.add(part._adds)
        parameters += names
        characters += letters
    if group:
        yield group


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

    def given(self, parameters: Mapping[str, Any]) -> Any:
        """The parameters as the driver wants them."""
        values = {**self.fixed, **parameters}
        for name, convert in self.binds:
            values[name] = convert(values[name])
        if self.positions is None:
            return {name: values[name] for name in self.parameters}
        return [values[name] for name in self.positions]

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
