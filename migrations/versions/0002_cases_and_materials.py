"""Catalogue, uploads, cases, materials, grants, verifications, packages."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "case_numbers",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_case_numbers"),
    )
    op.create_table(
        "catalogue_versions",
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("adopted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_catalogue_versions"),
    )
    op.create_table(
        "code_tries",
        sa.Column("principal", sa.String(length=30), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("principal", name="pk_code_tries"),
    )
    op.create_table(
        "tickets",
        sa.Column("ticket_id", sa.String(length=30), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("verification_id", sa.String(length=30), nullable=True),
        sa.Column("material_id", sa.String(length=30), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("principal", sa.String(length=30), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("ticket_id", name="pk_tickets"),
        sa.UniqueConstraint("secret_sha256", name="uq_tickets_secret_sha256"),
    )
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("matter", sa.String(length=12), nullable=False),
        sa.Column("variant", sa.String(length=64), nullable=False),
        sa.Column("applicant", sa.String(length=30), nullable=False),
        sa.Column("person", sa.String(length=30), nullable=False),
        sa.Column("capacity", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=True),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("window_org", sa.String(length=18), nullable=True),
        sa.Column("department", sa.String(length=18), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("catalogue_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("origin", sa.String(length=64), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["applicant"], ["parties.party_id"], name="fk_cases_applicant"),
        sa.ForeignKeyConstraint(["person"], ["parties.party_id"], name="fk_cases_person"),
        sa.PrimaryKeyConstraint("case_id", name="pk_cases"),
        sa.UniqueConstraint("number", name="uq_cases_number"),
    )
    op.create_index("ix_cases_applicant", "cases", ["applicant"], unique=False)
    op.create_index("ix_cases_department_state", "cases", ["department", "state"], unique=False)
    op.create_index("ix_cases_window_org", "cases", ["window_org"], unique=False)
    op.create_table(
        "party_events",
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("party_id", sa.String(length=30), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["party_id"], ["parties.party_id"], name="fk_party_events_party_id"
        ),
        sa.PrimaryKeyConstraint("entry_id", name="pk_party_events"),
    )
    op.create_index("ix_party_events_party_id", "party_events", ["party_id"], unique=False)
    op.create_table(
        "register_facts",
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("register", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=30), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["holder"], ["parties.party_id"], name="fk_register_facts_holder"),
        sa.PrimaryKeyConstraint("entry_id", name="pk_register_facts"),
    )
    op.create_index(
        "ix_register_facts_holder_register", "register_facts", ["holder", "register"], unique=False
    )
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.String(length=30), nullable=False),
        sa.Column("principal", sa.String(length=30), nullable=False),
        sa.Column("object_key", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=True),
        sa.Column("sm3", sa.LargeBinary(length=32), nullable=True),
        sa.Column("media_type", sa.String(length=127), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["object_key"], ["objects.object_key"], name="fk_uploads_object_key"
        ),
        sa.PrimaryKeyConstraint("upload_id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_created_at", "uploads", ["created_at"], unique=False)
    op.create_index(
        "ix_uploads_principal_used_at", "uploads", ["principal", "used_at"], unique=False
    )
    op.create_table(
        "uses",
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("holder", sa.String(length=30), nullable=False),
        sa.Column("item", sa.String(length=30), nullable=False),
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("verification_id", sa.String(length=30), nullable=True),
        sa.Column("org", sa.String(length=18), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["holder"], ["parties.party_id"], name="fk_uses_holder"),
        sa.PrimaryKeyConstraint("entry_id", "holder", "item", name="pk_uses"),
    )
    op.create_index("ix_uses_holder_at", "uses", ["holder", "at"], unique=False)
    op.create_table(
        "case_documents",
        sa.Column("document_id", sa.String(length=30), nullable=False),
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("requirement", sa.String(length=64), nullable=True),
        sa.Column("verification_id", sa.String(length=30), nullable=True),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_case_documents_case_id"),
        sa.PrimaryKeyConstraint("document_id", name="pk_case_documents"),
    )
    op.create_index("ix_case_documents_case_id", "case_documents", ["case_id"], unique=False)
    op.create_table(
        "case_events",
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_case_events_case_id"),
        sa.PrimaryKeyConstraint("case_id", "sequence", name="pk_case_events"),
    )
    op.create_table(
        "case_requirements",
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("requirement", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("route", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(length=30), nullable=True),
        sa.Column("verification_id", sa.String(length=30), nullable=True),
        sa.Column("exemptible", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name="fk_case_requirements_case_id"
        ),
        sa.PrimaryKeyConstraint("case_id", "requirement", "sequence", name="pk_case_requirements"),
    )
    op.create_index("ix_case_requirements_item", "case_requirements", ["item"], unique=False)
    op.create_table(
        "exports",
        sa.Column("export_id", sa.String(length=30), nullable=False),
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("shard", sa.String(length=32), nullable=False),
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tagmanifest_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("payload_files", sa.BigInteger(), nullable=False),
        sa.Column("payload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.Column("object_key", sa.String(length=128), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_exports_case_id"),
        sa.ForeignKeyConstraint(
            ["object_key"], ["objects.object_key"], name="fk_exports_object_key"
        ),
        sa.PrimaryKeyConstraint("export_id", name="pk_exports"),
    )
    op.create_index("ix_exports_case_id", "exports", ["case_id"], unique=False)
    op.create_table(
        "grants",
        sa.Column("grant_id", sa.String(length=30), nullable=False),
        sa.Column("holder", sa.String(length=30), nullable=False),
        sa.Column("person", sa.String(length=30), nullable=True),
        sa.Column("capacity", sa.String(length=64), nullable=True),
        sa.Column("case_id", sa.String(length=30), nullable=True),
        sa.Column("audience", sa.String(length=18), nullable=True),
        sa.Column("matter", sa.String(length=12), nullable=True),
        sa.Column("use", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("spent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code_mac", sa.LargeBinary(length=32), nullable=True),
        sa.Column("code_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_grants_case_id"),
        sa.ForeignKeyConstraint(["holder"], ["parties.party_id"], name="fk_grants_holder"),
        sa.ForeignKeyConstraint(["person"], ["parties.party_id"], name="fk_grants_person"),
        sa.PrimaryKeyConstraint("grant_id", name="pk_grants"),
        sa.UniqueConstraint("code_mac", name="uq_grants_code_mac"),
    )
    op.create_index("ix_grants_case_id", "grants", ["case_id"], unique=False)
    op.create_index("ix_grants_holder", "grants", ["holder"], unique=False)
    op.create_table(
        "materials",
        sa.Column("material_id", sa.String(length=30), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("provenance", sa.String(length=64), nullable=False),
        sa.Column("form", sa.String(length=64), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("supersedes", sa.String(length=30), nullable=True),
        sa.Column("retain_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_materials_case_id"),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["materials.material_id"], name="fk_materials_supersedes"
        ),
        sa.PrimaryKeyConstraint("material_id", name="pk_materials"),
    )
    op.create_index("ix_materials_case_id", "materials", ["case_id"], unique=False)
    op.create_index("ix_materials_type", "materials", ["type"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.String(length=30), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("item", sa.String(length=30), nullable=False),
        sa.Column("department", sa.String(length=18), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_tasks_case_id"),
        sa.PrimaryKeyConstraint("task_id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_department_state", "tasks", ["department", "state"], unique=False)
    op.create_table(
        "verifications",
        sa.Column("verification_id", sa.String(length=30), nullable=False),
        sa.Column("call_id", sa.String(length=30), nullable=False),
        sa.Column("case_id", sa.String(length=30), nullable=False),
        sa.Column("requirement", sa.String(length=64), nullable=True),
        sa.Column("item", sa.String(length=30), nullable=False),
        sa.Column("item_kind", sa.String(length=64), nullable=False),
        sa.Column("grant_id", sa.String(length=30), nullable=True),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("principal", sa.String(length=30), nullable=False),
        sa.Column("org", sa.String(length=18), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_id", sa.String(length=30), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name="fk_verifications_case_id"),
        sa.PrimaryKeyConstraint("verification_id", name="pk_verifications"),
    )
    op.create_index("ix_verifications_call_id", "verifications", ["call_id"], unique=False)
    op.create_index("ix_verifications_case_id", "verifications", ["case_id"], unique=False)
    op.create_index("ix_verifications_item", "verifications", ["item"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("material_id", sa.String(length=30), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["material_id"], ["materials.material_id"], name="fk_erasures_material_id"
        ),
        sa.PrimaryKeyConstraint("material_id", name="pk_erasures"),
    )
    op.create_table(
        "grant_items",
        sa.Column("grant_id", sa.String(length=30), nullable=False),
        sa.Column("item", sa.String(length=30), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.grant_id"], name="fk_grant_items_grant_id"),
        sa.PrimaryKeyConstraint("grant_id", "item", name="pk_grant_items"),
    )
    op.create_index("ix_grant_items_item", "grant_items", ["item"], unique=False)
    op.create_table(
        "imported_rows",
        sa.Column("row_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("material_id", sa.String(length=30), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["material_id"], ["materials.material_id"], name="fk_imported_rows_material_id"
        ),
        sa.PrimaryKeyConstraint("row_key", name="pk_imported_rows"),
    )
    op.create_table(
        "material_files",
        sa.Column("material_id", sa.String(length=30), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.String(length=127), nullable=False),
        sa.ForeignKeyConstraint(
            ["material_id"], ["materials.material_id"], name="fk_material_files_material_id"
        ),
        sa.ForeignKeyConstraint(
            ["object_key"], ["objects.object_key"], name="fk_material_files_object_key"
        ),
        sa.PrimaryKeyConstraint("material_id", "position", name="pk_material_files"),
    )
    op.create_table(
        "material_parties",
        sa.Column("material_id", sa.String(length=30), nullable=False),
        sa.Column("party_id", sa.String(length=30), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["material_id"], ["materials.material_id"], name="fk_material_parties_material_id"
        ),
        sa.ForeignKeyConstraint(
            ["party_id"], ["parties.party_id"], name="fk_material_parties_party_id"
        ),
        sa.PrimaryKeyConstraint("material_id", "party_id", "role", name="pk_material_parties"),
    )
    op.create_index("ix_material_parties_party_id", "material_parties", ["party_id"], unique=False)
