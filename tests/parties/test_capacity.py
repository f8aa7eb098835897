"""The pure rules of acting for another."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.clock import china_date
from kernel.principals import Capacity
from parties.capacity import (
    ALLOWED,
    Basis,
    CapacityFacts,
    MayAct,
    MayNotAct,
    PartyKind,
    Refusal,
    Term,
    WhyNot,
    adult_from,
    decide_acting,
    decide_registration,
)

NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
MILLI = timedelta(milliseconds=1)
others = st.sampled_from([item for item in Capacity if item is not Capacity.SELF])
moments = st.integers(-2000, 3000).map(lambda days: NOON + timedelta(days=days))


def capacity(start=NOON, until=None, ended=None, **changes):
    values = {
        "capacity_id": "cap_1",
        "holder": "H",
        "person": "P",
        "capacity": Capacity.AGENT,
        "basis": Basis.POWER_OF_ATTORNEY,
        "valid_from": start,
        "valid_until": until,
        "ended_at": ended,
        "ended_reason": None,
    }
    return CapacityFacts(**{**values, **changes})


def decide(at, *facts, person="P", holder="H", as_=Capacity.AGENT):
    return decide_acting(at, person, holder, as_, facts)


def test_validity_includes_its_first_moment_and_excludes_its_end():
    end = NOON + timedelta(days=1)
    for facts in (capacity(until=end), capacity(ended=end)):
        assert decide(NOON - MILLI, facts) == MayNotAct(WhyNot.NOT_YET)
        assert decide(NOON, facts) == MayAct(Capacity.AGENT, "cap_1")
        assert decide(end - MILLI, facts) == MayAct(Capacity.AGENT, "cap_1")
        assert decide(end, facts) == MayNotAct(WhyNot.ENDED)


def test_self_is_only_oneself_and_needs_no_registration():
    assert decide(NOON, person="P", holder="P", as_=Capacity.SELF) == MayAct(Capacity.SELF, None)
    assert decide(NOON, capacity(), as_=Capacity.SELF) == MayNotAct(WhyNot.NOT_THE_HOLDER)


@pytest.mark.parametrize(
    "changes", [{"person": "Q"}, {"holder": "I"}, {"capacity": Capacity.OPERATOR}]
)
def test_the_capacity_of_another_person_holder_or_kind_does_not_count(changes):
    assert decide(NOON, capacity(**changes)) == MayNotAct(WhyNot.NEVER_REGISTERED)


@given(st.lists(st.tuples(moments, moments, st.none() | moments)), moments)
def test_somebody_may_act_exactly_while_one_capacity_is_in_force(spans, at):
    facts = [capacity(start, until, ended) for start, until, ended in spans]
    expected = any(
        start <= at < (until if ended is None else min(until, ended))
        for start, until, ended in spans
    )
    assert isinstance(decide(at, *facts), MayAct) is expected


def register(at=NOON, as_=Capacity.GUARDIAN, basis=Basis.KINSHIP, born=None, until=None, **changes):
    values = {
        "same_party": False,
        "person_kind": PartyKind.PERSON,
        "holder_kind": PartyKind.PERSON,
        "holder_born": born,
        "valid_until": until,
    }
    return decide_registration(at, as_, basis, **{**values, **changes})


def test_a_guardian_acts_until_the_ward_is_eighteen():
    born = date(2010, 3, 5)
    of_age = datetime(2028, 3, 4, 16, 0, tzinfo=UTC)  # midnight of 5 March in China
    assert register(born=born) == Term(NOON, of_age)
    assert register(born=born, until=of_age + timedelta(days=9)) == Term(NOON, of_age)
    earlier = of_age - timedelta(days=9)
    assert register(born=born, until=earlier) == Term(NOON, earlier)
    assert register(of_age - MILLI, born=born) == Term(of_age - MILLI, of_age)
    assert register(of_age, born=born) is Refusal.WARD_IS_ADULT


def test_without_a_known_birth_date_a_guardian_needs_an_end():
    assert register() is Refusal.END_NEEDED
    end = NOON + timedelta(days=30)
    assert register(until=end) == Term(NOON, end)


@example(date(2008, 2, 29))
@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_legal_age_begins_with_the_eighteenth_birthday_in_china(born):
    first = adult_from(born)
    day, eve = china_date(first), china_date(first - MILLI)
    assert day - eve == timedelta(days=1)
    assert (day.year - born.year) == 18
    if (born.month, born.day) == (2, 29):
        assert (day.month, day.day) == (3, 1)  # 18 years later is never a leap year here
    else:
        assert (day.month, day.day) == (born.month, born.day)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"as_": Capacity.SELF}, Refusal.SELF_IS_DERIVED),
        ({"person_kind": PartyKind.ORGANIZATION}, Refusal.PERSON_IS_ORGANIZATION),
        ({"same_party": True}, Refusal.SAME_PARTY),
        ({"holder_kind": PartyKind.ORGANIZATION}, Refusal.HOLDER_KIND),
        ({"as_": Capacity.LEGAL_REPRESENTATIVE}, Refusal.HOLDER_KIND),
        ({"as_": Capacity.LICENSE_MANAGER}, Refusal.HOLDER_KIND),
        ({"basis": Basis.POWER_OF_ATTORNEY}, Refusal.BASIS),
        ({"as_": Capacity.AGENT}, Refusal.BASIS),
        ({"until": NOON}, Refusal.END_TOO_EARLY),
    ],
)
def test_a_capacity_that_cannot_exist_is_refused(changes, why):
    assert register(**changes) is why


@given(others, st.sampled_from(Basis), st.sampled_from(PartyKind))
def test_only_the_allowed_combinations_are_registered(as_, basis, holder_kind):
    until = NOON + timedelta(days=1)
    answer = register(as_=as_, basis=basis, holder_kind=holder_kind, until=until)
    kinds, bases = ALLOWED[as_]
    if holder_kind in kinds and basis in bases:
        assert answer == Term(NOON, until)
    else:
        assert isinstance(answer, Refusal)
