"""Tables of the licence room.

Facts about a licence (name, holder, dates, authorities) stand in its issuing
record; the row repeats what queries need, and a decision compares the two.
"""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table

from storage.database.metadata import Code, CreditCode, Id, UtcDateTime, metadata

licenses = Table(
    "licenses",
    metadata,
    Column("license_id", Id, primary_key=True),
    # GB/T 36904 identifier, with its check character.
    Column("identifier", String(96), nullable=True, unique=True),
    Column("kind", Code, nullable=False),  # catalogue key of the licence type
    Column("holder", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("issuer", CreditCode, nullable=False),
    Column("status", Code, nullable=False),
    Column("version", Integer, nullable=False),  # row version, compared when spending
    Column("valid_from", UtcDateTime, nullable=True),
    Column("valid_until", UtcDateTime, nullable=True),  # exclusive; null: no end
    Column("supersedes", Id, ForeignKey("licenses.license_id"), nullable=True),
    Column("source_case", Id, nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("entry_id", Id, nullable=False),  # the issuing (or drafting) record
)
Index("ix_licenses_holder_kind", licenses.c.holder, licenses.c.kind)
Index(
    "ix_licenses_source_case",
    licenses.c.source_case,
    sqlite_where=licenses.c.source_case.is_not(None),
    postgresql_where=licenses.c.source_case.is_not(None),
)

# Every lifecycle event, in order; the answer to "which status on that day".
license_events = Table(
    "license_events",
    metadata,
    Column("license_id", Id, ForeignKey("licenses.license_id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("event", Code, nullable=False),
    Column("status", Code, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("entry_id", Id, nullable=False),
)

# Answers of a licence source, kept as they came: evidence of what was told when.
license_snapshots = Table(
    "license_snapshots",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("license_id", Id, nullable=True),
    Column("source", Code, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("answer_sha256", LargeBinary(32), nullable=False),
)
