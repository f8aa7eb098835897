"""Lifecycles as transition tables: the one way to apply an event, and to draw the table.

A lifecycle is data: `(state, event) -> state`. What is not in the table is
illegal; it raises and changes nothing. Rooms keep one table per file, and the
diagrams in the documentation are drawn from it by `mermaid`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from kernel.errors import Conflict

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class IllegalTransition(Conflict):
    """The event is not allowed in this state. Details: lifecycle, state, event."""

    code = "illegal_transition"
    zh = "当前状态（{state}）不允许此操作（{event}）"
    en = "the event {event} is not allowed in the state {state}"


@dataclass(frozen=True)
class Lifecycle(Generic[S, E]):
    """A named transition table.

    `starts` are the states in which a thing may be born. `refusal` is the
    room's own `IllegalTransition`, so that its code names the lifecycle.
    """

    name: str
    starts: tuple[S, ...]
    transitions: Mapping[tuple[S, E], S]
    refusal: type[IllegalTransition] = field(default=IllegalTransition)

    def apply(self, state: S, event: E) -> S:
        """The state after `event`; `refusal` when the table does not allow it."""
        after = self.transitions.get((state, event))
        if after is None:
            raise self.refusal(lifecycle=self.name, state=state.value, event=event.value)
        return after

    def allowed(self, state: S) -> tuple[E, ...]:
        """The events that are legal in `state`, in the order of the table."""
        return tuple(event for before, event in self.transitions if before is state)

    def reachable(self) -> frozenset[S]:
        """Every state that some sequence of events leads to."""
        seen = set(self.starts)
        waiting = list(self.starts)
        while waiting:
            state = waiting.pop()
            for event in self.allowed(state):
                after = self.transitions[state, event]
                if after not in seen:
                    seen.add(after)
                    waiting.append(after)
        return frozenset(seen)

    def final(self) -> frozenset[S]:
        """The reachable states that no event leaves."""
        return frozenset(
            state
            for state in self.reachable()
            if all(self.transitions[state, event] is state for event in self.allowed(state))
        )


def mermaid(lifecycle: Lifecycle[S, E], labels: Mapping[str, str] | None = None) -> str:
    """The table as a Mermaid `stateDiagram-v2`, ending in a newline.

    `labels` maps values of states and events to what people read; a value
    without a label is shown as it is.
    """
    words = labels or {}

    def word(value: str) -> str:
        # A colon would end a label, a line break would end the statement.
        text = words.get(value, value)
        return " ".join(text.replace(":", "：").split())

    states = list(lifecycle.starts)
    for (before, _), after in lifecycle.transitions.items():
        states += [before, after]
    lines = ["stateDiagram-v2"]
    lines += [f"    {state.value} : {word(state.value)}" for state in dict.fromkeys(states)]
    lines += [f"    [*] --> {state.value}" for state in lifecycle.starts]
    lines += [
        f"    {before.value} --> {after.value} : {word(event.value)}"
        for (before, event), after in lifecycle.transitions.items()
    ]
    final = lifecycle.final()
    lines += [f"    {state.value} --> [*]" for state in dict.fromkeys(states) if state in final]
    return "\n".join(lines) + "\n"
