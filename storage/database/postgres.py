"""What is particular to PostgreSQL: the URL, settings of each session, locks, checks.

One writer at a time across all processes: every write transaction first takes an
advisory lock, which the server gives back when the transaction ends, however it
ends (ADR 0009). Inside it, READ COMMITTED sees everything that was committed before.
Readers have REPEATABLE READ, READ ONLY snapshots from a pool.

Needs sessions of its own: a pooler that shares them between transactions (PgBouncer in
transaction mode) cannot stand between.
"""

import select
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError
from sqlalchemy.pool import NullPool, QueuePool

from storage.database.postgres_errors import coded, opening_error, quieten
from storage.database.statements import Statements
from storage.errors import DatabaseUnfit, DatabaseUrlInvalid

READERS = 8
_EXTRA_READERS = 16
_READER_WAIT_SECONDS = 10
# The server keeps 64 subtransactions of a session in memory; past that every reader's
# visibility check may go to disk.
GROUP_LIMIT = 60
_OLDEST_VERSION = 14

# Read back and asserted by a test on every connection. Times in milliseconds.
SESSION = {
    "timezone": "UTC",
    "lock_timeout": "10000",
    "application_name": "mianjiao",
}
WRITER_SESSION = {
    **SESSION,
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",  # a commit that was answered survives a power cut
    "statement_timeout": "60000",
    # A writer that hangs holds up every other one.
    "idle_in_transaction_session_timeout": "60000",
}
READER_SESSION = {
    **SESSION,
    "default_transaction_isolation": "repeatable read",
    "default_transaction_read_only": "on",
    "statement_timeout": "300000",
    # `fsck` computes between its queries, in one snapshot.
    "idle_in_transaction_session_timeout": "600000",
}
# The server's side: a session whose machine is gone without a word, and the lock it
# holds, end after some ten seconds. Unix sockets have no use for them.
_LIVENESS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
# Of the driver: a server that is gone without a word is noticed within half a minute.
CONNECT = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# How long after the server's own time-out its answer is waited for.
GRACE_SECONDS = 2.0
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


def parse_url(text: str) -> URL:
    """A PostgreSQL URL as the operator writes it. `DatabaseUrlInvalid`; never quotes it."""
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise DatabaseUrlInvalid(problem="not a URL") from None
    if url.drivername not in _SCHEMES:
        raise DatabaseUrlInvalid(problem="the scheme is not postgresql")
    if not url.database:
        raise DatabaseUrlInvalid(problem="no database is named")
    return url.set(drivername="postgresql+psycopg")


def public_name(url: URL) -> str:
    """The URL without password and without parameters, for messages."""
    host = url.host or str(url.query.get("host", ""))
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host}{port}/{url.database}"


def lock_key(name: str) -> int:
    """The number of an advisory lock: a signed 64-bit digest of its name."""
    return int.from_bytes(sha256(f"mianjiao/{name}".encode()).digest()[:8], signed=True)


