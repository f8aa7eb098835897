"""May a stored item stand in for a required material? Pure: one time, facts, a decision.

Every check runs, so that the clerk sees all that is missing at once. The facts are
in `reuse_facts`, what comes out in `decisions`. The caller then, in one transaction,
compares the versions of grant, item, licence and case, spends, audits and records.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from materials_api.cases.lifecycle import CaseOutcome
from materials_api.catalogue.model import Requirement
from materials_api.catalogue.terms import (
    MaterialForm,
    PartyEventKind,
    Route,
    Scope,
    Subject,
)
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.common_checks import alternatives, capacity_check, log_check
from materials_api.rules.data_check_rules import decide_data_check
from materials_api.rules.decisions import (
    Check,
    CheckName,
    Decision,
    Evidence,
    checked,
    decide,
    not_applicable,
    passed,
)
from materials_api.rules.reasons import EVENT_REASONS, ReasonCode
from materials_api.rules.reuse_facts import (
    FileOutcome,
    Item,
    LicenseItem,
    LicenseStanding,
    MaterialItem,
    PartyEvent,
    ReuseFacts,
    StatutoryDuty,
)
from materials_api.rules.reuse_grants import Authorisation, authorisation

__all__ = ["decide_data_check", "decide_reuse"]

MATERIAL_STATE_REASONS: Mapping[MaterialState, ReasonCode] = MappingProxyType(
    {
        MaterialState.STOPPED: ReasonCode.MATERIAL_STOPPED,
        MaterialState.STOPPED_PENDING: ReasonCode.MATERIAL_STOPPED,
        MaterialState.INVALIDATED: ReasonCode.MATERIAL_INVALIDATED,
        MaterialState.SUPERSEDED: ReasonCode.MATERIAL_SUPERSEDED,
        MaterialState.REJECTED: ReasonCode.MATERIAL_REJECTED,
        MaterialState.ERASED: ReasonCode.MATERIAL_ERASED,
    }
)
LICENSE_STANDING_REASONS: Mapping[LicenseStanding, ReasonCode] = MappingProxyType(
    {
        LicenseStanding.NOT_ISSUED: ReasonCode.LICENSE_NOT_ISSUED,
        LicenseStanding.SUSPENDED: ReasonCode.LICENSE_SUSPENDED,
        LicenseStanding.SUPERSEDED: ReasonCode.LICENSE_SUPERSEDED,
        LicenseStanding.ENDED: ReasonCode.LICENSE_ENDED,
        LicenseStanding.TAINTED: ReasonCode.LICENSE_TAINTED,
        LicenseStanding.UNKNOWN: ReasonCode.SOURCE_OUTAGE,
    }
)

# These happen to what the item is about, whoever applies.
OF_THE_ITEM = frozenset({PartyEventKind.OWNERSHIP_CHANGED})


def decide_reuse(now: datetime, facts: ReuseFacts) -> Decision:
    """Decide whether a stored material or licence may stand in for a requirement.

    `now` is the time of the request; validity periods are [start, end). Allowed
    only if every check passes; Denied carries all reasons, in the order of the
    checks, and the other routes that the requirement opens.
    """
    given = authorisation(now, facts)
    checks = [
        _route(facts),
        _type(facts),
        _holder(facts, given),
        capacity_check(now, facts.case, facts.capacity),
        given.grant,
        given.consent,
        _status(facts),
        _source_case(facts),
        _provenance(facts),
        _validity(now, facts.item),
        _freshness(now, facts),
        checked(CheckName.RECORD, [] if facts.item.record_agrees else [ReasonCode.RECORD_MISMATCH]),
        _content(facts),
        log_check(facts.proof),
    ]
    evidence = Evidence(
        route=_item_route(facts.item),
        basis="statutory_duty" if isinstance(facts.basis, StatutoryDuty) else "consent",
        grants=tuple(grant.grant_id for grant in given.grants),
        spend=given.spends(facts.case.case_id),
        shard=facts.proof.shard,
        index=facts.proof.index,
        size=facts.proof.size,
    )
    return decide(checks, evidence, alternatives(facts.requirement, _item_route(facts.item)))


def _item_route(item: Item) -> Route:
    return Route.LICENSE if isinstance(item, LicenseItem) else Route.HISTORIC_MATERIAL


def _route(facts: ReuseFacts) -> Check:
    open_ = facts.requirement.rule(_item_route(facts.item)) is not None
    return checked(CheckName.ROUTE, [] if open_ else [ReasonCode.ROUTE_NOT_OPEN])


def _type(facts: ReuseFacts) -> Check:
    item, requirement = facts.item, facts.requirement
    found: list[ReasonCode] = []
    if isinstance(item, LicenseItem):
        rule = requirement.license
        if rule is not None and item.kind not in rule.kinds:
            found.append(ReasonCode.TYPE_MISMATCH)
        return checked(CheckName.TYPE, found)
    if item.type != requirement.type or facts.type.key != requirement.type:
        found.append(ReasonCode.TYPE_MISMATCH)
    if item.form is not MaterialForm.ORIGINAL or not facts.type.reusable:
        found.append(ReasonCode.FORM_NOT_REUSABLE)
    return checked(CheckName.TYPE, found)


def _holder(facts: ReuseFacts, given: Authorisation) -> Check:
    """Same holder, or the same project where the route allows that scope."""
    case, item = facts.case, facts.item
    owners = set(item.party_ids)
    if isinstance(item, MaterialItem):
        owners.add(item.source.applicant)
    same_holder = bool(owners & _subjects(facts, given))
    if isinstance(item, LicenseItem):
        return checked(CheckName.HOLDER, [] if same_holder else [ReasonCode.HOLDER_MISMATCH])
    rule = facts.requirement.historic_material
    scopes = rule.scopes if rule is not None else (Scope.SAME_HOLDER,)
    same_project = case.project is not None and case.project == item.source.project
    holds = {Scope.SAME_HOLDER: same_holder, Scope.SAME_PROJECT: same_project}
    if any(holds[scope] for scope in scopes):
        return passed(CheckName.HOLDER)
    reasons = {
        Scope.SAME_HOLDER: ReasonCode.HOLDER_MISMATCH,
        Scope.SAME_PROJECT: ReasonCode.NOT_SAME_PROJECT,
    }
    return checked(CheckName.HOLDER, [reasons[scope] for scope in scopes])


def _subjects(facts: ReuseFacts, given: Authorisation) -> frozenset[str]:
    case = facts.case
    match facts.requirement.subject:
        case Subject.APPLICANT:
            return frozenset({case.applicant})
        case Subject.PERSON:
            return case.people
        case Subject.RELATED:
            # Somebody else, such as an employee, counts by authorising for this case.
            grantors = frozenset(grant.holder for grant in given.grants)
            return frozenset({case.applicant}) | case.people | grantors


def _status(facts: ReuseFacts) -> Check:
    item = facts.item
    if isinstance(item, LicenseItem):
        bad = LICENSE_STANDING_REASONS.get(item.standing)
        return checked(CheckName.STATUS, [] if bad is None else [bad])
    found = MATERIAL_STATE_REASONS.get(item.state)
    if item.state is MaterialState.PENDING and item.source.outcome is CaseOutcome.APPROVED:
        # An approval makes its materials reusable in the same transaction.
        found = ReasonCode.MATERIAL_NOT_VERIFIED
    return checked(CheckName.STATUS, [] if found is None else [found])


def _source_case(facts: ReuseFacts) -> Check:
    item = facts.item
    if isinstance(item, LicenseItem):
        return not_applicable(CheckName.SOURCE_CASE)
    rule = facts.requirement.historic_material
    outcomes = rule.outcomes if rule is not None else (CaseOutcome.APPROVED,)
    if item.source.outcome is None:
        return checked(CheckName.SOURCE_CASE, [ReasonCode.SOURCE_CASE_STATE])
    counts = item.source.outcome in outcomes
    return checked(CheckName.SOURCE_CASE, [] if counts else [ReasonCode.SOURCE_CASE_OUTCOME])


def _provenance(facts: ReuseFacts) -> Check:
    item = facts.item
    strong = isinstance(item, LicenseItem) or item.provenance.at_least(facts.requirement.provenance)
    return checked(CheckName.PROVENANCE, [] if strong else [ReasonCode.PROVENANCE_TOO_WEAK])


def _validity(now: datetime, item: Item) -> Check:
    found: list[ReasonCode] = []
    if isinstance(item, LicenseItem):
        if item.valid_from is not None and now < item.valid_from:
            found.append(ReasonCode.LICENSE_NOT_YET_VALID)
        if item.valid_until is not None and now >= item.valid_until:
            found.append(ReasonCode.LICENSE_EXPIRED)
        return checked(CheckName.VALIDITY, found)
    if item.issued_at is not None and now < item.issued_at:
        found.append(ReasonCode.NOT_YET_VALID)
    if item.valid_until is not None and now >= item.valid_until:
        found.append(ReasonCode.EXPIRED)
    return checked(CheckName.VALIDITY, found)


def _freshness(now: datetime, facts: ReuseFacts) -> Check:
    requirement, item = facts.requirement, facts.item
    if requirement.max_age_days is None and not requirement.stale_on:
        return not_applicable(CheckName.FRESHNESS)
    found: list[ReasonCode] = []
    if requirement.max_age_days is not None:
        if item.issued_at is None:
            found.append(ReasonCode.DATE_UNKNOWN)
        elif now >= item.issued_at + timedelta(days=requirement.max_age_days):
            found.append(ReasonCode.TOO_OLD)
    found += stale_reasons(now, requirement, item, facts.case.applicant, facts.events)
    return checked(CheckName.FRESHNESS, found)


def stale_reasons(
    now: datetime,
    requirement: Requirement,
    item: Item,
    applicant: str,
    events: tuple[PartyEvent, ...],
) -> list[ReasonCode]:
    """Which events since the item's date ended its freshness.

    Where an item of the applicant is asked for, the applicant's events count, and a
    change of ownership of any party: a landlord who moves does not end a lease.
    An event of the same instant does not: a lease signed on the day of the move
    is the new one. Where the document bears no date, an event after its registration
    is certainly later; an earlier one leaves the date unknown.
    """
    found: list[ReasonCode] = []
    own = {applicant} if requirement.subject is Subject.APPLICANT else set(item.party_ids)
    registered = item.registered_at if isinstance(item, MaterialItem) else None
    for event in events:
        if event.event not in requirement.stale_on or event.at > now:
            continue
        parties = own | set(item.party_ids) if event.event in OF_THE_ITEM else own
        if event.party not in parties:
            continue
        if item.issued_at is not None:
            if event.at > item.issued_at:
                found.append(EVENT_REASONS[event.event])
        elif registered is not None and event.at > registered:
            found.append(EVENT_REASONS[event.event])
        else:
            found.append(ReasonCode.DATE_UNKNOWN)
    return found


def _content(facts: ReuseFacts) -> Check:
    if isinstance(facts.item, LicenseItem) and facts.files is None:
        return not_applicable(CheckName.CONTENT)
    if not facts.files or FileOutcome.MISSING in facts.files:
        return checked(CheckName.CONTENT, [ReasonCode.CONTENT_MISSING])
    intact = all(outcome is FileOutcome.MATCH for outcome in facts.files)
    return checked(CheckName.CONTENT, [] if intact else [ReasonCode.CONTENT_MISMATCH])
