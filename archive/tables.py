"""Tables of the archive room: which package of which case was made against which checkpoint."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table

from storage.database.metadata import Id, UtcDateTime, metadata

exports = Table(
    "exports",
    metadata,
    Column("export_id", Id, primary_key=True),
    Column("case_id", Id, ForeignKey("cases.case_id"), nullable=False),
    Column("shard", String(32), nullable=False),
    Column("tree_size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    # SHA-256 of the package's tagmanifest-sha256.txt: fixes every file of the bag.
    Column("tagmanifest_sha256", LargeBinary(32), nullable=False),
    Column("payload_files", BigInteger, nullable=False),
    Column("payload_bytes", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("entry_id", Id, nullable=False),
    # The packed package, sealed, while it waits to be fetched; null when it was
    # written to a folder, and when the time to fetch it is over.
    Column("object_key", String(128), ForeignKey("objects.object_key"), nullable=True),
)
Index("ix_exports_case_id", exports.c.case_id)
