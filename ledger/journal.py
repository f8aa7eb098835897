"""The journal: ledger records written inside the business transaction.

What a use case records commits with it or not at all. A record is sealed under
a key of its own; its row holds the blinded leaf that the sequencer will give a
place in the log. Erasing an entity destroys the keys of all its records.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import insert, select, update

from kernel.canonical import MAX_DEPTH, JsonValue, NotCanonical, Record, canonical_bytes
from kernel.clock import time_text
from kernel.ids import IdKind, new_id, new_ids
from ledger.bulk import BulkInsert
from ledger.errors import EntryUnknown, ErasurePending, RecordInvalid, RecordTooLarge
from ledger.leaves import (
    ENDED,
    PUBLIC_ENTITY,
    SALT_SIZE,
    blinded_leaf,
    is_kind,
    public_leaf,
)
from ledger.tables import ledger_entries
from storage.database import WriteTx
from storage.database.prepared import Prepared
from storage.keyvault import KeyVault

RESERVED = frozenset({"v", "kind", "entity", "at"})
MAX_RECORD = 512 * 1024  # so that its receipt stays a canonical record itself
_NONCE = 12
_KEY = 32
_SALT_AT = _KEY + _NONCE
_RANDOM = _SALT_AT + SALT_SIZE
_EPOCH = 7  # place of `key_epoch` in a row of values
_COLUMNS = ["entry_id", "entity", "kind", "public", "leaf", "sealed", "wrapped_key", "key_epoch"]
_INSERT = BulkInsert(ledger_entries, _COLUMNS, ["at"])
_INSERT_ONE = Prepared(insert(ledger_entries), [*_COLUMNS, "at"])
# A receipt nests the record one deeper.
_DEPTH = MAX_DEPTH - 1
_ENDED_CHUNK = 2_000  # indexes in one `ended` leaf: 40 kB at most


class JournalEntry(NamedTuple):
    """One entry of the ledger, known by `entry_id` before it has a place in the log."""

    entry_id: str
    entity: str
    kind: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SealedRecords:
    """Encrypted records on their way into the journal; `values` are rows for it alone."""

    at: datetime
    entries: list[JournalEntry]
    values: list[tuple[Any, ...]]


class Journal:
    """Writes entries. `wake` is called after each commit that wrote one."""

    def __init__(self, vault: KeyVault, wake: Callable[[], None] = lambda: None) -> None:
        self._vault = vault
        self._wake = wake

    def record(
        self, tx: WriteTx, at: datetime, kind: str, entity: str, body: Record
    ) -> JournalEntry:
        """Record `body` about `entity` (a random id) under a dotted `kind`.

        The record is `{"v":1,"kind":…,"entity":…,"at":…, **body}`; body must not
        name those four. Raises `RecordInvalid` or `RecordTooLarge`.
        """
        return self.record_many(tx, at, [(kind, entity, body)])[0]

    def record_many(
        self, tx: WriteTx, at: datetime, rows: Sequence[tuple[str, str, Record]]
    ) -> list[JournalEntry]:
        """`record` for many `(kind, entity, body)` at once, in their order."""
        return self.write(tx, self.seal(at, rows))

    def seal(self, at: datetime, rows: Sequence[tuple[str, str, Record]]) -> "SealedRecords":
        """Check and encrypt records, for one `write`. Needs no transaction: bulk work
        seals its next batch while the writer commits the last one."""
        moment = time_text(at)
        canonicals = [_canonical(kind, entity, moment, body) for kind, entity, body in rows]
        # In order, so that neighbours in a batch are neighbours in the index of ids.
        ids = sorted(new_ids(IdKind.ENTRY, len(rows)))
        contexts = [entry_id.encode() for entry_id in ids]
        random = os.urandom(_RANDOM * len(rows))
        starts = range(0, len(random), _RANDOM)
        keys = [random[start : start + _KEY] for start in starts]
        entries: list[JournalEntry] = []
        values: list[tuple[Any, ...]] = []
        for entry_id, (kind, entity, _), canonical, context, start, key, wrapped in zip(
            ids,
            rows,
            canonicals,
            contexts,
            starts,
            keys,
            self._vault.wrap_many(keys, contexts),
            strict=True,
        ):
            nonce = random[start + _KEY : start + _SALT_AT]
            salt = random[start + _SALT_AT : start + _RANDOM]
            sealed = nonce + AESGCM(key).encrypt(nonce, salt + canonical, context)
            leaf = blinded_leaf(salt, canonical)
            values.append(
                (entry_id, entity, kind, False, leaf, sealed, wrapped.blob, wrapped.epoch)
            )
            entries.append(JournalEntry(entry_id, entity, kind, at))
        return SealedRecords(at, entries, values)

    def write(self, tx: WriteTx, sealed: "SealedRecords") -> list[JournalEntry]:
        """Write what `seal` made, once. `KeyRotated`: sealed too long ago."""
        self._vault.require({row[_EPOCH] for row in sealed.values})
        self._insert(tx, sealed.at, sealed.values)
        return sealed.entries

    def publish(
        self,
        tx: WriteTx,
        at: datetime,
        kind: str,
        body: Record,
        *,
        entity: str = PUBLIC_ENTITY,
    ) -> JournalEntry:
        """Write a public leaf, readable by everyone for ever: no personal data.

        The leaf's body is `{"at":…, **body}`. `entity` stands in the row only.
        """
        if "at" in body:
            raise RecordInvalid(reason="the key at is reserved")
        leaf = public_leaf(kind, {"at": time_text(at), **body})
        entry = JournalEntry(new_id(IdKind.ENTRY), entity, kind, at)
        self._insert(tx, at, [(entry.entry_id, entity, kind, True, leaf, None, None, None)])
        return entry

    def erase(self, tx: WriteTx, at: datetime, entity: str) -> JournalEntry:
        """Destroy the sealed records of `entity` and their keys; publish `ended` leaves.

        Each leaf's body names the shard and the indexes that can no longer be
        opened. `ErasurePending` while one of them has no index yet; nothing is
        changed then. Erasing again returns the last `ended` entry.
        Afterwards the caller empties the write-ahead log (`forget_deleted`).
        """
        columns = ledger_entries.c
        rows = tx.all(
            select(columns.shard, columns.leaf_index, columns.erased_at)
            .where(columns.entity == entity, columns.public.is_(False))
            .order_by(columns.shard, columns.leaf_index)
        )
        if not rows:
            raise EntryUnknown()
        live = [row for row in rows if row["erased_at"] is None]
        if any(row["leaf_index"] is None for row in live):
            raise ErasurePending()
        if not live:
            return self._last_ended(tx, entity)
        tx.execute(
            update(ledger_entries)
            .where(columns.entity == entity, columns.public.is_(False))
            .where(columns.erased_at.is_(None))
            .values(sealed=None, wrapped_key=None, key_epoch=None, erased_at=at)
        )
        by_shard: dict[str, list[int]] = {}
        for row in live:
            by_shard.setdefault(row["shard"], []).append(row["leaf_index"])
        for shard, indexes in by_shard.items():
            for first in range(0, len(indexes), _ENDED_CHUNK):
                chunk = indexes[first : first + _ENDED_CHUNK]
                body: Record = {"reason": "erased", "shard": shard, "indexes": chunk}
                entry = self.publish(tx, at, ENDED, body, entity=entity)
        return entry

    def _last_ended(self, tx: WriteTx, entity: str) -> JournalEntry:
        row = tx.one(
            select(ledger_entries)
            .where(ledger_entries.c.entity == entity, ledger_entries.c.kind == ENDED)
            .order_by(ledger_entries.c.position.desc())
            .limit(1)
        )
        if row is None:
            raise EntryUnknown()
        return JournalEntry(row["entry_id"], entity, ENDED, row["at"])

    def _insert(self, tx: WriteTx, at: datetime, values: list[tuple[Any, ...]]) -> None:
        if len(values) == 1:
            _INSERT_ONE.add(tx, {**dict(zip(_COLUMNS, values[0], strict=True)), "at": at})
        elif values:
            _INSERT.run(tx, values, {"at": at})
        if values:
            tx.after_commit(self._wake)


def _canonical(kind: str, entity: str, moment: str, body: Record) -> bytes:
    if not is_kind(kind) or not 0 < len(entity) <= 64:
        raise RecordInvalid(reason="kind or entity")
    if not RESERVED.isdisjoint(body):
        raise RecordInvalid(reason="v, kind, entity and at are reserved")
    record: dict[str, JsonValue] = {"v": 1, "kind": kind, "entity": entity, "at": moment, **body}
    try:
        canonical = canonical_bytes(record, _DEPTH)
    except NotCanonical as error:
        raise RecordInvalid(reason=str(error)) from error
    if len(canonical) > MAX_RECORD:
        raise RecordTooLarge(limit=MAX_RECORD)
    return canonical
