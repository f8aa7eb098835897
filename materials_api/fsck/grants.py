"""The part of `fsck` for grants, download tickets and what they release."""

from datetime import timedelta
from hashlib import sha256

from sqlalchemy import bindparam, select

from kernel.errors import CodedError
from kernel.ids import IdKind
from ledger.errors import EntryUnknown
from ledger.fsck_reading import Findings
from ledger.records import Row
from materials_api.fsck.uses import RELEASED, UseCheck
from materials_api.grants.lifecycle import GrantState
from materials_api.grants.records import Grant, read_grant
from materials_api.room import MaterialsRoom
from materials_api.tables import cases, grant_items, material_files, tickets, verifications
from storage.database import ReadTx
from storage.database.prepared import Prepared

_MAC_BYTES = 32
_LONGEST_TICKET = timedelta(hours=1)  # whatever the limit was when it was issued

_ITEMS = Prepared(select(grant_items).where(grant_items.c.grant_id == bindparam("grant")))
_FILE = Prepared(
    select(material_files.c.size).where(
        material_files.c.material_id == bindparam("material"),
        material_files.c.position == bindparam("position"),
    )
)
_CASE = Prepared(
    select(cases.c.window_org, cases.c.department).where(cases.c.case_id == bindparam("case"))
)
_VERIFICATION = Prepared(
    select(verifications.c.item, verifications.c.outcome).where(
        verifications.c.verification_id == bindparam("verification")
    )
)


class GrantCheck:
    def __init__(self, room: MaterialsRoom, found: Findings) -> None:
        self._records = room.ledger.records
        self._database = room.database
        self._found = found
        self._uses = UseCheck(room, found)

    def grant(self, tx: ReadTx, row: Row) -> None:
        """One grant with its items."""
        grant_id = row["grant_id"]
        try:
            history = self._records.history(tx, grant_id)
            grant, _ = read_grant(row, history[-1])
        except EntryUnknown:
            return  # named already, as a row without a record
        except CodedError as error:
            self._found.add("record_unusable", grant_id, error.code)
            return
        # Every record raises the version by one.
        expected = {**grant.columns(grant.entry_id), "version": len(history)}
        wrong = [name for name, told in expected.items() if row[name] != told]
        wrong += self._code(row, grant)
        wrong += self._bodies(tx, row)
        self._found.columns("grant_row", grant_id, wrong)
        rows = _ITEMS.all(tx, {"grant": grant_id})
        stored = {one["item"]: one["approved"] for one in rows}
        if stored != {one.item: one.item in grant.approved for one in grant.items}:
            self._found.add("grant_row", grant_id, "items")

    def ticket(self, tx: ReadTx, row: Row) -> None:
        """One download ticket; once used, it has a record."""
        ticket_id = row["ticket_id"]
        expected: dict[str, object] = {"used_at": None}
        try:
            record = self._records.latest(tx, ticket_id)
        except EntryUnknown:
            pass  # not used yet: what it claims must at least be possible
        except CodedError as error:
            self._found.add("record_unusable", ticket_id, error.code)
            return
        else:
            body = record.body
            expected = {
                "verification_id": body.get("verification"),
                "material_id": body.get("item"),
                "position": body.get("position"),
                "used_at": record.at,
            }
            if record.kind == RELEASED:
                self._uses.of_download(tx, record)
        wrong = [name for name, told in expected.items() if row[name] != told]
        wrong += self._impossible(tx, row)
        self._found.columns("ticket_row", ticket_id, dict.fromkeys(wrong))

    def lost_tickets(self) -> None:
        """Downloads whose ticket is gone. A ticket without a record was not used."""
        with self._found.guarded("tickets"), self._database.read() as tx:
            self._found.lost_things(tx, IdKind.TICKET, tickets.c.ticket_id)

    def _code(self, row: Row, grant: Grant) -> list[str]:
        """A show code has no record: only of a grant in force and unbound can there be one."""
        mac, end = row["code_mac"], row["code_expires_at"]
        if mac is None and end is None:
            return []
        wrong = []
        unbound = grant.state is GrantState.GRANTED and grant.case_id is None
        if not isinstance(mac, bytes) or len(mac) != _MAC_BYTES or not unbound:
            wrong.append("code_mac")
        if end is None:
            wrong.append("code_expires_at")
        return wrong

    def _bodies(self, tx: ReadTx, row: Row) -> list[str]:
        """Not in its record: they are those of its case."""
        case = None if row["case_id"] is None else _CASE.one(tx, {"case": row["case_id"]})
        told = case or {"window_org": None, "department": None}
        return [name for name, value in told.items() if row[name] != value]

    def _impossible(self, tx: ReadTx, row: Row) -> list[str]:
        wrong = []
        secret = row["secret_sha256"]
        if not isinstance(secret, bytes) or len(secret) != sha256().digest_size:
            wrong.append("secret_sha256")
        place = {"material": row["material_id"], "position": row["position"]}
        if _FILE.one(tx, place) is None:
            wrong.append("material_id")
        if row["verification_id"] is not None:
            rested = _VERIFICATION.one(tx, {"verification": row["verification_id"]})
            if rested is None or tuple(rested.values()) != (row["material_id"], "allowed"):
                wrong.append("verification_id")
        if not row["issued_at"] < row["expires_at"] <= row["issued_at"] + _LONGEST_TICKET:
            wrong.append("expires_at")
        return wrong
