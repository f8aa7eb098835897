"""PostgreSQL stopped, killed and restarted; commits whose answer never comes."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from kernel.errors import CodedError
from storage.database import Database, WriteTx
from storage.database import writer as writer_module
from storage.database.metadata import metadata
from storage.database.postgres import SESSION, session_engine
from storage.database.postgres_errors import coded
from storage.database.session_lock import SessionLock
from storage.errors import DatabaseUnavailable, OutcomeUnknown
from storage.idempotency import Reply, RequestKey, once
from storage.keyvault import FileKeyVault
from storage.tables import idempotency
from tests.postgres_server import PostgresServer, free_port
from tests.servers.wire import Wire

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("postgres_faults")]

scratch = MetaData()
things = Table("things", scratch, Column("name", String(40), primary_key=True))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: it is killed again and again."""
    made = PostgresServer(port=free_port())
    yield made
    made.close()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    server.admin("DROP DATABASE IF EXISTS faults WITH (FORCE)")
    server.admin("CREATE DATABASE faults TEMPLATE template0")
    opened = Database(server.url("faults"))
    scratch.create_all(opened.writer_engine)
    metadata.create_all(opened.writer_engine, tables=[idempotency])
    yield opened
    opened.close()


def add(name: str) -> Any:
    def work(tx: WriteTx) -> str:
        tx.execute(insert(things), {"name": name})
        return name

    return work


def names(database: Database) -> set[str]:
    with database.read() as tx:
        return {row["name"] for row in tx.all(select(things.c.name))}


def test_a_restart_between_two_writes_is_not_noticed(
    server: PostgresServer, database: Database
) -> None:
    database.write(add("before"))
    assert names(database) == {"before"}
    server.kill()
    server.start()
    assert names(database) == {"before"}
    assert database.write(add("after")) == "after"
    assert names(database) == {"before", "after"}


def test_a_write_waits_for_a_server_that_restarts(
    server: PostgresServer, database: Database
) -> None:
    database.write(add("before"))
    server.kill()
    waiting = database.submit(add("waited"))
    time.sleep(0.5)
    server.start()
    assert waiting.result(30) == "waited"


def test_a_server_that_stays_away_is_told_after_a_while(
    server: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RECONNECT_SECONDS", 0.5)
    server.kill()
    try:
        with pytest.raises(DatabaseUnavailable):
            database.write(add("never"))
        with pytest.raises(DatabaseUnavailable), database.read() as tx:
            tx.all(select(things))
    finally:
        server.start()
    assert names(database) == set()
    assert database.write(add("again")) == "again"


@pytest.mark.parametrize("together", [False, True])
def test_a_kill_inside_a_transaction_stores_nothing_of_its_group(
    server: PostgresServer, database: Database, held_writer: Any, together: bool
) -> None:
    database.write(add("before"))

    def struck(tx: WriteTx) -> None:
        add("struck")(tx)
        server.kill()
        server.start()
        add("after the strike")(tx)

    with held_writer(database):
        futures = [database.submit(struck)]
        if together:
            futures += [database.submit(add("neighbour"))]
    for future in futures:
        with pytest.raises(DatabaseUnavailable):
            future.result(30)
    assert names(database) == {"before"}
    assert database.write(add("next")) == "next"


def test_a_kill_just_before_the_commit_is_never_an_acknowledgement(
    server: PostgresServer, database: Database
) -> None:
    def struck(tx: WriteTx) -> str:
        add("struck")(tx)
        server.kill()
        server.start()
        return "done"

    with pytest.raises(OutcomeUnknown):
        database.write(struck)
    assert names(database) == set()
    assert database.write(add("next")) == "next"


@pytest.mark.parametrize(("cut", "stored"), [("before", False), ("after", True)])
@pytest.mark.parametrize("together", [False, True])
def test_a_commit_without_an_answer_is_unknown_and_a_retry_is_safe(
    server: PostgresServer,
    database: Database,
    held_writer: Any,
    vault: FileKeyVault,
    at: datetime,
    cut: str,
    stored: bool,
    together: bool,
) -> None:
    key = RequestKey.of(vault, "tok_" + "0" * 26, "POST /v1/things", "key-1", b"{}")

    def work(tx: WriteTx) -> Reply:
        return Reply(201, str(add("one")(tx)).encode())

    with closing(Wire(server.port or 0)) as wire:
        place = server.tcp_url("faults").set(port=wire.port)
        with closing(Database(place)) as behind:
            if together:
                with held_writer(behind):
                    futures = [behind.submit(add(name)) for name in ("a", "b")]
                    behind.submit(lambda _tx: setattr(wire, "cut", cut))
                for future in futures:
                    with pytest.raises(OutcomeUnknown):
                        future.result(30)
                assert names(database) == ({"a", "b"} if stored else set())
            else:
                wire.cut = cut
                with pytest.raises(OutcomeUnknown):
                    once(behind, at, key, work)
                assert names(database) == ({"one"} if stored else set())
            again = once(behind, at, key, work)
            assert again == Reply(201, b"one", replayed=stored and not together)
    assert names(database) >= {"one"}


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """It takes what is sent, and never answers."""
    server.freeze(on=True)
    try:
        yield
    finally:
        server.freeze(on=False)


@pytest.mark.parametrize("place", ["tcp_url", "url"])
@pytest.mark.parametrize("step", ["query", "commit"])
def test_a_server_that_hangs_is_given_up(
    server: PostgresServer, database: Database, place: str, step: str
) -> None:
    url = getattr(server, place)("faults")
    engine = session_engine(url, {**SESSION, "statement_timeout": "500"}, poolclass=NullPool)
    with engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(insert(things), {"name": "hung"})
        driver: Any = connection.connection.driver_connection
        with frozen(server):
            begun = time.monotonic()
            with pytest.raises(DBAPIError) as told:
                transaction.commit() if step == "commit" else connection.execute(select(things))
            assert time.monotonic() - begun < 20
        assert driver.closed
        assert isinstance(coded(told.value), DatabaseUnavailable)
    assert database.write(add("afterwards")) == "afterwards"


def test_the_lock_of_a_server_that_hangs_is_not_held(server: PostgresServer) -> None:
    lock = SessionLock(server.url("postgres"), "hung")
    assert lock.try_acquire()
    with frozen(server):
        begun = time.monotonic()
        assert not lock.held()
        assert time.monotonic() - begun < 20


def test_nothing_that_was_acknowledged_is_lost_whenever_it_is_killed(
    server: PostgresServer, database: Database
) -> None:
    """Clients write down every answer; the server is killed under them."""
    acknowledged: set[str] = set()
    unknown: set[str] = set()
    refused: set[str] = set()
    stopping = threading.Event()

    def client(number: int, own: Database) -> None:
        turn = 0
        while not stopping.is_set():
            turn += 1
            name = f"{number}-{turn}"
            try:
                acknowledged.add(own.write(add(name)))
            except OutcomeUnknown:
                unknown.add(name)
            except CodedError:
                refused.add(name)

    with closing(Database(server.url("faults"))) as other:
        threads = [
            threading.Thread(target=client, args=(number, own))
            for number, own in enumerate((database, other) * 4)
        ]
        for thread in threads:
            thread.start()
        for kill in (server.kill, server.kill_postmaster, server.kill):
            time.sleep(0.4)
            kill()
            server.start()
        time.sleep(0.3)
        stopping.set()
        for thread in threads:
            thread.join(60)
        found = names(other)
    assert len(acknowledged) > 50
    assert acknowledged - found == set(), "lost"
    assert found & refused == set(), "said to be not stored"
    assert found <= acknowledged | unknown
