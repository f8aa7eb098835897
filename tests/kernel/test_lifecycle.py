"""Transition tables: what is not in the table is illegal, and drawings show the table."""

from enum import StrEnum

import pytest

from kernel.lifecycle import IllegalTransition, Lifecycle, mermaid


class State(StrEnum):
    OPEN = "open"
    SHUT = "shut"
    GONE = "gone"
    NEVER = "never"


class Event(StrEnum):
    SHUT = "shut_it"
    OPEN = "open_it"
    END = "end_it"


DOOR = Lifecycle(
    "door",
    (State.OPEN,),
    {
        (State.OPEN, Event.SHUT): State.SHUT,
        (State.SHUT, Event.OPEN): State.OPEN,
        (State.SHUT, Event.END): State.GONE,
    },
)


def test_exactly_the_table_is_legal():
    for state in State:
        for event in Event:
            if (state, event) in DOOR.transitions:
                assert DOOR.apply(state, event) is DOOR.transitions[state, event]
                assert event in DOOR.allowed(state)
            else:
                with pytest.raises(IllegalTransition) as refused:
                    DOOR.apply(state, event)
                assert refused.value.details == {
                    "lifecycle": "door",
                    "state": state.value,
                    "event": event.value,
                }
                assert event not in DOOR.allowed(state)


def test_reachable_and_final_states_follow_from_the_table():
    assert DOOR.reachable() == {State.OPEN, State.SHUT, State.GONE}
    assert DOOR.final() == {State.GONE}


def test_the_drawing_shows_every_transition_and_its_label():
    drawing = mermaid(DOOR, {"open": "开 open", "shut_it": "关: shut"})
    assert drawing.startswith("stateDiagram-v2\n")
    assert drawing.endswith("\n")
    assert "    open : 开 open\n" in drawing
    assert "    [*] --> open\n" in drawing
    assert "    open --> shut : 关： shut\n" in drawing
    assert "    shut --> gone : end_it\n" in drawing
    assert "    gone --> [*]\n" in drawing
    assert "never" not in drawing
