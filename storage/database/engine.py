"""The database: one writer with group commit on SQLite, a pool on PostgreSQL.

SQLite (libraries.md has the measurements): WAL, `synchronous=FULL`, foreign
keys, `secure_delete`; one writer thread that takes `BEGIN IMMEDIATE` and
commits all units of work that are waiting in one fsync; readers on deferred
snapshots that cannot write. `synchronous=NORMAL` loses acknowledged commits on
power loss and is never used.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

from storage.database.unit_of_work import ReadTx, WriteTx
from storage.errors import DatabaseClosed, DatabaseMissing

T = TypeVar("T")

BUSY_TIMEOUT_MS = 10_000
GROUP_LIMIT = 256  # units of work in one commit: bounds the latency of the last one
READERS = 8

# Read back and asserted by a test on every connection.
SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "secure_delete": 1,
    "busy_timeout": BUSY_TIMEOUT_MS,
}


@dataclass
class _Pending(Generic[T]):
    work: Callable[[WriteTx], T]
    future: "Future[T]"


@dataclass
class _Truncate:
    """Asks the writer for a truncating checkpoint between two transactions."""

    future: "Future[bool]"


class Database:
    """Rows behind units of work. Safe to share between threads; not across fork.

    `write` returns after the commit is durable and raises what the work raised,
    with nothing of it stored. Works that wait together share one commit but not
    a fate: each runs in its own savepoint.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the embedded database file; it must exist unless `create`.

        Raises `DatabaseMissing`: a store is born by `mianjiao init` alone.
        """
        if not create and not path.is_file():
            raise DatabaseMissing(path=str(path))
        self.path = path
        url = URL.create("sqlite", database=str(path))
        self._writer_engine = create_engine(
            url, poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        self._reader_engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=READERS * 4,
            connect_args={"check_same_thread": False},
        )
        _configure(self._writer_engine, begin="BEGIN IMMEDIATE", query_only=False)
        _configure(self._reader_engine, begin="BEGIN DEFERRED", query_only=True)
        self._queue: queue.SimpleQueue[_Pending[Any] | _Truncate | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="database-writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[WriteTx], T]) -> T:
        """Run `work` in a write transaction; return its value once that is durable."""
        return self.submit(work).result()

    def submit(self, work: Callable[[WriteTx], T]) -> "Future[T]":
        """Like `write`, without waiting: for callers on an event loop."""
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise DatabaseClosed()
            self._queue.put(_Pending(work, future))
        return future

    @contextmanager
    def read(self) -> Iterator[ReadTx]:
        """A read-only snapshot, taken at the first query and released at the end."""
        with self._reader_engine.connect() as connection, connection.begin():
            yield ReadTx(connection)

    def forget_deleted(self) -> bool:
        """Empty the write-ahead log so that deleted bytes are in no file of ours.

        True if the checkpoint truncated the log; False while a reader still
        holds an old snapshot: erasure stays pending and is tried again.
        """
        future: Future[bool] = Future()
        with self._gate:
            if self._closed:
                raise DatabaseClosed()
            self._queue.put(_Truncate(future))
        return future.result()

    def close(self) -> None:
        """Finish what is queued, then stop. Later calls raise `DatabaseClosed`."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._writer_engine.dispose()
        self._reader_engine.dispose()

    @property
    def writer_engine(self) -> Engine:
        """For migrations, before the first unit of work, and for tests of the pragmas."""
        return self._writer_engine

    @property
    def reader_engine(self) -> Engine:
        return self._reader_engine

    def _run(self) -> None:
        with self._writer_engine.connect() as connection:
            while (first := self._queue.get()) is not None:
                group: list[_Pending[Any] | _Truncate] = [first]
                last = False
                while len(group) < GROUP_LIMIT:
                    try:
                        item = self._queue.get_nowait()
                    except queue.Empty:
                        break
                    if item is None:
                        last = True
                        break
                    group.append(item)
                truncations = [item for item in group if isinstance(item, _Truncate)]
                works = [item for item in group if not isinstance(item, _Truncate)]
                if works:
                    _commit_together(connection, works)
                for item in truncations:
                    _truncate_wal(connection, item)
                if last:
                    return


def _commit_together(connection: Connection, group: list[_Pending[Any]]) -> None:
    """Run each work in a savepoint, commit once, and only then tell the callers."""
    done: list[tuple[_Pending[Any], Any, WriteTx]] = []
    try:
        with connection.begin():
            for item in group:
                tx = WriteTx(connection)
                connection.exec_driver_sql("SAVEPOINT unit_of_work")
                try:
                    value = item.work(tx)
                except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                    connection.exec_driver_sql("ROLLBACK TO unit_of_work")
                    connection.exec_driver_sql("RELEASE unit_of_work")
                    item.future.set_exception(error)
                    continue
                connection.exec_driver_sql("RELEASE unit_of_work")
                done.append((item, value, tx))
    except BaseException as error:  # noqa: BLE001 - handed to every caller
        # Begin, savepoint or commit failed: none of the group is stored.
        for item in group:
            if not item.future.done():
                item.future.set_exception(error)
        return
    for item, value, tx in done:
        tx.committed()
        item.future.set_result(value)


def _truncate_wal(connection: Connection, item: _Truncate) -> None:
    try:
        # On the driver's cursor: SQLAlchemy would begin a transaction first.
        cursor = connection.connection.cursor()
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.close()
    except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
        item.future.set_exception(error)
    else:
        item.future.set_result(not busy)


def _configure(engine: Engine, *, begin: str, query_only: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not begin transactions of its own: we do.
        connection.isolation_level = None
        for name, value in SQLITE_PRAGMAS.items():
            connection.execute(f"PRAGMA {name} = {value}")
        if query_only:
            connection.execute("PRAGMA query_only = 1")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
