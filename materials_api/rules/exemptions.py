"""What need not be brought: per requirement the routes, open or not and why. Pure.

Asked at the start of a case, before anybody has authorised anything. So it looks at
kinds, states and dates only, and answers with types and counts. What only a
verification can find stays out, or is a caution: a lease from before a move is still
offered, because the clerk may find that it names the new address.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from materials_api.catalogue.model import Catalogue, Matter, Requirement
from materials_api.catalogue.requirements import (
    DataCheckRoute,
    HistoricMaterialRoute,
    LicenseRoute,
    RouteRule,
)
from materials_api.catalogue.terms import MaterialForm, Route, Scope
from materials_api.rules.exemption_facts import (
    Assessment,
    Available,
    CandidateCount,
    LicenseCandidate,
    MaterialCandidate,
    RequirementAssessment,
    RouteAssessment,
)
from materials_api.rules.reasons import EVENT_REASONS, ReasonCode
from materials_api.rules.reuse import LICENSE_STANDING_REASONS, MATERIAL_STATE_REASONS


def assess(
    now: datetime, catalogue: Catalogue, matter: Matter, variant: str, available: Available
) -> Assessment:
    """Which requirements of the matter's variant can be exempted, and by which routes."""
    return Assessment(
        tuple(
            RequirementAssessment(
                requirement=requirement,
                name=catalogue.name_of(requirement),
                routes=tuple(
                    _route(now, requirement, rule, available) for rule in requirement.routes
                ),
                met=available.met.get(requirement.key),
            )
            for requirement in matter.required(variant)
        )
    )


def may_need_reason(requirement: Requirement) -> bool:
    """Whether `upload_needs_reason` could be true of it at all."""
    return requirement.mandatory and bool(requirement.routes)


def upload_needs_reason(assessment: Assessment, requirement: str) -> bool:
    """Whether bringing this material needs a reason, because a route is open (应免未免).

    What nobody demands needs none: a voluntary addition (其他材料) is no paper
    that should have been spared.
    """
    found = assessment.of(requirement)
    return found is not None and found.requirement.mandatory and found.preferred is not None


def _route(
    now: datetime, requirement: Requirement, rule: RouteRule, available: Available
) -> RouteAssessment:
    if isinstance(rule, DataCheckRoute):
        if rule.register_key in available.registers:
            return RouteAssessment(rule.route, True)
        return RouteAssessment(rule.route, False, ReasonCode.SOURCE_OUTAGE)
    if isinstance(rule, LicenseRoute):
        return _licenses(now, requirement, rule, available)
    if isinstance(rule, HistoricMaterialRoute):
        return _materials(now, requirement, rule, available)
    return RouteAssessment(rule.route, True)


def _licenses(
    now: datetime, requirement: Requirement, rule: LicenseRoute, available: Available
) -> RouteAssessment:
    if not available.license_source:
        return RouteAssessment(rule.route, False, ReasonCode.SOURCE_OUTAGE)
    mine = [
        one
        for one in available.licenses
        if one.kind in rule.kinds and requirement.subject in one.whose
    ]
    judged = [(one, _license_reasons(now, requirement, one)) for one in mine]
    good = [one for one, reasons in judged if not reasons]
    cautions = [_caution(now, requirement, one.issued_at, None, available) for one in good]
    counts = _counts("license", [one.kind for one in good])
    return _outcome(rule.route, [reasons for _, reasons in judged], cautions, counts)


def _license_reasons(
    now: datetime, requirement: Requirement, one: LicenseCandidate
) -> list[ReasonCode]:
    bad = LICENSE_STANDING_REASONS.get(one.standing)
    found = [] if bad is None else [bad]
    if one.valid_from is not None and now < one.valid_from:
        found.append(ReasonCode.LICENSE_NOT_YET_VALID)
    if one.valid_until is not None and now >= one.valid_until:
        found.append(ReasonCode.LICENSE_EXPIRED)
    return found + _age(now, requirement, one.issued_at)


def _materials(
    now: datetime, requirement: Requirement, rule: HistoricMaterialRoute, available: Available
) -> RouteAssessment:
    mine = [one for one in available.materials if one.type == requirement.type]
    judged = [(one, _material_reasons(now, requirement, rule, one)) for one in mine]
    good = [one for one, reasons in judged if not reasons]
    cautions = [
        _caution(now, requirement, one.issued_at, one.registered_at, available) for one in good
    ]
    counts = _counts("material", [one.type for one in good])
    return _outcome(rule.route, [reasons for _, reasons in judged], cautions, counts)


def _material_reasons(
    now: datetime, requirement: Requirement, rule: HistoricMaterialRoute, one: MaterialCandidate
) -> list[ReasonCode]:
    found: list[ReasonCode] = []
    holds = {
        Scope.SAME_HOLDER: requirement.subject in one.whose,
        Scope.SAME_PROJECT: one.same_project,
    }
    if not any(holds[scope] for scope in rule.scopes):
        found.append(
            ReasonCode.HOLDER_MISMATCH
            if Scope.SAME_HOLDER in rule.scopes
            else ReasonCode.NOT_SAME_PROJECT
        )
    if one.form is not MaterialForm.ORIGINAL:
        found.append(ReasonCode.FORM_NOT_REUSABLE)
    bad = MATERIAL_STATE_REASONS.get(one.state)
    if bad is not None:
        found.append(bad)
    if one.outcome is None:
        found.append(ReasonCode.SOURCE_CASE_STATE)
    elif one.outcome not in rule.outcomes:
        found.append(ReasonCode.SOURCE_CASE_OUTCOME)
    if not one.provenance.at_least(requirement.provenance):
        found.append(ReasonCode.PROVENANCE_TOO_WEAK)
    if one.issued_at is not None and now < one.issued_at:
        found.append(ReasonCode.NOT_YET_VALID)
    if one.valid_until is not None and now >= one.valid_until:
        found.append(ReasonCode.EXPIRED)
    return found + _age(now, requirement, one.issued_at)


def _age(now: datetime, requirement: Requirement, issued_at: datetime | None) -> list[ReasonCode]:
    if requirement.max_age_days is None:
        return []
    if issued_at is None:
        return [ReasonCode.DATE_UNKNOWN]
    old = now >= issued_at + timedelta(days=requirement.max_age_days)
    return [ReasonCode.TOO_OLD] if old else []


def _caution(
    now: datetime,
    requirement: Requirement,
    issued_at: datetime | None,
    registered_at: datetime | None,
    available: Available,
) -> ReasonCode | None:
    dated = issued_at or registered_at
    for kind, at in available.events:
        if kind in requirement.stale_on and at <= now and (dated is None or at > dated):
            return EVENT_REASONS[kind]
    return None


def _counts(kind: str, types: Sequence[str]) -> tuple[CandidateCount, ...]:
    return tuple(CandidateCount(kind, one, types.count(one)) for one in sorted(set(types)))


def _outcome(
    route: Route,
    judged: Sequence[Sequence[ReasonCode]],
    cautions: Sequence[ReasonCode | None],
    counts: tuple[CandidateCount, ...],
) -> RouteAssessment:
    """Open with a candidate that fits; closed for what ails the candidate that fits best."""
    if cautions:
        caution = None if None in cautions else cautions[0]
        return RouteAssessment(route, True, None, caution, counts)
    if not judged:
        return RouteAssessment(route, False, ReasonCode.NO_CANDIDATE)
    return RouteAssessment(route, False, min(judged, key=len)[0])
