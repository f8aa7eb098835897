"""What only PostgreSQL has: settings of sessions, errors by SQLSTATE, one writer of many."""

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from storage.database import Database, WriteTx
from storage.database.metadata import UtcDateTime
from storage.database.postgres import (
    READER_SESSION,
    WRITER_SESSION,
    PostgresBackend,
    parse_url,
)
from storage.errors import (
    DatabaseAbsent,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseRefused,
    DatabaseUnavailable,
    DatabaseUnfit,
    DatabaseUnreachable,
    DatabaseUrlInvalid,
    StorageFailed,
    StorageFull,
    TextNotStorable,
)
from tests.engines import Engine as Engines
from tests.engines import Servers
from tests.postgres_server import PostgresServer, free_port

pytestmark = pytest.mark.postgresql_only

scratch = MetaData()
things = Table(
    "things",
    scratch,
    Column("name", String(20), primary_key=True),
    Column("n", Integer),
    Column("at", UtcDateTime),
    Column("data", LargeBinary),
)
Hold = Any


@pytest.fixture
def database(database: Database) -> Database:
    scratch.create_all(database.writer_engine)
    return database


def add(name: str) -> Any:
    def work(tx: WriteTx) -> str:
        tx.execute(insert(things), {"name": name})
        return name

    return work


def names(database: Database) -> set[str]:
    with database.read() as tx:
        return {row["name"] for row in tx.all(select(things.c.name))}


def settings_of(engine: Engine, wanted: dict[str, str], connections: int) -> list[dict[str, str]]:
    """The settings of several connections that are open at the same time."""
    opened = [engine.connect() for _ in range(connections)]
    query = text("SELECT setting FROM pg_settings WHERE lower(name) = :name")
    try:
        return [
            {name: str(connection.execute(query, {"name": name}).scalar()) for name in wanted}
            for connection in opened
        ]
    finally:
        for connection in opened:
            connection.close()


def test_every_session_has_its_settings(database: Database) -> None:
    assert WRITER_SESSION["synchronous_commit"] == "on"
    assert WRITER_SESSION["default_transaction_isolation"] == "read committed"
    assert READER_SESSION["default_transaction_isolation"] == "repeatable read"
    assert settings_of(database.writer_engine, WRITER_SESSION, 1) == [WRITER_SESSION]
    assert settings_of(database.reader_engine, READER_SESSION, 10) == [READER_SESSION] * 10


