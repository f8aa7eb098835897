"""Digests of uploads that wait are sealed under the key of their object.

Plain ones stayed in a server's files and in copies of rows after an erasure. Nothing can be
sealed here, without the vault: uploads that wait now are to be sent again, and a sweep
takes the old ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("uploads", sa.Column("digests", sa.LargeBinary(length=92), nullable=True))
    op.drop_column("uploads", "sha256")
    op.drop_column("uploads", "sm3")
