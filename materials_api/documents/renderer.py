"""Renders a case's documents from their records."""

from datetime import datetime

from kernel.canonical import JsonValue
from ledger.errors import EntryUnknown, RecordErased
from materials_api.cases.access import load_case, rules_of
from materials_api.documents.layout import render
from materials_api.documents.slips import Head, capacity_name, sheet_of
from materials_api.documents.stored import DocumentRow
from materials_api.room import MaterialsRoom
from storage.database import ReadTx

_NAMELESS = "-"
_ERASED = "（已依法删除）"


def render_document(room: MaterialsRoom, tx: ReadTx, document: DocumentRow) -> bytes:
    """The PDF. The same records give the same bytes, whenever it is asked for.

    `RecordErased` when its own record was erased, `RecordMismatch` when it is
    not what the row says; what the ledger raises for corrupt records.
    """
    record = room.ledger.records.open(tx, document.entry_id)
    case = load_case(tx, document.case_id)
    catalogue, matter = rules_of(room, tx, case)
    head = Head(
        number=case.number,
        variant=case.variant,
        applicant=name_then(room, tx, case.applicant, record.at),
        person=name_then(room, tx, case.person, record.at),
        capacity=capacity_name(case.capacity),
        matter=matter,
        catalogue=catalogue,
    )
    body: dict[str, JsonValue] = record.body
    return render(sheet_of(document.kind, document.document_id, head, record.at, body))


def name_then(room: MaterialsRoom, tx: ReadTx, party_id: str, at: datetime) -> str:
    """What the party was called at `at`: a later change of name changes no document."""
    try:
        records = room.ledger.records.history(tx, party_id)
    except (EntryUnknown, RecordErased):
        return _ERASED
    names = [record.body.get("name") for record in records if record.at <= at]
    known = [name for name in names if isinstance(name, str)]
    return known[-1] if known else _NAMELESS
