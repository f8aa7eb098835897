"""The database: one writer with group commit on SQLite, deferred readers beside it.

WAL and `synchronous=FULL` (NORMAL loses acknowledged commits in a power cut); one
writer thread that takes `BEGIN IMMEDIATE` and commits all units of work that are waiting in
one fsync; readers on deferred snapshots that cannot write.
"""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool, StaticPool

from storage.database.sqlite import coded, configure, damage
from storage.database.unit_of_work import ReadTx, WriteTx
from storage.database.writer import Writer
from storage.errors import DatabaseMissing

T = TypeVar("T")

READERS = 8
_EXTRA_READERS = 32
_READER_WAIT_SECONDS = 10


class Database:
    """Rows behind units of work. Safe to share between threads; not across fork.

    `write` returns after the commit is durable and raises what the work raised,
    with nothing of it stored. Works that wait together share one commit but not
    a fate: one that raises takes nothing else with it. Errors of the device are
    `StorageFull`, `StorageFailed`, `DatabaseBusy`, `DatabaseDamaged`; then
    nothing of the work is stored either.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the embedded database file; it must exist unless `create`.

        `DatabaseMissing`: a store is born by `mianjiao init` alone. `DatabaseDamaged`:
        the file is not a database; `StorageFailed`: it cannot be opened.
        """
        if not create and not path.is_file():
            raise DatabaseMissing(path=str(path))
        self.path = path
        url = URL.create("sqlite", database=str(path))
        self._writer_engine = create_engine(
            url,
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
            hide_parameters=True,  # error texts reach logs
        )
        self._reader_engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=_EXTRA_READERS,
            pool_timeout=_READER_WAIT_SECONDS,
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )
        configure(self._writer_engine, begin="BEGIN IMMEDIATE", query_only=False)
        configure(self._reader_engine, begin="BEGIN DEFERRED", query_only=True)
        try:
            self._writer = Writer(self._writer_engine.connect())
        except DBAPIError as error:
            raise coded(error) from error

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
            with self._reader_engine.connect() as connection, connection.begin():
                yield ReadTx(connection)
        except (DBAPIError, PoolTimeout, sqlite3.Error) as error:
            raise coded(error) from error

    def forget_deleted(self) -> bool:
        """Empty the write-ahead log so that deleted bytes are in no file of ours.

        True if that was done; False while a reader still holds an old snapshot:
        erasure stays pending and is tried again.
        """
        return self._writer.truncate().result()

    def observe_commits(self, observe: Callable[[int, float], None]) -> None:
        """Have every commit told: units of work, and seconds until it was durable.

        `observe` is called by the writer and must neither fail nor wait."""
        self._writer.observe = observe

    def damage(self) -> list[str]:
        """What the engine's own check of its file finds, a line each; empty: sound.

        An index may be wrong while every row is right, and a query then finds less
        than there is: comparing rows with records does not show that.
        """
        with self.read() as tx:
            return damage(tx.driver)

    def close(self) -> None:
        """Finish what is queued, then stop. Later calls raise `DatabaseClosed`."""
        self._writer.close()
        self._writer_engine.dispose()
        self._reader_engine.dispose()

    @property
    def writer_engine(self) -> Engine:
        """For migrations, before the first unit of work, and for tests of the pragmas."""
        return self._writer_engine

    @property
    def reader_engine(self) -> Engine:
        return self._reader_engine
