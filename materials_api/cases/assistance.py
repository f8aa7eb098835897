"""Administrative assistance (行政协助): another body is asked instead of the applicant."""

from datetime import datetime, timedelta
from enum import StrEnum

from kernel.canonical import JsonValue
from kernel.clock import parse_time, time_text
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from materials_api.cases.access import case_for, load_case, rules_of
from materials_api.cases.commitments import MadeDocument, must_be_unmet
from materials_api.cases.requirements import note_met, still_open
from materials_api.catalogue.requirements import AssistanceRoute
from materials_api.catalogue.terms import Route
from materials_api.documents.kinds import DocumentKind
from materials_api.documents.stored import DocumentRow, add_document, document_for
from materials_api.errors import (
    AssistanceAnswered,
    DocumentUnknown,
    RecordMismatch,
    RouteNotOffered,
)
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.texts import clean_text
from storage import audit
from storage.database import WriteTx

ASKED = "asked"
ANSWERED = "answered"


class AssistanceOutcome(StrEnum):
    CONFIRMED = "confirmed"  # 属实
    NOT_CONFIRMED = "not_confirmed"  # 不属实
    NO_RECORD = "no_record"  # 查无记录


def ask_assistance(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    requirement: str,
    question: str,
) -> MadeDocument:
    """Write the letter (协查函) to the body that the catalogue names, with its time limit."""
    case = still_open(case_for(tx, principal, case_id))
    checked_state(room, tx, case_id, case.state.value)
    _, matter = rules_of(room, tx, case)
    rule = matter.requirement(case.variant, requirement).rule(Route.ADMINISTRATIVE_ASSISTANCE)
    if not isinstance(rule, AssistanceRoute):
        raise RouteNotOffered(requirement=requirement, route=Route.ADMINISTRATIVE_ASSISTANCE.value)
    must_be_unmet(tx, case, matter, requirement)
    document_id = new_id(IdKind.DOCUMENT)
    body: dict[str, JsonValue] = {
        "case": case_id,
        "requirement": requirement,
        "to_zh": rule.body.zh,
        "to_en": rule.body.en,
        "question": clean_text("question", question, room.limits.note_chars, lines=True),
        "due_at": time_text(at + timedelta(hours=rule.hours)),
        "org": principal.org,
        "officer": principal.officer,
        "status": ASKED,
    }
    kind = DocumentKind.ASSISTANCE_LETTER
    entry = room.ledger.journal.record(tx, at, f"document.{kind.value}", document_id, body)
    add_document(
        tx, at, case_id, kind, entry.entry_id, requirement=requirement, document_id=document_id
    )
    audit.note(tx, at, principal, "document.assistance_letter", entity=document_id, case_id=case_id)
    return MadeDocument(document_id, entry.entry_id, kind, requirement)


def answer_assistance(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    document_id: str,
    outcome: AssistanceOutcome,
    note: str | None,
) -> MadeDocument:
    """Record what the other body answered; `confirmed` meets the requirement.

    A second answer is `AssistanceAnswered`. A late answer counts, and says so.
    """
    letter = _letter(tx, principal, case_id, document_id)
    case = still_open(load_case(tx, case_id))
    latest = room.ledger.records.latest(tx, document_id)
    if latest.body.get("status") != ASKED:
        raise AssistanceAnswered()
    due, requirement = latest.body.get("due_at"), letter.requirement
    if not isinstance(due, str) or requirement is None:
        raise RecordMismatch(entity=document_id)
    text = None if note is None else clean_text("note", note, room.limits.note_chars, lines=True)
    entry = room.ledger.journal.record(
        tx,
        at,
        "document.assistance_answered",
        document_id,
        {
            "outcome": outcome.value,
            "note": text,
            "late": at > parse_time(due),
            "org": principal.org,
            "officer": principal.officer,
            "status": ANSWERED,
        },
    )
    if outcome is AssistanceOutcome.CONFIRMED:
        _, matter = rules_of(room, tx, case)
        must_be_unmet(tx, case, matter, requirement)
        note_met(
            tx,
            at,
            case_id,
            requirement,
            Route.ADMINISTRATIVE_ASSISTANCE.value,
            item=document_id,
            exemptible=True,
        )
    audit.note(
        tx,
        at,
        principal,
        "document.assistance_answered",
        entity=document_id,
        case_id=case_id,
        outcome=outcome.value,
    )
    return MadeDocument(document_id, entry.entry_id, letter.kind, requirement)


def _letter(tx: WriteTx, principal: Principal, case_id: str, document_id: str) -> DocumentRow:
    letter = document_for(tx, principal, case_id, document_id)
    if letter.kind is not DocumentKind.ASSISTANCE_LETTER:
        raise DocumentUnknown()
    return letter
