"""Who sees which case: the rule, over every role, body, holder and state."""

from hypothesis import given
from hypothesis import strategies as st

from kernel.principals import Principal, Role
from materials_api.cases.lifecycle import CaseState
from materials_api.rules.visibility import (
    CaseScope,
    Seen,
    Unseen,
    UnseenReason,
    decide_visibility,
)

BODIES = ("market", "health", "civil", "archive")
HOLDERS = ("company", "citizen")
CLOSED = {CaseState.CLOSED, CaseState.FILED}

bodies = st.sampled_from(BODIES)
principals = st.builds(
    Principal,
    subject=st.just("tok_x"),
    role=st.sampled_from(Role),
    org=st.none() | bodies,
    holder=st.none() | st.sampled_from(HOLDERS),
    keeps=st.frozensets(bodies),
)
cases = st.builds(
    CaseScope,
    applicant=st.sampled_from(HOLDERS),
    window_org=st.none() | bodies,
    department=bodies,
    state=st.sampled_from(CaseState),
)
archivists = st.builds(
    Principal,
    subject=st.just("tok_x"),
    role=st.just(Role.ARCHIVIST),
    org=bodies,
    keeps=st.frozensets(bodies),
)


@given(principals, cases)
def test_whoever_sees_a_case_has_a_title_to_it(who: Principal, case: CaseScope) -> None:
    if decide_visibility(who, case) != Seen():
        return
    assert who.role not in (Role.AUDITOR, Role.OPERATOR)
    if who.role is Role.APPLICANT:
        assert who.holder == case.applicant
    elif who.role is Role.WINDOW:
        assert who.org == case.window_org is not None
    elif who.role is Role.DEPARTMENT:
        assert who.org == case.department
    else:
        assert who.org is not None
        assert case.department == who.org or case.department in who.keeps
        assert case.state in CLOSED


@given(archivists, cases)
def test_an_archivist_sees_all_closed_cases_of_its_fonds_and_is_told_why_not_others(
    who: Principal, case: CaseScope
) -> None:
    seen = decide_visibility(who, case)
    if case.department != who.org and case.department not in who.keeps:
        assert seen == Unseen(UnseenReason.OTHER_FONDS)
    elif case.state not in CLOSED:
        assert seen == Unseen(UnseenReason.NOT_CLOSED)
    else:
        assert seen == Seen()


@given(archivists, cases, bodies)
def test_a_body_less_in_the_fonds_takes_away_its_cases_alone(
    who: Principal, case: CaseScope, body: str
) -> None:
    less = Principal(who.subject, who.role, org=who.org, keeps=who.keeps - {body})
    if case.department == body != who.org:
        assert decide_visibility(less, case) == Unseen(UnseenReason.OTHER_FONDS)
    else:
        assert decide_visibility(less, case) == decide_visibility(who, case)


@given(principals, cases)
def test_kept_bodies_mean_nothing_to_other_roles(who: Principal, case: CaseScope) -> None:
    if who.role is Role.ARCHIVIST:
        who = Principal(who.subject, Role.DEPARTMENT, org=who.org, keeps=who.keeps)
    without = Principal(who.subject, who.role, org=who.org, holder=who.holder)
    assert decide_visibility(who, case) == decide_visibility(without, case)


@given(cases, st.frozensets(bodies))
def test_who_belongs_to_no_body_and_acts_for_nobody_sees_nothing(
    case: CaseScope, keeps: frozenset[str]
) -> None:
    for role in Role:
        nobody = Principal("tok_x", role, keeps=keeps)
        assert isinstance(decide_visibility(nobody, case), Unseen), role
