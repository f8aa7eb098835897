"""A named lock that lives as long as one session of PostgreSQL: who holds it is elected.

The server gives it back the moment the session ends, so a killed process holds up
nobody; one whose machine is gone without a word is noticed within about four seconds.
"""

from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from storage.database.postgres import CONNECT, SESSION, lock_key, session_engine
from storage.database.postgres_errors import coded

_SESSION = {
    **SESSION,
    "statement_timeout": "3000",
    # The server's side: ends the session of a machine that no longer answers.
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "3000",
}
# Our side: notices that the server's machine no longer answers.
_CONNECT = {
    **CONNECT,
    "connect_timeout": 3,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "tcp_user_timeout": 3000,
}


class SessionLock:
    """One name in one database. Not to be shared between threads."""

    def __init__(self, url: URL, name: str) -> None:
        self._engine = session_engine(
            url, _SESSION, connect=_CONNECT, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        self._key = lock_key(name)
        self._session: Any = None

    def try_acquire(self) -> bool:
        """Take the lock on a new session; False if another session has it.

        `DatabaseUnavailable` without a server.
        """
        self.release()
        try:
            connection = self._engine.connect()
            self._session = connection
            taken = self._run("SELECT pg_try_advisory_lock(%s)", (self._key,))
        except (DBAPIError, psycopg.Error) as error:
            self._end()
            raise coded(error) from error
        if not taken:
            self._end()
        return bool(taken)

    def held(self) -> bool:
        """Ask the session itself, however well other connections may be doing."""
        if self._session is None:
            return False
        try:
            return bool(self._run("SELECT 1"))
        except (DBAPIError, psycopg.Error):
            self._end()
            return False

    def release(self) -> None:
        """Nobody holds it on return: the end of a session alone is noticed by the server
        a moment later, in which the next process would find the lock taken."""
        if self._session is not None:
            with suppress(DBAPIError, psycopg.Error):
                self._run("SELECT pg_advisory_unlock(%s)", (self._key,))
        self._end()

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            # Ended, not returned anywhere: with the session goes the lock.
            session.detach()
            session.close()

    def _run(self, sql: str, given: tuple[object, ...] | None = None) -> Any:
        return self._session.connection.driver_connection.execute(sql, given).fetchone()[0]
