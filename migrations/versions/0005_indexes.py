"""Indexes for what a large store asks of every case, upload and sweep."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (
        ("licenses", "source_case"),
        ("materials", "project"),
        ("materials", "supersedes"),
    ):
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_{table}_{column}",
            table,
            [column],
            sqlite_where=there,
            postgresql_where=there,
        )
    # It led SQLite to all materials of a type where a holder's own were asked for.
    op.drop_index("ix_materials_type", "materials")
    op.create_index("ix_grants_status_expires_at", "grants", ["status", "expires_at"])
    for table in ("material_files", "uploads"):
        op.create_index(f"ix_{table}_object_key", table, ["object_key"])