def test_a_url_keeps_its_own_options(engine: Engines, tmp_path: Path) -> None:
    place = engine.place(tmp_path / "rows")
    assert not isinstance(place, Path)
    own = place.update_query_dict({"options": "-c work_mem=1234kB"})
    with closing(Database(own)) as database, database.read() as tx:
        assert tx.scalar(text("SHOW work_mem")) == "1234kB"
        assert tx.scalar(text("SHOW transaction_read_only")) == "on"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "not a URL"),
        ("no url at all", "not a URL"),
        ("mysql://u:topsecret@h/d", "the scheme is not postgresql"),
        ("sqlite:///topsecret.db", "the scheme is not postgresql"),
        ("postgresql://u:topsecret@h", "no database is named"),
        ("postgresql://u:topsecret@h:port/d", "not a URL"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused(url: str, problem: str) -> None:
    with pytest.raises(DatabaseUrlInvalid) as refused:
        parse_url(url)
    assert refused.value.details == {"problem": problem}
    assert "topsecret" not in f"{refused.value} {refused.value.__cause__!r}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[PostgresServer]:
    """A server on loopback that asks for passwords."""
    server = PostgresServer(port=free_port(), password="correct-horse")
    yield server
    server.close()


def _refused(url: str, kind: type[Exception]) -> str:
    with pytest.raises(kind) as refused:
        Database(parse_url(url))
    shown = f"{refused.value} {refused.value.__cause__!r}"
    assert "\n" not in str(refused.value)
    assert "topsecret" not in shown
    assert "correct-horse" not in shown
    return str(refused.value)


def test_what_is_wrong_with_a_server_is_said_in_one_line(guarded: PostgresServer) -> None:
    at = f"127.0.0.1:{guarded.port}"
    right = f"postgresql://postgres:correct-horse@{at}"
    Database(parse_url(f"{right}/postgres")).close()
    Database(parse_url(f"{right}/postgres".replace("postgresql:", "postgres:"))).close()
    said = _refused(f"postgresql://postgres:topsecret@{at}/postgres", DatabaseRefused)
    assert "postgres" in said
    assert at in said
    assert "nobody_known" in _refused(
        f"postgresql://nobody_known:topsecret@{at}/postgres", DatabaseRefused
    )
    _refused(f"postgresql://postgres@{at}/postgres", DatabaseRefused)
    assert "CREATE DATABASE none TEMPLATE" in _refused(f"{right}/none", DatabaseAbsent)
    unreachable = f"postgresql://u:topsecret@127.0.0.1:{free_port()}/d"
    assert "Connection refused" in _refused(unreachable, DatabaseUnreachable)
    said = _refused("postgresql://u:topsecret@no.such.host.invalid/d", DatabaseUnreachable)
    assert "resolve" in said
    _refused(f"{right}/postgres?passwrod=topsecret", DatabaseUrlInvalid)


@pytest.mark.parametrize(
    ("created", "wanted"),
    [
        ("ENCODING 'LATIN1' LOCALE 'C'", "ENCODING 'UTF8'"),
        ("ENCODING 'UTF8' LOCALE 'en_US.utf8'", "LOCALE 'C'"),
    ],
)
def test_a_database_that_keeps_text_otherwise_is_refused(
    servers: Servers, created: str, wanted: str
) -> None:
    servers.server.admin("DROP DATABASE IF EXISTS unfit")
    try:
        servers.server.admin(f"CREATE DATABASE unfit TEMPLATE template0 {created}")
    except psycopg.errors.WrongObjectType:
        pytest.skip("this machine has no locale en_US.utf8")
    try:
        with pytest.raises(DatabaseUnfit) as refused:
            Database(servers.server.url("unfit"))
        assert refused.value.details["wanted"] == wanted
    finally:
        servers.server.admin("DROP DATABASE unfit WITH (FORCE)")


def test_a_server_that_could_lose_commits_is_refused() -> None:
    server = PostgresServer(settings=["fsync=off"])
    try:
        with pytest.raises(DatabaseUnfit) as refused:
            Database(server.url("postgres"))
        assert refused.value.details["problem"] == "fsync = off"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StorageFull),
        ("53200", DatabaseBusy),
        ("40001", DatabaseBusy),
        ("40P01", DatabaseBusy),
        ("55P03", DatabaseBusy),
        ("57014", DatabaseBusy),
        ("53300", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
        ("58030", StorageFailed),
        ("42501", StorageFailed),
        ("XX001", DatabaseDamaged),
        ("XX002", DatabaseDamaged),
        ("22001", TextNotStorable),
        ("23505", DBAPIError),
        ("P0001", DBAPIError),
    ],
)
@pytest.mark.parametrize("reading", [False, True])
def test_errors_of_the_server_are_coded(
    database: Database, state: str, kind: type[Exception], reading: bool
) -> None:
    raising = text(f"DO $$ BEGIN RAISE 'as told' USING ERRCODE = '{state}'; END $$")

    def work(tx: WriteTx) -> None:
        add("a")(tx)
        tx.execute(raising)

    if reading:
        with pytest.raises(kind), database.read() as tx:
            tx.execute(raising)
    else:
        with pytest.raises(kind):
            database.write(work)
    assert names(database) == set()
    assert database.write(add("b")) == "b"


@pytest.mark.parametrize("value", ["a\0b", "x" * 21])
def test_text_that_cannot_be_stored_is_refused(database: Database, value: str) -> None:
    with pytest.raises(TextNotStorable):
        database.write(add(value))
    many = [{"name": f"{value[:19]}{number}{value[19:]}"} for number in range(60)]
    with pytest.raises(TextNotStorable):
        database.write(lambda tx: tx.insert_many(things, many))
    assert names(database) == set()


def test_many_rows_go_in_by_copy_with_all_their_values(database: Database, at: Any) -> None:
    rows = [
        {
            "name": f"名 {number}",
            "n": None if number % 3 else number,
            "at": at,
            "data": bytes([number, 0]),
        }
        for number in range(200)
    ]
    database.write(lambda tx: tx.insert_many(things, rows))
    with database.read() as tx:
        assert sorted(map(dict, tx.all(select(things))), key=str) == sorted(rows, key=str)
        assert tx.scalar(select(func.count()).select_from(things)) == 200


def test_a_copy_that_fails_names_no_values_and_stores_nothing(
    database: Database, held_writer: Hold
) -> None:
    rows = [{"name": "310199198802299064"}] * 60
    with held_writer(database):
        failing = database.submit(lambda tx: tx.insert_many(things, rows))
        kept = database.submit(add("kept"))
    with pytest.raises(DBAPIError, match="duplicate key") as caught:
        failing.result(10)
    assert "310199198802299064" not in str(caught.value)
    assert kept.result(10) == "kept"
    assert names(database) == {"kept"}


