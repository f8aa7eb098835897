"""Tables of the ledger: entries waiting for or holding a place in the log, and the head."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from storage.database.metadata import Code, Id, UtcDateTime, metadata

# Written by the journal in the business transaction. `leaf` is the entry as it
# stands in the log. `sealed` is nonce ‖ AES-256-GCM(salt ‖ canonical record)
# under a key of its own, `wrapped_key`; both are null once erased, and always
# for public leaves, whose content is the leaf itself.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("entry_id", Id, nullable=False, unique=True),
    Column("entity", String(64), nullable=False),
    Column("kind", Code, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    Column("wrapped_key", LargeBinary(128), nullable=True),
    Column("key_epoch", Integer, nullable=True),
    Column("at", UtcDateTime, nullable=False),
    Column("erased_at", UtcDateTime, nullable=True),
    Column("shard", String(32), nullable=True),
    Column("leaf_index", BigInteger, nullable=True),
    UniqueConstraint("shard", "leaf_index"),
)
Index("ix_ledger_entries_entity_position", ledger_entries.c.entity, ledger_entries.c.position)
Index(
    "ix_ledger_entries_unsequenced",
    ledger_entries.c.position,
    sqlite_where=ledger_entries.c.leaf_index.is_(None),
    postgresql_where=ledger_entries.c.leaf_index.is_(None),
)

# One row per shard. `staged_size` counts the indexes handed out; `size`, `root`
# and `checkpoint` are the signed head. Every change names the epoch and the old
# values it expects (compare-and-swap). `successor`: the shard that follows; from then on
# no index is handed out here.
ledger_heads = Table(
    "ledger_heads",
    metadata,
    Column("shard", String(32), primary_key=True),
    Column("origin", String(255), nullable=False, unique=True),
    Column("epoch", BigInteger, nullable=False),
    Column("staged_size", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("successor", String(32), nullable=True),
)
Index("ix_ledger_heads_successor", ledger_heads.c.successor, unique=True)

# Every transaction that was signed to anchor a checkpoint, saved before it is sent.
# `state`: pending, mined, final, lost; `reason` says why it waits or was lost. Several
# may share a nonce: each dearer than the one before, and one of them is mined.
chain_transactions = Table(
    "chain_transactions",
    metadata,
    Column("transaction_hash", LargeBinary(32), primary_key=True),
    Column("source", String(128), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("shard", String(32), nullable=False),
    Column("previous_size", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    Column("state", Code, nullable=False),
    Column("reason", Code, nullable=True),
    Column("block", BigInteger, nullable=True),
    Column("block_hash", LargeBinary(32), nullable=True),
    Column("signed_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index(
    "ix_chain_transactions_source_size",
    *(chain_transactions.c[n] for n in ("source", "state", "shard", "size")),
)
Index(
    "ix_chain_transactions_source_signed_at",
    chain_transactions.c.source,
    chain_transactions.c.signed_at,
)

# Evidence about a published checkpoint from outside: `kind` chain or stamp, `source` the
# chain and contract or the authority's name. `checkpoint` is the signed note it is about,
# `evidence` canonical JSON as it stands in receipts, without the proof. `state` mined or
# final; a stamp is final at once. `expires_at`: when its certificates end.
anchors = Table(
    "anchors",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", Code, nullable=False),
    Column("source", String(128), nullable=False),
    Column("shard", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("state", Code, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=True),
)
# Evidence whose digest stands in a public leaf, `evidence.kept`, the entry `entry_id`. The
# document is canonical JSON, served by its digest and never changed; one that is renewed
# gets a row and a leaf of its own. `anchor` and `expires_at` say which row it was made from;
# cosigned checkpoints (`kind` quorum) have none.
evidence_in_log = Table(
    "evidence_in_log",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("kind", Code, nullable=False),
    Column("source", String(128), nullable=False),
    Column("shard", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("entry_id", Id, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("anchor", BigInteger, nullable=True),
    Column("expires_at", UtcDateTime, nullable=True),
)
Index("ix_evidence_in_log_anchor", evidence_in_log.c.anchor)
Index(
    "ix_evidence_in_log_shard_kind_size", *(evidence_in_log.c[n] for n in ("shard", "kind", "size"))
)
Index("ix_evidence_in_log_at", evidence_in_log.c.at)
Index(
    "ix_anchors_source_size",
    *(anchors.c[n] for n in ("shard", "kind", "source", "state", "size")),
)
Index("ix_anchors_kind_source_state", *(anchors.c[n] for n in ("kind", "source", "state")))
Index(
    "ix_anchors_kind_source_expires_at", *(anchors.c[n] for n in ("kind", "source", "expires_at"))
)
