"""What only the embedded engine has: pragmas, its write-ahead log, a file that is damaged."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, MetaData, String, Table, insert, select, text

from storage.database import Database
from storage.database.metadata import UtcDateTime
from storage.database.prepared import Prepared
from storage.database.sqlite import PRAGMAS, version_warning
from storage.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseMissing,
    RowUnreadable,
    StorageFailed,
    StorageFull,
)

pytestmark = pytest.mark.sqlite_only

scratch = MetaData()
things = Table("things", scratch, Column("name", String, primary_key=True))

Hold = Any


@pytest.fixture
def database(database: Database) -> Database:
    scratch.create_all(database.writer_engine)
    return database


def add(name: str) -> "Any":
    def work(tx: Any) -> str:
        tx.execute(insert(things), {"name": name})
        return name

    return work


def names(database: Database) -> set[str]:
    with database.read() as tx:
        return {row["name"] for row in tx.all(select(things.c.name))}


def pragmas(engine: Engine, connections: int) -> list[dict[str, object]]:
    """The pragmas of several connections that are open at the same time."""
    opened = [engine.connect() for _ in range(connections)]
    try:
        return [
            {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in [*PRAGMAS, "query_only"]
            }
            for connection in opened
        ]
    finally:
        for connection in opened:
            connection.close()


def test_every_connection_has_wal_full_sync_and_secure_delete(database: Database) -> None:
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "temp_store": 2,
        "busy_timeout": 10_000,
    }
    assert expected == PRAGMAS
    assert pragmas(database.writer_engine, 1) == [{**expected, "query_only": 0}]
    # Past the size of the pool, so that overflow connections are seen too.
    assert pragmas(database.reader_engine, 12) == [{**expected, "query_only": 1}] * 12
    database.forget_deleted()
    assert pragmas(database.writer_engine, 1) == [{**expected, "query_only": 0}]


def test_a_missing_database_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing):
        Database(tmp_path / "none.sqlite3")
    assert not (tmp_path / "none.sqlite3").exists()


@pytest.mark.parametrize("together", [False, True])
def test_a_full_disk_is_named_and_stores_nothing_of_the_group(
    database: Database, held_writer: Hold, together: bool
) -> None:
    def at_most(pages: int) -> None:
        database.write(
            lambda tx: tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar()
        )

    with database.read() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    at_most(pages + 2)
    works = [add("small"), add("x" * 90_000), add("late")] if together else [add("x" * 90_000)]
    with held_writer(database):
        futures = [database.submit(work) for work in works]
    for future in futures:
        with pytest.raises(StorageFull):
            future.result(10)
    assert names(database) == set()
    at_most(1_000_000)
    database.write(add("x" * 90_000))
    assert names(database) == {"x" * 90_000}


def test_forgetting_does_not_wait_long_for_a_reader(database: Database) -> None:
    database.write(add("one"))
    with database.read() as tx:
        tx.all(select(things))
        database.write(add("two"))
        started = datetime.now(UTC)
        assert database.forget_deleted() is False
        assert datetime.now(UTC) - started < timedelta(seconds=2)
    assert database.forget_deleted() is True


def test_a_second_writer_waits_and_then_is_told_busy(database: Database) -> None:
    database.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout = 20").scalar())
    other = sqlite3.connect(database.place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DatabaseBusy):
            database.write(add("one"))
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert database.write(add("two")) == "two"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite3"
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    with pytest.raises(DatabaseDamaged):
        Database(path)
    with pytest.raises(StorageFailed):
        Database(tmp_path / "no folder" / "rows.sqlite3", create=True)


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_versions_with_the_wal_reset_bug_are_warned_of(
    version: tuple[int, int, int], warned: bool
) -> None:
    warning = version_warning(version)
    assert (warning is not None) is warned
    if warning:
        assert ".".join(map(str, version)) in warning


@pytest.mark.parametrize("prepared", [False, True], ids=["core", "prepared"])
@pytest.mark.parametrize("stored", ["yesterday", "2026-13-01 00:00:00.000000", 7])
def test_a_stored_time_that_is_none_is_named(
    database: Database, stored: object, prepared: bool
) -> None:
    moments = Table("moments", MetaData(), Column("at", UtcDateTime))
    moments.create(database.writer_engine)
    add_raw = text("INSERT INTO moments (at) VALUES (:at)")
    database.write(lambda tx: tx.execute(add_raw, {"at": stored}))
    with database.read() as tx, pytest.raises(RowUnreadable):
        if prepared:
            Prepared(select(moments.c.at)).all(tx, {})
        else:
            tx.all(select(moments.c.at))
