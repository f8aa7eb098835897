"""decide_data_check: what a register's answer must contain, and for whom it may be asked."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materials_api.catalogue.terms import Route
from materials_api.rules.decisions import Allowed, Denied
from materials_api.rules.reasons import ReasonCode as R
from materials_api.rules.reuse import decide_data_check
from materials_api.rules.reuse_facts import ProofFacts, ProofOutcome, RegisterOutcome, StatutoryDuty


def test_an_answer_that_agrees_is_allowed(sample: Any) -> None:
    decision = decide_data_check(sample.NOW, sample.data_check())
    assert isinstance(decision, Allowed)
    assert decision.evidence.route is Route.DATA_CHECK


def test_a_named_landlord_may_be_asked_about_and_a_stranger_not(sample: Any) -> None:
    named = sample.data_check(subject=sample.owner)
    assert isinstance(decide_data_check(sample.NOW, named), Allowed)
    other = decide_data_check(sample.NOW, sample.data_check(subject=sample.stranger))
    assert isinstance(other, Denied)
    assert other.reasons == (R.HOLDER_MISMATCH,)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"outcome": RegisterOutcome.OUTAGE}, R.SOURCE_OUTAGE),
        ({"outcome": RegisterOutcome.NO_RECORD}, R.DATA_NO_RECORD),
        ({"outcome": RegisterOutcome.ENDED}, R.DATA_ENDED),
        ({"agreed": {"owners": True, "location": False}}, R.DATA_MISMATCH),
        ({"agreed": {"owners": True}}, R.DATA_INCOMPLETE),
        ({"agreed": {}}, R.DATA_INCOMPLETE),
        ({"register_key": "population"}, R.ROUTE_NOT_OPEN),
        ({"record_agrees": False}, R.RECORD_MISMATCH),
        ({"proof": ProofFacts(ProofOutcome.PENDING)}, R.NOT_YET_LOGGED),
        ({"proof": ProofFacts(ProofOutcome.ABSENT)}, R.NOT_IN_LOG),
        ({"basis": StatutoryDuty("林知远", "", "审查员")}, R.STATUTORY_BASIS_INCOMPLETE),
        ({"capacity": None}, R.CAPACITY_MISSING),
    ],
)
def test_a_single_broken_fact_denies_with_exactly_its_reason(
    sample: Any, changes: dict[str, Any], code: R
) -> None:
    decision = decide_data_check(sample.NOW, sample.data_check(**changes))
    assert isinstance(decision, Denied)
    assert decision.reasons == (code,)
    assert Route.DATA_CHECK not in decision.alternatives
    assert Route.HISTORIC_MATERIAL in decision.alternatives


def test_a_requirement_without_the_route_is_never_met_by_data(sample: Any) -> None:
    facts = sample.data_check(requirement=sample.requirement(routes=()))
    decision = decide_data_check(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.ROUTE_NOT_OPEN, R.DATA_INCOMPLETE)


def test_a_body_that_does_not_handle_the_case_is_refused(sample: Any) -> None:
    case = replace(sample.case(), asking="11310199MB2Y09094C")
    decision = decide_data_check(sample.NOW, sample.data_check(case=case))
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.ASKER_NOT_HANDLING,)


@given(agreed=st.dictionaries(st.sampled_from(["owners", "location", "usage"]), st.booleans()))
@settings(max_examples=40, deadline=None)
def test_allowed_exactly_when_every_field_of_the_route_agrees(
    sample: Any, agreed: dict[str, bool]
) -> None:
    decision = decide_data_check(sample.NOW, sample.data_check(agreed=agreed))
    wanted = agreed.get("owners") is True and agreed.get("location") is True
    assert isinstance(decision, Allowed) == wanted
