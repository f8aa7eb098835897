"""Does a register's answer meet a requirement (数据核验)? Pure."""

from datetime import datetime

from materials_api.catalogue.terms import Route
from materials_api.rules.common_checks import alternatives, capacity_check, log_check
from materials_api.rules.decisions import (
    Check,
    CheckName,
    Decision,
    Evidence,
    checked,
    decide,
    not_applicable,
)
from materials_api.rules.reasons import ReasonCode
from materials_api.rules.reuse_facts import DataCheckFacts, RegisterOutcome, StatutoryDuty


def decide_data_check(now: datetime, facts: DataCheckFacts) -> Decision:
    """Decide whether a register's answer meets a requirement (数据核验).

    Sharing between authorities rests on the matter itself (State Council order
    716), so no grant is asked for; a named statutory duty must be complete. Every
    field of the route must agree; what the register left out is not agreement.
    """
    rule = facts.requirement.data_check
    asked = rule is not None and rule.register_key == facts.register_key
    own = frozenset({facts.case.applicant}) | facts.case.people | facts.named
    basis = facts.basis
    duty = isinstance(basis, StatutoryDuty)
    grounds: list[ReasonCode] = []
    if isinstance(basis, StatutoryDuty) and not basis.complete:
        grounds.append(ReasonCode.STATUTORY_BASIS_INCOMPLETE)
    if facts.case.asking not in facts.case.organizations:
        grounds.append(ReasonCode.ASKER_NOT_HANDLING)
    checks = [
        checked(CheckName.ROUTE, [] if asked else [ReasonCode.ROUTE_NOT_OPEN]),
        checked(CheckName.HOLDER, [] if facts.subject in own else [ReasonCode.HOLDER_MISMATCH]),
        capacity_check(now, facts.case, facts.capacity),
        checked(CheckName.GRANT, grounds) if grounds else not_applicable(CheckName.GRANT),
        _answer(facts),
        checked(CheckName.RECORD, [] if facts.record_agrees else [ReasonCode.RECORD_MISMATCH]),
        not_applicable(CheckName.LOG) if facts.proof is None else log_check(facts.proof),
    ]
    evidence = Evidence(
        route=Route.DATA_CHECK,
        basis="statutory_duty" if duty else "consent",
        shard=facts.proof.shard if facts.proof else None,
        index=facts.proof.index if facts.proof else None,
        size=facts.proof.size if facts.proof else None,
    )
    return decide(checks, evidence, alternatives(facts.requirement, Route.DATA_CHECK))


def _answer(facts: DataCheckFacts) -> Check:
    simple = {
        RegisterOutcome.OUTAGE: ReasonCode.SOURCE_OUTAGE,
        RegisterOutcome.NO_RECORD: ReasonCode.DATA_NO_RECORD,
        RegisterOutcome.ENDED: ReasonCode.DATA_ENDED,
    }
    if facts.outcome in simple:
        return checked(CheckName.ANSWER, [simple[facts.outcome]])
    rule = facts.requirement.data_check
    wanted = rule.fields if rule is not None else ()
    found: list[ReasonCode] = []
    for field in wanted:
        agrees = facts.agreed.get(field)
        if agrees is None:
            found.append(ReasonCode.DATA_INCOMPLETE)
        elif not agrees:
            found.append(ReasonCode.DATA_MISMATCH)
    if not wanted:
        found.append(ReasonCode.DATA_INCOMPLETE)
    return checked(CheckName.ANSWER, found)