@pytest.mark.parametrize("together", [False, True])
def test_a_work_that_goes_on_after_an_error_stores_nothing(
    database: Database, held_writer: Hold, together: bool
) -> None:
    """The server would answer its COMMIT with a rollback, and no error."""

    def careless(tx: WriteTx) -> str:
        add("a")(tx)
        with suppress(DBAPIError):
            add("a")(tx)
        return "done"

    with held_writer(database):
        futures = [database.submit(careless)]
        if together:
            futures.append(database.submit(add("b")))
    with pytest.raises(RuntimeError, match="went on after an error"):
        futures[0].result(10)
    assert names(database) == ({"b"} if together else set())


# --- Several processes ---


def test_writers_of_two_processes_never_overlap(database: Database) -> None:
    """Each reads and then writes: without the lock increments would be lost."""
    database.write(lambda tx: tx.execute(insert(things), {"name": "counter", "n": 0}).rowcount)

    def increment(tx: WriteTx) -> None:
        seen = tx.scalar(select(things.c.n).where(things.c.name == "counter"))
        tx.execute(things.update().where(things.c.name == "counter").values(n=seen + 1))

    def client(own: Database) -> None:
        for _ in range(60):
            own.write(increment)

    with closing(Database(database.place)) as other:
        threads = [threading.Thread(target=client, args=(one,)) for one in (database, other) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    with database.read() as tx:
        assert tx.scalar(select(things.c.n).where(things.c.name == "counter")) == 240


def test_no_write_skew_between_processes(database: Database, held_writer: Hold) -> None:
    """Two that may each act only while the other has not: one of them does."""

    def act(name: str) -> Any:
        def work(tx: WriteTx) -> bool:
            taken = tx.scalar(select(func.count()).select_from(things))
            if taken == 0:
                tx.execute(insert(things), {"name": name})
            return bool(taken == 0)

        return work

    with closing(Database(database.place)) as other:
        with held_writer(database):
            futures = [database.submit(act("a")), other.submit(act("b"))]
        assert sorted(future.result(10) for future in futures) == [False, True]


def test_a_writer_that_waits_too_long_is_told_busy(database: Database, held_writer: Hold) -> None:
    with closing(Database(database.place)) as other:
        other.write(lambda tx: tx.execute(text("SET lock_timeout = 50")) and None)
        with held_writer(database), pytest.raises(DatabaseBusy):
            other.write(add("late"))
        assert other.write(add("then")) == "then"
    assert names(database) == {"then"}


def test_the_lock_of_a_writer_whose_session_died_is_free(database: Database) -> None:
    """A process that was killed inside a transaction holds nobody up."""
    assert not isinstance(database.place, Path)
    gone = PostgresBackend(database.place)
    connection = gone.writer_engine.connect()
    driver: Any = connection.connection.driver_connection
    gone.lock(driver)
    waiting = database.submit(add("a"))
    with pytest.raises(TimeoutError):
        waiting.result(0.2)
    with database.read() as tx:
        tx.execute(text(f"SELECT pg_terminate_backend({driver.info.backend_pid})"))
    assert waiting.result(10) == "a"
    connection.invalidate()
    connection.close()


def test_readers_that_the_server_threw_out_are_replaced(database: Database) -> None:
    database.write(add("a"))
    assert names(database) == {"a"}
    with closing(Database(database.place)) as other, other.read() as tx:
        thrown = tx.scalar(
            text(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
        )
    assert thrown >= 2
    assert names(database) == {"a"}
    assert database.write(add("b")) == "b"


def test_deleted_bytes_are_not_said_to_be_gone(database: Database) -> None:
    database.write(add("a"))
    database.write(lambda tx: tx.execute(things.delete()).rowcount)
    assert database.forget_deleted() is False


def test_damage_of_an_index_is_found_with_amcheck(database: Database) -> None:
    with database.read() as tx:
        known = text("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'")
        if not tx.scalar(known):
            pytest.skip("this server has no extension amcheck")

    def lie(tx: WriteTx) -> None:
        """A row that its index does not have."""
        tx.execute(text("CREATE EXTENSION amcheck"))
        tx.execute(text("CREATE TABLE other (name VARCHAR(20), CONSTRAINT o UNIQUE (name))"))
        tx.execute(text("UPDATE pg_index SET indisready = false WHERE indexrelid = 'o'::regclass"))

    database.write(lie)
    database.write(lambda tx: tx.execute(text("INSERT INTO other VALUES ('x')")).rowcount)
    assert [line for line in database.damage() if line.startswith("o: ")]
    assert not any("amcheck" in warning for warning in database.warnings())


def test_an_operator_is_told_what_is_missing(database: Database) -> None:
    assert [warning for warning in database.warnings() if "amcheck" in warning]
    assert database.damage() == []
