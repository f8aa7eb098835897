"""Tables of the parties room. Names and codes stand sealed in ledger records only.

A party is found by `lookup`, a keyed hash of `type:code` (`KeyVault.mac`), so a
copy of the database without its keys tells nobody whose rows these are.
"""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table

from storage.database.metadata import Code, Id, UtcDateTime, metadata

# A natural person or an organisation. `entry_id`: the record that holds type,
# code and name; the newest one counts, after a change of name.
parties = Table(
    "parties",
    metadata,
    Column("party_id", Id, primary_key=True),
    Column("kind", Code, nullable=False),  # person | organization
    Column("lookup", LargeBinary(32), nullable=True, unique=True),  # null once erased
    Column("entry_id", Id, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("erased_at", UtcDateTime, nullable=True),
)

# `person` may act for `holder` in `capacity` during [valid_from, valid_until).
# Ends with `ended_at`: death, dissolution, change of representative.
capacities = Table(
    "capacities",
    metadata,
    Column("capacity_id", Id, primary_key=True),
    Column("holder", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("person", Id, ForeignKey("parties.party_id"), nullable=False),
    Column("capacity", Code, nullable=False),
    Column("basis", Code, nullable=False),  # registration | power_of_attorney | kinship | operator
    Column("valid_from", UtcDateTime, nullable=False),
    Column("valid_until", UtcDateTime, nullable=True),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("ended_reason", Code, nullable=True),
    Column("entry_id", Id, nullable=False),
)
Index("ix_capacities_holder_person", capacities.c.holder, capacities.c.person)

# Bearer credentials: only the SHA-256 of the secret is kept. Checked live.
credentials = Table(
    "credentials",
    metadata,
    Column("credential_id", Id, primary_key=True),
    Column("secret_sha256", LargeBinary(32), nullable=False, unique=True),
    Column("role", Code, nullable=False),
    Column("org", String(18), nullable=True),
    Column("unit", String(64), nullable=True),
    Column("officer", String(64), nullable=True),
    Column("person", Id, ForeignKey("parties.party_id"), nullable=True),
    Column("holder", Id, ForeignKey("parties.party_id"), nullable=True),
    Column("capacity", Code, nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime, nullable=True),
    Column("version", Integer, nullable=False, default=1),
)
