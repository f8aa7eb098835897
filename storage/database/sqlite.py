"""What is particular to SQLite: pragmas, error codes, versions to warn of.

WAL and `synchronous=FULL` (NORMAL loses acknowledged commits in a power cut);
`BEGIN IMMEDIATE` for the writer; readers on deferred snapshots that cannot write.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool, StaticPool

from storage.errors import DatabaseBusy, DatabaseDamaged, StorageFailed, StorageFull

BUSY_TIMEOUT_MS = 10_000
READERS = 8
_EXTRA_READERS = 32
_READER_WAIT_SECONDS = 10

# Read back and asserted by a test on every connection.
PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: NORMAL loses acknowledged commits on power loss
    "foreign_keys": 1,
    "secure_delete": 1,  # deleted content is overwritten, not only unlinked
    "temp_store": 2,  # MEMORY: pages kept for a savepoint never reach a disk file
    "busy_timeout": BUSY_TIMEOUT_MS,
}
# The one writer's: bulk records touch pages all over two indexes of random ids.
# With SQLite's 2 MiB of cache and a checkpoint every 4 MiB it writes them thrice.
WRITER_PRAGMAS = {
    "cache_size": -65_536,  # KiB: 64 MiB
    "wal_autocheckpoint": 8_000,  # pages: 32 MiB
}
_TRUNCATE_TIMEOUT_MS = 50

_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))  # first and last version that has it


class SqliteBackend:
    """The embedded database file at a path; made when it is first written to."""

    driver_error: type[Exception] = sqlite3.Error
    group_limit = 256

    def __init__(self, path: Path) -> None:
        self.name = path.name
        url = URL.create("sqlite", database=str(path))
        self.writer_engine = create_engine(
            url,
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
            hide_parameters=True,  # error texts reach logs
        )
        self.reader_engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=_EXTRA_READERS,
            pool_timeout=_READER_WAIT_SECONDS,
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )
        configure(self.writer_engine, begin="BEGIN IMMEDIATE", query_only=False)
        configure(self.reader_engine, begin="BEGIN DEFERRED", query_only=True)
        self.glance_engine = self.reader_engine  # a transaction costs nothing here

    def coded(self, error: BaseException) -> BaseException:
        return coded(error)

    def lock(self, driver: sqlite3.Connection) -> None:
        """`BEGIN IMMEDIATE` has it already."""

    def move_savepoint(self, driver: sqlite3.Connection, name: str) -> None:
        driver.execute(f"RELEASE {name}")
        driver.execute(f"SAVEPOINT {name}")

    def is_open(self, driver: sqlite3.Connection) -> bool:
        # After a full disk, say, SQLite has rolled back by itself.
        return driver.in_transaction

    def can_commit(self, driver: sqlite3.Connection) -> bool:
        return driver.in_transaction

    def is_lost(self, driver: sqlite3.Connection) -> bool:
        return False

    def forget_deleted(self, driver: sqlite3.Connection) -> bool:
        return truncate_wal(driver)

    def damage(self, driver: sqlite3.Connection) -> list[str]:
        return damage(driver)

    def warnings(self) -> list[str]:
        warning = version_warning()
        return [] if warning is None else [warning]


def configure(engine: Engine, *, begin: str, query_only: bool) -> None:
    """Set the pragmas on every connection and begin every transaction with `begin`."""

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not begin transactions of its own: we do.
        connection.isolation_level = None
        pragmas = PRAGMAS if query_only else {**PRAGMAS, **WRITER_PRAGMAS}
        try:
            for name, value in pragmas.items():
                connection.execute(f"PRAGMA {name} = {value}")
            if query_only:
                connection.execute("PRAGMA query_only = 1")
        except UnicodeDecodeError as error:
            # The driver cannot even tell which part of a damaged schema it could not read.
            raise DatabaseDamaged() from error

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def truncate_wal(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the database and empty it. Between transactions only.

    False while a reader holds an old snapshot. It hardly waits for one: all
    writes would wait with it.
    """
    connection.execute(f"PRAGMA busy_timeout = {_TRUNCATE_TIMEOUT_MS}")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return not busy


def damage(connection: sqlite3.Connection) -> list[str]:
    """What SQLite's own check finds: pages, indexes, constraints, rows that refer to nothing.

    One line each, at most 1,000 of each kind; names of tables and numbers, never content.
    """
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1000)")]
    lines = [] if found == ["ok"] else found
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(1000):
        lines.append(f"{table} row {rowid} refers to no {parent}")
    return lines


def coded(error: BaseException) -> BaseException:
    """Errors of the device or the engine as coded errors; all others as they are."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy()
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return error
    match getattr(cause, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StorageFull()
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return StorageFailed(problem=cause.sqlite_errorname)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseBusy()
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DatabaseDamaged()
    return error


def version_warning(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> str | None:
    """What to tell the operator about this SQLite, Chinese first; None if all is well."""
    first, last = _WAL_RESET_BUG
    if not first <= version <= last:
        return None
    text = ".".join(map(str, version))
    return (
        f"SQLite {text} 存在 WAL 重置缺陷（3.7.0 至 3.51.2），极少数情况下可能损坏数据库；"
        "正式使用请升级到 3.51.3 或以上，或改用 PostgreSQL。\n"
        f"SQLite {text} has the WAL-reset bug (3.7.0 to 3.51.2), which can in rare cases "
        "damage the database: for production upgrade to 3.51.3 or later, or use PostgreSQL."
    )
