"""Both edges of every interval: [start, end), to the millisecond."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from materials_api.catalogue.terms import PartyEventKind
from materials_api.rules.decisions import Allowed, Denied
from materials_api.rules.reasons import ReasonCode as R
from materials_api.rules.reuse import decide_reuse
from materials_api.rules.reuse_facts import PartyEvent, ReuseFacts

MS = timedelta(milliseconds=1)
Place = Callable[[Any, datetime], ReuseFacts]


STARTS: dict[str, tuple[Place, R]] = {
    "grant decided": (lambda s, t: s.reuse(grants=(s.grant(decided_at=t),)), R.GRANT_NOT_YET_VALID),
    "licence valid from": (
        lambda s, t: s.license_reuse(item=replace(s.license(), valid_from=t)),
        R.LICENSE_NOT_YET_VALID,
    ),
    "material issued": (
        lambda s, t: s.reuse(item=replace(s.material(), issued_at=t)),
        R.NOT_YET_VALID,
    ),
    "capacity from": (
        lambda s, t: s.reuse(capacity=replace(s.capacity(), valid_from=t)),
        R.CAPACITY_MISSING,
    ),
}
ENDS: dict[str, tuple[Place, R]] = {
    "grant expires": (lambda s, t: s.reuse(grants=(s.grant(expires_at=t),)), R.GRANT_EXPIRED),
    "licence valid until": (
        lambda s, t: s.license_reuse(item=replace(s.license(), valid_until=t)),
        R.LICENSE_EXPIRED,
    ),
    "material valid until": (
        lambda s, t: s.reuse(item=replace(s.material(), valid_until=t)),
        R.EXPIRED,
    ),
    "material too old": (
        lambda s, t: s.reuse(item=replace(s.material(), issued_at=t - 365 * s.DAY)),
        R.TOO_OLD,
    ),
    "capacity until": (
        lambda s, t: s.reuse(capacity=replace(s.capacity(), valid_until=t)),
        R.CAPACITY_ENDED,
    ),
    "capacity ended": (
        lambda s, t: s.reuse(
            capacity=replace(s.capacity(), ended_at=t, valid_until=s.NOW + 9 * s.DAY)
        ),
        R.CAPACITY_ENDED,
    ),
    "address changes": (
        lambda s, t: s.reuse(events=(PartyEvent(s.company, PartyEventKind.ADDRESS_CHANGED, t),)),
        R.ADDRESS_CHANGED_SINCE,
    ),
    "holder dissolved": (
        lambda s, t: s.reuse(events=(PartyEvent(s.company, PartyEventKind.DISSOLVED, t),)),
        R.HOLDER_ENDED,
    ),
}


@pytest.mark.parametrize(("place", "code"), STARTS.values(), ids=STARTS)
def test_a_start_counts_from_its_own_instant(sample: Any, place: Place, code: R) -> None:
    assert isinstance(decide_reuse(sample.NOW, place(sample, sample.NOW)), Allowed)
    early = decide_reuse(sample.NOW, place(sample, sample.NOW + MS))
    assert isinstance(early, Denied)
    assert code in early.reasons


@pytest.mark.parametrize(("place", "code"), ENDS.values(), ids=ENDS)
def test_an_end_is_over_at_its_own_instant(sample: Any, place: Place, code: R) -> None:
    assert isinstance(decide_reuse(sample.NOW, place(sample, sample.NOW + MS)), Allowed)
    over = decide_reuse(sample.NOW, place(sample, sample.NOW))
    assert isinstance(over, Denied)
    assert over.reasons == (code,)


def test_an_event_of_the_documents_own_instant_does_not_end_it(sample: Any) -> None:
    issued = sample.material().issued_at
    same = PartyEvent(sample.company, PartyEventKind.ADDRESS_CHANGED, issued)
    assert isinstance(decide_reuse(sample.NOW, sample.reuse(events=(same,))), Allowed)
    after = replace(same, at=issued + MS)
    assert isinstance(decide_reuse(sample.NOW, sample.reuse(events=(after,))), Denied)


def test_without_a_date_an_event_after_registration_is_certain_and_one_before_is_not(
    sample: Any,
) -> None:
    undated = replace(sample.material(), issued_at=None)
    requirement = sample.requirement(max_age_days=None)
    for at, code in [
        (undated.registered_at + MS, R.ADDRESS_CHANGED_SINCE),
        (undated.registered_at, R.DATE_UNKNOWN),
    ]:
        event = PartyEvent(sample.company, PartyEventKind.ADDRESS_CHANGED, at)
        facts = sample.reuse(item=undated, requirement=requirement, events=(event,))
        decision = decide_reuse(sample.NOW, facts)
        assert isinstance(decision, Denied)
        assert decision.reasons == (code,)
    quiet = sample.reuse(item=undated, requirement=requirement)
    assert isinstance(decide_reuse(sample.NOW, quiet), Allowed)


@pytest.mark.parametrize("shift", [-MS, timedelta(0), MS])
def test_the_grantors_capacity_counts_when_they_decided(sample: Any, shift: timedelta) -> None:
    grant = sample.grant()
    begins = replace(grant.capacity, valid_from=grant.decided_at + shift)
    facts = sample.reuse(grants=(replace(grant, capacity=begins),))
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed) == (shift <= timedelta(0))
    ends = replace(grant.capacity, ended_at=grant.decided_at + shift)
    facts = sample.reuse(grants=(replace(grant, capacity=ends),))
    # Ended later, but before now: the authorisation was given by who could give it.
    assert isinstance(decide_reuse(sample.NOW, facts), Allowed) == (shift > timedelta(0))
