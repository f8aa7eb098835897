"""Cases as the routes show them."""

from materials_api.cases.access import CaseView, events_of, outcome, rules_of
from materials_api.cases.requirements import Met, currently_met, missing
from materials_api.catalogue.model import Text
from materials_api.http.case_models import (
    CaseDetailOut,
    CaseEventOut,
    CaseListItem,
    CaseOut,
    MetOut,
    PartyOut,
    RequirementOut,
)
from materials_api.http.common import TextOut, receipt_link
from materials_api.room import MaterialsRoom
from parties.errors import PartyErased
from storage.database import ReadTx


def text(name: Text) -> TextOut:
    return TextOut(zh=name.zh, en=name.en)


def case_out(room: MaterialsRoom, tx: ReadTx, case: CaseView, entry_id: str) -> CaseOut:
    """`entry_id`: the record of what was just done to the case."""
    _, matter = rules_of(room, tx, case)
    return CaseOut(
        case_id=case.case_id,
        number=case.number,
        matter=case.matter,
        matter_name=text(matter.name_of(case.variant)),
        variant=case.variant,
        applicant=case.applicant,
        person=case.person,
        capacity=case.capacity,
        project=case.project,
        channel=case.channel,
        window_org=case.window_org,
        department=case.department,
        state=case.state.value,
        version=case.version,
        opened_at=case.opened_at,
        accepted_at=case.accepted_at,
        closed_at=case.closed_at,
        origin="imported" if case.origin == "imported" else "live",
        missing=missing(tx, case, matter),
        receipt=receipt_link(entry_id),
    )


def case_detail(room: MaterialsRoom, tx: ReadTx, case: CaseView) -> CaseDetailOut:
    catalogue, matter = rules_of(room, tx, case)
    met = currently_met(tx, case, matter)
    events = events_of(tx, case.case_id)
    entry = events[-1].entry_id if events else case.entry_id
    return CaseDetailOut(
        **dict(case_out(room, tx, case, entry)),
        applicant_party=party_out(room, tx, case.applicant),
        person_party=party_out(room, tx, case.person),
        outcome=found.value if (found := outcome(events)) else None,
        requirements=[
            RequirementOut(
                requirement=rule.key,
                name=text(catalogue.name_of(rule)),
                type=rule.type,
                mandatory=rule.mandatory,
                met=_met(met.get(rule.key)),
            )
            for rule in matter.required(case.variant)
        ],
        events=[
            CaseEventOut(
                sequence=event.sequence,
                event=event.event,
                state=event.state.value,
                at=event.at,
                role=event.role,
                entry=event.entry_id,
            )
            for event in events
        ],
    )


def case_item(case: CaseView) -> CaseListItem:
    return CaseListItem(
        case_id=case.case_id,
        number=case.number,
        matter=case.matter,
        variant=case.variant,
        applicant=case.applicant,
        channel=case.channel,
        department=case.department,
        state=case.state.value,
        opened_at=case.opened_at,
        origin="imported" if case.origin == "imported" else "live",
    )


def party_out(room: MaterialsRoom, tx: ReadTx, party_id: str) -> PartyOut:
    """Name and part of the code; nothing but the id once the party was erased."""
    try:
        facts = room.parties.describe(tx, party_id)
    except PartyErased:
        return PartyOut(party=party_id, type="erased", code_masked="", name=None)
    return PartyOut(
        party=party_id,
        type=facts.type.value,
        code_masked=masked(facts.code),
        name=facts.name,
    )


def masked(code: str) -> str:
    """The first and last characters of a code: enough to recognise, not to copy."""
    shown = 4 if len(code) >= 12 else 2
    return code[:shown] + "*" * (len(code) - 2 * shown) + code[-shown:]


def _met(way: Met | None) -> MetOut | None:
    if way is None:
        return None
    return MetOut(
        route=way.route,
        item=way.item,
        verification=way.verification_id,
        exemptible=way.exemptible,
        reason=way.reason,
        at=way.at,
    )
