"""Checks that reuse and data checks have in common."""

from datetime import datetime

from kernel.principals import Capacity
from materials_api.catalogue.model import Requirement
from materials_api.catalogue.terms import Route
from materials_api.rules.decisions import Check, CheckName, checked, passed
from materials_api.rules.reasons import ReasonCode
from materials_api.rules.reuse_facts import CapacityFacts, CaseFacts, ProofFacts, ProofOutcome


def capacity_check(now: datetime, case: CaseFacts, capacity: CapacityFacts | None) -> Check:
    """The person who acts in this case may act for its applicant, now."""
    if case.person == case.applicant:
        return passed(CheckName.CAPACITY)
    named = capacity is not None and (capacity.holder, capacity.person) == (
        case.applicant,
        case.person,
    )
    if capacity is None or not named or capacity.capacity is Capacity.SELF:
        return checked(CheckName.CAPACITY, [ReasonCode.CAPACITY_MISSING])
    if capacity.over_at(now):
        return checked(CheckName.CAPACITY, [ReasonCode.CAPACITY_ENDED])
    if not capacity.holds_at(now):
        return checked(CheckName.CAPACITY, [ReasonCode.CAPACITY_MISSING])
    return passed(CheckName.CAPACITY)


def log_check(proof: ProofFacts) -> Check:
    """The record stands in the log, proved against a trusted checkpoint."""
    if proof.outcome is ProofOutcome.PENDING:
        return checked(CheckName.LOG, [ReasonCode.NOT_YET_LOGGED])
    placed = None not in (proof.shard, proof.index, proof.size)
    if proof.outcome is ProofOutcome.ABSENT or not placed:
        return checked(CheckName.LOG, [ReasonCode.NOT_IN_LOG])
    return passed(CheckName.LOG)


def alternatives(requirement: Requirement, tried: Route) -> tuple[Route, ...]:
    """The other routes that the requirement opens, in its order of preference."""
    return tuple(rule.route for rule in requirement.routes if rule.route is not tried)
