"""Opens sealed records and checks them: against their leaf, and their leaf against the log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import NoneType
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import RowMapping, bindparam, literal_column, select

from kernel.canonical import JsonValue, NotCanonical, parse_record
from kernel.clock import time_text
from ledger.errors import (
    EntryUnknown,
    LeafMalformed,
    NotInLog,
    NotYetLogged,
    RecordCorrupt,
    RecordErased,
)
from ledger.leaves import SALT_SIZE, PublicLeaf, blinded_leaf, parse_leaf
from ledger.merkle import leaf_hash
from ledger.reader import Inclusion, LogReader
from ledger.stops import Stops
from ledger.tables import ledger_entries
from storage.database import ReadTx
from storage.database.prepared import Prepared, Wanted
from storage.errors import KeyMissing, ObjectCorrupt, RowUnreadable
from storage.keyvault import KeyVault, WrappedKey

Row: TypeAlias = RowMapping | Mapping[str, Any]

_NONCE = 12
# A damaged SQLite row may hold any type in any column.
_TYPES: dict[str, tuple[type, ...]] = {
    "entry_id": (str,),
    "entity": (str,),
    "kind": (str,),
    "public": (bool,),
    "leaf": (bytes,),
    "sealed": (bytes, NoneType),
    "wrapped_key": (bytes, NoneType),
    "key_epoch": (int, NoneType),
    "at": (datetime,),
    "shard": (str, NoneType),
    "leaf_index": (int, NoneType),
}

_COLUMNS = ledger_entries.c
_OF_ENTITY = select(ledger_entries).where(
    _COLUMNS.entity == bindparam("entity"), _COLUMNS.public.is_(False)
)
# On every verification's path: compiled once.
_BY_ENTRY = Prepared(select(ledger_entries).where(_COLUMNS.entry_id == bindparam("entry_id")))
_LATEST = Prepared(
    _OF_ENTITY.order_by(_COLUMNS.position.desc())
    .limit(literal_column("1"))
    .offset(literal_column("0"))  # SQLite's dialect would make a parameter of it
)
_HISTORY = Prepared(_OF_ENTITY.order_by(_COLUMNS.position))


def asked_entry(entry_id: str) -> Wanted:
    """What `Records.open` asks; these three for `read_ahead`."""
    return _BY_ENTRY, {"entry_id": entry_id}


def asked_latest(entity: str) -> Wanted:
    """What `Records.latest` asks."""
    return _LATEST, {"entity": entity}


def asked_history(entity: str) -> Wanted:
    """What `Records.history` asks."""
    return _HISTORY, {"entity": entity}


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record whose bytes match its leaf. `body` is the whole flat record.

    Of a public entry, `body` is the leaf's body, `canonical` the leaf and
    `salt` empty. `leaf_index` is None until the sequencer gave it a place.
    """

    entry_id: str
    entity: str
    kind: str
    at: datetime
    body: dict[str, JsonValue]
    salt: bytes
    canonical: bytes
    leaf: bytes
    shard: str | None
    leaf_index: int | None


