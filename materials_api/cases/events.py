"""What happens to a case after it was opened: one table, one transaction, one record.

Each event is a ledger record, a row of the process records, an audit row and,
where the law wants one, a document; all or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update

from kernel.canonical import JsonValue
from kernel.clock import china_date
from kernel.principals import Principal
from materials_api.cases.access import CaseView, case_for, load_case, rules_of
from materials_api.cases.lifecycle import EVENT_ROLES, CaseEvent, CaseState, apply
from materials_api.cases.requirements import missing
from materials_api.catalogue.model import Matter
from materials_api.days import add_working_days
from materials_api.documents.kinds import DocumentKind
from materials_api.documents.stored import add_document
from materials_api.errors import (
    CorrectionEmpty,
    CorrectionTooLate,
    EventNotYours,
    MaterialNotOfCase,
    NoteNeeded,
    RequirementsUnmet,
    RowChanged,
)
from materials_api.limits import Limits
from materials_api.materials.lifecycle import MaterialEvent, MaterialState
from materials_api.materials.retention import start_retention
from materials_api.materials.states import change_state, material_row
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.tables import case_events, cases, materials
from materials_api.texts import clean_text
from storage import audit
from storage.database import ReadTx, WriteTx

# These tell somebody no, so they say why.
_NEED_A_NOTE = frozenset({CaseEvent.NOT_ACCEPT, CaseEvent.REFUSE, CaseEvent.TERMINATE})

DOCUMENTS: dict[CaseEvent, DocumentKind] = {
    CaseEvent.ASK_CORRECTION: DocumentKind.CORRECTION_NOTICE,
    CaseEvent.ACCEPT: DocumentKind.ACCEPTANCE_NOTICE,
    CaseEvent.NOT_ACCEPT: DocumentKind.ACCEPTANCE_NOTICE,
    CaseEvent.APPROVE: DocumentKind.DECISION_NOTICE,
    CaseEvent.REFUSE: DocumentKind.DECISION_NOTICE,
}


@dataclass(frozen=True, slots=True)
class CorrectionItem:
    """One thing to correct: of which requirement (None: of the case), and what."""

    text: str
    requirement: str | None = None


@dataclass(frozen=True, slots=True)
class EventRequest:
    """An event and what belongs to it.

    `items` and `reject` (material ids) are for `ask_correction`. `with_gaps`
    lets `accept` (容缺受理) and `approve` pass although mandatory requirements
    are unmet; approving so needs a note.
    """

    event: CaseEvent
    note: str | None = None
    items: tuple[CorrectionItem, ...] = ()
    reject: tuple[str, ...] = ()
    with_gaps: bool = False


def apply_event(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    wanted: EventRequest,
) -> CaseView:
    """Apply the event; the case after it.

    `EventNotYours` for the wrong role, `CaseTransitionIllegal` for the wrong
    state, `CorrectionAlreadyAsked` for a second notice, `CorrectionTooLate`
    after the working days, `RequirementsUnmet`, `NoteNeeded`.
    """
    event = wanted.event
    case = case_for(tx, principal, case_id)
    if principal.role not in EVENT_ROLES[event]:
        raise EventNotYours(event=event.value)
    after = apply(case.state, event, corrections=_count(tx, case_id, CaseEvent.ASK_CORRECTION))
    checked_state(room, tx, case_id, case.state.value)
    catalogue, matter = rules_of(room, tx, case)
    note = (
        None
        if wanted.note is None
        else clean_text("note", wanted.note, room.limits.note_chars, lines=True)
    )
    if note is None and event in _NEED_A_NOTE:
        raise NoteNeeded(event=event.value)
    body: dict[str, JsonValue] = {
        "event": event.value,
        "status": after.value,
        "role": principal.role.value,
        "org": principal.org,
        "unit": principal.unit,
        "officer": principal.officer,
        "person": principal.person,
        "capacity": principal.capacity.value if principal.capacity else None,
        "note": note,
    }
    if event is CaseEvent.ASK_CORRECTION:
        _check_correction(tx, at, case, wanted, matter, room.limits)
        body["items"] = _correction_items(wanted.items, matter, case.variant, room.limits)
        body["rejected"] = list(wanted.reject)
    if event in (CaseEvent.ACCEPT, CaseEvent.APPROVE):
        gaps = missing(tx, case, matter)
        if gaps and not wanted.with_gaps:
            raise RequirementsUnmet(requirements=", ".join(gaps))
        if gaps and event is CaseEvent.APPROVE and note is None:
            raise NoteNeeded(event=event.value)
        body["gaps"] = list(gaps)
    entry = room.ledger.journal.record(tx, at, f"case.{event.value}", case_id, body)
    _save(tx, at, case, event, after)
    tx.execute(
        insert(case_events),
        {
            "case_id": case_id,
            "sequence": _count(tx, case_id) + 1,
            "event": event.value,
            "state": after.value,
            "at": at,
            "role": principal.role.value,
            "entry_id": entry.entry_id,
        },
    )
    audit.note(
        tx,
        at,
        principal,
        f"case.{event.value}",
        entity=case_id,
        case_id=case_id,
        detail={"status": after.value},
    )
    if event in DOCUMENTS:
        add_document(tx, at, case_id, DOCUMENTS[event], entry.entry_id)
    if event is CaseEvent.ASK_CORRECTION:
        for material_id in wanted.reject:
            change_state(
                room, tx, at, principal, material_row(tx, material_id), MaterialEvent.REJECT
            )
    elif event is CaseEvent.ACCEPT:
        start_retention(tx, case, at, catalogue, matter)
    elif event is CaseEvent.APPROVE:
        _verify_materials(room, tx, at, principal, case_id)
    return load_case(tx, case_id)


def _save(tx: WriteTx, at: datetime, case: CaseView, event: CaseEvent, after: CaseState) -> None:
    values: dict[str, object] = {"state": after.value, "version": case.version + 1}
    if event is CaseEvent.ACCEPT:
        values["accepted_at"] = at
    elif event is CaseEvent.CLOSE:
        values["closed_at"] = at
    changed = tx.execute(
        update(cases)
        .where(cases.c.case_id == case.case_id, cases.c.version == case.version)
        .values(**values)
    )
    if changed.rowcount != 1:
        raise RowChanged()


def _check_correction(
    tx: ReadTx, at: datetime, case: CaseView, wanted: EventRequest, matter: Matter, limits: Limits
) -> None:
    """One complete notice within five working days of receipt (行政许可法 32)."""
    if not wanted.items or len(wanted.items) > limits.correction_items:
        raise CorrectionEmpty()
    received = tx.scalar(
        select(func.max(case_events.c.at)).where(
            case_events.c.case_id == case.case_id, case_events.c.event == CaseEvent.SUBMIT.value
        )
    )
    days = min(limits.correction_working_days, matter.time_limits.acceptance)
    last = add_working_days(china_date(received), days, limits.holidays, limits.extra_working_days)
    if china_date(at) > last:
        raise CorrectionTooLate(days=days)
    own = {
        row["material_id"]
        for row in tx.all(
            select(materials.c.material_id).where(materials.c.case_id == case.case_id)
        )
    }
    if not own.issuperset(wanted.reject) or len(set(wanted.reject)) != len(wanted.reject):
        raise MaterialNotOfCase()


def _correction_items(
    items: Sequence[CorrectionItem], matter: Matter, variant: str, limits: Limits
) -> list[JsonValue]:
    found: list[JsonValue] = []
    for item in items:
        if item.requirement is not None:
            matter.requirement(variant, item.requirement)
        text = clean_text("items", item.text, limits.note_chars, lines=True)
        found.append({"requirement": item.requirement, "text": text})
    return found


def _verify_materials(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, case_id: str
) -> None:
    """Approval makes the case's current materials reusable; their provenance stays what it is."""
    waiting = (MaterialState.PENDING.value, MaterialState.STOPPED_PENDING.value)
    rows = tx.all(
        select(materials)
        .where(materials.c.case_id == case_id, materials.c.status.in_(waiting))
        .order_by(materials.c.material_id)
    )
    for row in rows:
        change_state(room, tx, at, principal, row, MaterialEvent.VERIFY)


def _count(tx: ReadTx, case_id: str, event: CaseEvent | None = None) -> int:
    query = select(func.count()).select_from(case_events).where(case_events.c.case_id == case_id)
    if event is not None:
        query = query.where(case_events.c.event == event.value)
    return int(tx.scalar(query))
