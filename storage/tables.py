"""Tables of the storage room: stored objects, idempotency, audit."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    and_,
    or_,
)

from storage.database.metadata import Code, Id, UtcDateTime, metadata

# A row exists exactly for objects whose bytes are durable. `wrapped_key` null: erased.
objects = Table(
    "objects",
    metadata,
    Column("object_key", String(128), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("cipher_size", BigInteger, nullable=False),
    Column("cipher_sha256", LargeBinary(32), nullable=False),
    Column("wrapped_key", LargeBinary(128), nullable=True),
    Column("key_epoch", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Set when something durable refers to it; until then a sweep may remove it.
    Column("claimed_by", Id, nullable=True),
    # Until when it must be kept, once that is known; until when the object store has
    # said that it refuses to delete it. A folder refuses nothing: always null there.
    Column("retain_until", UtcDateTime, nullable=True),
    Column("locked_until", UtcDateTime, nullable=True),
    Column("erased_at", UtcDateTime, nullable=True),
    # Set when the destroyed key was gone from every file of ours; until then pending.
    Column("forgotten_at", UtcDateTime, nullable=True),
)
# What is to be locked (or can be no more): see `storage.objects.locking`.
LOCK_DUE = and_(
    objects.c.retain_until.is_not(None),
    objects.c.erased_at.is_(None),
    or_(objects.c.locked_until.is_(None), objects.c.locked_until < objects.c.retain_until),
)
Index(
    "ix_objects_lock_due",
    objects.c.object_key,
    sqlite_where=LOCK_DUE,
    postgresql_where=LOCK_DUE,
)
# For the sweep and for pending erasures: both are few among many.
Index(
    "ix_objects_unclaimed",
    objects.c.created_at,
    sqlite_where=objects.c.claimed_by.is_(None),
    postgresql_where=objects.c.claimed_by.is_(None),
)
Index(
    "ix_objects_erasure_pending",
    objects.c.erased_at,
    sqlite_where=and_(objects.c.erased_at.is_not(None), objects.c.forgotten_at.is_(None)),
    postgresql_where=and_(objects.c.erased_at.is_not(None), objects.c.forgotten_at.is_(None)),
)

# One row per remembered request. `body_mac` tells a retry from a reuse of the key, `mac`
# vouches for the row. Both are keyed digests.
idempotency = Table(
    "idempotency",
    metadata,
    Column("principal", Id, nullable=False),
    Column("route", String(128), nullable=False),
    Column("key", String(128), nullable=False),
    Column("body_mac", LargeBinary(32), nullable=False),
    Column("status", Integer, nullable=False),
    Column("reply", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("principal", "route", "key"),
)

# Who did what to which thing, without personal data: ids and codes only.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("principal", Id, nullable=False),
    Column("role", Code, nullable=False),
    Column("org", String(18), nullable=True),
    Column("person", Id, nullable=True),
    Column("capacity", Code, nullable=True),
    Column("action", Code, nullable=False),
    Column("entity", String(64), nullable=True),
    Column("case_id", Id, nullable=True),
    Column("outcome", Code, nullable=False),
    Column("detail", Text, nullable=True),
)
Index("ix_audit_entity", audit.c.entity)
Index("ix_audit_case_id", audit.c.case_id)
