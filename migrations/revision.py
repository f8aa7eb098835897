"""Which schema this program needs, and whether a database has it.

Apart from `apply`, so that commands that only open a store load no alembic.
"""

from sqlalchemy import Engine, inspect, text

from migrations.errors import MigrationMissing, MigrationUnknown

# Oldest first; the last is what this program needs. A test compares it with
# the revisions themselves.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
HEAD = REVISIONS[-1]
VERSION_TABLE = "alembic_version"


def found_revision(engine: Engine) -> str | None:
    """The revision that the database says it has, or None for an empty one."""
    with engine.connect() as connection, connection.begin():
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
        return None if found is None else str(found)


def require_head(engine: Engine) -> None:
    """Return if the database has exactly this program's schema.

    Otherwise `MigrationMissing` (older, or empty) or `MigrationUnknown` (newer).
    """
    found = found_revision(engine)
    if found == HEAD:
        return
    if found is not None and found not in REVISIONS:
        raise MigrationUnknown(current=found)
    raise MigrationMissing(current=found or "-", head=HEAD)
