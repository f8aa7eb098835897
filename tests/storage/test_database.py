import threading
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.exc import IntegrityError

from storage.database import Database, ReadTx, WriteTx
from storage.database.metadata import UtcDateTime
from storage.errors import (
    DatabaseClosed,
    StorageFailed,
)

pytestmark = pytest.mark.both_engines

scratch = MetaData()
things = Table(
    "things",
    scratch,
    Column("name", String(100_000), primary_key=True),
    Column("at", UtcDateTime, nullable=True),
)
parts = Table("parts", scratch, Column("of", String(10)), Column("n", Integer))


class Refused(Exception):
    """What a use case raises."""


@pytest.fixture
def database(database: Database) -> Database:
    with database.writer_engine.begin() as connection:
        scratch.create_all(connection)
        connection.exec_driver_sql(
            "CREATE TABLE children (of VARCHAR(10) REFERENCES things (name) DEFERRABLE)"
        )
    return database


def add(name: str) -> "Any":
    def work(tx: WriteTx) -> str:
        tx.execute(insert(things), {"name": name})
        return name

    return work


def names(database: Database) -> set[str]:
    with database.read() as tx:
        return {row["name"] for row in tx.all(select(things.c.name))}


Hold = Any


def test_what_was_written_is_there_after_a_restart(database: Database) -> None:
    assert database.write(add("one")) == "one"
    database.close()
    again = Database(database.place)
    assert names(again) == {"one"}
    again.close()


def test_a_work_that_raises_stores_nothing_and_raises_the_same(database: Database) -> None:
    def work(tx: WriteTx) -> None:
        add("one")(tx)
        raise Refused

    with pytest.raises(Refused):
        database.write(work)
    assert names(database) == set()
    database.write(add("two"))
    assert names(database) == {"two"}


def test_works_that_wait_share_a_commit_but_not_a_fate(
    database: Database, held_writer: Hold
) -> None:
    def refused(tx: WriteTx) -> None:
        add("refused")(tx)
        raise Refused

    def broken(tx: WriteTx) -> None:
        add("broken")(tx)
        add("broken")(tx)  # not unique

    with held_writer(database):
        futures = [
            database.submit(work)
            for work in (add("a"), refused, add("b"), broken, refused, add("c"), add("a"))
        ]
    assert futures[0].result(10) == "a"
    assert futures[2].result(10) == "b"
    assert futures[5].result(10) == "c"
    for number, kind in ((1, Refused), (3, IntegrityError), (4, Refused), (6, IntegrityError)):
        with pytest.raises(kind):
            futures[number].result(10)
    assert names(database) == {"a", "b", "c"}


def test_a_work_sees_what_earlier_works_of_its_group_wrote(
    database: Database, held_writer: Hold
) -> None:
    def count(tx: WriteTx) -> int:
        return len(tx.all(select(things.c.name)))

    with held_writer(database):
        futures = [database.submit(work) for work in (add("a"), count, add("b"), count)]
    assert (futures[1].result(10), futures[3].result(10)) == (1, 2)


def test_a_commit_that_fails_fails_all_of_its_group(database: Database, held_writer: Hold) -> None:
    told: list[str] = []

    def noted(tx: WriteTx) -> str:
        tx.after_commit(lambda: told.append("noted"))
        return str(add("innocent")(tx))

    def orphan(tx: WriteTx) -> None:
        # Checked by the engine at the commit, not before.
        later = {
            "sqlite": "PRAGMA defer_foreign_keys = 1",
            "postgresql": "SET CONSTRAINTS ALL DEFERRED",
        }
        tx.connection.exec_driver_sql(later[tx.connection.dialect.name])
        tx.connection.exec_driver_sql("INSERT INTO children VALUES ('nobody')")

    def refused(_tx: WriteTx) -> None:
        raise Refused

    with held_writer(database):
        futures: list[Future[Any]] = [
            database.submit(work) for work in (noted, orphan, refused, add("late"))
        ]
    for number in (0, 1, 3):
        with pytest.raises(IntegrityError):
            futures[number].result(10)
    with pytest.raises(Refused):
        futures[2].result(10)
    assert told == []
    assert names(database) == set()
    database.write(add("next"))
    assert names(database) == {"next"}


