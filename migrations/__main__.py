"""For developers: `python -m migrations "what changes"` writes the next revision.

It compares the rooms' `tables.py` with a database at the current head. The
result is a draft: read it, and give it the data moves that alembic cannot see.
There are no downgrades: a store goes back by restoring a backup.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateIndexOp, MigrationScript, ModifyTableOps
from sqlalchemy import create_engine

from migrations.apply import configuration, upgrade
from storage.database.metadata import UtcDateTime


def render_item(kind: str, item: object, context: AutogenContext) -> str | bool:
    """Plain types in revisions: old ones must still run when our classes have changed."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def plain(context: object, revision: object, directives: list[MigrationScript]) -> None:
    """New tables need no batch: only alterations are rendered as such."""
    for script in directives:
        for operations in script.upgrade_ops_list:
            operations.ops[:] = [
                step
                for step in operations.ops
                for step in (
                    step.ops
                    if isinstance(step, ModifyTableOps)
                    and all(isinstance(inner, CreateIndexOp) for inner in step.ops)
                    else [step]
                )
            ]


def write_revision(message: str) -> None:
    folder = Path(__file__).parent / "versions"
    known = len(list(folder.glob("*.py")))
    with tempfile.TemporaryDirectory() as scratch:
        engine = create_engine(f"sqlite:///{Path(scratch) / 'head.sqlite3'}")
        config = configuration()
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        if known:
            upgrade(engine)
        with engine.connect() as connection, connection.begin():
            config.attributes["connection"] = connection
            config.attributes["render_item"] = render_item
            command.revision(
                config,
                message,
                autogenerate=True,
                rev_id=f"{known + 1:04d}",
                process_revision_directives=plain,
            )
        engine.dispose()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('usage: python -m migrations "what changes"')
    write_revision(sys.argv[1])
