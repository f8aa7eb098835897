"""What a use case may do inside a transaction.

A unit of work is a function of a `WriteTx`: `database.write(work)` runs it and
returns only after its commit is durable, so nobody can answer before the
commit. ADR 0001 says why it is a function and not a `with` block.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, CursorResult, Dialect, Executable, RowMapping, Table, insert

if TYPE_CHECKING:
    from storage.database.prepared import Prepared

# Rows from which a COPY is faster, though the server has to answer twice more.
_WORTH_A_COPY = 50

Parameters = Mapping[str, Any]


class ReadTx:
    """A consistent snapshot of the rows. Not to be kept past its `with` block.

    Building a select of three conditions costs 200 µs, running it 60: where that
    matters build it once, at module level, with `bindparam`, and pass the
    parameters here; on the hottest paths see `storage.database.prepared`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.ahead: dict[tuple[Any, ...], Any] = {}
        """For `storage.database.prepared` alone: what was asked ahead, and its rows."""

    @property
    def connection(self) -> Connection:
        """SQLAlchemy's connection, in this transaction."""
        return self._connection

    @cached_property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    @cached_property
    def driver(self) -> Any:
        """The driver's own connection, in the same transaction; for `Prepared` alone."""
        return self._connection.connection.driver_connection

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self.connection.execute(statement, parameters)

    def one(self, statement: Executable, parameters: Parameters | None = None) -> RowMapping | None:
        """The single row of a query as a mapping, or None. Two rows are an error."""
        return self.connection.execute(statement, parameters).mappings().one_or_none()

    def all(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Sequence[RowMapping]:
        return self.connection.execute(statement, parameters).mappings().all()

    def scalar(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        """The first column of the first row, or None."""
        return self.connection.execute(statement, parameters).scalar()


class WriteTx(ReadTx):
    """A read-write transaction, seen by no one until `Database.write` returns.

    Inserts that nobody needs an answer of may wait here (`Prepared.add`), to be sent
    together. Whatever else is asked of the database comes after them.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._after_commit: list[Callable[[], None]] = []
        self._waiting: list[tuple[Prepared, Parameters]] = []

    @property
    def connection(self) -> Connection:
        self.flush()
        self.ahead.clear()  # who knows what is written now
        return self._connection

    def hold(self, statement: "Prepared", parameters: Parameters) -> None:
        """For `Prepared.add` alone: keep an insert until the next `flush`."""
        self.forget_ahead(statement.tables)
        self._waiting.append((statement, parameters))

    def forget_ahead(self, tables: Collection[Table]) -> None:
        """For `Prepared` alone: what was asked ahead of these is to be asked anew."""
        if self.ahead:
            stale = [key for key in self.ahead if not key[0].tables.isdisjoint(tables)]
            for key in stale:
                del self.ahead[key]

    def flush(self) -> None:
        """Send the inserts that wait. Errors are those of the inserts."""
        if self._waiting:
            from storage.database.prepared import insert_together

            waiting, self._waiting = self._waiting, []
            insert_together(self, waiting)

    def insert_many(self, table: Table, rows: Sequence[Parameters]) -> None:
        """Insert many rows, which all name the same columns. No rows is no statement."""
        if not rows:
            return
        if self._copies(len(rows)):
            from storage.database.copying import copy_mappings

            copy_mappings(self.connection, table, rows)
        else:
            self.connection.execute(insert(table), rows)

    def copy_rows(self, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
        """Insert rows of values that need no conversion by PostgreSQL's COPY.

        False, and nothing is inserted, on another engine or if they are too few
        for it to be worth while.
        """
        if not self._copies(len(rows)):
            return False
        from storage.database.copying import copy_rows

        copy_rows(self.connection, table, names, rows)
        return True

    def _copies(self, count: int) -> bool:
        # The modules behind it are loaded only here: an embedded store needs no
        # driver of a server.
        return count >= _WORTH_A_COPY and self.dialect.name == "postgresql"

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` once the commit is durable (a wake-up; never anything that can fail)."""
        self._after_commit.append(callback)

    def committed(self) -> None:
        """For the engine alone: the commit is durable."""
        for callback in self._after_commit:
            callback()
