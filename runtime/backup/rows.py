"""The rows of a backup: an SQLite file of the store's schema, whatever the store runs on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, func, select

from ledger.tables import ledger_entries
from storage.database import Database, ReadTx, WriteTx
from storage.database.transfer import Tell, copy_all
from storage.objects.copying import StoredBytes
from storage.tables import objects

PAGE = 500


def write_rows(database: Database, path: Path, tell: Tell) -> dict[str, int]:
    """Copy all rows of one snapshot into a new file; how many, by table."""
    from migrations.apply import upgrade  # slow to load

    path.unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    try:
        upgrade(engine)
        # The file is fsynced once, when it is whole; nobody reads it before.
        event.listen(engine, "connect", _carefree)
        engine.dispose()
        with (
            database.read() as source,
            engine.connect() as connection,
            connection.begin(),
        ):
            return copy_all(source, WriteTx(connection), tell)
    finally:
        engine.dispose()


@contextmanager
def open_rows(path: Path) -> Iterator[ReadTx]:
    """Read such a file; nothing of it is changed."""
    engine: Engine = create_engine(
        f"sqlite:///file:{path}?mode=ro&immutable=1&uri=true", hide_parameters=True
    )
    try:
        with engine.connect() as connection, connection.begin():
            yield ReadTx(connection)
    finally:
        engine.dispose()


def kept_objects(rows: ReadTx) -> Iterator[list[StoredBytes]]:
    """The objects whose bytes must be there, a page at a time."""
    columns = objects.c
    after = ""
    while True:
        query = (
            select(columns.object_key, columns.cipher_size, columns.cipher_sha256)
            .where(columns.wrapped_key.is_not(None), columns.object_key > after)
            .order_by(columns.object_key)
            .limit(PAGE)
        )
        page = [StoredBytes._make(row) for row in rows.execute(query)]
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].key


def key_epochs(rows: ReadTx) -> tuple[int, int] | None:
    """The oldest and the newest epoch that a live key is wrapped in."""
    found: list[int] = []
    for table in (objects, ledger_entries):
        epoch = table.c.key_epoch
        query = select(func.min(epoch), func.max(epoch)).where(table.c.wrapped_key.is_not(None))
        found += [one for one in rows.execute(query).one() if one is not None]
    return (min(found), max(found)) if found else None


def _carefree(connection: object, _record: object) -> None:
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "foreign_keys = 0"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]
