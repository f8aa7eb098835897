"""Verifications read again, by those who may: the case's bodies, and the holders concerned."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from kernel.canonical import JsonValue
from kernel.principals import Principal, Role
from materials_api.cases.access import case_for
from materials_api.documents.kinds import DocumentKind
from materials_api.errors import RecordMismatch
from materials_api.grants.errors import VerificationUnknown
from materials_api.room import MaterialsRoom
from materials_api.tables import case_documents, uses, verifications
from storage.database import ReadTx


@dataclass(frozen=True, slots=True)
class ReadVerification:
    """A verification from its record. `slip`: the id of its document."""

    verification_id: str
    entry_id: str
    slip: str
    body: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ReadCall:
    call_id: str
    case_id: str
    at: datetime
    items: tuple[ReadVerification, ...]


def read_call(room: MaterialsRoom, tx: ReadTx, principal: Principal, known_as: str) -> ReadCall:
    """A call by its own id, or one verification by its id.

    A window or department: of a case of its body (else as `case_for`). A
    holder: those of the items that are theirs. Otherwise `VerificationUnknown`.
    """
    rows = tx.all(
        select(verifications)
        .where(
            or_(
                verifications.c.verification_id == known_as,
                verifications.c.call_id == known_as,
            )
        )
        .order_by(verifications.c.verification_id)
    )
    if not rows:
        raise VerificationUnknown()
    if principal.role is Role.APPLICANT:
        mine = {
            row["verification_id"]
            for row in tx.all(
                select(uses.c.verification_id).where(
                    uses.c.holder == principal.holder,
                    uses.c.verification_id.in_([row["verification_id"] for row in rows]),
                )
            )
        }
        rows = [row for row in rows if row["verification_id"] in mine]
        if not rows:
            raise VerificationUnknown()
    else:
        case_for(tx, principal, rows[0]["case_id"])
    items = []
    for row in rows:
        record = room.ledger.records.open(tx, row["entry_id"])
        stated = (row["call_id"], row["case_id"], row["item"], row["outcome"])
        told = tuple(record.body.get(key) for key in ("call", "case", "item", "outcome"))
        if record.entity != row["verification_id"] or told != stated:
            raise RecordMismatch(entity=row["verification_id"])
        slip = tx.scalar(
            select(case_documents.c.document_id).where(
                case_documents.c.verification_id == row["verification_id"],
                case_documents.c.case_id == row["case_id"],
                case_documents.c.kind == DocumentKind.VERIFICATION_SLIP.value,
            )
        )
        items.append(ReadVerification(record.entity, record.entry_id, str(slip), record.body))
    return ReadCall(rows[0]["call_id"], rows[0]["case_id"], rows[0]["at"], tuple(items))
