"""The lock that elects: it lives exactly as long as its own session."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from storage.database import Database
from storage.database.session_lock import SessionLock
from storage.errors import DatabaseUnavailable

pytestmark = pytest.mark.postgresql_only


@pytest.fixture
def locks(database: Database) -> Iterator[list[SessionLock]]:
    made = [SessionLock(database.place, "test") for _ in range(2)]  # type: ignore[arg-type]
    yield made
    for lock in made:
        lock.release()


def end_session(database: Database, lock: Any) -> None:
    """The server ends the lock's session; `database`'s own connections live on."""
    pid = lock._session.connection.driver_connection.info.backend_pid
    with database.read() as tx:
        assert tx.scalar(text(f"SELECT pg_terminate_backend({pid}, 5000)"))


def test_one_of_two_holds_it(locks: list[SessionLock]) -> None:
    first, second = locks
    assert not first.held()
    assert first.try_acquire()
    assert not second.try_acquire()
    assert (first.held(), second.held()) == (True, False)
    first.release()
    assert second.try_acquire()
    assert (first.held(), second.held()) == (False, True)


def test_what_was_released_is_free_at_once(locks: list[SessionLock]) -> None:
    first, second = locks
    for _ in range(50):
        assert first.try_acquire()
        first.release()
        assert second.try_acquire()
        second.release()


def test_other_names_and_other_databases_are_apart(
    database: Database, locks: list[SessionLock], engine: Any, tmp_path: Any
) -> None:
    assert locks[0].try_acquire()
    others = [
        SessionLock(database.place, "another"),  # type: ignore[arg-type]
        SessionLock(engine.place(tmp_path / "elsewhere"), "test"),
    ]
    for other in others:
        assert other.try_acquire()
        other.release()


def test_it_does_not_stand_in_the_way_of_writers(
    database: Database, locks: list[SessionLock]
) -> None:
    assert locks[0].try_acquire()
    assert database.write(lambda tx: tx.scalar(text("SELECT 1"))) == 1


def test_a_dead_session_is_noticed_while_a_sibling_lives(
    database: Database, locks: list[SessionLock]
) -> None:
    first, second = locks
    assert first.try_acquire()
    end_session(database, first)
    assert second.try_acquire(), "the server gave it back"
    assert database.write(lambda tx: tx.scalar(text("SELECT 1"))) == 1, "the sibling lives"
    assert not first.held()
    assert not first.held(), "and it does not come back by itself"


def test_without_a_server_it_is_not_taken(database: Database) -> None:
    place: Any = database.place
    lock = SessionLock(place.update_query_dict({"host": "/nowhere"}), "test")
    with pytest.raises(DatabaseUnavailable):
        lock.try_acquire()
    assert not lock.held()
