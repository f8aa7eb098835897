"""The transition tables: what they allow, what nothing may undo, and their diagrams."""

import re
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import Conflict
from kernel.lifecycle import IllegalTransition, Lifecycle, mermaid
from materials_api.cases import lifecycle as case_lifecycle
from materials_api.cases.lifecycle import CASES, CaseEvent, CaseOutcome, CaseState, outcome_of
from materials_api.grants import lifecycle as grant_lifecycle
from materials_api.grants.lifecycle import GRANTS, GrantEvent, GrantStanding, GrantState, standing
from materials_api.lifecycles import DIAGRAMS
from materials_api.materials import lifecycle as material_lifecycle
from materials_api.materials.lifecycle import MATERIALS, MaterialEvent, MaterialState
from materials_api.rules.rule_errors import (
    CaseTransitionIllegal,
    CorrectionAlreadyAsked,
    GrantTransitionIllegal,
    MaterialTransitionIllegal,
)

TABLES: list[tuple[Lifecycle[Any, Any], type[StrEnum], type[StrEnum], type[IllegalTransition]]] = [
    (CASES, CaseState, CaseEvent, CaseTransitionIllegal),
    (MATERIALS, MaterialState, MaterialEvent, MaterialTransitionIllegal),
    (GRANTS, GrantState, GrantEvent, GrantTransitionIllegal),
]
IDS = ["case", "material", "grant"]


@pytest.mark.parametrize(("table", "states", "events", "refusal"), TABLES, ids=IDS)
def test_every_pair_is_in_the_table_or_refused_with_a_code(
    table: Lifecycle[Any, Any],
    states: type[StrEnum],
    events: type[StrEnum],
    refusal: type[IllegalTransition],
) -> None:
    for state in states:
        for event in events:
            if (state, event) in table.transitions:
                assert table.apply(state, event) is table.transitions[state, event]
                assert event in table.allowed(state)
                continue
            with pytest.raises(refusal) as caught:
                table.apply(state, event)
            assert isinstance(caught.value, Conflict)
            assert caught.value.details == {
                "lifecycle": table.name,
                "state": state.value,
                "event": event.value,
            }
            assert state.value in caught.value.message_zh()


@pytest.mark.parametrize(("table", "states", "events", "refusal"), TABLES, ids=IDS)
def test_every_state_is_reachable_and_every_event_is_used(
    table: Lifecycle[Any, Any], states: type[StrEnum], events: type[StrEnum], refusal: Any
) -> None:
    assert table.reachable() == frozenset(states)
    assert {event for _, event in table.transitions} == set(events)


@pytest.mark.parametrize(
    ("table", "final"),
    [
        (CASES, {CaseState.FILED}),
        (MATERIALS, {MaterialState.ERASED}),
        (GRANTS, {GrantState.DECLINED, GrantState.LAPSED, GrantState.REVOKED}),
    ],
    ids=IDS,
)
def test_nothing_leads_out_of_a_final_state(table: Lifecycle[Any, Any], final: set[Any]) -> None:
    assert table.final() == final


def walk(table: Lifecycle[Any, Any], start: Any, events: list[Any]) -> list[Any]:
    """The states passed, ignoring refused events; a refusal changes nothing."""
    states = [start]
    for event in events:
        try:
            states.append(table.apply(states[-1], event))
        except IllegalTransition:
            assert (states[-1], event) not in table.transitions
    return states


@given(events=st.lists(st.sampled_from(CaseEvent), max_size=25))
@settings(max_examples=100, deadline=None)
def test_an_outcome_once_decided_stays_and_filing_needs_one(events: list[CaseEvent]) -> None:
    states = walk(CASES, CaseState.DRAFT, events)
    decided: CaseOutcome | None = None
    for at in range(len(states)):
        now = outcome_of(states[: at + 1])
        assert decided is None or now is decided
        decided = now
    if CaseState.CLOSED in states:
        assert decided is not None
    if CaseState.APPROVED in states:
        assert CaseState.ACCEPTED in states
    if CaseState.FILED in states:
        assert states[-2] is CaseState.CLOSED


@given(events=st.lists(st.sampled_from(MaterialEvent), max_size=25))
@settings(max_examples=100, deadline=None)
def test_a_bad_material_never_becomes_reusable_again(events: list[MaterialEvent]) -> None:
    states = walk(MATERIALS, MaterialState.PENDING, events)
    bad = {
        MaterialState.REJECTED,
        MaterialState.SUPERSEDED,
        MaterialState.INVALIDATED,
        MaterialState.ERASED,
    }
    first = next((at for at, state in enumerate(states) if state in bad), len(states))
    assert MaterialState.REUSABLE not in states[first:]
    if MaterialState.ERASED in states:
        assert states[-1] is MaterialState.ERASED
    if MaterialState.REUSABLE in states:
        assert MaterialEvent.VERIFY in events


