"""The register of holders and acting persons (主体登记).

Type, code and name of a party stand sealed in its first ledger record; later
records give it another name. Everything else in the store refers to it by a
random id. A party is found by a keyed digest of its type and code.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import bindparam, insert, select, update

from kernel.canonical import JsonValue
from kernel.clock import china_date
from kernel.identifiers import HolderId, HolderType, parse_holder
from kernel.ids import IdKind, new_id
from ledger.journal import Journal
from ledger.records import OpenedRecord, Records
from parties.capacity import PartyKind
from parties.errors import (
    HolderNameDiffers,
    NameMalformed,
    PartyErased,
    PartyRecordMismatch,
    PartyUnknown,
)
from parties.tables import parties
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared
from storage.keyvault import KeyVault

MAX_NAME = 200
_BY_ID = Prepared(
    select(parties.c.lookup, parties.c.entry_id, parties.c.erased_at).where(
        parties.c.party_id == bindparam("id")
    )
)
_BY_LOOKUP = Prepared(select(parties.c.party_id).where(parties.c.lookup == bindparam("digest")))
_LOOKUP = "party"  # the purpose of the keyed digest


@dataclass(frozen=True, slots=True)
class HolderRef:
    """How the outside names a holder: type word, code, and a name if it is known."""

    type: str
    code: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PartyFacts:
    """What the records say of a party. Personal data: never log or store it outside them."""

    party_id: str
    kind: PartyKind
    type: HolderType
    code: str
    name: str | None
    born: date | None  # only where the code contains it
    entry_id: str  # the record that gave the present name
    registered: str  # the record that holds type and code: equal, until a change of name


class Register:
    """Finds, registers and describes parties. Safe to share between threads."""

    def __init__(self, journal: Journal, records: Records, vault: KeyVault) -> None:
        self._journal = journal
        self._records = records
        self._vault = vault

    def ensure(self, tx: WriteTx, at: datetime, ref: HolderRef) -> str:
        """The id of this holder, registering it if it is new.

        A name on one side only is no contradiction: a name learnt later is
        recorded. Two different names raise `HolderNameDiffers`, whatever the
        difference. Raises the refusals of `parse_holder` and `NameMalformed`.
        """
        holder = parse_holder(ref.type, ref.code, china_date(at))
        name = None if ref.name is None else checked_name(ref.name)
        lookup = self._lookup(holder)
        party_id = self._by_lookup(tx, lookup)
        if party_id is None:
            return self._register(tx, at, holder, name, lookup)
        if name is not None:
            known = self.describe(tx, party_id)
            if known.name is None:
                self._name(tx, at, known, name, "first_name")
            elif known.name != name:
                raise HolderNameDiffers(party=party_id)
        return party_id

    def find(self, tx: ReadTx, type_: str, code: str, *, at: datetime | None = None) -> str | None:
        """The id of a holder that is registered, or None. Raises what `parse_holder` does.

        With a time, a birth date after it is refused as well.
        """
        today = date.max if at is None else china_date(at)
        return self._by_lookup(tx, self._lookup(parse_holder(type_, code, today)))

    def describe(self, tx: ReadTx, party_id: str) -> PartyFacts:
        """Type, code and present name, from records that were opened and checked.

        Raises `PartyUnknown`, `PartyErased`, `PartyRecordMismatch` and what
        `Records` raises for records that do not agree with the log.
        """
        row = _BY_ID.one(tx, {"id": party_id})
        if row is None:
            raise PartyUnknown()
        if row["erased_at"] is not None:
            raise PartyErased()
        newest = self._records.latest(tx, party_id)
        first = newest
        if newest.kind != "party.registered":
            first = self._records.open(tx, _text(newest, "registered"))
        if (
            first.kind != "party.registered"
            or party_id != first.entity
            or newest.entity != party_id
        ):
            raise PartyRecordMismatch(party=party_id)
        name = newest.body.get("name")
        holder = HolderId(
            HolderType(_text(first, "type")), _text(first, "code"), _born(first.body.get("born"))
        )
        if row["entry_id"] != newest.entry_id or row["lookup"] != self._lookup(holder):
            raise PartyRecordMismatch(party=party_id)
        return PartyFacts(
            party_id,
            _kind(holder),
            holder.type,
            holder.code,
            name if isinstance(name, str) else None,
            holder.born,
            newest.entry_id,
            first.entry_id,
        )

    def rename(self, tx: WriteTx, at: datetime, party_id: str, name: str, basis: str) -> str:
        """Record a change of name that a human has checked; returns the entry id.

        `basis` is a stable word for why, e.g. `registration`. Former names
        stay in their records. The same name again changes nothing.
        """
        known = self.describe(tx, party_id)
        if checked_name(name) == known.name:
            return known.entry_id
        return self._name(tx, at, known, name, basis)

    def erase(self, tx: WriteTx, at: datetime, party_id: str) -> None:
        """Forget type, code and names. The id stays, and can never be found again.

        Raises `ErasurePending` while a record of the party is not in the log.
        """
        if _BY_ID.one(tx, {"id": party_id}) is None:
            raise PartyUnknown()
        self._journal.erase(tx, at, party_id)
        tx.execute(
            update(parties).where(parties.c.party_id == party_id).values(lookup=None, erased_at=at)
        )

    def _register(
        self, tx: WriteTx, at: datetime, holder: HolderId, name: str | None, lookup: bytes
    ) -> str:
        party_id = new_id(IdKind.PARTY)
        body: dict[str, JsonValue] = {
            "type": holder.type.value,
            "code": holder.code,
            "name": name,
            "born": None if holder.born is None else holder.born.isoformat(),
            "status": "registered",
        }
        entry = self._journal.record(tx, at, "party.registered", party_id, body)
        tx.execute(
            insert(parties),
            {
                "party_id": party_id,
                "kind": _kind(holder).value,
                "lookup": lookup,
                "entry_id": entry.entry_id,
                "created_at": at,
            },
        )
        return party_id

    def _name(self, tx: WriteTx, at: datetime, known: PartyFacts, name: str, basis: str) -> str:
        entry = self._journal.record(
            tx,
            at,
            "party.renamed",
            known.party_id,
            {"name": name, "basis": basis, "registered": known.registered, "status": "registered"},
        )
        tx.execute(
            update(parties)
            .where(parties.c.party_id == known.party_id)
            .values(entry_id=entry.entry_id)
        )
        return entry.entry_id

    def _lookup(self, holder: HolderId) -> bytes:
        return lookup_of(self._vault, holder.type.value, holder.code)

    def _by_lookup(self, tx: ReadTx, lookup: bytes) -> str | None:
        found = _BY_LOOKUP.one(tx, {"digest": lookup})
        return None if found is None else str(found["party_id"])


def lookup_of(vault: KeyVault, type_: str, code: str) -> bytes:
    """The keyed digest by which a party is found: 32 bytes."""
    return vault.mac(_LOOKUP, f"{type_}:{code}".encode())


def checked_name(name: str) -> str:
    """The name as given, if it is 1 to 200 visible characters without space at the ends.

    Nothing is normalised: two spellings are two names, until a human decides.
    """
    invisible = any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in name)
    if not 1 <= len(name) <= MAX_NAME or name != name.strip() or invisible:
        raise NameMalformed(limit=MAX_NAME)
    return name


def _kind(holder: HolderId) -> PartyKind:
    return PartyKind.PERSON if holder.is_person else PartyKind.ORGANIZATION


def _born(value: JsonValue) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else None


def _text(record: OpenedRecord, key: str) -> str:
    value = record.body.get(key)
    if not isinstance(value, str):
        raise PartyRecordMismatch(party=record.entity)
    return value
