"""A shard of the log can end: its head names the one that follows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger_heads", sa.Column("successor", sa.String(32), nullable=True))
    op.create_index("ix_ledger_heads_successor", "ledger_heads", ["successor"], unique=True)
