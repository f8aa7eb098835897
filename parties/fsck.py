"""`fsck` of the parties room: parties and capacities against their records.

Credentials have no records: who may log in is the operator's word, and each
record names who acted. Here their rows must at least not contradict themselves.
Changes nothing and may run beside a server.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from sqlalchemy import exists, select

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from kernel.errors import CodedError
from kernel.identifiers import HolderId, HolderType, parse_credit_code
from kernel.ids import IdKind, is_id
from kernel.principals import Capacity, Role
from ledger.errors import EntryUnknown, RecordErased
from ledger.fsck_reading import WHOLE, Findings, Share
from ledger.problems import Problem, Progress, quiet
from ledger.records import OpenedRecord, Records, Row
from ledger.tables import ledger_entries
from parties.capacity import PartyKind
from parties.credentials import OFFICES
from parties.registry import lookup_of
from parties.tables import capacities, credentials, parties
from storage.database import Database, ReadTx
from storage.keyvault import KeyVault

_SENTENCES = {
    "party_row": (
        "主体的数据行与存证记录不一致：{detail}",
        "the row of a party does not agree with its records: {detail}",
    ),
    "party_record": (
        "主体的存证记录无法打开：{detail}",
        "a record of a party cannot be opened: {detail}",
    ),
    "capacity_row": (
        "代办关系的数据行与存证记录不一致：{detail}",
        "the row of a capacity does not agree with its records: {detail}",
    ),
    "capacity_record": (
        "代办关系的存证记录无法打开：{detail}",
        "a record of a capacity cannot be opened: {detail}",
    ),
    "credential_row": (
        "访问凭证的数据行自相矛盾：{detail}",
        "the row of a credential contradicts itself: {detail}",
    ),
}


def fsck(
    database: Database,
    vault: KeyVault,
    records: Records,
    progress: Progress = quiet,
    share: Share = WHOLE,
) -> list[Problem]:
    """Every problem of this room; an empty list means clean.

    `progress("parties", done, total)` is called as it goes.
    """
    check = _Check(vault, records, share)
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress("parties", done, done)

    check.found.strays(database, IdKind.PARTY, parties.c.party_id)
    check.found.each(database, parties.c.party_id, check.party, tell)
    check.found.strays(database, IdKind.CAPACITY, capacities.c.capacity_id)
    check.found.each(database, capacities.c.capacity_id, check.capacity, tell)
    check.found.each(database, credentials.c.credential_id, check.credential, tell)
    return check.found.problems


class _Check:
    """Compares one row with what its records say, or with itself."""

    def __init__(self, vault: KeyVault, records: Records, share: Share) -> None:
        self.found = Findings(_SENTENCES, share)
        self._vault = vault
        self._records = records

    def party(self, tx: ReadTx, row: Row) -> None:
        party_id = row["party_id"]
        try:
            history = self._records.history(tx, party_id)
        except RecordErased:
            self.found.compare("party_row", party_id, row, _erased(tx, party_id))
            return
        except EntryUnknown:
            return  # named already, as a row without a record
        except CodedError as error:
            self.found.add("party_record", party_id, error.code)
            return
        first, newest = history[0], history[-1]
        later = {record.kind for record in history[1:]}
        if first.kind != "party.registered" or not later <= {"party.renamed"}:
            self.found.add("party_record", party_id, "kind")
            return
        holder = HolderId(HolderType(str(first.body["type"])), str(first.body["code"]))
        kind = PartyKind.PERSON if holder.is_person else PartyKind.ORGANIZATION
        expected = {
            "kind": kind.value,
            "lookup": lookup_of(self._vault, holder.type.value, holder.code),
            "entry_id": newest.entry_id,
            "created_at": first.at,
            "erased_at": None,
        }
        self.found.compare("party_row", party_id, row, expected)

    def capacity(self, tx: ReadTx, row: Row) -> None:
        capacity_id = row["capacity_id"]
        try:
            history = self._records.history(tx, capacity_id)
        except EntryUnknown:
            return
        except CodedError as error:
            self.found.add("capacity_record", capacity_id, error.code)
            return
        kinds = [record.kind for record in history]
        if kinds not in (["capacity.registered"], ["capacity.registered", "capacity.ended"]):
            self.found.add("capacity_record", capacity_id, "kind")
            return
        self.found.compare("capacity_row", capacity_id, row, _capacity(history))

    def credential(self, tx: ReadTx, row: Row) -> None:
        wrong = (name for name, good in _contradictions(tx, row).items() if not good)
        self.found.columns("credential_row", row["credential_id"], wrong)


def _erased(tx: ReadTx, party_id: str) -> dict[str, object]:
    """What is left to compare: the ledger's own check proves that it was erased, and when."""
    columns = ledger_entries.c
    entries = tx.all(
        select(columns.entry_id, columns.at, columns.erased_at)
        .where(columns.entity == party_id, columns.public.is_(False))
        .order_by(columns.position)
    )
    return {
        "lookup": None,
        "entry_id": entries[-1]["entry_id"],
        "created_at": entries[0]["at"],
        "erased_at": entries[-1]["erased_at"],
    }


def _capacity(history: Sequence[OpenedRecord]) -> dict[str, object]:
    body = history[0].body
    ended: Mapping[str, JsonValue] = history[1].body if len(history) == 2 else {}
    return {
        "holder": body["holder"],
        "person": body["person"],
        "capacity": body["capacity"],
        "basis": body["basis"],
        "valid_from": _time(body["valid_from"]),
        "valid_until": _time(body["valid_until"]),
        "ended_at": _time(ended.get("ended_at")),
        "ended_reason": ended.get("reason"),
        "entry_id": history[0].entry_id,
    }


def _contradictions(tx: ReadTx, row: Row) -> dict[str, bool]:
    """What must hold of every credential that `Credentials` issues or revokes."""
    role, secret = row["role"], row["secret_sha256"]
    acts = role == Role.APPLICANT
    person, holder, capacity = row["person"], row["holder"], row["capacity"]
    return {
        "credential_id": is_id(row["credential_id"], IdKind.CREDENTIAL),
        "secret_sha256": isinstance(secret, bytes) and len(secret) == sha256().digest_size,
        "role": role in set(Role),
        "org": _is_code(row["org"]) if row["org"] is not None else role not in OFFICES,
        "person": (person is not None) == acts,
        "holder": (holder is not None) == acts,
        "capacity": _may_act(tx, row) if acts else capacity is None,
        "expires_at": row["created_at"] < row["expires_at"],
        "revoked_at": row["revoked_at"] is None or row["revoked_at"] >= row["created_at"],
        # Revoking raises the version: a revocation that is taken back in the row shows.
        "version": row["version"] == (1 if row["revoked_at"] is None else 2),
    }


def _may_act(tx: ReadTx, row: Row) -> bool:
    """Whether there was such a capacity when the credential was made; it may have ended since."""
    person, holder, capacity = row["person"], row["holder"], row["capacity"]
    if capacity == Capacity.SELF or person == holder:
        return bool(capacity == Capacity.SELF and person == holder)
    between = exists().where(
        capacities.c.holder == holder,
        capacities.c.person == person,
        capacities.c.capacity == capacity,
        capacities.c.valid_from <= row["created_at"],
    )
    return bool(tx.scalar(select(between)))


def _is_code(org: str) -> bool:
    try:
        parse_credit_code(org)
    except CodedError:
        return False
    return True


def _time(value: JsonValue) -> datetime | None:
    return None if value is None else parse_time(str(value))
