"""The part of `fsck` for the use history: each use has its lines, and each line its use."""

from collections.abc import Mapping

from sqlalchemy import bindparam, exists, select

from kernel.canonical import JsonValue
from kernel.ids import IdKind, is_id
from ledger.fsck_reading import Findings
from ledger.records import OpenedRecord
from ledger.tables import ledger_entries
from license_service.tables import licenses
from materials_api.room import MaterialsRoom
from materials_api.tables import material_parties, uses
from storage.database import ReadTx
from storage.database.prepared import Prepared

RELEASED = "download.released"
_VERIFIED = {"verification.allowed": "verified", "verification.denied": "denied"}
# Exports are records of the archive room, which checks their lines itself.
_EXPORTED = "case.exported"
_KINDS = (*_VERIFIED, RELEASED, _EXPORTED)

_LINES = Prepared(select(uses).where(uses.c.entry_id == bindparam("entry")))
_PARTIES = Prepared(
    select(material_parties.c.party_id.label("holder")).where(
        material_parties.c.material_id == bindparam("item")
    )
)
_HOLDER = Prepared(select(licenses.c.holder).where(licenses.c.license_id == bindparam("item")))


class UseCheck:
    def __init__(self, room: MaterialsRoom, found: Findings) -> None:
        self._database = room.database
        self._found = found

    def of_verification(self, tx: ReadTx, record: OpenedRecord) -> None:
        """The lines of a verification: one for each whose item it was."""
        body = record.body
        basis = body.get("basis")
        kind = basis.get("kind") if isinstance(basis, dict) else None
        expected = _line(record, verification=record.entity, basis=kind)
        expected["action"] = _VERIFIED.get(record.kind)
        self._lines(tx, record, holders_of(tx, body), expected)

    def of_download(self, tx: ReadTx, record: OpenedRecord) -> None:
        """The lines of a download."""
        body = record.body
        expected = _line(record, verification=body.get("verification"), basis=body.get("basis"))
        expected["action"] = "downloaded"
        self._lines(tx, record, holders_of(tx, body), expected)

    def strays(self) -> None:
        """Lines whose record is none of a use."""
        columns = ledger_entries.c
        known = exists().where(columns.entry_id == uses.c.entry_id, columns.kind.in_(_KINDS))
        query = select(uses.c.entry_id).where(~known).distinct()
        with self._found.guarded("uses"), self._database.read() as tx:
            for entry_id in tx.execute(query).scalars():
                self._found.add("row_without_record", f"uses/{entry_id}")

    def _lines(
        self, tx: ReadTx, record: OpenedRecord, holders: set[str], expected: Mapping[str, object]
    ) -> None:
        left = set(holders)
        where = f"uses/{record.entry_id}"
        for row in _LINES.all(tx, {"entry": record.entry_id}):
            if row["holder"] in left:
                left.remove(row["holder"])
                self._found.compare("use_row", where, row, expected)
            else:
                self._found.add("use_row", where, "holder")
        for holder in sorted(left):
            self._found.add("use_missing", where, holder)


def _line(record: OpenedRecord, *, verification: JsonValue, basis: JsonValue) -> dict[str, object]:
    return {
        "item": record.body.get("item"),
        "case_id": record.body.get("case"),
        "verification_id": verification,
        "org": record.body.get("org"),
        "basis": basis,
        "at": record.at,
    }


def holders_of(tx: ReadTx, body: Mapping[str, JsonValue]) -> set[str]:
    """Whose item a record speaks of; the rows asked here are checked on their own."""
    item = str(body.get("item"))
    if is_id(item, IdKind.MATERIAL):
        rows = _PARTIES.all(tx, {"item": item})
    elif is_id(item, IdKind.LICENSE):
        rows = _HOLDER.all(tx, {"item": item})
    else:
        subject = body.get("subject")  # of a data check
        return {subject} if isinstance(subject, str) else set()
    return {row["holder"] for row in rows}
