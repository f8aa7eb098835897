"""Which grants cover a use: one grant at a time, then the consent of the parties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from kernel.principals import Capacity
from materials_api.catalogue.terms import (
    ENDING_EVENTS,
    ConsentRule,
    PartyRole,
    Sensitivity,
)
from materials_api.grants.lifecycle import GrantStanding, GrantState, GrantUse, standing
from materials_api.rules.decisions import Check, CheckName, checked, not_applicable
from materials_api.rules.reasons import ReasonCode
from materials_api.rules.reuse_facts import GrantFacts, MaterialItem, ReuseFacts, StatutoryDuty

# Who may authorise for another, by what the item reveals. The chain is legal
# representative, licence managers, operators; sensitive personal information needs
# the separate consent of those who stand in for the holder by law or by mandate.
MAY_GRANT: Mapping[Sensitivity, frozenset[Capacity]] = MappingProxyType(
    {
        Sensitivity.ORDINARY: frozenset(Capacity),
        Sensitivity.PERSONAL: frozenset(Capacity) - {Capacity.OPERATOR},
        Sensitivity.SENSITIVE: frozenset(
            {Capacity.SELF, Capacity.LEGAL_REPRESENTATIVE, Capacity.GUARDIAN, Capacity.AGENT}
        ),
    }
)

_NOT_LIVE: Mapping[GrantStanding, ReasonCode] = MappingProxyType(
    {
        GrantStanding.REQUESTED: ReasonCode.GRANT_PENDING,
        GrantStanding.DECLINED: ReasonCode.GRANT_DECLINED,
        GrantStanding.LAPSED: ReasonCode.GRANT_LAPSED,
        GrantStanding.EXPIRED: ReasonCode.GRANT_EXPIRED,
        GrantStanding.REVOKED: ReasonCode.GRANT_REVOKED,
    }
)


@dataclass(frozen=True, slots=True)
class Authorisation:
    """The two checks, the grants that count, and which of them this use spends."""

    grant: Check
    consent: Check
    grants: tuple[GrantFacts, ...] = ()

    def spends(self, case_id: str) -> tuple[str, ...]:
        return tuple(
            grant.grant_id
            for grant in self.grants
            if grant.use is GrantUse.ONCE
            and (grant.state, grant.case_id) != (GrantState.SPENT, case_id)
        )


def authorisation(now: datetime, facts: ReuseFacts) -> Authorisation:
    """Whether the holders, or the law, let the asker use the item in this case."""
    asker = [] if facts.case.asking in facts.case.organizations else [ReasonCode.ASKER_NOT_HANDLING]
    if isinstance(facts.basis, StatutoryDuty):
        basis = [] if facts.basis.complete else [ReasonCode.STATUTORY_BASIS_INCOMPLETE]
        grant = checked(CheckName.GRANT, basis + asker)
        if not (basis or asker):
            grant = not_applicable(CheckName.GRANT)
        return Authorisation(grant, not_applicable(CheckName.CONSENT))
    failures = {grant.grant_id: grant_failures(now, facts, grant) for grant in facts.grants}
    usable = [grant for grant in facts.grants if not failures[grant.grant_id]]
    if usable:
        consent, counted = _consent(facts, usable, failures)
        return Authorisation(checked(CheckName.GRANT, asker), consent, counted)
    reasons = [code for grant in facts.grants for code in failures[grant.grant_id]]
    grant = checked(CheckName.GRANT, asker + (reasons or [ReasonCode.GRANT_MISSING]))
    # Without one usable grant there is nobody's consent to weigh: the reason above says it.
    return Authorisation(grant, not_applicable(CheckName.CONSENT))


def grant_failures(now: datetime, facts: ReuseFacts, grant: GrantFacts) -> tuple[ReasonCode, ...]:
    """Every reason why this grant does not cover the item in this case; empty when it does."""
    found: list[ReasonCode] = []
    case = facts.case
    if not grant.record_agrees:
        found.append(ReasonCode.RECORD_MISMATCH)
    dead = _NOT_LIVE.get(standing(now, grant.state, grant.expires_at))
    if dead is not None:
        found.append(dead)
    elif grant.decided_at is None or now < grant.decided_at:
        found.append(ReasonCode.GRANT_NOT_YET_VALID)
    if grant.case_id is not None and grant.case_id != case.case_id:
        found.append(ReasonCode.GRANT_SPENT if grant.bound_by_use else ReasonCode.GRANT_OTHER_CASE)
    elif grant.case_id is None and grant.state is GrantState.SPENT:
        found.append(ReasonCode.GRANT_SPENT)  # spent on nothing known: never usable
    if grant.audience is not None and grant.audience not in case.organizations:
        found.append(ReasonCode.GRANT_OTHER_AUDIENCE)
    if grant.matter is not None and grant.matter != case.matter:
        found.append(ReasonCode.GRANT_OTHER_MATTER)
    if facts.item.item not in grant.items:
        found.append(ReasonCode.GRANT_NOT_FOR_ITEM)
    if not _entitled(facts, grant):
        found.append(ReasonCode.GRANTOR_NOT_ENTITLED)
    if any(
        event.party == grant.holder and event.event in ENDING_EVENTS and event.at <= now
        for event in facts.events
    ):
        found.append(ReasonCode.HOLDER_ENDED)
    return tuple(found)


def _entitled(facts: ReuseFacts, grant: GrantFacts) -> bool:
    """The grant's holder is a party of the item, or handed it in; and whoever decided
    was the holder, or could act for the holder in this at that time."""
    item = facts.item
    owners = set(item.party_ids)
    if isinstance(item, MaterialItem):
        owners.add(item.source.applicant)
    if grant.holder not in owners:
        return False
    if grant.person is not None and grant.person == grant.holder:
        return True
    capacity = grant.capacity
    return (
        capacity is not None
        and grant.decided_at is not None
        and (capacity.holder, capacity.person) == (grant.holder, grant.person)
        and capacity.capacity is not Capacity.SELF
        and capacity.capacity in MAY_GRANT[facts.type.sensitivity]
        and capacity.holds_at(grant.decided_at)
    )


def _consent(
    facts: ReuseFacts,
    usable: Sequence[GrantFacts],
    failures: Mapping[str, tuple[ReasonCode, ...]],
) -> tuple[Check, tuple[GrantFacts, ...]]:
    """The rule over the item's parties, and the grants that satisfy it."""
    case_id = facts.case.case_id
    parties = facts.item.party_ids
    best: dict[str, GrantFacts] = {}
    for grant in sorted(usable, key=lambda grant: _preference(grant, case_id)):
        best.setdefault(grant.holder, grant)
    given = [best[party] for party in parties if party in best]
    if facts.consent is ConsentRule.ANY:
        if not given:
            return checked(CheckName.CONSENT, [ReasonCode.PARTY_CONSENT_MISSING]), ()
        counted = min(given, key=lambda grant: _preference(grant, case_id))
        return checked(CheckName.CONSENT, []), (counted,)
    missing = [party for party in parties if party not in best]
    if not missing:
        return checked(CheckName.CONSENT, []), tuple(given)
    co_owned = len(parties) > 1 or _roles(facts, missing) & {PartyRole.CO_OWNER}
    reasons = [
        ReasonCode.CO_OWNER_CONSENT_MISSING if co_owned else ReasonCode.PARTY_CONSENT_MISSING
    ]
    for grant in facts.grants:
        if grant.holder in missing:
            reasons += failures[grant.grant_id]
    return checked(CheckName.CONSENT, reasons), ()


def _roles(facts: ReuseFacts, parties: Sequence[str]) -> set[PartyRole]:
    shares = facts.item.parties if isinstance(facts.item, MaterialItem) else ()
    return {share.role for share in shares if share.party in parties}


def _preference(grant: GrantFacts, case_id: str) -> tuple[bool, bool, bool, str]:
    """Spend as little as possible: first what this case already spent or is bound to,
    then grants that last, then unbound once-grants; the id makes it definite."""
    return (
        not (grant.state is GrantState.SPENT and grant.case_id == case_id),
        grant.case_id != case_id,
        grant.use is not GrantUse.UNTIL,
        grant.grant_id,
    )
