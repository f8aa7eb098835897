"""Whom a data check may ask about: the applicant's own people, or somebody the case names."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, union

from kernel.principals import Capacity
from materials_api.catalogue.model import Requirement
from materials_api.catalogue.terms import Route, Subject
from materials_api.errors import RouteNotOffered
from materials_api.room import MaterialsRoom
from materials_api.tables import cases, material_parties, materials, verifications
from materials_api.verification.case import CaseContext
from parties import HolderRef, PartyFacts
from storage.database import ReadTx


@dataclass(frozen=True, slots=True)
class AskedAbout:
    """Whom the register is asked about. `party` None: nobody whom the case names."""

    requirement: Requirement
    register_key: str
    fields: tuple[str, ...]
    named: frozenset[str]
    party: PartyFacts | None


def asked_about(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    case: CaseContext,
    key: str,
    subject: HolderRef | None,
) -> AskedAbout:
    requirement = case.matter.requirement(case.view.variant, key)
    rule = requirement.data_check
    if rule is None:
        raise RouteNotOffered(requirement=requirement.key, route=Route.DATA_CHECK.value)
    named = _named(tx, case, requirement)
    party_id: str | None
    if subject is not None:
        party_id = room.parties.find(tx, subject.type, subject.code, at=at)
    else:
        party_id = _default_subject(room, tx, at, case, requirement)
    own = case.facts.people | {case.facts.applicant} | named
    party = (
        room.parties.describe(tx, party_id) if party_id is not None and party_id in own else None
    )
    return AskedAbout(requirement, rule.register_key, rule.fields, named, party)


def _default_subject(
    room: MaterialsRoom, tx: ReadTx, at: datetime, case: CaseContext, requirement: Requirement
) -> str:
    """The applicant; for a requirement about a person, the natural person it means."""
    applicant = case.facts.applicant
    if requirement.subject is Subject.APPLICANT or applicant in case.facts.people:
        return applicant
    representatives = [
        person
        for person in sorted(case.facts.people)
        if Capacity.LEGAL_REPRESENTATIVE in room.parties.capacities(tx, at, person, applicant)
    ]
    return representatives[0] if len(representatives) == 1 else case.facts.person


def _named(tx: ReadTx, case: CaseContext, requirement: Requirement) -> frozenset[str]:
    """Parties whom the case's own materials name, or stored ones of the type required
    that are its applicant's or people's, or that were verified in this case."""
    ours = sorted(case.facts.people | {case.facts.applicant})
    # Unions and not "or": PostgreSQL finds each part by its index.
    mine = select(material_parties.c.material_id).where(material_parties.c.party_id.in_(ours))
    handed = (
        select(materials.c.material_id)
        .join(cases, cases.c.case_id == materials.c.case_id)
        .where(cases.c.applicant.in_(ours))
    )
    stored = materials.alias()
    offered = select(stored.c.material_id).where(
        stored.c.type == requirement.type, stored.c.material_id.in_(union(mine, handed))
    )
    own = select(materials.c.material_id).where(materials.c.case_id == case.view.case_id)
    verified = select(verifications.c.item).where(verifications.c.case_id == case.view.case_id)
    rows = tx.all(
        select(material_parties.c.party_id)
        .where(material_parties.c.material_id.in_(union(offered, own, verified)))
        .distinct()
    )
    return frozenset(row["party_id"] for row in rows)
