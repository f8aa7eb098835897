"""Alembic runs this file for every command; the connection is handed in by `apply`."""

from alembic import context

from migrations.apply import broken_references
from migrations.schema import metadata


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite alters tables by copying them; on PostgreSQL the same code alters in place.
        render_as_batch=True,
        # Both engines roll a failed upgrade back whole: SQLite because the engine
        # begins the transaction itself.
        transactional_ddl=True,
        compare_type=True,
        render_item=context.config.attributes.get("render_item"),
    )
    with context.begin_transaction():
        context.run_migrations()
    broken = broken_references(connection)
    if broken:
        raise RuntimeError("the migration left rows that point to nothing: " + ", ".join(broken))


run()
