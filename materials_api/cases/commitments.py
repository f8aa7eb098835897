"""Notified commitments (告知承诺): the applicant commits instead of proving."""

from dataclasses import dataclass
from datetime import datetime

from kernel.canonical import JsonValue
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from materials_api.cases.access import CaseView, case_for, rules_of
from materials_api.cases.requirements import currently_met, note_met, still_open
from materials_api.catalogue.model import Matter
from materials_api.catalogue.terms import Route
from materials_api.documents.kinds import DocumentKind
from materials_api.documents.stored import add_document
from materials_api.errors import RequirementAlreadyMet, RouteNotOffered
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from storage import audit
from storage.database import ReadTx, WriteTx


@dataclass(frozen=True, slots=True)
class MadeDocument:
    """A document that a use case left in a case, and the entry of its record."""

    document_id: str
    entry_id: str
    kind: DocumentKind
    requirement: str


def commit(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    requirement: str,
) -> MadeDocument:
    """Record the commitment of the case's applicant; it meets the requirement.

    `RouteNotOffered` when the catalogue has no such route for it,
    `RequirementAlreadyMet`, `CaseStateForbids`.
    """
    case = still_open(case_for(tx, principal, case_id))
    checked_state(room, tx, case_id, case.state.value)
    _, matter = rules_of(room, tx, case)
    rule = matter.requirement(case.variant, requirement).commitment
    if rule is None:
        raise RouteNotOffered(requirement=requirement, route=Route.NOTIFIED_COMMITMENT.value)
    must_be_unmet(tx, case, matter, requirement)
    document_id = new_id(IdKind.DOCUMENT)
    body: dict[str, JsonValue] = {
        "case": case_id,
        "requirement": requirement,
        "applicant": case.applicant,
        "person": case.person,
        "capacity": case.capacity,
        "text_zh": rule.text.zh,
        "text_en": rule.text.en,
        "by": {"role": principal.role.value, "org": principal.org, "officer": principal.officer},
        "status": "made",
    }
    entry = room.ledger.journal.record(tx, at, "document.commitment", document_id, body)
    add_document(
        tx,
        at,
        case_id,
        DocumentKind.COMMITMENT,
        entry.entry_id,
        requirement=requirement,
        document_id=document_id,
    )
    note_met(
        tx,
        at,
        case_id,
        requirement,
        Route.NOTIFIED_COMMITMENT.value,
        item=document_id,
        exemptible=True,
    )
    audit.note(
        tx,
        at,
        principal,
        "document.commitment",
        entity=document_id,
        case_id=case_id,
        detail={"requirement": requirement},
    )
    return MadeDocument(document_id, entry.entry_id, DocumentKind.COMMITMENT, requirement)


def must_be_unmet(tx: ReadTx, case: CaseView, matter: Matter, requirement: str) -> None:
    """`RequirementAlreadyMet` when something that counts meets it."""
    if requirement in currently_met(tx, case, matter):
        raise RequirementAlreadyMet(requirement=requirement)
