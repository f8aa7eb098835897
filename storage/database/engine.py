"""The database: one writer with group commit, readers on snapshots beside it.

The same on both engines (ADR 0009): one writer thread in each process commits all
units of work that wait in one transaction, which no other process's overlaps; readers
see one snapshot each and cannot write. `sqlite` and `postgres` say how.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.database.backend import Backend
from storage.database.sqlite import SqliteBackend
from storage.database.unit_of_work import ReadTx, WriteTx
from storage.database.writer import Writer
from storage.errors import DatabaseMissing

T = TypeVar("T")


class Database:
    """Rows behind units of work. Safe to share between threads; not across fork.

    `write` returns after the commit is durable and raises what the work raised,
    with nothing of it stored. Works that wait together share one commit but not
    a fate: one that raises takes nothing else with it. Errors of the device are
    `StorageFull`, `StorageFailed`, `DatabaseBusy`, `DatabaseUnavailable`,
    `DatabaseDamaged`; then nothing of the work is stored either. Only after
    `OutcomeUnknown` (the connection ended during the commit) it may be.
    """

    def __init__(self, place: Path | URL, *, create: bool = False) -> None:
        """Open the embedded database file at a path, or the PostgreSQL database of a URL.

        A file must exist unless `create`: a store is born by `mianjiao init` alone.
        `DatabaseMissing`: no such file. `DatabaseDamaged`: the file is not a
        database; `StorageFailed`: it cannot be opened. For a URL see `postgres`.
        """
        self.place = place
        self._backend: Backend
        if isinstance(place, Path):
            if not create and not place.is_file():
                raise DatabaseMissing(path=str(place))
            self._backend = SqliteBackend(place)
        else:
            # Only here: an embedded store needs no driver of a server.
            from storage.database.postgres import PostgresBackend

            self._backend = PostgresBackend(place)
        try:
            self._writer = Writer(self._backend)
        except BaseException:
            self._dispose()
            raise

    @property
    def name(self) -> str:
        """What messages call it: a path, or a URL without password."""
        return self._backend.name

    def write(self, work: Callable[[WriteTx], T]) -> T:
        """Run `work` in a write transaction; return its value once that is durable.

        Not from inside another work: that would wait for itself (`RuntimeError`).
        """
        return self._writer.submit(work).result()

    def submit(self, work: Callable[[WriteTx], T]) -> "Future[T]":
        """Like `write`, without waiting: for callers on an event loop. A future that
        is cancelled before its turn is skipped; after that it cannot be cancelled."""
        return self._writer.submit(work)

    @contextmanager
    def read(self) -> Iterator[ReadTx]:
        """A read-only snapshot, taken at the first query and released at the end."""
        try:
            with self.reader_engine.connect() as connection, connection.begin():
                yield ReadTx(connection)
        except (DBAPIError, PoolTimeout, self._backend.driver_error) as error:
            raise self._backend.coded(error) from error

    @contextmanager
    def glance(self) -> Iterator[ReadTx]:
        """Reading of which each statement is right by itself: none sees the same snapshot
        as the one before. Costs what the statement costs, where `read` asks the server
        twice more."""
        try:
            with self._backend.glance_engine.connect() as connection:
                yield ReadTx(connection)
        except (DBAPIError, PoolTimeout, self._backend.driver_error) as error:
            raise self._backend.coded(error) from error

    def forget_deleted(self) -> bool:
        """See to it that deleted bytes are in no file of ours; whether they are in none.

        SQLite: empties the write-ahead log; False while a reader still holds an
        old snapshot, so that erasure stays pending and is tried again. PostgreSQL:
        always False. Old versions of rows stay in its files until a vacuum and in
        its write-ahead log and archive for as long as the server keeps them.
        """
        return self._writer.forget_deleted().result()

    def observe_commits(self, observe: Callable[[int, float], None]) -> None:
        """Have every commit told: units of work, and seconds until it was durable.

        `observe` is called by the writer and must neither fail nor wait."""
        self._writer.observe = observe

    def damage(self) -> list[str]:
        """What the engine's own check of its files finds, a line each; empty: sound.

        An index may be wrong while every row is right, and a query then finds less
        than there is: comparing rows with records does not show that.
        """
        with self.read() as tx:
            return self._backend.damage(tx.driver)

    def warnings(self) -> list[str]:
        """What an operator should know though the database works, Chinese first."""
        return self._backend.warnings()

    def close(self) -> None:
        """Finish what is queued, then stop. Later calls raise `DatabaseClosed`."""
        self._writer.close()
        self._dispose()

    def _dispose(self) -> None:
        self._backend.writer_engine.dispose()
        self._backend.reader_engine.dispose()

    @property
    def writer_engine(self) -> Engine:
        """For migrations, before the first unit of work, and for tests of the settings."""
        return self._backend.writer_engine

    @property
    def reader_engine(self) -> Engine:
        return self._backend.reader_engine
