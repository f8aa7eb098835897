"""The documents that a case leaves behind: rows, and who may read them.

A document is a pure function of ledger records, rendered when it is asked for
(ADR 0005): its row names the record, `renderer.render_document` does the rest.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, insert, select

from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from ledger.tables import ledger_entries
from materials_api.cases.access import case_for
from materials_api.documents.kinds import DocumentKind
from materials_api.errors import DocumentUnknown
from materials_api.tables import case_documents
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared

# On every verification's path: compiled once.
_ADD = Prepared(insert(case_documents), case_documents.c.keys())


@dataclass(frozen=True, slots=True)
class DocumentRow:
    document_id: str
    case_id: str
    kind: DocumentKind
    requirement: str | None
    verification_id: str | None
    entry_id: str
    at: datetime


def add_document(
    tx: WriteTx,
    at: datetime,
    case_id: str,
    kind: DocumentKind,
    entry_id: str,
    *,
    requirement: str | None = None,
    verification_id: str | None = None,
    document_id: str | None = None,
) -> str:
    """Leave a document in the case whose content stands in the record `entry_id`.

    Returns its id. For verifications: `entry_id` is the verification's own
    record (`slips` says which keys it reads).
    """
    document_id = document_id or new_id(IdKind.DOCUMENT)
    _ADD.add(
        tx,
        {
            "document_id": document_id,
            "case_id": case_id,
            "kind": kind.value,
            "requirement": requirement,
            "verification_id": verification_id,
            "entry_id": entry_id,
            "at": at,
        },
    )
    return document_id


def documents_of(tx: ReadTx, case_id: str) -> list[DocumentRow]:
    """The documents of a case in the order in which they were made."""
    rows = tx.all(
        select(case_documents)
        # Times may be equal; the journal's order never is.
        .outerjoin(ledger_entries, ledger_entries.c.entry_id == case_documents.c.entry_id)
        .where(case_documents.c.case_id == case_id)
        .order_by(case_documents.c.at, ledger_entries.c.position, case_documents.c.document_id)
    )
    return [_view(row) for row in rows]


def document_for(tx: ReadTx, principal: Principal, case_id: str, document_id: str) -> DocumentRow:
    """A document, if the caller may see its case; otherwise as `case_for`, or `DocumentUnknown`."""
    case_for(tx, principal, case_id)
    row = tx.one(
        select(case_documents).where(
            case_documents.c.document_id == document_id, case_documents.c.case_id == case_id
        )
    )
    if row is None:
        raise DocumentUnknown()
    return _view(row)


def _view(row: RowMapping) -> DocumentRow:
    return DocumentRow(
        document_id=row["document_id"],
        case_id=row["case_id"],
        kind=DocumentKind(row["kind"]),
        requirement=row["requirement"],
        verification_id=row["verification_id"],
        entry_id=row["entry_id"],
        at=row["at"],
    )
