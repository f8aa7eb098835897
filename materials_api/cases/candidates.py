"""What exists for a case that might stand in for its requirements: summaries only.

Types, states and dates, before anybody consented to more. `rules.exemptions.assess`
judges them; nothing here opens a record of a material.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, union

from kernel.principals import Capacity
from license_service.answers import Found, NameDiffers, SourceOutage
from license_service.lifecycle import EffectiveStatus, Status
from materials_api.cases.access import CaseView, rules_of
from materials_api.cases.lifecycle import CaseOutcome, CaseState, outcome_of
from materials_api.cases.requirements import UPLOAD, currently_met
from materials_api.cases.upload_reasons import accepted_reason
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.catalogue.requirements import HistoricMaterialRoute
from materials_api.catalogue.terms import MaterialForm, Provenance, Route
from materials_api.materials.lifecycle import MaterialState
from materials_api.registers.party_events import events_of_party
from materials_api.room import MaterialsRoom
from materials_api.rules.exemption_facts import (
    Assessment,
    Available,
    LicenseCandidate,
    MaterialCandidate,
    Met,
    subjects_of,
)
from materials_api.rules.exemptions import assess, may_need_reason, upload_needs_reason
from materials_api.rules.license_standing import license_standing
from materials_api.rules.reuse_facts import CaseFacts, LicenseStanding
from materials_api.tables import case_events, cases, material_parties, materials
from parties import HolderRef
from parties.tables import capacities
from storage.database import ReadTx

MOST = 2_000  # materials looked at for one case, newest first

_STANDINGS: Mapping[EffectiveStatus, LicenseStanding] = {
    EffectiveStatus.NOT_ISSUED: LicenseStanding.NOT_ISSUED,
    EffectiveStatus.SUSPENDED: LicenseStanding.SUSPENDED,
    EffectiveStatus.SUPERSEDED: LicenseStanding.SUPERSEDED,
    EffectiveStatus.WITHDRAWN: LicenseStanding.ENDED,
    EffectiveStatus.REVOKED: LicenseStanding.ENDED,
    EffectiveStatus.DEREGISTERED: LicenseStanding.ENDED,
    EffectiveStatus.RESCINDED: LicenseStanding.TAINTED,
    EffectiveStatus.ANNULLED: LicenseStanding.TAINTED,
}


@dataclass(frozen=True, slots=True)
class AskedLicenses:
    """What the licence source said for a case. `answered` False: at least one question
    had an outage for an answer."""

    licenses: tuple[LicenseCandidate, ...]
    answered: bool


def case_facts(
    room: MaterialsRoom, tx: ReadTx, at: datetime, case: CaseView, asking: str
) -> CaseFacts:
    """The case as rules see it. `asking`: credit code of the body whose officer asks."""
    people = {case.person}
    representatives = tx.all(
        select(capacities.c.capacity_id, capacities.c.person).where(
            capacities.c.holder == case.applicant,
            capacities.c.capacity == Capacity.LEGAL_REPRESENTATIVE.value,
        )
    )
    people.update(
        row["person"]
        for row in representatives
        # From its record: the row alone is not believed.
        if room.parties.capacity(tx, row["capacity_id"]).in_force(at)
    )
    if case.capacity == Capacity.SELF:
        people.add(case.applicant)
    return CaseFacts(
        case_id=case.case_id,
        matter=case.matter,
        applicant=case.applicant,
        person=case.person,
        people=frozenset(people),
        organizations=frozenset(
            code for code in (case.window_org, case.department) if code is not None
        ),
        asking=asking,
        project=case.project,
    )


def ask_licenses(
    room: MaterialsRoom, at: datetime, case: CaseView, kinds: Sequence[str]
) -> AskedLicenses:
    """Ask the source for licences of these kinds of the applicant and of its people.

    Opens its own read transactions and may take as long as the source does:
    never call it inside a write transaction.
    """
    with room.database.read() as tx:
        facts = case_facts(room, tx, at, case, case.department)
        holders = {
            party: room.parties.describe(tx, party)
            for party in sorted({facts.applicant, *facts.people})
        }
    found: list[LicenseCandidate] = []
    answered = True
    for party, holder in holders.items():
        ref = HolderRef(holder.type.value, holder.code, holder.name)
        for kind in kinds:
            answer = room.license_source.lookup(ref, kind, at)
            if isinstance(answer, SourceOutage | NameDiffers):
                answered = False
            elif isinstance(answer, Found):
                found += [
                    LicenseCandidate(
                        kind=license_.kind,
                        standing=LicenseStanding.TAINTED
                        if license_.status.tainted
                        else _STANDINGS.get(license_.status.status, LicenseStanding.IN_FORCE),
                        whose=subjects_of([party], facts),
                        issued_at=license_.valid_from,
                        valid_from=license_.valid_from,
                        valid_until=license_.valid_until,
                        item=license_.license_id,
                    )
                    for license_ in answer.licenses
                ]
    return AskedLicenses(tuple(found), answered)


def kinds_asked(matter: Matter, variant: str, requirement: str | None = None) -> tuple[str, ...]:
    """The licence kinds that the requirements (or one of them) would accept."""
    return tuple(
        dict.fromkeys(
            kind
            for rule in matter.required(variant)
            if requirement in (None, rule.key) and rule.license is not None
            for kind in rule.license.kinds
        )
    )


def available_for(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    case: CaseView,
    catalogue: Catalogue,
    matter: Matter,
    asked: AskedLicenses | None = None,
) -> Available:
    """Everything that `assess` looks at. Without `asked`, the licences issued here count."""
    facts = case_facts(room, tx, at, case, case.department)
    return Available(
        materials=_materials(tx, case, facts, _reused(matter, case.variant)),
        licenses=_issued_here(room, tx, facts) if asked is None else asked.licenses,
        registers=frozenset(register.key for register in catalogue.registers),
        license_source=True if asked is None else asked.answered or bool(asked.licenses),
        events=tuple(
            (event.event, event.at) for event in events_of_party(room, tx, case.applicant)
        ),
        met={
            key: Met(None if way.route == UPLOAD else Route(way.route), way.exemptible)
            for key, way in currently_met(tx, case, matter).items()
        },
    )


def assess_case(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    case: CaseView,
    asked: AskedLicenses | None = None,
) -> Assessment:
    """Which requirements of the case can be exempted, under the catalogue it was opened with."""
    catalogue, matter = rules_of(room, tx, case)
    available = available_for(room, tx, at, case, catalogue, matter, asked)
    return assess(at, catalogue, matter, case.variant, available)


def upload_reason(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    case: CaseView,
    requirement: str | None,
    given: str | None,
    asked: AskedLicenses | None = None,
) -> tuple[bool, str | None]:
    """Whether a route was open for what is brought now, and the reason to record.

    `UploadReasonNeeded` when one was and no reason is given.
    """
    needed = (
        requirement is not None
        and may_need_reason(rules_of(room, tx, case)[1].requirement(case.variant, requirement))
        and upload_needs_reason(assess_case(room, tx, at, case, asked), requirement)
    )
    reason = accepted_reason(needed, given)
    return needed, None if reason is None else reason.value


def _reused(matter: Matter, variant: str) -> set[str]:
    """Types of material that a requirement may be met with from an earlier case."""
    return {
        requirement.type
        for requirement in matter.required(variant)
        if any(isinstance(rule, HistoricMaterialRoute) for rule in requirement.routes)
    }


def _materials(
    tx: ReadTx, case: CaseView, facts: CaseFacts, types: set[str]
) -> tuple[MaterialCandidate, ...]:
    if not types:
        return ()
    ours = sorted({facts.applicant, *facts.people})
    other = materials.alias()
    # A union and not an "or": PostgreSQL finds each part by its index, and would go
    # through all materials of the city for the other.
    ids = [
        select(material_parties.c.material_id).where(material_parties.c.party_id.in_(ours)),
        select(other.c.material_id)
        .join(cases, cases.c.case_id == other.c.case_id)
        .where(cases.c.applicant.in_(ours)),
    ]
    if case.project is not None:
        ids.append(select(other.c.material_id).where(other.c.project == case.project))
    rows = tx.all(
        select(materials, cases.c.applicant.label("source_applicant"))
        .join(cases, cases.c.case_id == materials.c.case_id)
        .where(materials.c.material_id.in_(union(*ids)), materials.c.case_id != case.case_id)
        .where(materials.c.type.in_(sorted(types)))
        .order_by(materials.c.registered_at.desc(), materials.c.material_id)
        .limit(MOST)
    )
    found = [row["material_id"] for row in rows]
    owners: dict[str, set[str]] = {}
    for party in tx.all(
        select(material_parties.c.material_id, material_parties.c.party_id).where(
            material_parties.c.material_id.in_(found)
        )
    ):
        owners.setdefault(party["material_id"], set()).add(party["party_id"])
    outcomes = _outcomes(tx, {row["case_id"] for row in rows})
    return tuple(
        MaterialCandidate(
            type=row["type"],
            form=MaterialForm(row["form"]),
            state=MaterialState(row["status"]),
            provenance=Provenance(row["provenance"]),
            whose=subjects_of(
                owners.get(row["material_id"], set()) | {row["source_applicant"]}, facts
            ),
            same_project=case.project is not None and row["project"] == case.project,
            outcome=outcomes.get(row["case_id"]),
            registered_at=row["registered_at"],
            issued_at=row["issued_at"],
            valid_until=row["valid_until"],
            item=row["material_id"],
        )
        for row in rows
        if row["status"] != MaterialState.ERASED
    )


def _outcomes(tx: ReadTx, case_ids: set[str]) -> dict[str, CaseOutcome | None]:
    states: dict[str, list[CaseState]] = {}
    for row in tx.all(
        select(case_events.c.case_id, case_events.c.state)
        .where(case_events.c.case_id.in_(case_ids))
        .order_by(case_events.c.case_id, case_events.c.sequence)
    ):
        states.setdefault(row["case_id"], []).append(CaseState(row["state"]))
    return {case_id: outcome_of(passed) for case_id, passed in states.items()}


def _issued_here(room: MaterialsRoom, tx: ReadTx, facts: CaseFacts) -> tuple[LicenseCandidate, ...]:
    return tuple(
        LicenseCandidate(
            kind=view.kind,
            standing=license_standing(view.status),
            whose=subjects_of([party], facts),
            issued_at=view.valid_from,
            valid_from=view.valid_from,
            valid_until=view.valid_until,
            item=view.license_id,
        )
        for party in sorted({facts.applicant, *facts.people})
        for view in room.licenses.of_holder(tx, party)
        if view.status is not Status.DRAFTED
    )