def test_call_backs_run_after_the_commit_and_cannot_stop_the_writer(database: Database) -> None:
    seen: list[set[str]] = []

    def work(tx: WriteTx) -> str:
        tx.after_commit(lambda: seen.append(names(database)))
        tx.after_commit(lambda: 1 // 0)
        return str(add("one")(tx))

    assert database.write(work) == "one"
    assert seen == [{"one"}]
    assert database.write(add("two")) == "two"


def test_a_cancelled_future_is_skipped_and_harms_nobody(
    database: Database, held_writer: Hold
) -> None:
    with held_writer(database):
        cancelled, kept = database.submit(add("cancelled")), database.submit(add("kept"))
        assert cancelled.cancel()
    assert kept.result(10) == "kept"
    assert names(database) == {"kept"}


def test_a_work_inside_a_work_is_an_error_not_a_deadlock(database: Database) -> None:
    for inner in (lambda: database.write(add("x")), database.forget_deleted):
        with pytest.raises(RuntimeError, match="unit of work"):
            database.write(lambda _tx, inner=inner: inner())
    assert names(database) == set()


def test_all_works_of_many_threads_are_stored_once(database: Database) -> None:
    def client(number: int) -> None:
        for turn in range(25):
            database.write(add(f"{number}-{turn}"))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert names(database) == {f"{number}-{turn}" for number in range(8) for turn in range(25)}


def test_a_reader_keeps_its_snapshot_and_does_not_hold_the_writer_up(database: Database) -> None:
    database.write(add("before"))
    with database.read() as tx:
        assert len(tx.all(select(things))) == 1
        database.write(add("after"))
        assert len(tx.all(select(things))) == 1
    assert names(database) == {"before", "after"}


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StorageFailed), database.read() as tx:
        tx.execute(insert(things), {"name": "sneaked in"})
    assert names(database) == set()


def test_errors_raised_while_reading_come_through(database: Database) -> None:
    with pytest.raises(Refused), database.read():
        raise Refused
    assert names(database) == set()


def test_one_asks_for_at_most_one_row(database: Database) -> None:
    database.write(add("a"))
    with database.read() as tx:
        row = tx.one(select(things.c.name))
        assert row is not None
        assert row["name"] == "a"
        assert tx.one(select(things.c.name).where(things.c.name == "b")) is None
        assert tx.scalar(select(things.c.name)) == "a"


def test_inserting_no_rows_is_no_statement(database: Database) -> None:
    database.write(lambda tx: tx.insert_many(things, []))
    database.write(lambda tx: tx.insert_many(things, [{"name": "a"}, {"name": "b"}]))
    assert names(database) == {"a", "b"}


def test_close_finishes_what_is_queued_and_then_refuses(
    database: Database, held_writer: Hold
) -> None:
    holding: AbstractContextManager[None] = held_writer(database)
    with holding:
        queued = [database.submit(add(f"queued {number}")) for number in range(3)]
        closing = threading.Thread(target=database.close)
        closing.start()
        while not database._writer._closed:
            threading.Event().wait(0.001)
        with pytest.raises(DatabaseClosed):
            database.write(add("too late"))
        assert not any(future.done() for future in queued)
    closing.join(10)
    assert [future.result(0) for future in queued] == [f"queued {number}" for number in range(3)]
    with pytest.raises(DatabaseClosed):
        database.forget_deleted()
    database.close()
    again = Database(database.place)
    assert len(names(again)) == 3
    again.close()


def test_error_texts_hold_no_parameters(database: Database) -> None:
    database.write(add("310199198802299064"))
    with pytest.raises(IntegrityError) as caught:
        database.write(add("310199198802299064"))
    assert "310199198802299064" not in str(caught.value)


TIMES = [
    datetime(2026, 11, 24, 4, 20, 21, 123000, tzinfo=UTC),
    datetime(1949, 10, 1, tzinfo=UTC),
    datetime(2026, 11, 24, 12, 20, tzinfo=timezone(timedelta(hours=8))),
]


@pytest.mark.parametrize("value", TIMES)
def test_times_come_back_aware_and_in_utc(database: Database, value: datetime) -> None:
    database.write(lambda tx: tx.execute(insert(things), {"name": "t", "at": value}).rowcount)
    with database.read() as tx:
        back = tx.scalar(select(things.c.at))
        assert tx.scalar(select(things.c.name).where(things.c.at == value)) == "t"
        later = value + timedelta(milliseconds=1)
        assert tx.scalar(select(things.c.name).where(things.c.at < later)) == "t"
        assert tx.scalar(select(things.c.name).where(things.c.at < value)) is None
    assert back == value
    assert back.tzinfo is UTC


def test_no_time_stays_no_time(database: Database) -> None:
    database.write(add("t"))
    with database.read() as tx:
        assert tx.scalar(select(things.c.at)) is None


def test_a_naive_time_is_refused(database: Database) -> None:
    naive = datetime(2026, 11, 24)  # noqa: DTZ001 - that is the point
    with pytest.raises(Exception, match="time zone"):
        database.write(lambda tx: tx.execute(insert(things), {"name": "t", "at": naive}).rowcount)


def test_times_keep_their_zone_on_postgresql() -> None:
    from sqlalchemy.dialects import postgresql

    value = datetime(2026, 11, 24, 12, 20, tzinfo=timezone(timedelta(hours=8)))
    bound = UtcDateTime().process_bind_param(value, postgresql.dialect())
    assert bound == value
    assert bound is not None
    assert bound.tzinfo is UTC


def test_a_snapshot_is_not_kept_by_mistake(database: Database) -> None:
    with database.read() as tx:
        kept: ReadTx = tx
        tx.all(select(things))
    with pytest.raises(Exception, match="closed"):
        kept.all(select(things))
