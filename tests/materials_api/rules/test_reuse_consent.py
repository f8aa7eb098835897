"""Consent of any or all parties, and which grants a use spends."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materials_api.catalogue.terms import ConsentRule, PartyRole
from materials_api.grants.lifecycle import GrantState, GrantUse, spend
from materials_api.rules.decisions import Allowed, Denied
from materials_api.rules.reasons import REASONS
from materials_api.rules.reasons import ReasonCode as R
from materials_api.rules.reuse import decide_reuse
from materials_api.rules.reuse_facts import PartyShare
from materials_api.rules.rule_errors import GrantBoundElsewhere


def test_the_grant_of_who_handed_it_in_does_not_replace_the_co_owners(sample: Any) -> None:
    decision = decide_reuse(sample.NOW, sample.co_owned(sample.grant()))
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.CO_OWNER_CONSENT_MISSING,)
    assert REASONS[decision.reasons[0]].zh == "共有人未授权"


@pytest.mark.parametrize("missing", ["owner", "co_owner"])
def test_one_owner_alone_is_not_all(sample: Any, missing: str) -> None:
    present = {"owner": sample.co_owner, "co_owner": sample.owner}[missing]
    decision = decide_reuse(sample.NOW, sample.co_owned(sample.grant(present)))
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.CO_OWNER_CONSENT_MISSING,)


def test_all_owners_together_are_enough_and_each_grant_is_spent(sample: Any) -> None:
    grants = (sample.grant(sample.co_owner), sample.grant(sample.owner))
    decision = decide_reuse(sample.NOW, sample.co_owned(*grants))
    assert isinstance(decision, Allowed)
    assert set(decision.evidence.spend) == {"grt_pty_owner", "grt_pty_co_owner"}


def test_a_co_owners_revoked_grant_is_named_beside_the_missing_consent(sample: Any) -> None:
    revoked = sample.grant(sample.co_owner, state=GrantState.REVOKED)
    decision = decide_reuse(sample.NOW, sample.co_owned(sample.grant(sample.owner), revoked))
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.CO_OWNER_CONSENT_MISSING, R.GRANT_REVOKED)


def test_any_party_is_enough_where_the_rule_says_any(sample: Any) -> None:
    facts = sample.reuse(grants=(sample.grant(sample.owner),))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Allowed)
    assert decision.evidence.grants == ("grt_pty_owner",)


def test_who_handed_it_in_is_not_a_party_by_that_alone(sample: Any) -> None:
    only_owner = (PartyShare(sample.owner, PartyRole.OWNER),)
    facts = sample.reuse(item=replace(sample.material(), parties=only_owner))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.PARTY_CONSENT_MISSING,)
    alone = decide_reuse(sample.NOW, replace(facts, consent=ConsentRule.ALL))
    assert isinstance(alone, Denied)
    assert alone.reasons == (R.PARTY_CONSENT_MISSING,)


def test_a_strangers_grant_never_counts(sample: Any) -> None:
    facts = sample.reuse(grants=(sample.grant(sample.stranger),))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.GRANTOR_NOT_ENTITLED,)


def test_as_little_as_possible_is_spent_whatever_the_order(sample: Any) -> None:
    grants = [
        sample.grant(grant_id="grt_a", case_id=None),
        sample.grant(grant_id="grt_b", case_id=None, use=GrantUse.UNTIL),
        sample.grant(grant_id="grt_c"),
        sample.grant(grant_id="grt_d", state=GrantState.SPENT),
    ]
    for order in permutations(grants):
        decision = decide_reuse(sample.NOW, sample.reuse(grants=order))
        assert isinstance(decision, Allowed)
        assert (decision.evidence.grants, decision.evidence.spend) == (("grt_d",), ())
    for count, (used, spent) in enumerate(
        [(("grt_c",), ("grt_c",)), (("grt_b",), ()), (("grt_a",), ("grt_a",))]
    ):
        decision = decide_reuse(sample.NOW, sample.reuse(grants=tuple(grants[: 3 - count])))
        assert isinstance(decision, Allowed)
        assert (decision.evidence.grants, decision.evidence.spend) == (used, spent)


@given(order=st.permutations([f"cas_{n}" for n in range(30)]), repeats=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_an_unbound_once_grant_serves_the_first_case_only(order: list[str], repeats: int) -> None:
    state, bound = GrantState.GRANTED, None
    served = []
    for case_id in [case for case in order for _ in range(repeats)]:
        try:
            spent = spend(state, GrantUse.ONCE, bound, case_id)
        except GrantBoundElsewhere:
            continue
        state, bound = spent.state, spent.case_id
        served.append((case_id, spent.changed))
    assert served == [(order[0], n == 0) for n in range(repeats)]


def test_a_lasting_grant_is_not_spent_and_stays_unbound() -> None:
    spent = spend(GrantState.GRANTED, GrantUse.UNTIL, None, "cas_a")
    assert (spent.state, spent.case_id, spent.changed) == (GrantState.GRANTED, None, False)
    with pytest.raises(GrantBoundElsewhere):
        spend(GrantState.GRANTED, GrantUse.UNTIL, "cas_a", "cas_b")


def test_the_other_cases_see_why_after_the_first_spent_it(sample: Any) -> None:
    unbound = sample.grant(case_id="cas_first", state=GrantState.SPENT, bound_by_use=True)
    denied = decide_reuse(sample.NOW, sample.reuse(grants=(unbound,)))
    assert isinstance(denied, Denied)
    assert denied.first.code is R.GRANT_SPENT
    bound = sample.grant(case_id="cas_first", state=GrantState.SPENT)
    denied = decide_reuse(sample.NOW, sample.reuse(grants=(bound,)))
    assert isinstance(denied, Denied)
    assert denied.first.zh == "授权仅限原办件"
