"""Lists of bodies, and look-ups of evidence, that read what they answer and not all there is."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BODIES = ("window_org", "department")


def upgrade() -> None:
    op.drop_index("ix_cases_department_state", "cases")
    op.drop_index("ix_cases_window_org", "cases")
    for body in _BODIES:
        op.create_index(
            f"ix_cases_{body}_state_opened_at", "cases", [body, "state", "opened_at", "case_id"]
        )
        op.add_column("grants", sa.Column(body, sa.String(18), nullable=True))
        op.execute(
            f"UPDATE grants SET {body} = (SELECT cases.{body} FROM cases"  # noqa: S608
            " WHERE cases.case_id = grants.case_id) WHERE case_id IS NOT NULL"
        )
    for body in ("audience", *_BODIES):
        there = sa.text(f"{body} IS NOT NULL")
        op.create_index(
            f"ix_grants_{body}_status_requested_at",
            "grants",
            [body, "status", "requested_at", "grant_id"],
            sqlite_where=there,
            postgresql_where=there,
        )
    op.drop_index("ix_tasks_department_state", "tasks")
    op.create_index(
        "ix_tasks_department_state_created_at",
        "tasks",
        ["department", "state", "created_at", "task_id"],
    )
    op.create_index("ix_evidence_in_log_at", "evidence_in_log", ["at"])
    op.drop_index("ix_anchors_shard_size", "anchors")
    op.create_index(
        "ix_anchors_source_size", "anchors", ["shard", "kind", "source", "state", "size"]
    )
    for last in ("state", "expires_at"):
        op.create_index(f"ix_anchors_kind_source_{last}", "anchors", ["kind", "source", last])
    op.drop_index("ix_chain_transactions_source_state", "chain_transactions")
    op.create_index(
        "ix_chain_transactions_source_size",
        "chain_transactions",
        ["source", "state", "shard", "size"],
    )
    op.create_index(
        "ix_chain_transactions_source_signed_at", "chain_transactions", ["source", "signed_at"]
    )
