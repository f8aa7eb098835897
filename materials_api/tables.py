"""Tables of the materials room: uploads, cases, materials, grants, verifications.

Titles, file names, digests and holder codes stand in ledger records only; rows
hold ids, codes, states and times. Every row that a decision locks has a
`version`, compared and raised in the spending transaction.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
)

from storage.database.metadata import Code, CreditCode, Id, UtcDateTime, metadata

catalogue_versions = Table(
    "catalogue_versions",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("version", String(32), nullable=False),
    Column("content", LargeBinary, nullable=False),  # canonical JSON of the whole catalogue
    Column("entry_id", Id, nullable=False),
    Column("adopted_at", UtcDateTime, nullable=False),
)

# Bytes that came in and are not yet part of a material. The digests, sealed under the key of
# their object, move to the material's record on registration and are then cleared here.
uploads = Table(
    "uploads",
    metadata,
    Column("upload_id", Id, primary_key=True),
    Column("principal", Id, nullable=False),
    Column("object_key", String(128), ForeignKey("objects.object_key"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("media_type", String(127), nullable=False),  # what the content is, not what was claimed
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=True),
    Column("digests", LargeBinary(92), nullable=True),
)
Index("ix_uploads_object_key", uploads.c.object_key)
Index("ix_uploads_created_at", uploads.c.created_at)
Index("ix_uploads_principal_used_at", uploads.c.principal, uploads.c.used_at)

cases = Table(
    "cases",
    metadata,
    Column("case_id", Id, primary_key=True),
    Column("number", String(64), nullable=False, unique=True),  # 办件编码, opaque
    Column("matter", String(12), nullable=False),  # basic catalogue code
    Column("variant", Code, nullable=False),  # 业务情形, e.g. new | moved
    Column("applicant", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("person", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("capacity", Code, nullable=False),
    Column("project", String(64), nullable=True),  # 同一项目
    Column("channel", Code, nullable=False),
    Column("window_org", CreditCode, nullable=True),
    Column("department", CreditCode, nullable=False),
    Column("state", Code, nullable=False),
    Column("version", Integer, nullable=False),
    Column("catalogue_sha256", LargeBinary(32), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("accepted_at", UtcDateTime, nullable=True),
    Column("closed_at", UtcDateTime, nullable=True),
    Column("origin", Code, nullable=False),  # live | imported
    Column("entry_id", Id, nullable=False),
)
Index("ix_cases_applicant", cases.c.applicant)
# A body lists its cases page by page, newest first, of one state or of each (`paging`).
for _body in ("department", "window_org"):
    Index(
        f"ix_cases_{_body}_state_opened_at",
        *(cases.c[name] for name in (_body, "state", "opened_at", "case_id")),
    )

# The process records (过程信息) of a case, in order.
case_events = Table(
    "case_events",
    metadata,
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("event", Code, nullable=False),
    Column("state", Code, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("role", Code, nullable=False),
    Column("entry_id", Id, nullable=False),
    PrimaryKeyConstraint("case_id", "sequence"),
)

# How each requirement of a case was met. `route`: upload, or an exemption route.
# `reason`: why paper was asked for although a route was open (应免未免).
case_requirements = Table(
    "case_requirements",
    metadata,
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column("requirement", Code, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("route", Code, nullable=False),
    Column("item", Id, nullable=True),  # material, licence or document that meets it
    Column("verification_id", Id, nullable=True),
    Column("exemptible", Boolean, nullable=False),
    Column("reason", Code, nullable=True),
    Column("at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("case_id", "requirement", "sequence"),
)
Index("ix_case_requirements_item", case_requirements.c.item)

materials = Table(
    "materials",
    metadata,
    Column("material_id", Id, primary_key=True),
    Column("type", Code, nullable=False),
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column("project", String(64), nullable=True),
    Column("status", Code, nullable=False),
    Column("version", Integer, nullable=False),
    Column("provenance", Code, nullable=False),
    Column(
        "form", Code, nullable=False
    ),  # original | form | commitment: the last two never reusable
    Column("issued_at", UtcDateTime, nullable=True),
    Column("valid_until", UtcDateTime, nullable=True),
    Column("supersedes", Id, ForeignKey("materials.material_id"), nullable=True),
    Column("retain_until", UtcDateTime, nullable=True),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("entry_id", Id, nullable=False),  # the registering record
)
Index("ix_materials_case_id", materials.c.case_id)
# None on the type: of few types there are many materials each, and SQLite would look through
# all leases of a city rather than through what one holder has. Most materials have neither
# of the other two.
Index(
    "ix_materials_project",
    materials.c.project,
    sqlite_where=materials.c.project.is_not(None),
    postgresql_where=materials.c.project.is_not(None),
)
Index(
    "ix_materials_supersedes",
    materials.c.supersedes,
    sqlite_where=materials.c.supersedes.is_not(None),
    postgresql_where=materials.c.supersedes.is_not(None),
)

material_parties = Table(
    "material_parties",
    metadata,
    Column("material_id", Id, ForeignKey("materials.material_id"), nullable=False),
    Column("party_id", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("role", Code, nullable=False),  # owner co_owner tenant spouse child guardian
    PrimaryKeyConstraint("material_id", "party_id", "role"),
)
Index("ix_material_parties_party_id", material_parties.c.party_id)

material_files = Table(
    "material_files",
    metadata,
    Column("material_id", Id, ForeignKey("materials.material_id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("object_key", String(128), ForeignKey("objects.object_key"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("media_type", String(127), nullable=False),
    PrimaryKeyConstraint("material_id", "position"),
)
Index("ix_material_files_object_key", material_files.c.object_key)

# Facts that end the freshness of materials by event: a move, a new representative.
party_events = Table(
    "party_events",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("party_id", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("event", Code, nullable=False),  # address_changed name_changed ...
    Column("at", UtcDateTime, nullable=False),
)
Index("ix_party_events_party_id", party_events.c.party_id)

# What other bodies' registers say, loaded by the operator: the local source of data
# checks (数据核验). The facts themselves stand in the record.
register_facts = Table(
    "register_facts",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("register", Code, nullable=False),  # catalogue key of the register asked
    Column("holder", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
)
Index("ix_register_facts_holder_register", register_facts.c.holder, register_facts.c.register)

grants = Table(
    "grants",
    metadata,
    Column("grant_id", Id, primary_key=True),
    Column("holder", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("person", Id, ForeignKey("parties.party_id"), nullable=True),  # who decided
    Column("capacity", Code, nullable=True),
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=True),  # null: binds at first use
    Column("audience", CreditCode, nullable=True),  # the window body that asked
    # The bodies of its case, once it has one, by which they find it.
    Column("window_org", CreditCode, nullable=True),
    Column("department", CreditCode, nullable=True),
    Column("matter", String(12), nullable=True),
    Column("use", Code, nullable=False),  # once | until
    Column("status", Code, nullable=False),
    Column("version", Integer, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime, nullable=True),
    Column("expires_at", UtcDateTime, nullable=True),  # exclusive
    Column("spent_at", UtcDateTime, nullable=True),
    # 亮证码, as `KeyVault.mac`: a plain digest of so short a code could be guessed.
    Column("code_mac", LargeBinary(32), nullable=True, unique=True),
    Column("code_expires_at", UtcDateTime, nullable=True),
    Column("entry_id", Id, nullable=False),
)
Index("ix_grants_holder", grants.c.holder)
Index("ix_grants_case_id", grants.c.case_id)
Index("ix_grants_status_expires_at", grants.c.status, grants.c.expires_at)
for _body in ("audience", "window_org", "department"):
    Index(
        f"ix_grants_{_body}_status_requested_at",
        *(grants.c[name] for name in (_body, "status", "requested_at", "grant_id")),
        sqlite_where=grants.c[_body].is_not(None),
        postgresql_where=grants.c[_body].is_not(None),
    )

grant_items = Table(
    "grant_items",
    metadata,
    Column("grant_id", Id, ForeignKey("grants.grant_id"), nullable=False),
    Column("item", Id, nullable=False),  # material or licence id
    Column("approved", Boolean, nullable=False),
    PrimaryKeyConstraint("grant_id", "item"),
)
Index("ix_grant_items_item", grant_items.c.item)

# Wrong show codes that a principal tried since `since`: guessing is bounded.
code_tries = Table(
    "code_tries",
    metadata,
    Column("principal", Id, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)

# One row per item of a verification call; the call is `verification_id`'s prefix row.
verifications = Table(
    "verifications",
    metadata,
    Column("verification_id", Id, primary_key=True),
    Column("call_id", Id, nullable=False),
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column("requirement", Code, nullable=True),
    Column("item", Id, nullable=False),
    Column("item_kind", Code, nullable=False),  # material | license | register
    Column("grant_id", Id, nullable=True),
    Column("basis", Code, nullable=False),  # consent | statutory_duty
    Column("outcome", Code, nullable=False),
    Column("reason", Code, nullable=True),  # the first failure
    Column("principal", Id, nullable=False),
    Column("org", CreditCode, nullable=True),
    Column("at", UtcDateTime, nullable=False),
    Column("entry_id", Id, nullable=False),
)
Index("ix_verifications_case_id", verifications.c.case_id)
Index("ix_verifications_item", verifications.c.item)
Index("ix_verifications_call_id", verifications.c.call_id)

# Who saw what of whom (使用记录): one row per holder of a verified or released item.
uses = Table(
    "uses",
    metadata,
    Column("entry_id", Id, nullable=False),
    Column("holder", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("item", Id, nullable=False),
    Column("case_id", Id, nullable=False),
    Column("verification_id", Id, nullable=True),
    Column("org", CreditCode, nullable=True),
    Column("action", Code, nullable=False),  # verified | denied | downloaded | exported
    Column("basis", Code, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("entry_id", "holder", "item"),
)
Index("ix_uses_holder_at", uses.c.holder, uses.c.at)

tickets = Table(
    "tickets",
    metadata,
    Column("ticket_id", Id, primary_key=True),
    Column("secret_sha256", LargeBinary(32), nullable=False, unique=True),
    Column("verification_id", Id, nullable=True),  # null: the holder's own download
    Column("material_id", Id, nullable=False),
    Column("position", Integer, nullable=False),
    Column("principal", Id, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=True),
)

# Slips, commitments, notices of a case. The document is a pure function of its
# ledger record, rendered when asked for (ADR 0005).
case_documents = Table(
    "case_documents",
    metadata,
    Column("document_id", Id, primary_key=True),
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column(
        "kind", Code, nullable=False
    ),  # verification_slip commitment assistance_letter correction_notice
    Column("requirement", Code, nullable=True),
    Column("verification_id", Id, nullable=True),
    Column("entry_id", Id, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("ix_case_documents_case_id", case_documents.c.case_id)

# Work that an invalidation leaves behind: one per case that used the item.
tasks = Table(
    "tasks",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("kind", Code, nullable=False),  # review_use
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column("item", Id, nullable=False),
    Column("department", CreditCode, nullable=False),
    Column("state", Code, nullable=False),  # open | done
    Column("created_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime, nullable=True),
    Column("entry_id", Id, nullable=False),
)
Index(
    "ix_tasks_department_state_created_at",
    *(tasks.c[name] for name in ("department", "state", "created_at", "task_id")),
)

# The last serial number handed out per scope of the case-number pattern.
case_numbers = Table(
    "case_numbers",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("last", Integer, nullable=False),
)

# Erasures that were asked for. Done once sealed and all objects of it are forgotten.
erasures = Table(
    "erasures",
    metadata,
    Column("material_id", Id, ForeignKey("materials.material_id"), primary_key=True),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("sealed_at", UtcDateTime, nullable=True),  # keys destroyed, `ended` leaf written
)

# Rows of imported manifests by a keyed hash, so that a resumed import makes no
# duplicates. `bytes`: total size of the row's files, to notice that they changed.
imported_rows = Table(
    "imported_rows",
    metadata,
    Column("row_key", LargeBinary(32), primary_key=True),
    Column("material_id", Id, ForeignKey("materials.material_id"), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
