"""The migrated schema is the one that the rooms' tables describe, on both engines."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from migrations.apply import (
    FOLDER,
    broken_references,
    configuration,
    current,
    head,
    rebuilding_allowed,
    upgrade,
)
from migrations.errors import MigrationMissing, MigrationUnknown
from migrations.revision import HEAD, REVISIONS, require_head
from migrations.schema import ROOMS_WITH_TABLES, metadata
from storage.database import Database
from tests.engines import Engine as Engines

pytestmark = pytest.mark.both_engines


@pytest.fixture
def database(tmp_path: Path, engine: Engines) -> Iterator[Database]:
    """A new, empty database, as `mianjiao init` opens it."""
    opened = Database(engine.place(tmp_path / "mianjiao.sqlite3", empty=True), create=True)
    yield opened
    opened.close()


_CATALOGUE = {
    "constraint": "SELECT conname, conrelid::regclass || ' ' || pg_get_constraintdef(oid)"
    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
    "index": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "column": "SELECT attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod)"
    " || attnotnull::text || attidentity::text || coalesce(pg_get_expr(adbin, adrelid), '')"
    " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " JOIN pg_class c ON c.oid = attrelid"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0"
    " AND NOT attisdropped",
}


def _statements(engine: Engine) -> dict[str, list[str]]:
    """Name → the parts of the definition of every table and index, without their order."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            return {
                name: [kind, definition]
                for kind, query in _CATALOGUE.items()
                for name, definition in connection.execute(text(query)).all()
                if "alembic_version" not in name
            }
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE name != 'alembic_version'")
        ).all()
    return {
        name: sorted(" ".join(sql.split()).removesuffix(" )").split(", "))
        for name, sql in rows
        if sql is not None
    }


def test_an_upgrade_reaches_the_head_and_repeats_without_change(database: Database) -> None:
    engine = database.writer_engine
    assert current(engine) is None
    assert upgrade(engine) == head()
    before = _statements(engine)
    assert upgrade(engine) == head() == current(engine)
    assert _statements(engine) == before
    require_head(database.reader_engine)


def test_the_revisions_named_are_those_that_exist() -> None:
    scripts = ScriptDirectory.from_config(configuration()).walk_revisions()
    assert tuple(reversed([script.revision for script in scripts])) == REVISIONS
    assert head() == HEAD


def test_the_migrated_schema_is_the_one_of_the_tables(
    database: Database, tmp_path: Path, engine: Engines
) -> None:
    upgrade(database.writer_engine)
    with database.reader_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        difference = compare_metadata(context, metadata)
    assert difference == [], 'write the revision: python -m migrations "what changes"'
    # Names of constraints and conditions of indexes are compared here: alembic does not.
    place = engine.place(tmp_path / "described.sqlite3", empty=True)
    with closing(Database(place, create=True)) as described:
        metadata.create_all(described.writer_engine)
        assert _statements(database.reader_engine) == _statements(described.reader_engine)


def test_every_room_with_tables_is_migrated() -> None:
    with_tables = {path.parent.name for path in FOLDER.parent.glob("*/tables.py")}
    assert with_tables == {room.__name__.partition(".")[0] for room in ROOMS_WITH_TABLES}


def test_every_constraint_has_a_name(database: Database) -> None:
    upgrade(database.writer_engine)
    inspector = inspect(database.reader_engine)
    unnamed = [
        f"{table}: {constraint}"
        for table in inspector.get_table_names()
        for constraint in (
            inspector.get_pk_constraint(table),
            *inspector.get_foreign_keys(table),
            *inspector.get_unique_constraints(table),
        )
        if constraint["name"] is None
    ]
    assert unnamed == []
    assert inspector.get_pk_constraint("audit")["name"] == "pk_audit"


def test_names_fit_postgresql(database: Database) -> None:
    # PostgreSQL cuts identifiers at 63 bytes; a cut name would not be found again.
    upgrade(database.writer_engine)
    names = [*_statements(database.reader_engine)]
    for table in metadata.tables.values():
        for item in table.constraints:
            if isinstance(item, ForeignKeyConstraint | PrimaryKeyConstraint):
                names.append(str(item.name))
    assert [name for name in names if len(name) > 63] == []


def test_an_empty_database_is_refused(database: Database) -> None:
    with pytest.raises(MigrationMissing) as refused:
        require_head(database.reader_engine)
    assert refused.value.details == {"current": "-", "head": head()}


def test_a_database_of_a_newer_program_is_refused_and_not_touched(database: Database) -> None:
    engine = database.writer_engine
    upgrade(engine)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MigrationUnknown):
        require_head(database.reader_engine)
    with pytest.raises(MigrationUnknown):
        upgrade(engine)
    assert current(engine) == "9999"


@pytest.mark.parametrize("by_url", [False, True])
def test_a_failed_upgrade_leaves_nothing(database: Database, *, by_url: bool) -> None:
    engine = database.writer_engine
    last = metadata.sorted_tables[-1].name
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"CREATE TABLE {last} (x INTEGER)"))
    before = _statements(engine)
    with pytest.raises(DBAPIError, match="already exists"):
        upgrade(engine.url if by_url else engine)
    assert _statements(engine) == before
    assert current(engine) is None


# Columns that a later revision removed, with what was in them.
GONE = {"uploads.sha256", "uploads.sm3"}  # 0008


