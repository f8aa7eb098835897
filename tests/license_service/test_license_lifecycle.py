"""The lifecycle table and the status at a moment. Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from license_service.errors import IllegalLicenseTransition
from license_service.lifecycle import (
    LABELS,
    LIFECYCLE,
    SUPERSEDING,
    TAINTING,
    EffectiveStatus,
    Event,
    Happened,
    Status,
    diagram,
    status_at,
)

NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
DAY, MILLI = timedelta(days=1), timedelta(milliseconds=1)
S, E = Status, Event

# Written out once more, by hand, from the description of the domain.
LEGAL = {
    (S.DRAFTED, E.ISSUE, S.VALID),
    (S.VALID, E.INSPECT, S.VALID),
    (S.VALID, E.CHANGE, S.SUPERSEDED),
    (S.VALID, E.RENEW, S.SUPERSEDED),
    (S.VALID, E.REISSUE, S.SUPERSEDED),
    (S.VALID, E.SUSPEND, S.SUSPENDED),
    (S.SUSPENDED, E.RESUME, S.VALID),
    (S.VALID, E.WITHDRAW, S.WITHDRAWN),
    (S.SUSPENDED, E.WITHDRAW, S.WITHDRAWN),
    (S.VALID, E.REVOKE, S.REVOKED),
    (S.SUSPENDED, E.REVOKE, S.REVOKED),
    (S.VALID, E.RESCIND, S.RESCINDED),
    (S.SUSPENDED, E.RESCIND, S.RESCINDED),
    (S.SUPERSEDED, E.RESCIND, S.RESCINDED),
    (S.WITHDRAWN, E.RESCIND, S.RESCINDED),
    (S.REVOKED, E.RESCIND, S.RESCINDED),
    (S.DEREGISTERED, E.RESCIND, S.RESCINDED),
    (S.VALID, E.ANNUL, S.ANNULLED),
    (S.SUSPENDED, E.ANNUL, S.ANNULLED),
    (S.SUPERSEDED, E.ANNUL, S.ANNULLED),
    (S.VALID, E.DEREGISTER, S.DEREGISTERED),
    (S.SUSPENDED, E.DEREGISTER, S.DEREGISTERED),
    (S.WITHDRAWN, E.DEREGISTER, S.DEREGISTERED),
    (S.RESCINDED, E.DEREGISTER, S.DEREGISTERED),
    (S.REVOKED, E.DEREGISTER, S.DEREGISTERED),
}


def test_the_table_is_exactly_the_described_lifecycle():
    table = {(before, event, after) for (before, event), after in LIFECYCLE.transitions.items()}
    assert table == LEGAL


@given(st.sampled_from(Status), st.sampled_from(Event))
def test_what_is_not_in_the_table_is_refused(status, event):
    legal = {(before, happening): after for before, happening, after in LEGAL}
    if (status, event) in legal:
        assert LIFECYCLE.apply(status, event) is legal[status, event]
    else:
        with pytest.raises(IllegalLicenseTransition):
            LIFECYCLE.apply(status, event)


def test_every_status_can_be_reached_and_no_ended_licence_becomes_valid_again():
    assert LIFECYCLE.reachable() == frozenset(Status)
    back = {before for before, _, after in LEGAL if after is S.VALID}
    assert back == {S.DRAFTED, S.VALID, S.SUSPENDED}


def test_the_diagram_shows_the_table_in_both_languages():
    drawing = diagram()
    for before, event, after in LEGAL:
        label = LABELS[event.value]
        assert f"    {before.value} --> {after.value} : {label}\n" in drawing
    assert all(LABELS[status.value] in drawing for status in Status)
    assert {status.value for status in EffectiveStatus} <= set(LABELS)


def happened(*steps):
    """Events one day apart from NOON on, or at given times."""
    made, status = [], S.DRAFTED
    for number, step in enumerate(steps):
        event, at = step if isinstance(step, tuple) else (step, NOON + number * DAY)
        status = S.VALID if event in SUPERSEDING and not made else LIFECYCLE.apply(status, event)
        made.append(Happened(event, status, at, f"ent_{number}"))
    return made


def test_validity_includes_its_first_moment_and_excludes_its_end():
    start, end = NOON + 2 * DAY, NOON + 4 * DAY
    history = happened(E.ISSUE)
    expected = {
        NOON - MILLI: EffectiveStatus.NOT_ISSUED,
        NOON: EffectiveStatus.NOT_YET_VALID,
        start - MILLI: EffectiveStatus.NOT_YET_VALID,
        start: EffectiveStatus.VALID,
        end - MILLI: EffectiveStatus.VALID,
        end: EffectiveStatus.EXPIRED,
    }
    for at, status in expected.items():
        answer = status_at(history, start, end, at)
        assert answer.status is status, at
        assert answer.valid is (status is EffectiveStatus.VALID)


def test_an_event_counts_from_the_moment_it_takes_effect():
    history = happened(E.ISSUE, E.SUSPEND, E.RESUME, E.REVOKE)
    expected = [
        EffectiveStatus.VALID,
        EffectiveStatus.SUSPENDED,
        EffectiveStatus.VALID,
        EffectiveStatus.REVOKED,
    ]
    for number, status in enumerate(expected):
        at = NOON + number * DAY
        assert status_at(history, None, None, at).status is status
        assert status_at(history, None, None, at).since == at
        assert status_at(history, None, None, at + DAY - MILLI).status is status


def test_a_licence_that_has_ended_does_not_become_merely_expired():
    history = happened(E.ISSUE, E.REVOKE)
    later = NOON + 90 * DAY
    assert status_at(history, NOON, NOON + 9 * DAY, later).status is EffectiveStatus.REVOKED
    suspended = happened(E.ISSUE, E.SUSPEND)
    assert status_at(suspended, NOON, NOON + 9 * DAY, later).status is EffectiveStatus.EXPIRED


@pytest.mark.parametrize("event", [e for e in Event if (S.VALID, e) in LIFECYCLE.transitions])
def test_only_rescission_and_annulment_reach_back(event):
    history = happened(E.ISSUE, event)
    before = status_at(history, None, None, NOON)
    assert before.status is EffectiveStatus.VALID
    assert before.tainted is (event in TAINTING)
    assert before.valid is (event not in TAINTING)
    assert {E.RESCIND, E.ANNUL} == TAINTING


def test_a_rescinded_licence_stays_tainted_after_its_deregistration():
    answer = status_at(happened(E.ISSUE, E.RESCIND, E.DEREGISTER), None, None, NOON + 9 * DAY)
    assert answer.status is EffectiveStatus.DEREGISTERED
    assert answer.tainted


events = st.lists(st.sampled_from(Event), max_size=8)


@given(events, st.integers(-2, 12), st.integers(-2, 12), st.integers(0, 12))
def test_a_licence_is_valid_only_inside_its_dates_and_while_nothing_ended_it(
    wanted, at_day, start_day, length
):
    legal, status = [E.ISSUE], S.VALID
    for event in wanted:
        if (status, event) in LIFECYCLE.transitions:
            legal.append(event)
            status = LIFECYCLE.apply(status, event)
    history = happened(*legal)
    at, start = NOON + at_day * DAY, NOON + start_day * DAY
    end = start + length * DAY
    answer = status_at(history, start, end, at)
    last = [item for item in history if item.effective_at <= at]
    inside = start <= at < end
    in_force = bool(last) and last[-1].status is S.VALID
    assert (answer.status is EffectiveStatus.VALID) is (inside and in_force)
    assert answer.tainted is bool({E.RESCIND, E.ANNUL} & set(legal))