class Records:
    """Reads records back and never believes a row: see `open_row` and `prove`."""

    def __init__(self, vault: KeyVault, reader: Callable[[str], LogReader], stops: Stops) -> None:
        """`reader` of a shard: `NotInLog` for one that this log never had."""
        self._vault = vault
        self._reader = reader
        self._stops = stops

    def open(self, tx: ReadTx, entry_id: str) -> OpenedRecord:
        """The record of this entry. `EntryUnknown`, `RecordErased` or `RecordCorrupt`."""
        return self._opened(tx, asked_entry(entry_id))[0]

    def latest(self, tx: ReadTx, entity: str) -> OpenedRecord:
        """The newest record of an entity: the one whose status counts."""
        return self._opened(tx, asked_latest(entity))[0]

    def history(self, tx: ReadTx, entity: str) -> list[OpenedRecord]:
        """All records of an entity, oldest first. `EntryUnknown` if there is none,
        `HistoryCut` if the log has a stop that they do not tell of."""
        records = self.remaining(tx, entity)
        self._stops.require_whole(entity, (record.kind for record in records))
        return records

    def remaining(self, tx: ReadTx, entity: str) -> list[OpenedRecord]:
        """`history`, or what is left of it. Only for ending the entity for good: whatever the
        lost stop said, that takes nothing back."""
        return self._opened(tx, asked_history(entity))

    def only_stop(self, tx: ReadTx, entity: str) -> OpenedRecord:
        """`latest` of an entity that can be stopped once, and then stays so; `HistoryCut`."""
        newest = self.latest(tx, entity)
        self._stops.require_whole(entity, [newest.kind])
        return newest

    def require_unknown(self, entity: str) -> None:
        """`HistoryCut` if the log has a stop of this entity, of which no record is left."""
        self._stops.require_whole(entity, ())

    def _opened(self, tx: ReadTx, asked: Wanted) -> list[OpenedRecord]:
        statement, parameters = asked
        try:
            rows: Sequence[Row] = statement.all(tx, parameters)
        except (ValueError, TypeError, RowUnreadable) as error:
            # A damaged row holds what no column type can read.
            raise RecordCorrupt(
                entry=parameters.get("entry_id"), reason="the row cannot be read"
            ) from error
        if not rows:
            raise EntryUnknown()
        return [open_row(self._vault, row) for row in rows]

    def prove(self, record: OpenedRecord) -> Inclusion:
        """Prove that the record's leaf is in the published log, by its tiles.

        `NotYetLogged` until it is published; `NotInLog` when another leaf
        stands where the row says.
        """
        if record.leaf_index is None or record.shard is None:
            raise NotYetLogged()
        inclusion = self._reader(record.shard).inclusion(record.leaf_index)
        if not inclusion.proves(leaf_hash(record.leaf)):
            raise NotInLog(entry=record.entry_id)
        return inclusion


def open_row(vault: KeyVault, row: Row) -> OpenedRecord:
    """Open one row of `ledger_entries` and compare every column with the record.

    `RecordErased`: its key was destroyed. `RecordCorrupt`: key, seal, canonical
    form, commitment or a column disagrees.
    """
    entry_id = row["entry_id"]
    if not all(isinstance(row[name], kinds) for name, kinds in _TYPES.items()):
        raise RecordCorrupt(entry=str(entry_id), reason="a column of another type")
    if row["public"]:
        return _open_public(row)
    if row["sealed"] is None or row["wrapped_key"] is None:
        raise RecordErased()
    context = entry_id.encode()
    try:
        wrapped = WrappedKey(row["key_epoch"], row["wrapped_key"])
        key = vault.unwrap(wrapped, context)
        sealed: bytes = row["sealed"]
        opened = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context)
        canonical = opened[SALT_SIZE:]
        body = parse_record(canonical)
    except (InvalidTag, ValueError, KeyMissing, ObjectCorrupt) as error:
        raise RecordCorrupt(entry=entry_id, reason="does not open") from error
    salt = opened[:SALT_SIZE]
    if blinded_leaf(salt, canonical) != row["leaf"]:
        raise RecordCorrupt(entry=entry_id, reason="not the record committed to")
    expected = {"kind": row["kind"], "entity": row["entity"], "at": time_text(row["at"])}
    if any(body.get(name) != value for name, value in expected.items()):
        raise RecordCorrupt(entry=entry_id, reason="the row disagrees with the record")
    return _opened(row, body, salt, canonical)


def _open_public(row: Row) -> OpenedRecord:
    try:
        leaf = parse_leaf(row["leaf"])
    except (LeafMalformed, NotCanonical) as error:
        raise RecordCorrupt(entry=row["entry_id"], reason="malformed leaf") from error
    if not isinstance(leaf, PublicLeaf) or leaf.kind != row["kind"]:
        raise RecordCorrupt(entry=row["entry_id"], reason="the row disagrees with the leaf")
    private = (row["sealed"], row["wrapped_key"], row["key_epoch"])
    if leaf.body.get("at") != time_text(row["at"]) or private != (None, None, None):
        raise RecordCorrupt(entry=row["entry_id"], reason="the row disagrees with the leaf")
    return _opened(row, leaf.body, b"", row["leaf"])


def _opened(row: Row, body: dict[str, JsonValue], salt: bytes, canonical: bytes) -> OpenedRecord:
    return OpenedRecord(
        entry_id=row["entry_id"],
        entity=row["entity"],
        kind=row["kind"],
        at=row["at"],
        body=body,
        salt=salt,
        canonical=canonical,
        leaf=row["leaf"],
        shard=row["shard"],
        leaf_index=row["leaf_index"],
    )