def _value(column: Column[Any], number: int) -> object:
    """A value of the column's type, another for each number."""
    kind = column.type.python_type
    if kind is str:
        return f"{number}-{column.name}"[: getattr(column.type, "length", None)]
    if kind is bytes:
        return f"{column.name} \0 {number}".encode()
    if kind is datetime:
        # As SQLite keeps it: without a zone.
        at = datetime(2026, 1, 1, 8, 30, number, 123_000, tzinfo=UTC)
        return at if getattr(column.type, "timezone", False) else at.replace(tzinfo=None)
    if kind is bool:
        return number % 2 == 0
    assert kind is int, kind
    return number


def _fill(connection: Connection, tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    """Three rows in every table, with nulls in the third; what then stands in each."""
    for table in tables.sorted_tables:
        for number in (1, 2, 3):
            row = {
                column.name: None
                if number == 3 and column.nullable
                # The same rule gives a row and what it points to the same value.
                else _value(next((key.column for key in column.foreign_keys), column), number)
                for column in table.columns
            }
            connection.execute(insert(table), row)
    return _content(connection, tables)


def _content(connection: Connection, tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table.name: sorted(
            (tuple(row) for row in connection.execute(select(*_kept(table)))), key=repr
        )
        for table in tables.sorted_tables
    }


def _kept(table: Table) -> list[Column[Any]]:
    return [one for one in table.columns if f"{table.name}.{one.name}" not in GONE]


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_from_every_revision_keeps_its_rows(database: Database, revision: str) -> None:
    engine = database.writer_engine
    upgrade(engine, revision)
    old = MetaData()
    old.reflect(engine)
    old.remove(old.tables["alembic_version"])
    with engine.connect() as connection, connection.begin():
        before = _fill(connection, old)
    assert upgrade(engine) == HEAD
    with engine.connect() as connection, connection.begin():
        assert _content(connection, old) == before
    assert all(len(rows) == 3 for rows in before.values())
    assert before["ledger_entries"]
    require_head(database.reader_engine)


def test_files_are_kept_for_as_long_as_their_materials_already_were(database: Database) -> None:
    engine = database.writer_engine
    upgrade(engine, "0002")
    old = MetaData()
    old.reflect(engine)
    old.remove(old.tables["alembic_version"])
    with engine.connect() as connection, connection.begin():
        _fill(connection, old)
        connection.execute(text("UPDATE objects SET claimed_by = '1-material_id' WHERE size = 1"))
    upgrade(engine)
    with engine.connect() as connection, connection.begin():
        kept = connection.execute(
            text("SELECT o.size FROM objects o JOIN materials m ON m.material_id = o.claimed_by")
        ).scalars()
        assert list(kept) == [1]
        rows = connection.execute(
            text(
                "SELECT o.size, m.retain_until FROM objects o"
                " LEFT JOIN materials m ON m.retain_until = o.retain_until ORDER BY o.size"
            )
        ).all()
        assert [(row[0], row[1] is not None) for row in rows] == [(1, True), (2, False), (3, False)]
        assert not list(
            connection.execute(text("SELECT 1 FROM objects WHERE locked_until IS NOT NULL"))
        )


def test_grants_learn_the_bodies_of_their_cases(database: Database) -> None:
    engine = database.writer_engine
    upgrade(engine, "0008")
    old = MetaData()
    old.reflect(engine)
    old.remove(old.tables["alembic_version"])
    bodies = "SELECT window_org, department FROM cases WHERE case_id = '2-case_id'"
    with engine.connect() as connection, connection.begin():
        _fill(connection, old)
        connection.execute(text("UPDATE grants SET case_id = NULL WHERE grant_id = '1-grant_id'"))
        connection.execute(
            text("UPDATE grants SET case_id = '2-case_id' WHERE grant_id = '2-grant_id'")
        )
        (whose,) = connection.execute(text(bodies)).all()
    upgrade(engine)
    with engine.connect() as connection, connection.begin():
        first, second = connection.execute(
            text("SELECT window_org, department FROM grants ORDER BY grant_id LIMIT 2")
        ).all()
    assert tuple(first) == (None, None)
    assert tuple(second) == tuple(whose)
    assert all(whose)


def _parent_and_child(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE parent (id INTEGER CONSTRAINT pk_parent PRIMARY KEY)"))
    connection.execute(
        text(
            "CREATE TABLE child (parent INTEGER, CONSTRAINT fk_child_parent"
            " FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)"
        )
    )
    connection.execute(text("INSERT INTO parent VALUES (1)"))
    connection.execute(text("INSERT INTO child VALUES (1)"))


@pytest.mark.sqlite_only
def test_rebuilding_a_table_keeps_the_rows_that_point_to_it(database: Database) -> None:
    engine = database.writer_engine
    with engine.connect() as connection, connection.begin():
        _parent_and_child(connection)
    with engine.connect() as connection:
        with rebuilding_allowed(connection), connection.begin():
            operations = Operations(MigrationContext.configure(connection))
            with operations.batch_alter_table("parent", recreate="always"):
                pass
            assert broken_references(connection) == []
        with connection.begin():
            assert connection.execute(text("SELECT parent FROM child")).scalar() == 1
            # Enforced again afterwards.
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


@pytest.mark.sqlite_only
def test_a_row_that_points_to_nothing_is_named(database: Database) -> None:
    engine = database.writer_engine
    with engine.connect() as connection, connection.begin():
        _parent_and_child(connection)
    with (
        engine.connect() as connection,
        rebuilding_allowed(connection),
        connection.begin(),
    ):
        connection.execute(text("DELETE FROM parent"))
        assert broken_references(connection) == ["child"]
