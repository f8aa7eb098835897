"""decide_reuse: one fact broken, many facts broken, and what can never turn a no into a yes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.principals import Capacity
from materials_api.cases.lifecycle import CaseOutcome
from materials_api.catalogue.terms import (
    ConsentRule,
    MaterialForm,
    PartyEventKind,
    Provenance,
    Route,
    Scope,
    Sensitivity,
    Subject,
)
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.decisions import (
    Allowed,
    CheckName,
    CheckResult,
    Denied,
    Evidence,
    decide,
    not_applicable,
)
from materials_api.rules.reasons import REASONS
from materials_api.rules.reasons import ReasonCode as R
from materials_api.rules.reuse import decide_reuse
from materials_api.rules.reuse_facts import (
    FileOutcome,
    PartyEvent,
    ProofFacts,
    ProofOutcome,
    ReuseFacts,
    StatutoryDuty,
)

Break = Callable[[Any, ReuseFacts], ReuseFacts]


def item(**changes: Any) -> Break:
    return lambda sample, facts: replace(facts, item=replace(facts.item, **changes))


def source(**changes: Any) -> Break:
    def apply(sample: Any, facts: ReuseFacts) -> ReuseFacts:
        changed = replace(facts.item.source, **changes)
        return replace(facts, item=replace(facts.item, source=changed))

    return apply


def grants(**changes: Any) -> Break:
    return lambda sample, facts: replace(
        facts, grants=tuple(replace(grant, **changes) for grant in facts.grants)
    )


def facts_(**changes: Any) -> Break:
    return lambda sample, facts: replace(facts, **changes)


def case(**changes: Any) -> Break:
    return lambda sample, facts: replace(facts, case=replace(facts.case, **changes))


def rule(**changes: Any) -> Break:
    return lambda sample, facts: replace(
        facts, requirement=facts.requirement.model_copy(update=changes)
    )


def event(kind: PartyEventKind, days: int, party: str = "company") -> Break:
    return lambda sample, facts: replace(
        facts,
        events=(
            *facts.events,
            PartyEvent(getattr(sample, party), kind, sample.NOW + days * sample.DAY),
        ),
    )


def later(field: str, days: int) -> Break:
    """Move a time of the item so many days from now."""
    return lambda sample, facts: replace(
        facts, item=replace(facts.item, **{field: sample.NOW + days * sample.DAY})
    )


def no_historic_route(sample: Any, facts: ReuseFacts) -> ReuseFacts:
    routes = tuple(one for one in facts.requirement.routes if one.route is Route.DATA_CHECK)
    return rule(routes=routes)(sample, facts)


def of_a_stranger(sample: Any, facts: ReuseFacts) -> ReuseFacts:
    """Somebody else's material, with that person's own consent."""
    changed = replace(facts.item, parties=(), source=replace(facts.item.source, applicant="pty_x"))
    mine = tuple(
        replace(grant, holder="pty_x", person="pty_x", capacity=None) for grant in facts.grants
    )
    return replace(facts, item=changed, grants=mine)


def scope_project(sample: Any, facts: ReuseFacts) -> ReuseFacts:
    historic = facts.requirement.historic_material
    assert historic is not None
    only = historic.model_copy(update={"scopes": (Scope.SAME_PROJECT,)})
    return rule(routes=(only,))(sample, facts)


# group -> [(what is broken, how, the reasons that this alone gives)]. One break per
# group can be combined with any break of the others.
BREAKS: dict[str, list[tuple[str, Break, tuple[R, ...]]]] = {
    "route": [("no route", no_historic_route, (R.ROUTE_NOT_OPEN,))],
    "type": [("type", item(type="layout_plan"), (R.TYPE_MISMATCH,))],
    "form": [
        ("form", item(form=MaterialForm.FORM), (R.FORM_NOT_REUSABLE,)),
        ("commitment", item(form=MaterialForm.COMMITMENT), (R.FORM_NOT_REUSABLE,)),
    ],
    "capacity": [
        ("no capacity", facts_(capacity=None), (R.CAPACITY_MISSING,)),
    ],
    "grant": [
        ("none", facts_(grants=()), (R.GRANT_MISSING,)),
        (
            "asked",
            grants(state=GrantState.REQUESTED, decided_at=None),
            (R.GRANT_PENDING, R.GRANTOR_NOT_ENTITLED),
        ),
        ("declined", grants(state=GrantState.DECLINED), (R.GRANT_DECLINED,)),
        ("lapsed", grants(state=GrantState.LAPSED), (R.GRANT_LAPSED,)),
        ("revoked", grants(state=GrantState.REVOKED), (R.GRANT_REVOKED,)),
        ("other case", grants(case_id="cas_other"), (R.GRANT_OTHER_CASE,)),
        (
            "spent",
            grants(case_id="cas_other", bound_by_use=True, state=GrantState.SPENT),
            (R.GRANT_SPENT,),
        ),
        ("spent on nothing", grants(case_id=None, state=GrantState.SPENT), (R.GRANT_SPENT,)),
        ("other audience", grants(audience="11310199MB2Y09094C"), (R.GRANT_OTHER_AUDIENCE,)),
        ("other matter", grants(matter="000118013000"), (R.GRANT_OTHER_MATTER,)),
        ("other item", grants(items=frozenset({"mat_other"})), (R.GRANT_NOT_FOR_ITEM,)),
        ("nothing approved", grants(items=frozenset()), (R.GRANT_NOT_FOR_ITEM,)),
        ("no capacity", grants(capacity=None), (R.GRANTOR_NOT_ENTITLED,)),
        ("nobody decided", grants(person=None), (R.GRANTOR_NOT_ENTITLED,)),
        ("row and record", grants(record_agrees=False), (R.RECORD_MISMATCH,)),
        ("asker", case(asking="11310199MB2Y09094C"), (R.ASKER_NOT_HANDLING,)),
        ("dissolved", event(PartyEventKind.DISSOLVED, -1), (R.HOLDER_ENDED,)),
        ("holder", of_a_stranger, (R.HOLDER_MISMATCH,)),
        ("project", scope_project, (R.NOT_SAME_PROJECT,)),
        (
            "duty without officer",
            facts_(basis=StatutoryDuty(" ", "310001", "审查员")),
            (R.STATUTORY_BASIS_INCOMPLETE,),
        ),
        (
            "duty without number",
            facts_(basis=StatutoryDuty("林知远", "", "审查员")),
            (R.STATUTORY_BASIS_INCOMPLETE,),
        ),
        (
            "duty without role",
            facts_(basis=StatutoryDuty("林知远", "310001", "")),
            (R.STATUTORY_BASIS_INCOMPLETE,),
        ),
    ],
    "state": [
        ("stopped", item(state=MaterialState.STOPPED), (R.MATERIAL_STOPPED,)),
        ("stopped early", item(state=MaterialState.STOPPED_PENDING), (R.MATERIAL_STOPPED,)),
        ("invalidated", item(state=MaterialState.INVALIDATED), (R.MATERIAL_INVALIDATED,)),
        ("superseded", item(state=MaterialState.SUPERSEDED), (R.MATERIAL_SUPERSEDED,)),
        ("rejected", item(state=MaterialState.REJECTED), (R.MATERIAL_REJECTED,)),
        ("erased", item(state=MaterialState.ERASED), (R.MATERIAL_ERASED,)),
    ],
    "source": [
        ("undecided", source(outcome=None), (R.SOURCE_CASE_STATE,)),
        ("refused", source(outcome=CaseOutcome.REFUSED), (R.SOURCE_CASE_OUTCOME,)),
        ("withdrawn", source(outcome=CaseOutcome.WITHDRAWN), (R.SOURCE_CASE_OUTCOME,)),
    ],
    "provenance": [
        ("copy", item(provenance=Provenance.UNCHECKED_COPY), (R.PROVENANCE_TOO_WEAK,)),
        ("scan", item(provenance=Provenance.BACK_SCAN), (R.PROVENANCE_TOO_WEAK,)),
    ],
    "validity": [("expired", later("valid_until", -1), (R.EXPIRED,))],
    "date": [
        ("old", later("issued_at", -366), (R.TOO_OLD,)),
        ("no date", item(issued_at=None), (R.DATE_UNKNOWN,)),
        ("future", later("issued_at", 1), (R.NOT_YET_VALID,)),
    ],
    "record": [("record", item(record_agrees=False), (R.RECORD_MISMATCH,))],
    "content": [
        ("flipped", facts_(files=(FileOutcome.MATCH, FileOutcome.MISMATCH)), (R.CONTENT_MISMATCH,)),
        ("lost", facts_(files=(FileOutcome.MISSING,)), (R.CONTENT_MISSING,)),
        ("no file", facts_(files=()), (R.CONTENT_MISSING,)),
        ("not hashed", facts_(files=None), (R.CONTENT_MISSING,)),
    ],
    "log": [
        ("pending", facts_(proof=ProofFacts(ProofOutcome.PENDING)), (R.NOT_YET_LOGGED,)),
        ("absent", facts_(proof=ProofFacts(ProofOutcome.ABSENT)), (R.NOT_IN_LOG,)),
        ("unplaced", facts_(proof=ProofFacts(ProofOutcome.PROVED)), (R.NOT_IN_LOG,)),
    ],
}
SINGLES = [
    pytest.param(how, reasons, id=f"{group}: {name}")
    for group, breaks in BREAKS.items()
    for name, how, reasons in breaks
]


def test_sound_facts_are_allowed_with_evidence(sample: Any) -> None:
    decision = decide_reuse(sample.NOW, sample.reuse())
    assert isinstance(decision, Allowed)
    assert decision.evidence.grants == decision.evidence.spend == ("grt_pty_company",)
    assert (decision.evidence.shard, decision.evidence.index) == ("2026", 17)
    assert decision.evidence.route is Route.HISTORIC_MATERIAL
    assert decision.evidence.basis == "consent"


@pytest.mark.parametrize(("how", "reasons"), SINGLES)
def test_a_single_broken_fact_denies_with_exactly_its_reason(
    sample: Any, how: Break, reasons: tuple[R, ...]
) -> None:
    decision = decide_reuse(sample.NOW, how(sample, sample.reuse()))
    assert isinstance(decision, Denied)
    assert decision.reasons == reasons
    assert Route.DATA_CHECK in decision.alternatives or how is scope_project


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_many_broken_facts_are_all_reported(sample: Any, data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.sampled_from(sorted(BREAKS)), unique=True, min_size=1))
    facts, expected = sample.reuse(), set()
    # `grant` first: some of its breaks replace the item's parties.
    for group in sorted(groups, key=lambda name: name != "grant"):
        name, how, reasons = data.draw(st.sampled_from(BREAKS[group]))
        if name == "project" and "route" in groups:
            continue
        facts = how(sample, facts)
        expected |= set(reasons)
    decision = decide_reuse(sample.NOW, facts)
    if not expected:
        assert isinstance(decision, Allowed)
        return
    assert isinstance(decision, Denied)
    assert set(decision.reasons) == expected


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_revoking_or_losing_a_grant_never_turns_no_into_yes(
    sample: Any, data: st.DataObject
) -> None:
    facts = any_facts(sample, data)
    before = decide_reuse(sample.NOW, facts)
    for at in range(len(facts.grants)):
        revoked = list(facts.grants)
        revoked[at] = replace(revoked[at], state=GrantState.REVOKED)
        lost = facts.grants[:at] + facts.grants[at + 1 :]
        for changed in (tuple(revoked), lost):
            after = decide_reuse(sample.NOW, replace(facts, grants=changed))
            assert not (isinstance(before, Denied) and isinstance(after, Allowed))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_allowed_exactly_when_every_check_passes_and_the_essentials_hold(
    sample: Any, data: st.DataObject
) -> None:
    facts = any_facts(sample, data)
    decision = decide_reuse(sample.NOW, facts)
    names = [check.name for check in decision.checks]
    assert names == sorted(names, key=list(CheckName).index)
    assert len(set(names)) == len(names) == 14
    for check in decision.checks:
        assert (check.result is CheckResult.FAILED) == bool(check.reasons)
        assert all(code in REASONS for code in check.reasons)
    assert isinstance(decision, Allowed) == all(check.passed for check in decision.checks)
    if isinstance(decision, Denied):
        assert decision.reasons == tuple(
            dict.fromkeys(code for check in decision.checks for code in check.reasons)
        )
        return
    # What must be true of every yes, said without the rule's own words.
    thing = facts.item
    assert thing.state is MaterialState.REUSABLE
    assert thing.form is MaterialForm.ORIGINAL
    assert thing.record_agrees
    assert facts.files
    assert set(facts.files) == {FileOutcome.MATCH}
    assert facts.proof.outcome is ProofOutcome.PROVED
    assert thing.valid_until is None or thing.valid_until > sample.NOW
    if isinstance(facts.basis, StatutoryDuty):
        assert decision.evidence.grants == ()
    else:
        used = [grant for grant in facts.grants if grant.grant_id in decision.evidence.grants]
        assert used
        for grant in used:
            assert grant.state in (GrantState.GRANTED, GrantState.SPENT)
            assert grant.case_id in (None, facts.case.case_id)
            assert thing.item in grant.items
            assert grant.expires_at is None or grant.expires_at > sample.NOW
        if facts.consent is ConsentRule.ALL:
            assert {grant.holder for grant in used} == set(thing.party_ids)


def any_facts(sample: Any, data: st.DataObject) -> ReuseFacts:
    """Facts with a few things changed, good and bad ones."""
    draw = data.draw
    facts = draw(
        st.sampled_from(
            [
                sample.reuse(),
                sample.co_owned(sample.grant(sample.owner), sample.grant(sample.co_owner)),
                sample.co_owned(sample.grant()),
                sample.reuse(grants=(sample.grant(), sample.grant(sample.owner))),
            ]
        )
    )
    grants_ = tuple(
        replace(
            grant,
            state=draw(st.sampled_from([GrantState.GRANTED] * 4 + list(GrantState))),
            use=draw(st.sampled_from(GrantUse)),
            case_id=draw(st.sampled_from(["cas_now", "cas_now", None, "cas_other"])),
            bound_by_use=draw(st.booleans()),
            expires_at=draw(
                st.sampled_from(
                    [None, sample.NOW, sample.NOW + sample.DAY, sample.NOW + sample.DAY]
                )
            ),
        )
        for grant in facts.grants
    )
    facts = replace(
        facts,
        grants=grants_,
        consent=draw(st.sampled_from(ConsentRule)),
        basis=draw(
            st.sampled_from([facts.basis] * 4 + [StatutoryDuty("林知远", "310001", "审查员")])
        ),
        files=draw(st.sampled_from([facts.files] * 4 + [(FileOutcome.MISMATCH,), ()])),
    )
    few = st.lists(st.sampled_from([p.values[0] for p in SINGLES]), max_size=1)
    for how in draw(few):
        facts = how(sample, facts)
    return facts


def test_nothing_checked_is_never_allowed(sample: Any) -> None:
    evidence = Evidence(Route.LICENSE, "consent")
    for checks in ([], [not_applicable(CheckName.GRANT)]):
        with pytest.raises(ValueError, match="nothing was checked"):
            decide(checks, evidence, [])


def test_statutory_duty_needs_no_grant_but_everything_else(sample: Any) -> None:
    duty = StatutoryDuty("林知远", "310001", "审查员")
    decision = decide_reuse(sample.NOW, sample.reuse(basis=duty, grants=()))
    assert isinstance(decision, Allowed)
    assert decision.evidence.basis == "statutory_duty"
    assert decision.evidence.spend == ()
    stopped = item(state=MaterialState.STOPPED)(sample, sample.reuse(basis=duty, grants=()))
    assert isinstance(decide_reuse(sample.NOW, stopped), Denied)


def test_an_outcome_that_the_route_names_counts_with_its_pending_material(sample: Any) -> None:
    historic = sample.requirement().historic_material.model_copy(
        update={"outcomes": (CaseOutcome.APPROVED, CaseOutcome.WITHDRAWN)}
    )
    facts = rule(routes=(historic,))(sample, sample.reuse())
    facts = source(outcome=CaseOutcome.WITHDRAWN)(sample, facts)
    facts = item(state=MaterialState.PENDING)(sample, facts)
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed)
    approved = source(outcome=CaseOutcome.APPROVED)(sample, facts)
    decision = decide_reuse(sample.NOW, approved)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.MATERIAL_NOT_VERIFIED,)


def test_the_same_project_opens_what_another_holder_handed_in(sample: Any) -> None:
    facts = scope_project(sample, sample.reuse())
    facts = of_a_stranger(sample, facts)
    facts = source(project="2026-001", applicant="pty_x")(sample, facts)
    facts = case(project="2026-001")(sample, facts)
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed)
    other = decide_reuse(sample.NOW, case(project="2026-002")(sample, facts))
    assert isinstance(other, Denied)
    assert other.reasons == (R.NOT_SAME_PROJECT,)


def test_an_employee_counts_by_authorising_in_person(sample: Any) -> None:
    facts = rule(subject=Subject.RELATED)(sample, of_a_stranger(sample, sample.reuse()))
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed)
    without = decide_reuse(sample.NOW, replace(facts, grants=()))
    assert isinstance(without, Denied)
    assert without.reasons == (R.HOLDER_MISMATCH, R.GRANT_MISSING)


def test_a_person_item_is_not_met_by_the_companys(sample: Any) -> None:
    facts = rule(subject=Subject.PERSON)(sample, sample.reuse())
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.HOLDER_MISMATCH,)


@pytest.mark.parametrize(
    ("sensitivity", "capacity", "entitled"),
    [
        (Sensitivity.ORDINARY, Capacity.OPERATOR, True),
        (Sensitivity.PERSONAL, Capacity.OPERATOR, False),
        (Sensitivity.PERSONAL, Capacity.LICENSE_MANAGER, True),
        (Sensitivity.SENSITIVE, Capacity.LICENSE_MANAGER, False),
        (Sensitivity.SENSITIVE, Capacity.LEGAL_REPRESENTATIVE, True),
        (Sensitivity.SENSITIVE, Capacity.GUARDIAN, True),
        (Sensitivity.ORDINARY, Capacity.SELF, False),
    ],
)
def test_who_may_authorise_depends_on_what_the_item_reveals(
    sample: Any, sensitivity: Sensitivity, capacity: Capacity, entitled: bool
) -> None:
    grant = sample.grant(capacity=sample.capacity(sample.boss, capacity))
    facts = sample.reuse(type=sample.type(sensitivity), grants=(grant,))
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed) == entitled


def test_a_landlords_move_does_not_end_a_lease_but_a_sale_does(sample: Any) -> None:
    moved = event(PartyEventKind.ADDRESS_CHANGED, -1, "owner")(sample, sample.reuse())
    assert isinstance(decide_reuse(sample.NOW, moved), Allowed)
    sold = event(PartyEventKind.OWNERSHIP_CHANGED, -1, "owner")(sample, sample.reuse())
    decision = decide_reuse(sample.NOW, sold)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.OWNERSHIP_CHANGED_SINCE,)


def test_an_applicant_who_acts_in_person_needs_no_capacity(sample: Any) -> None:
    facts = case(person=sample.company)(sample, sample.reuse(capacity=None))
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed)


def test_acting_for_oneself_is_no_capacity_for_somebody_else(sample: Any) -> None:
    facts = sample.reuse(capacity=sample.capacity(kind=Capacity.SELF))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.CAPACITY_MISSING,)


def test_a_type_that_is_a_form_is_never_reused_whatever_the_item_says(sample: Any) -> None:
    form = sample.type().model_copy(update={"form": MaterialForm.FORM})
    decision = decide_reuse(sample.NOW, sample.reuse(type=form))
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.FORM_NOT_REUSABLE,)


@pytest.mark.parametrize("field", ["holder", "person"])
def test_a_capacity_for_somebody_else_does_not_count(sample: Any, field: str) -> None:
    capacity = replace(sample.capacity(), **{field: sample.stranger})
    decision = decide_reuse(sample.NOW, sample.reuse(capacity=capacity))
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.CAPACITY_MISSING,)
