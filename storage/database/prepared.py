"""Statements for the hot paths: compiled once, run by the driver alone.

SQLAlchemy Core spends 60 to 120 µs on each execution, and 200 more if a select
is built anew; the same statement on the driver costs 10 to 20 (on PostgreSQL see
`storage.database.statements`). Worth it where a request runs the statement every time;
everywhere else Core alone is plainer.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Dialect, Executable, Insert, Select, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeEngine

from storage.database.unit_of_work import ReadTx, WriteTx

Convert = Callable[[Any], Any]

# Inserts that go together: so many, and of one table so many rows. Few shapes are kept then.
_MOST_TOGETHER = 16
_MOST_ROWS = 4
_PARAMETER = re.compile(r"\$(\d+)")


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
        parts = iterate(cast(Any, statement))
        self.tables = frozenset(one for one in parts if isinstance(one, Table))
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
            answer = fetched or self._execute(tx, parameters)[1]
            try:
                # A damaged row may show here only: text that is no UTF-8, say.
                fetched = answer.rows()
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
            if not isinstance(self._statement, Select):
                tx.forget_ahead(self.tables)
        compiled = self._for(tx.dialect)
        given = compiled.given(parameters)
        if tx.dialect.name == "postgresql":
            return compiled, _ask(tx, compiled, [(compiled.sql, given)])[0]
        try:
            return compiled, _Fetched(tx.driver.execute(compiled.sql, given))
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
    wait for all of them. However often one is then asked, it is sent once. In a snapshot
    (`Database.read`) the same question has the same answer; in a transaction that writes, which
    no other one overlaps, until it writes to a table of the question, and then it is asked anew.
    """
    asked = {_asked(part, given): (part, given) for part, given in wanted}
    asked = {key: one for key, one in asked.items() if key not in tx.ahead}
    if tx.dialect.name != "postgresql":
        # No server to wait for: each is asked when its rows are wanted.
        tx.ahead.update(dict.fromkeys(asked))
        return
    if not asked:
        return
    if isinstance(tx, WriteTx):
        tx.flush()
    parts = [(part._for(tx.dialect), given) for part, given in asked.values()]
    sent = _ask(tx, parts[0][0], [(part.sql, part.given(given)) for part, given in parts])
    tx.ahead.update(zip(asked, sent, strict=True))


def _asked(part: Prepared, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same for the same question, if its parameters stand in the same order."""
    return (part, *parameters.values())


def _ask(tx: ReadTx, compiled: "_Compiled", asked: Sequence[tuple[Any, Any]]) -> list[Any]:
    """The answers of PostgreSQL to statements and their values, waited for once. Errors as
    Core would raise them."""
    # Only here: an embedded store needs no driver of a server.
    from storage.database.statements import Asked

    try:
        answers: list[Any] = tx.driver.statements.ask([Asked(*one) for one in asked])
        return answers
    except compiled.driver_error as error:
        raise compiled.wrapped(error) from error


class _Fetched:
    """A cursor of SQLite, as an answer of `storage.database.statements`."""

    def __init__(self, cursor: Any) -> None:
        self.rowcount: int = cursor.rowcount
        self.rows: Callable[[], list[tuple[Any, ...]]] = cursor.fetchall


class _Together:
    """Some inserts as one statement of PostgreSQL: `WITH w0 AS (INSERT …), … SELECT 1`.

    One answer to wait for, one statement to plan and to read. Its parts see the tables
    as they were before it, and foreign keys are checked at its end. Rows of one table are
    one part, in their order.
    """

    def __init__(self, parts: Sequence[Sequence["Prepared"]], dialect: Dialect) -> None:
        """`parts`: for each table its insert, as often as there are rows."""
        self.compiled = [part[0]._for(dialect) for part in parts]
        inserts = []
        names = 0
        for part, one in zip(parts, self.compiled, strict=True):
            # Core writes `INSERT INTO … VALUES (…)`, where only the values hold parameters.
            head, values, row = one.sql.decode().partition(" VALUES ")
            rows = []
            for _ in part:
                rows.append(_PARAMETER.sub(_moved(names), row))
                names += len(one.positions)
            inserts.append(f"{head}{values}{', '.join(rows)}")
        if len(inserts) == 1:
            self.sql = inserts[0].encode()
        else:
            parts_sql = ", ".join(f"w{at} AS ({one})" for at, one in enumerate(inserts))
            self.sql = f"WITH {parts_sql} SELECT 1".encode()


def _moved(by: int) -> Callable[[re.Match[str]], str]:
    return lambda found: f"${int(found[1]) + by}"


_together: dict[tuple[tuple[Prepared, ...], ...], _Together] = {}


def insert_together(tx: WriteTx, waiting: Sequence[Wanted]) -> None:
    """Send inserts in as few statements as the order within each table allows, and wait once."""
    asked = []
    compiled = waiting[0][0]._for(tx.dialect)
    for group in _groups(waiting):
        parts = tuple(tuple(part for part, _ in rows) for rows in group)
        known = _together.get(parts)
        if known is None:
            known = _together[parts] = _Together(parts, tx.dialect)
        values: list[Any] = []
        for one, rows in zip(known.compiled, group, strict=True):
            for _, row in rows:
                values += one.given(row)
        asked.append((known.sql, values))
    _ask(tx, compiled, asked)


def _groups(waiting: Sequence[Wanted]) -> Iterator[list[list[Wanted]]]:
    """What may be one statement: by table, as the parts of one statement have no order and
    rows of one table are numbered in theirs."""
    group: dict[Any, list[Wanted]] = {}
    count = 0
    for one in waiting:
        part = one[0]
        same = group.get(part._adds)
        if count >= _MOST_TOGETHER or (
            same is not None and (len(same) >= _MOST_ROWS or same[0][0] is not part)
        ):
            yield list(group.values())
            group, count, same = {}, 0, None
        if same is None:
            group[part._adds] = [one]
        else:
            same.append(one)
        count += 1
    if group:
        yield list(group.values())


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: Any  # text, or bytes for PostgreSQL
    positions: list[str]  # order of the parameters
    fixed: dict[str, Any]  # values that the statement itself holds, converted
    binds: list[tuple[str, Convert]]
    names: list[str]
    results: list[tuple[str, Convert]]
    driver_error: type[Exception]

    def given(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The parameters as the driver wants them."""
        values = {**self.fixed, **parameters}
        for name, convert in self.binds:
            values[name] = convert(values[name])
        return [values[name] for name in self.positions]

    def wrapped(self, error: Exception) -> BaseException:
        """The driver's error as Core would raise it."""
        text = self.sql if isinstance(self.sql, str) else self.sql.decode()
        return DBAPIError.instance(text, None, error, self.driver_error, hide_parameters=True)


def _compile(statement: Executable, columns: list[str] | None, dialect: Dialect) -> _Compiled:
    driver = dialect.loaded_dbapi
    server = dialect.name == "postgresql"
    if server:
        # As the server numbers them: the driver would have to turn names into that each time.
        dialect = type(dialect)(paramstyle="numeric_dollar", dbapi=driver)  # type: ignore[call-arg]
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
    return _Compiled(
        compiled.string.encode() if server else compiled.string,
        list(compiled.positiontup or ()),
        fixed,
        binds,
        names,
        results,
        driver.Error,
    )


def _implementation(column_type: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return column_type.dialect_impl(dialect)