class PostgresBackend:
    """The database of a URL, which an administrator has created."""

    driver_error: type[Exception] = psycopg.Error
    group_limit = GROUP_LIMIT

    def __init__(self, url: URL) -> None:
        """Connects and checks the server, so that a wrong setting shows at the start.

        `DatabaseUnreachable`, `DatabaseRefused`, `DatabaseAbsent`,
        `DatabaseUrlInvalid`; `DatabaseUnfit` for a server that would lose what it
        confirmed, or a database that orders or stores text in another way.
        """
        self.name = public_name(url)
        self._lock = f"BEGIN; SELECT pg_advisory_xact_lock({lock_key('writer')})".encode()
        # The writer keeps its one connection and replaces it itself.
        self.writer_engine = session_engine(url, WRITER_SESSION, poolclass=NullPool)
        self.reader_engine = session_engine(
            url,
            READER_SESSION,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=_EXTRA_READERS,
            pool_timeout=_READER_WAIT_SECONDS,
        )
        event.listen(self.reader_engine, "checkout", _still_there)
        self.glance_engine = self.reader_engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            with self.writer_engine.connect() as connection:
                self._check(connection.connection.driver_connection)
        except (DBAPIError, psycopg.Error) as error:
            # The driver's texts may quote parts of the URL.
            raise opening_error(error, url, self.name) from None

    def _check(self, driver: Any) -> None:
        version, encoding, bytewise, fsync, full_pages, standby = driver.execute(
            "SELECT current_setting('server_version_num')::int / 10000,"
            " current_setting('server_encoding'), 'Z' < 'a',"
            " current_setting('fsync'), current_setting('full_page_writes'),"
            " pg_is_in_recovery()"
        ).fetchone()
        for problem, wanted, fits in (
            (f"PostgreSQL {version}", f"{_OLDEST_VERSION} or newer", version >= _OLDEST_VERSION),
            (f"encoding {encoding}", "ENCODING 'UTF8'", encoding == "UTF8"),
            # An order that a system update may change makes indexes find less than there is.
            ("text is not ordered by code point", "LOCALE 'C'", bytewise),
            ("fsync = off", "fsync = on", fsync == "on"),
            ("full_page_writes = off", "full_page_writes = on", full_pages == "on"),
            ("it is a read-only standby", "the primary server", not standby),
        ):
            if not fits:
                raise DatabaseUnfit(database=self.name, problem=problem, wanted=wanted)

    def coded(self, error: BaseException) -> BaseException:
        return coded(error)

    def lock(self, driver: Any) -> None:
        driver.statements.run(self._lock)

    def move_savepoint(self, driver: Any, name: str) -> None:
        driver.statements.run(f"RELEASE {name}; SAVEPOINT {name}".encode())

    def is_open(self, driver: Any) -> bool:
        return not driver.closed and driver.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        )

    def can_commit(self, driver: Any) -> bool:
        return not driver.closed and driver.info.transaction_status == TransactionStatus.INTRANS

    def is_lost(self, driver: Any) -> bool:
        return bool(driver.closed)

    def forget_deleted(self, driver: Any) -> bool:
        return False

    def damage(self, driver: Any) -> list[str]:
        """B-tree indexes against their tables, where the extension amcheck is installed."""
        if not _has_amcheck(driver):
            return []
        indexes = driver.execute(
            "SELECT c.oid, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE a.amname = 'btree' AND n.nspname = current_schema() ORDER BY c.relname"
        ).fetchall()
        lines = []
        for oid, name in indexes:
            try:
                with driver.transaction():
                    driver.execute("SELECT bt_index_check(%s, true)", (oid,))
            except (psycopg.errors.IndexCorrupted, psycopg.errors.DataCorrupted) as error:
                lines.append(f"{name}: {error.diag.message_primary}")
        return lines

    def warnings(self) -> list[str]:
        with self.reader_engine.connect() as connection, connection.begin():
            driver = connection.connection.driver_connection
            assert driver is not None  # noqa: S101 - an open connection has one
            checked = driver.execute("SHOW data_checksums").fetchone()[0]
            amcheck = _has_amcheck(driver)
        found = []
        if checked != "on":
            found.append(
                "数据库未启用页校验（data_checksums），磁盘上的位翻转可能不被发现。\n"
                "The database has no page checksums (data_checksums): "
                "a bit flipped on its disk may go unnoticed."
            )
        if not amcheck:
            found.append(
                "未安装扩展 amcheck，fsck 不检查索引：CREATE EXTENSION amcheck。\n"
                "The extension amcheck is missing, so fsck does not check indexes: "
                "CREATE EXTENSION amcheck."
            )
        return found


class QuietCursor(psycopg.Cursor[Any]):
    """Keeps only the first line of the server's errors: the next one, DETAIL, quotes
    values of the row, and error texts reach logs."""

    def execute(self, *given: Any, **options: Any) -> "QuietCursor":
        try:
            super().execute(*given, **options)
        except psycopg.Error as error:
            quieten(error)
            raise
        return self

    def executemany(self, *given: Any, **options: Any) -> None:
        try:
            super().executemany(*given, **options)
        except psycopg.Error as error:
            quieten(error)
            raise


class PatientConnection(psycopg.Connection[Any]):
    """Waits for an answer as long as the server may take by its own time-out, and a moment.

    A server that hangs, on this machine or another, still has its kernel acknowledge
    what it is sent: neither keepalives nor `tcp_user_timeout` end the wait, and its own
    time-outs do not run. Afterwards the connection is closed: an answer that comes
    later belongs to nobody.
    """

    answer_seconds: float | None = None

    @cached_property
    def statements(self) -> Statements:
        """What is run past the driver's cursors."""
        return Statements(self)

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.answer_seconds)
        except psycopg.OperationalError:
            if self.info.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def session_engine(
    url: URL,
    session: Mapping[str, str],
    *,
    connect: Mapping[str, int] = CONNECT,
    **pool: Any,
) -> Engine:
    """An engine all of whose sessions have these settings from their first moment.

    None waits for an answer longer than its `statement_timeout` and `GRACE_SECONDS`.
    """
    options = [str(url.query.get("options", ""))]
    for name, value in {**_LIVENESS, **session}.items():
        escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
        options.append(f"-c {name}={escaped}")
    engine = create_engine(
        url,
        connect_args={
            **connect,
            "client_encoding": "utf8",
            "cursor_factory": QuietCursor,
            "options": " ".join(options).strip(),
        },
        hide_parameters=True,  # error texts reach logs
        use_native_hstore=False,
        **pool,
    )
    seconds = int(session["statement_timeout"]) / 1000 + GRACE_SECONDS

    def connected(_dialect: Any, _record: Any, given: Any, named: Any) -> PatientConnection:
        connection = PatientConnection.connect(*given, **named)
        connection.answer_seconds = seconds
        # After each rollback it would forget them all, and have the server forget ours.
        connection.prepare_threshold = None
        return connection

    event.listen(engine, "do_connect", connected)
    return engine


def _still_there(driver: Any, _record: object, _proxy: object) -> None:
    """Replace idle connections that the server has ended. Nothing is asked: of an end, or
    a last word before it, the socket knows, and a server that hangs would not answer."""
    looking = select.poll()
    looking.register(driver.fileno(), select.POLLIN)
    if looking.poll(0):
        raise InvalidatePoolError("a connection ended while it was idle")


def _has_amcheck(driver: Any) -> bool:
    row = driver.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone()
    return row is not None
