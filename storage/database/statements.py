"""Prepared statements on a connection of psycopg, past its cursors.

A cursor of psycopg spends two thirds of the processor time of a short statement on what
never changes here: finding the parameters in the text, asking its own cache whether to
prepare, making and adapting itself. This talks to the driver's `pq`, its documented lower
layer, and keeps what it found with the connection. How values are adapted is the driver's
business still, and the same as in its cursors.

The one place that does so. For `storage.database.prepared`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import psycopg
from psycopg import adapt
from psycopg.abc import PQGen, Transformer
from psycopg.adapt import PyFormat
from psycopg.errors import error_from_result
from psycopg.generators import execute, fetch_many, pipeline_communicate
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from storage.database.postgres_errors import quieten

# Past so many a connection runs further ones without keeping them: shapes of inserts that
# go together could be many.
_MOST_KEPT = 300
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Asked(NamedTuple):
    """A statement with `$1`, `$2`, … and their values."""

    sql: bytes
    values: Sequence[Any]


class Answer:
    """What the server said to one statement."""

    def __init__(self, adapter: Transformer, result: PGresult) -> None:
        self._adapter = adapter
        self._result = result

    @property
    def rowcount(self) -> int:
        return self._result.command_tuples or 0

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows, converted by the driver; errors of the conversion are psycopg's."""
        self._adapter.set_pgresult(self._result)
        return self._adapter.load_rows(0, self._result.ntuples, tuple)


class Statements:
    """Those of one connection. In the hands of whoever has the connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._adapter: Transformer = adapt.Transformer(connection)
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}

    def ask(self, asked: Sequence[Asked]) -> list[Answer]:
        """Send all of them, wait once, and return the answers in order.

        As with a cursor they are in the open transaction, in a new one, or on an
        `autocommit` connection in one for all of them. The first error is raised, and what
        stands after it was not run.
        """
        if len(asked) == 1 and self._within():
            return [self._one(asked[0])]
        commands: deque[Callable[[], None]] = deque()
        kept: list[tuple[int, tuple[bytes, tuple[int, ...]], bytes]] = []
        places: list[int] = []
        pgconn = self._connection.pgconn
        if not self._within():
            # How, the defaults of the session say.
            commands.append(partial(pgconn.send_query_params, b"BEGIN", None))
        promised: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        for one in asked:
            values, types, formats = self._dumped(one.values)
            key = one.sql, types
            name = self._names.get(key) or promised.get(key)
            if name is None and len(self._names) + len(promised) < _MOST_KEPT:
                name = promised[key] = self._new_name(len(promised))
                kept.append((len(commands), key, name))
                commands.append(partial(pgconn.send_prepare, name, one.sql, types))
            places.append(len(commands))
            commands.append(
                partial(pgconn.send_query_params, one.sql, values, types, formats)
                if name is None
                else partial(pgconn.send_query_prepared, name, values, formats)
            )
        commands.append(pgconn.pipeline_sync)
        with self._connection.lock:
            pgconn.enter_pipeline_mode()
            try:
                results = self._connection.wait(_wave(pgconn, commands))
                pgconn.exit_pipeline_mode()
            except BaseException:
                # What is still to come belongs to nobody.
                self._connection.close()
                raise
        for at, key, name in kept:
            if results[at][0].status == ExecStatus.COMMAND_OK:
                self._names[key] = name
        for given in results[:-1]:
            self._check(given)
        return [Answer(self._adapter, results[at][0]) for at in places]

    def run(self, script: bytes) -> None:
        """Statements without parameters and without an answer, `;` between them."""
        pgconn = self._connection.pgconn
        with self._connection.lock:
            pgconn.send_query(script)
            self._check(self._connection.wait(execute(pgconn)))

    def _one(self, asked: Asked) -> Answer:
        values, types, formats = self._dumped(asked.values)
        pgconn = self._connection.pgconn
        key = asked.sql, types
        name = self._names.get(key)
        with self._connection.lock:
            if name is None and len(self._names) < _MOST_KEPT:
                name = self._new_name(0)
                pgconn.send_prepare(name, asked.sql, types)
                self._check(self._connection.wait(execute(pgconn)))
                self._names[key] = name
            if name is None:
                pgconn.send_query_params(asked.sql, values, types, formats)
            else:
                pgconn.send_query_prepared(name, values, formats)
            results = self._connection.wait(execute(pgconn))
        self._check(results)
        return Answer(self._adapter, results[0])

    def _within(self) -> bool:
        """Whether no transaction has to be begun first."""
        connection = self._connection
        return connection.autocommit or (
            connection.pgconn.transaction_status != TransactionStatus.IDLE
        )

    def _dumped(self, values: Sequence[Any]) -> tuple[Any, tuple[int, ...], Any]:
        if not values:
            return None, (), None
        adapter = self._adapter
        dumped = adapter.dump_sequence(values, [PyFormat.AUTO] * len(values))
        return dumped, tuple(adapter.types or ()), adapter.formats

    def _new_name(self, more: int) -> bytes:
        return b"mj_%d" % (len(self._names) + more)

    def _check(self, results: Sequence[PGresult]) -> None:
        for result in results:
            if result.status not in _DONE:
                error = error_from_result(result, encoding="utf-8")
                quieten(error)
                raise error


def _wave(pgconn: Any, commands: deque[Callable[[], None]]) -> PQGen[list[list[PGresult]]]:
    """Sends all, and collects the results of each: the last are the synchronisation's."""
    expected = len(commands)
    results: list[list[PGresult]] = yield from pipeline_communicate(pgconn, commands)
    while len(results) < expected:
        results.append((yield from fetch_many(pgconn)))
    return results
