"""The case of a verification: opened, compared with its records, and who may act in it."""

from dataclasses import dataclass
from datetime import datetime

from kernel.principals import Capacity, Principal
from ledger.records import OpenedRecord
from materials_api.cases.access import CaseView, rules_of, view_of, visible_to
from materials_api.cases.lifecycle import CaseOutcome, CaseState, outcome_of
from materials_api.cases.requirements import still_open
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.errors import CaseUnknown, RecordMismatch
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_facts import CapacityFacts, CaseFacts, SourceCase
from materials_api.verification.rows import (
    Row,
    capacity_ids,
    case_row,
    party_kind,
    state_rows,
)
from parties.capacity import CapacityFacts as RegisteredCapacity
from parties.capacity import PartyKind
from storage.database import ReadTx

_CASE_FIELDS = (
    "matter",
    "variant",
    "applicant",
    "person",
    "capacity",
    "project",
    "window_org",
    "department",
)


@dataclass(frozen=True, slots=True)
class CaseContext:
    """The case of a call, once for all its items. `capacities`: opened already, by id."""

    view: CaseView
    facts: CaseFacts
    capacity: CapacityFacts | None
    catalogue: Catalogue
    matter: Matter
    capacities: dict[str, RegisteredCapacity]


def gather_case(
    room: MaterialsRoom, tx: ReadTx, at: datetime, principal: Principal, case_id: str
) -> CaseContext:
    """The case, opened, compared with its records, and who may act in it now."""
    row = case_row(tx, case_id)
    if row is None:
        raise CaseUnknown()
    view = still_open(visible_to(principal, view_of(row)))
    newest = room.ledger.records.latest(tx, case_id)
    opened = newest
    if newest.entry_id != row["entry_id"]:
        opened = open_entry(room, tx, row["entry_id"], case_id)
    if newest.body.get("status") != row["state"] or not _case_agrees(row, opened):
        raise RecordMismatch(entity=case_id)
    catalogue, matter = rules_of(room, tx, view)
    known = {one: room.parties.capacity(tx, one) for one in _ids_of_capacities(tx, view)}
    people, capacity = _acting(tx, at, view, list(known.values()))
    facts = CaseFacts(
        case_id=case_id,
        matter=view.matter,
        applicant=view.applicant,
        person=view.person,
        people=people,
        organizations=frozenset(
            code for code in (view.window_org, view.department) if code is not None
        ),
        asking=principal.org or "",
        project=view.project,
    )
    return CaseContext(view, facts, capacity, catalogue, matter, known)


def source_case(
    room: MaterialsRoom, tx: ReadTx, case_id: str, seen: dict[str, tuple[SourceCase, bool]]
) -> tuple[SourceCase, bool]:
    """The case a material came from with its outcome, and whether rows and records agree."""
    if case_id in seen:
        return seen[case_id]
    row = case_row(tx, case_id)
    if row is None:
        raise RecordMismatch(entity=case_id)
    opened = open_entry(room, tx, row["entry_id"], case_id)
    agrees = _case_agrees(row, opened)
    outcome: CaseOutcome | None = None
    for event in state_rows(tx, case_id):
        try:
            stated = outcome_of([CaseState(event["state"])])
        except ValueError:
            raise RecordMismatch(entity=case_id) from None
        if stated is not None:
            record = open_entry(room, tx, event["entry_id"], case_id)
            outcome = _outcome(record)
            agrees = agrees and outcome is stated
            break
    found = SourceCase(case_id, row["applicant"], outcome, row["project"]), agrees
    seen[case_id] = found
    return found


def _outcome(record: OpenedRecord) -> CaseOutcome | None:
    # An imported case has one record, whose status is how it stands, not how it was decided.
    told = record.body.get("outcome" if record.kind == "case.imported" else "status")
    try:
        return outcome_of([CaseState(str(told))])
    except ValueError:
        return None


def _ids_of_capacities(tx: ReadTx, case: CaseView) -> list[str]:
    if case.person == case.applicant:
        return []
    return capacity_ids(tx, case.applicant, case.person)


def _acting(
    tx: ReadTx, at: datetime, case: CaseView, known: list[RegisteredCapacity]
) -> tuple[frozenset[str], CapacityFacts | None]:
    """The natural persons who count as the applicant's own, and why `person` may act."""
    if case.person == case.applicant:
        return frozenset({case.applicant}), None
    people = {case.person} | {
        one.person
        for one in known
        if one.capacity is Capacity.LEGAL_REPRESENTATIVE and one.in_force(at)
    }
    if party_kind(tx, case.applicant) == PartyKind.PERSON:
        people.add(case.applicant)
    own = [one for one in known if (one.person, one.capacity) == (case.person, case.capacity)]
    # Of several the one in force; else the last, whose end then is the reason.
    own.sort(key=lambda one: (one.in_force(at), one.valid_from))
    return frozenset(people), capacity_facts(own[-1]) if own else None


def capacity_facts(registered: RegisteredCapacity) -> CapacityFacts:
    return CapacityFacts(
        holder=registered.holder,
        person=registered.person,
        capacity=registered.capacity,
        valid_from=registered.valid_from,
        valid_until=registered.valid_until,
        ended_at=registered.ended_at,
    )


def _case_agrees(row: Row, opened: OpenedRecord) -> bool:
    return all(opened.body.get(name) == row[name] for name in _CASE_FIELDS)


def open_entry(room: MaterialsRoom, tx: ReadTx, entry_id: str, entity: str | None) -> OpenedRecord:
    """The record of an entry, which must be of this entity."""
    record = room.ledger.records.open(tx, entry_id)
    if entity is not None and record.entity != entity:
        raise RecordMismatch(entity=entity)
    return record