@given(events=st.lists(st.sampled_from(MaterialEvent), max_size=12))
@settings(max_examples=60, deadline=None)
def test_stopping_and_resuming_leads_back_to_where_it_was(events: list[MaterialEvent]) -> None:
    state = walk(MATERIALS, MaterialState.PENDING, events)[-1]
    if MaterialEvent.STOP not in MATERIALS.allowed(state):
        return
    stopped = MATERIALS.apply(state, MaterialEvent.STOP)
    assert MATERIALS.apply(stopped, MaterialEvent.RESUME) is state


def test_an_approval_does_not_undo_the_holders_stop() -> None:
    stopped = material_lifecycle.apply(MaterialState.PENDING, MaterialEvent.STOP)
    assert material_lifecycle.apply(stopped, MaterialEvent.VERIFY) is MaterialState.STOPPED


@given(
    start=st.sampled_from([GrantState.REQUESTED, GrantState.GRANTED]),
    events=st.lists(st.sampled_from(GrantEvent), max_size=20),
)
@settings(max_examples=100, deadline=None)
def test_a_revocation_is_never_undone(start: GrantState, events: list[GrantEvent]) -> None:
    states = walk(GRANTS, start, events)
    if GrantState.REVOKED in states:
        assert states[-1] is GrantState.REVOKED
    if GrantState.SPENT in states and start is GrantState.REQUESTED:
        assert GrantState.GRANTED in states


def test_a_correction_is_asked_for_once() -> None:
    asked = case_lifecycle.apply(CaseState.SUBMITTED, CaseEvent.ASK_CORRECTION)
    assert asked is CaseState.CORRECTION_ASKED
    with pytest.raises(CorrectionAlreadyAsked):
        case_lifecycle.apply(CaseState.SUBMITTED, CaseEvent.ASK_CORRECTION, corrections=1)
    assert (
        case_lifecycle.apply(CaseState.SUBMITTED, CaseEvent.ACCEPT, corrections=1)
        is CaseState.ACCEPTED
    )


def test_every_case_event_has_a_role_that_may_cause_it() -> None:
    assert set(case_lifecycle.EVENT_ROLES) == set(CaseEvent)
    assert all(case_lifecycle.EVENT_ROLES.values())


@pytest.mark.parametrize("state", GrantState)
def test_expiry_is_derived_at_its_own_instant(sample: Any, state: GrantState) -> None:
    before = standing(sample.NOW, state, sample.NOW + sample.DAY)
    assert before == GrantStanding(state.value) == standing(sample.NOW, state, None)
    at = standing(sample.NOW, state, sample.NOW)
    if state in (GrantState.GRANTED, GrantState.SPENT):
        assert at is GrantStanding.EXPIRED
    elif state is GrantState.REQUESTED:
        assert at is GrantStanding.LAPSED
    else:
        assert at == before


@pytest.mark.parametrize("name", sorted(DIAGRAMS))
def test_a_diagram_draws_every_transition_once_and_in_chinese(name: str) -> None:
    table = {"case": CASES, "material": MATERIALS, "grant": GRANTS}[name]
    text = DIAGRAMS[name]()
    assert text.startswith("stateDiagram-v2\n")
    assert text.endswith("\n")
    arrows = re.findall(r"^    (\w+) --> (\w+) : (.+)$", text, re.MULTILINE)
    expected = [(before.value, after.value) for (before, _), after in table.transitions.items()]
    assert [(before, after) for before, after, _ in arrows] == expected
    assert all(re.search(r"[\u4e00-\u9fff]", label) for _, _, label in arrows)
    assert len(re.findall(r"--> \[\*\]$", text, re.MULTILINE)) == len(table.final())


def test_every_label_is_of_a_state_or_an_event() -> None:
    for module, states, events in [
        (case_lifecycle, CaseState, CaseEvent),
        (material_lifecycle, MaterialState, MaterialEvent),
        (grant_lifecycle, GrantState, GrantEvent),
    ]:
        assert set(module.LABELS_ZH) == {*states, *events}


def test_a_label_cannot_break_the_diagram() -> None:
    text = mermaid(GRANTS, {GrantEvent.SPEND: "a: b\nc --> d"})
    assert "granted --> spent : a： b c --> d" in text
    assert len(text.splitlines()) == len(mermaid(GRANTS).splitlines())
