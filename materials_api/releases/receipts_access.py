"""Who may have which receipt (存证回执). A receipt opens the record, so this is a table.

| record of      | holder                        | window, department            |
|----------------|-------------------------------|-------------------------------|
| a material     | its parties, who handed it in | the body that registered it   |
| a licence      | its holder                    | the body that issued it       |
| a grant        | its holder                    | the body it was given to, and |
|                |                               | those that handle its case    |
| a case         | its applicant                 | its window and department     |
| a verification | no: see the use history       | the case's                    |
| a document     | the case's applicant          | the case's                    |
| a download     | no: see the use history       | the body that downloaded      |
| a task         | no                            | the department's own          |
| a party        | itself                        | no                            |

A window never gets the record and salt of a material that another body
registered: it gets the receipt of its verification. An archivist has those of
closed cases and their documents, of the bodies that `rules.visibility` names. An auditor
asks the log for public entries; sealed ones are not theirs, nor the operator's.
Whatever is not listed is nobody's. Everybody else gets `EntryUnknown`, the
same as for an entry that does not exist.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import select

from kernel.errors import NotFound, NotPermitted
from kernel.ids import IdKind
from kernel.principals import Principal, Role
from ledger.errors import EntryUnknown
from ledger.records import OpenedRecord
from license_service.tables import licenses
from materials_api.cases.access import case_for
from materials_api.materials.access import material_for
from materials_api.room import MaterialsRoom
from materials_api.tables import case_documents, grants, tasks, verifications
from storage.database import ReadTx

_Rule = Callable[[MaterialsRoom, ReadTx, Principal, OpenedRecord], bool]
_OFFICES = frozenset({Role.WINDOW, Role.DEPARTMENT})
_CASE_READERS = frozenset({Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST})


def check_receipt(room: MaterialsRoom, tx: ReadTx, principal: Principal, entry_id: str) -> None:
    """Return when this caller may have the receipt of this entry, else `EntryUnknown`."""
    record = room.ledger.records.open(tx, entry_id)
    rule = _RULES.get(record.entity[:3])
    if not record.salt:
        return  # a public entry is in the log for everybody; it has no receipt
    if rule is None or not rule(room, tx, principal, record):
        raise EntryUnknown()


def _material(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    if principal.role is Role.APPLICANT:
        try:
            material_for(room, tx, principal, record.entity)
        except (NotFound, NotPermitted):
            return False
        return True
    by = record.body.get("by")
    registrar = by.get("org") if isinstance(by, dict) else record.body.get("org")
    return principal.role in _OFFICES and principal.org is not None and registrar == principal.org


def _license(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    row = tx.one(
        select(licenses.c.holder, licenses.c.issuer).where(licenses.c.license_id == record.entity)
    )
    if row is None:
        return False
    if principal.role is Role.APPLICANT:
        return bool(row["holder"] == principal.holder)
    return principal.role is Role.DEPARTMENT and bool(row["issuer"] == principal.org)


def _grant(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    row = tx.one(
        select(grants.c.holder, grants.c.audience, grants.c.case_id).where(
            grants.c.grant_id == record.entity
        )
    )
    if row is None:
        return False
    if principal.role is Role.APPLICANT:
        return bool(row["holder"] == principal.holder)
    given = principal.org is not None and row["audience"] == principal.org
    return principal.role in _OFFICES and (given or _sees_case(tx, principal, row["case_id"]))


def _case(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    return _sees_case(tx, principal, record.entity)


def _verification(
    room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord
) -> bool:
    if principal.role is Role.APPLICANT:
        return False
    case_id = tx.scalar(
        select(verifications.c.case_id).where(verifications.c.verification_id == record.entity)
    )
    return _sees_case(tx, principal, case_id)


def _document(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    case_id = tx.scalar(
        select(case_documents.c.case_id).where(case_documents.c.document_id == record.entity)
    )
    return _sees_case(tx, principal, case_id)


def _download(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    org = record.body.get("org")
    return principal.role in _OFFICES and principal.org is not None and org == principal.org


def _task(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    department = tx.scalar(select(tasks.c.department).where(tasks.c.task_id == record.entity))
    return principal.role is Role.DEPARTMENT and department == principal.org


def _party(room: MaterialsRoom, tx: ReadTx, principal: Principal, record: OpenedRecord) -> bool:
    return principal.role is Role.APPLICANT and record.entity in (
        principal.person,
        principal.holder,
    )


def _sees_case(tx: ReadTx, principal: Principal, case_id: str | None) -> bool:
    if case_id is None or principal.role not in _CASE_READERS:
        return False
    try:
        case_for(tx, principal, case_id)
    except (NotFound, NotPermitted):
        return False
    return True


_RULES: Mapping[str, _Rule] = {
    IdKind.MATERIAL.value: _material,
    IdKind.LICENSE.value: _license,
    IdKind.GRANT.value: _grant,
    IdKind.CASE.value: _case,
    IdKind.VERIFICATION.value: _verification,
    IdKind.DOCUMENT.value: _document,
    IdKind.TICKET.value: _download,
    IdKind.TASK.value: _task,
    IdKind.PARTY.value: _party,
}
