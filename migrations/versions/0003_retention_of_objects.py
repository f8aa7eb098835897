"""Until when objects must be kept, and until when the object store has locked them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LOCK_DUE = (
    "retain_until IS NOT NULL AND erased_at IS NULL"
    " AND (locked_until IS NULL OR locked_until < retain_until)"
)


def upgrade() -> None:
    with op.batch_alter_table("objects") as batch:
        batch.add_column(sa.Column("retain_until", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True))
        batch.create_index(
            "ix_objects_lock_due",
            ["object_key"],
            sqlite_where=sa.text(LOCK_DUE),
            postgresql_where=sa.text(LOCK_DUE),
        )
    # What materials must be kept for holds for their files.
    op.execute(
        "UPDATE objects SET retain_until = (SELECT materials.retain_until FROM materials"
        " WHERE materials.material_id = objects.claimed_by)"
        " WHERE claimed_by IN (SELECT material_id FROM materials WHERE retain_until IS NOT NULL)"
    )
