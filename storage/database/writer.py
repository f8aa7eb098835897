"""The one writer of the embedded database: group commit in a thread of its own."""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from storage.database.sqlite import coded, truncate_wal
from storage.database.unit_of_work import WriteTx
from storage.errors import DatabaseClosed

T = TypeVar("T")

GROUP_LIMIT = 256  # units of work in one commit: bounds the latency of the last one
PATIENCE_SECONDS = 0.0005  # about one fsync

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending(Generic[T]):
    work: Callable[[WriteTx], T]
    future: "Future[T]"


@dataclass(slots=True)
class _Truncate:
    """Asks for a truncating checkpoint between two transactions."""

    future: "Future[bool]"


class Writer:
    """Runs units of work one after the other; those that wait together share a commit."""

    def __init__(self, connection: Connection) -> None:
        """Takes over the connection: no one else may use it until `close`."""
        self._connection = connection
        self._queue: queue.SimpleQueue[_Pending[Any] | _Truncate | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._last_group = 0
        self.observe: Callable[[int, float], None] = _unobserved
        self._thread = threading.Thread(target=self._run, name="database-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[WriteTx], T]) -> "Future[T]":
        future: Future[T] = Future()
        self._put(_Pending(work, future))
        return future

    def truncate(self) -> "Future[bool]":
        future: Future[bool] = Future()
        self._put(_Truncate(future))
        return future

    def close(self) -> None:
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _put(self, item: _Pending[Any] | _Truncate) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a unit of work cannot wait for another one")
        with self._gate:
            if self._closed:
                raise DatabaseClosed()
            self._queue.put(item)

    def _run(self) -> None:
        try:
            with self._connection as connection:
                while self._run_group(connection):
                    pass
        finally:
            # Whatever ended the thread, nobody may wait for it for ever.
            with self._gate:
                self._closed = True
            with suppress(queue.Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is not None and item.future.set_running_or_notify_cancel():
                        item.future.set_exception(DatabaseClosed())

    def _run_group(self, connection: Connection) -> bool:
        """Wait for work, take all that waits, commit it. False: that was the last."""
        works: list[_Pending[Any]] = []
        truncations: list[_Truncate] = []
        item = self._queue.get()
        # Callers that were just told of a commit come back together, but the first
        # of them would be committed alone, and the others wait for that: so wait a
        # moment for as many as came last time.
        patience = time.monotonic() + PATIENCE_SECONDS
        with suppress(queue.Empty):
            while item is not None:
                if isinstance(item, _Truncate):
                    truncations.append(item)
                elif item.future.set_running_or_notify_cancel():
                    works.append(item)
                if len(works) >= GROUP_LIMIT:
                    break
                left = patience - time.monotonic() if len(works) < self._last_group else 0.0
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
        self._last_group = len(works)
        if works:
            begun = time.monotonic()
            _commit_together(connection, works)
            self.observe(len(works), time.monotonic() - begun)
        for truncation in truncations:
            _truncate(connection, truncation)
        return item is not None


def _unobserved(units: int, seconds: float) -> None:
    """Nobody asked."""


def _commit_together(connection: Connection, group: list[_Pending[Any]]) -> None:
    """Run the works, commit once, and only then tell the callers."""
    done: list[tuple[_Pending[Any], Any, WriteTx]] = []
    failed: list[tuple[_Pending[Any], BaseException]] = []
    try:
        with connection.begin() as transaction:
            raw = _driver(connection)
            if len(group) == 1:
                tx = WriteTx(connection)
                try:
                    done.append((group[0], group[0].work(tx), tx))
                except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                    failed.append((group[0], error))
                    transaction.rollback()
            else:
                for item in group:
                    # On the driver's connection: through SQLAlchemy the two
                    # statements cost ten times as much.
                    raw.execute("SAVEPOINT unit_of_work")
                    tx = WriteTx(connection)
                    try:
                        done.append((item, item.work(tx), tx))
                    except BaseException as error:  # broad-except - raised, or handed to its caller
                        if not raw.in_transaction:
                            # A full disk, say: SQLite has rolled back all of the group.
                            raise
                        failed.append((item, error))
                        raw.execute("ROLLBACK TO unit_of_work")
                    raw.execute("RELEASE unit_of_work")
    except BaseException as error:  # noqa: BLE001 - handed to every caller
        # Begin, savepoint or commit failed: none of the group is stored. After a
        # failed COMMIT SQLite's transaction is still open: only SQLAlchemy thinks
        # that it has ended.
        with suppress(sqlite3.Error):
            _driver(connection).rollback()
        told = {id(item) for item, _ in failed}
        failed += [(item, error) for item in group if id(item) not in told]
        done = []
    for item, value, tx in done:
        try:
            tx.committed()
        except Exception as error:  # noqa: BLE001 - it is committed; the writer must go on
            _log.error("a call-back after a commit raised %s", type(error).__name__)
        item.future.set_result(value)
    for item, reason in failed:
        item.future.set_exception(coded(reason))


def _truncate(connection: Connection, item: _Truncate) -> None:
    try:
        item.future.set_result(truncate_wal(_driver(connection)))
    except (sqlite3.Error, DBAPIError) as error:
        item.future.set_exception(coded(error))


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)
