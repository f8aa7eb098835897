"""Objects, audit, ledger, parties, credentials, licences."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("principal", sa.String(length=30), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("org", sa.String(length=18), nullable=True),
        sa.Column("person", sa.String(length=30), nullable=True),
        sa.Column("capacity", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("entity", sa.String(length=64), nullable=True),
        sa.Column("case_id", sa.String(length=30), nullable=True),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_case_id", "audit", ["case_id"], unique=False)
    op.create_index("ix_audit_entity", "audit", ["entity"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.String(length=30), nullable=False),
        sa.Column("route", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("body_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mac", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("principal", "route", "key", name="pk_idempotency"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("entity", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(length=128), nullable=True),
        sa.Column("key_epoch", sa.Integer(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shard", sa.String(length=32), nullable=True),
        sa.Column("leaf_index", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_ledger_entries"),
        sa.UniqueConstraint("entry_id", name="uq_ledger_entries_entry_id"),
        sa.UniqueConstraint("shard", "leaf_index", name="uq_ledger_entries_shard_leaf_index"),
    )
    op.create_index(
        "ix_ledger_entries_entity_position", "ledger_entries", ["entity", "position"], unique=False
    )
    op.create_index(
        "ix_ledger_entries_unsequenced",
        "ledger_entries",
        ["position"],
        unique=False,
        sqlite_where=sa.text("leaf_index IS NULL"),
        postgresql_where=sa.text("leaf_index IS NULL"),
    )
    op.create_table(
        "ledger_heads",
        sa.Column("shard", sa.String(length=32), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("staged_size", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shard", name="pk_ledger_heads"),
        sa.UniqueConstraint("origin", name="uq_ledger_heads_origin"),
    )
    op.create_table(
        "license_snapshots",
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("license_id", sa.String(length=30), nullable=True),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_license_snapshots"),
    )
    op.create_table(
        "objects",
        sa.Column("object_key", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("cipher_size", sa.BigInteger(), nullable=False),
        sa.Column("cipher_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(length=128), nullable=True),
        sa.Column("key_epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_by", sa.String(length=30), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("object_key", name="pk_objects"),
    )
    op.create_index(
        "ix_objects_erasure_pending",
        "objects",
        ["erased_at"],
        unique=False,
        sqlite_where=sa.text("erased_at IS NOT NULL AND forgotten_at IS NULL"),
        postgresql_where=sa.text("erased_at IS NOT NULL AND forgotten_at IS NULL"),
    )
    op.create_index(
        "ix_objects_unclaimed",
        "objects",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("claimed_by IS NULL"),
        postgresql_where=sa.text("claimed_by IS NULL"),
    )
    op.create_table(
        "parties",
        sa.Column("party_id", sa.String(length=30), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("lookup", sa.LargeBinary(length=32), nullable=True),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("party_id", name="pk_parties"),
        sa.UniqueConstraint("lookup", name="uq_parties_lookup"),
    )
    op.create_table(
        "capacities",
        sa.Column("capacity_id", sa.String(length=30), nullable=False),
        sa.Column("holder", sa.String(length=30), nullable=False),
        sa.Column("person", sa.String(length=30), nullable=False),
        sa.Column("capacity", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_reason", sa.String(length=64), nullable=True),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["holder"], ["parties.party_id"], name="fk_capacities_holder"),
        sa.ForeignKeyConstraint(["person"], ["parties.party_id"], name="fk_capacities_person"),
        sa.PrimaryKeyConstraint("capacity_id", name="pk_capacities"),
    )
    op.create_index("ix_capacities_holder_person", "capacities", ["holder", "person"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("credential_id", sa.String(length=30), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("org", sa.String(length=18), nullable=True),
        sa.Column("unit", sa.String(length=64), nullable=True),
        sa.Column("officer", sa.String(length=64), nullable=True),
        sa.Column("person", sa.String(length=30), nullable=True),
        sa.Column("holder", sa.String(length=30), nullable=True),
        sa.Column("capacity", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["holder"], ["parties.party_id"], name="fk_credentials_holder"),
        sa.ForeignKeyConstraint(["person"], ["parties.party_id"], name="fk_credentials_person"),
        sa.PrimaryKeyConstraint("credential_id", name="pk_credentials"),
        sa.UniqueConstraint("secret_sha256", name="uq_credentials_secret_sha256"),
    )
    op.create_table(
        "licenses",
        sa.Column("license_id", sa.String(length=30), nullable=False),
        sa.Column("identifier", sa.String(length=96), nullable=True),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=30), nullable=False),
        sa.Column("issuer", sa.String(length=18), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("supersedes", sa.String(length=30), nullable=True),
        sa.Column("source_case", sa.String(length=30), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["holder"], ["parties.party_id"], name="fk_licenses_holder"),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["licenses.license_id"], name="fk_licenses_supersedes"
        ),
        sa.PrimaryKeyConstraint("license_id", name="pk_licenses"),
        sa.UniqueConstraint("identifier", name="uq_licenses_identifier"),
    )
    op.create_index("ix_licenses_holder_kind", "licenses", ["holder", "kind"], unique=False)
    op.create_table(
        "license_events",
        sa.Column("license_id", sa.String(length=30), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(
            ["license_id"], ["licenses.license_id"], name="fk_license_events_license_id"
        ),
        sa.PrimaryKeyConstraint("license_id", "sequence", name="pk_license_events"),
    )
