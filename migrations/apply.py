"""Bring a database to the schema of this program, and refuse one that is not there.

There is no `alembic.ini`: `mianjiao init` calls `upgrade`; what opens a store calls
`revision.require_head`. An upgrade is one transaction on both engines: it is applied whole
or not at all.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from migrations.errors import MigrationMissing, MigrationUnknown

FOLDER = Path(__file__).parent


def configuration() -> Config:
    """Alembic's configuration of this folder, made in memory."""
    config = Config()
    # A percent sign in the path would be an interpolation.
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """The newest revision that this program knows."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        raise MigrationMissing(current="-", head="-")
    return revision


def current(database: Engine | URL | str) -> str | None:
    """The revision of a database (an engine or its URL), or None for an empty one."""
    with _engine(database) as engine, engine.connect() as connection, connection.begin():
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Engine | URL | str, revision: str = "head") -> str:
    """Apply what is missing and return the revision reached. Nothing missing: no change.

    Raises `MigrationUnknown` for a database that a newer program wrote. Must not
    run beside units of work: a store is upgraded before it is served.
    """
    with _engine(database) as engine, engine.connect() as connection:
        with rebuilding_allowed(connection), connection.begin():
            _keep_others_out(connection)
            _refuse_newer(MigrationContext.configure(connection).get_current_revision())
            config = configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        with connection.begin():
            reached = MigrationContext.configure(connection).get_current_revision()
    if reached is None:
        raise MigrationMissing(current="-", head=head())
    return reached


def _keep_others_out(connection: Connection) -> None:
    """On PostgreSQL, with the lock of every write; and a step may take its time. On
    SQLite `BEGIN IMMEDIATE` does it."""
    if connection.dialect.name != "postgresql":
        return
    from storage.database.postgres import lock_key

    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock_key('writer')})")


def _refuse_newer(revision: str | None) -> None:
    if revision is None:
        return
    try:
        ScriptDirectory.from_config(configuration()).get_revision(revision)
    except CommandError as error:
        raise MigrationUnknown(current=revision) from error


@contextmanager
def _engine(database: Engine | URL | str) -> Iterator[Engine]:
    if isinstance(database, Engine):
        yield database
        return
    engine = create_engine(database)
    if engine.dialect.name == "sqlite":
        _begin_before_ddl(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _begin_before_ddl(engine: Engine) -> None:
    """By itself Python's driver begins no transaction for DDL: a failure would leave half."""

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def rebuilding_allowed(connection: Connection) -> Iterator[None]:
    """On SQLite, alembic changes a table by copying and dropping the old one.

    With foreign keys enforced, the drop would first delete the rows, or fail for
    those that point to them. So they are checked at the end instead, and the
    setting comes back however it ends. It can only be changed outside of a
    transaction, hence on the driver's cursor.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection
    cursor = driver.cursor()
    enforced = cursor.execute("PRAGMA foreign_keys").fetchone()[0]
    cursor.execute("PRAGMA foreign_keys = 0")
    try:
        yield
    finally:
        cursor.execute(f"PRAGMA foreign_keys = {int(enforced)}")
        cursor.close()


def broken_references(connection: Connection) -> list[str]:
    """Tables with rows that point to nothing (SQLite's own check), each once."""
    if connection.dialect.name != "sqlite":
        return []
    rows = connection.execute(text("PRAGMA foreign_key_check")).all()
    return sorted({str(row[0]) for row in rows})
