"""The one writer of a process: group commit in a thread of its own."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, RootTransaction
from sqlalchemy.exc import DBAPIError

from kernel.errors import CodedError
from storage.database.backend import Backend
from storage.database.unit_of_work import WriteTx
from storage.errors import DatabaseClosed, DatabaseUnavailable, OutcomeUnknown

T = TypeVar("T")

SAVEPOINT = "unit_of_work"
PATIENCE_SECONDS = 0.0005  # about one fsync
# How long waiting works outlast a server that restarts; then they are told.
RECONNECT_SECONDS = 5.0
_RECONNECT_PAUSE = 0.1

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending(Generic[T]):
    work: Callable[[WriteTx], T]
    future: "Future[T]"


@dataclass(slots=True)
class _Forget:
    """Asks for `Backend.forget_deleted` between two transactions."""

    future: "Future[bool]"


class Writer:
    """Runs units of work one after the other; those that wait together share a commit."""

    def __init__(self, backend: Backend) -> None:
        """Connects at once, and raises coded what stands against it."""
        self._backend = backend
        self._connection: Connection | None = None
        self._connect()
        self._queue: queue.SimpleQueue[_Pending[Any] | _Forget | None] = queue.SimpleQueue()
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

    def forget_deleted(self) -> "Future[bool]":
        future: Future[bool] = Future()
        self._put(_Forget(future))
        return future

    def close(self) -> None:
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _put(self, item: _Pending[Any] | _Forget) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a unit of work cannot wait for another one")
        with self._gate:
            if self._closed:
                raise DatabaseClosed()
            self._queue.put(item)

    def _run(self) -> None:
        try:
            while self._run_group():
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
            self._disconnect()

    def _run_group(self) -> bool:
        """Wait for work, take all that waits, commit it. False: that was the last."""
        works: list[_Pending[Any]] = []
        forgets: list[_Forget] = []
        item = self._queue.get()
        # Callers that were just told of a commit come back together, but the first
        # of them would be committed alone, and the others wait for that: so wait a
        # moment for as many as came last time.
        patience = time.monotonic() + PATIENCE_SECONDS
        with suppress(queue.Empty):
            while item is not None:
                if isinstance(item, _Forget):
                    forgets.append(item)
                elif item.future.set_running_or_notify_cancel():
                    works.append(item)
                if len(works) >= self._backend.group_limit:
                    break
                left = patience - time.monotonic() if len(works) < self._last_group else 0.0
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
        self._last_group = len(works)
        if works:
            begun = time.monotonic()
            self._commit_together(works)
            self.observe(len(works), time.monotonic() - begun)
        for forget in forgets:
            self._forget(forget)
        return item is not None

    def _commit_together(self, group: list[_Pending[Any]]) -> None:
        """Run the works, commit once, and only then tell the callers."""
        try:
            connection, transaction = self._begin()
        except BaseException as error:  # noqa: BLE001 - handed to every caller
            for item in group:
                item.future.set_exception(self._backend.coded(error))
            return
        driver = _driver(connection)
        done: list[tuple[_Pending[Any], Any, WriteTx]] = []
        failed: list[tuple[_Pending[Any], BaseException]] = []
        try:
            if len(group) == 1:
                self._run_alone(connection, group[0], done, failed)
            else:
                self._run_each(connection, driver, group, done, failed)
            if done:
                self._commit(transaction, driver)
            else:
                transaction.rollback()
        except BaseException as error:  # noqa: BLE001 - handed to every caller
            # A savepoint, the commit, or the connection failed: none is stored, or,
            # without the answer to a commit, nobody knows.
            reason = self._reason(error, driver)
            told = {id(item) for item, _ in failed}
            failed += [(item, reason) for item in group if id(item) not in told]
            done = []
            self._abandon(transaction, driver)
        for item, value, tx in done:
            try:
                tx.committed()
            except Exception as error:  # noqa: BLE001 - it is committed; the writer must go on
                _log.error("a call-back after a commit raised %s", type(error).__name__)
            item.future.set_result(value)
        for item, reason in failed:
            item.future.set_exception(self._backend.coded(reason))

    def _run_alone(
        self,
        connection: Connection,
        item: _Pending[Any],
        done: list[tuple[_Pending[Any], Any, WriteTx]],
        failed: list[tuple[_Pending[Any], BaseException]],
    ) -> None:
        """The only work of its transaction needs no savepoint."""
        tx = WriteTx(connection)
        try:
            value = item.work(tx)
            tx.flush()
            self._check(_driver(connection))
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            failed.append((item, error))
        else:
            done.append((item, value, tx))

    def _run_each(
        self,
        connection: Connection,
        driver: Any,
        group: list[_Pending[Any]],
        done: list[tuple[_Pending[Any], Any, WriteTx]],
        failed: list[tuple[_Pending[Any], BaseException]],
    ) -> None:
        driver.execute(f"SAVEPOINT {SAVEPOINT}")
        for item in group:
            tx = WriteTx(connection)
            try:
                value = item.work(tx)
                tx.flush()
                self._check(driver)
            except BaseException as error:  # broad-except - raised, or handed to its caller
                if not self._backend.is_open(driver):
                    raise
                failed.append((item, error))
                driver.execute(f"ROLLBACK TO {SAVEPOINT}")
            else:
                done.append((item, value, tx))
                if item is not group[-1]:
                    self._backend.move_savepoint(driver, SAVEPOINT)

    def _check(self, driver: Any) -> None:
        """PostgreSQL answers the COMMIT of a transaction in which a statement failed
        with a rollback, and no error: a work must not go on after one."""
        if not self._backend.can_commit(driver):
            raise RuntimeError("a unit of work went on after an error of the database")

    def _commit(self, transaction: RootTransaction, driver: Any) -> None:
        try:
            transaction.commit()
        except BaseException as error:
            if self._backend.is_lost(driver):
                raise OutcomeUnknown() from error
            raise

    def _reason(self, error: BaseException, driver: Any) -> BaseException:
        """What the callers are told whose works did nothing wrong."""
        if self._backend.is_lost(driver) and not isinstance(error, OutcomeUnknown):
            return DatabaseUnavailable()
        return error

    def _forget(self, item: _Forget) -> None:
        try:
            connection = self._connection or self._connect()
            item.future.set_result(self._backend.forget_deleted(_driver(connection)))
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            item.future.set_exception(self._backend.coded(error))

    # --- The connection ---

    def _begin(self) -> tuple[Connection, RootTransaction]:
        """A transaction that no other process's overlaps.

        A connection that ended while it was idle is replaced, and a server that
        restarts is waited for: no work has been run yet, so nothing is repeated.
        """
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                connection = self._connection or self._connect()
                transaction = connection.begin()
                driver = _driver(connection)
                try:
                    self._backend.lock(driver)
                except BaseException:
                    self._abandon(transaction, driver)
                    raise
                return connection, transaction
            except (CodedError, DBAPIError, self._backend.driver_error) as error:
                coded = self._backend.coded(error)
                if not isinstance(coded, DatabaseUnavailable):
                    raise
                if self._closed or time.monotonic() >= deadline:
                    raise coded from error
            time.sleep(_RECONNECT_PAUSE)

    def _connect(self) -> Connection:
        try:
            self._connection = self._backend.writer_engine.connect()
        except (DBAPIError, self._backend.driver_error) as error:
            raise self._backend.coded(error) from error
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError, self._backend.driver_error):
                connection.close()

    def _abandon(self, transaction: RootTransaction, driver: Any) -> None:
        """End a transaction that failed, and the connection too if that is gone."""
        with suppress(DBAPIError, self._backend.driver_error):
            transaction.rollback()
        # After a failed COMMIT SQLite's transaction is still open: only SQLAlchemy
        # thinks that it has ended.
        with suppress(self._backend.driver_error):
            driver.rollback()
        if self._backend.is_lost(driver):
            self._disconnect()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _unobserved(units: int, seconds: float) -> None:
    """Nobody asked."""
