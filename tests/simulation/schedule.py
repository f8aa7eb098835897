"""Who runs next, and what breaks: both drawn from one seeded generator.

Actors are greenlets. An actor gives the baton back before every call of a port, so
that a seed names one interleaving of such calls, and the faults in it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import greenlet


class Injected(Exception):
    """A port failed; whether it did its work is not said."""


class Crash(BaseException):
    """The process was killed: nothing of it runs on."""


class Violation(BaseException):
    """An invariant does not hold. Nothing catches it but the run itself."""


class Fault(Enum):
    """What may happen to one call of a port."""

    LOST = "fails and is not applied"
    APPLIED = "is applied and fails: the answer is lost"
    HALF = "is half applied and fails"
    LATE = "fails, and is applied some time later"
    TWICE = "is applied, and once more some time later"
    HANG = "waits while others go on, and is then applied"
    FLIPPED = "a bit of what it carries is flipped"
    CRASH_BEFORE = "the process dies before it"
    CRASH_HALF = "the process dies in the middle of it"
    CRASH_AFTER = "the process dies after it"


@dataclass
class Process:
    """One process: what was called in its name stops with it."""

    name: str
    dead: bool = False


@dataclass
class Actor:
    name: str
    body: greenlet.greenlet
    sleeps_until: int = 0


@dataclass
class Schedule:
    """Runs actors a step at a time, and says which calls fail.

    `rate` is the share of calls with a fault, four in ten for calls of the step `focus`.
    `direct` calls neither wait nor fail.
    """

    rng: random.Random
    rate: float
    kinds: tuple[Fault, ...]
    focus: str
    trace: list[str] | None = None
    steps: int = 0
    direct: bool = True
    late: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    faults: int = 0
    _actors: list[Actor] = field(default_factory=list)
    _running: Actor | None = None
    _hub: Any = None

    def spawn(self, name: str, work: Callable[[], None]) -> None:
        self._actors.append(Actor(name, greenlet.greenlet(work)))

    def run(self, steps: int) -> None:
        """Give the baton away until all actors ended, or `steps` were taken."""
        self._hub = greenlet.getcurrent()
        self.direct = False
        rng, burst, actor = self.rng, 0, None
        while self.steps < steps:
            self._actors = [one for one in self._actors if not one.body.dead]
            ready = [one for one in self._actors if one.sleeps_until <= self.steps]
            self.steps += 1
            if not self._actors:
                break
            if not ready:
                continue
            if actor not in ready or burst <= 0:
                actor, burst = rng.choice(ready), rng.choice((1, 1, 2, 4, 9))
            burst -= 1
            self._running = actor
            actor.body.switch()
            if self.late and rng.random() < 0.04:
                self.deliver(rng.randrange(len(self.late)))
        self._end()

    def _end(self) -> None:
        """The power goes: whoever still runs dies where it stands."""
        self.direct = True
        self._running = None
        for actor in self._actors:
            if not actor.body.dead:
                actor.body.parent = greenlet.getcurrent()
                try:
                    actor.body.throw(Crash)
                except Crash:
                    continue
        self._actors = []

    def deliver(self, number: int) -> None:
        """Apply what came late; nobody is told how it went."""
        name, effect = self.late.pop(number)
        self.say(f"late: {name}")
        try:
            effect()
        except Exception as error:  # noqa: BLE001 - whoever asked for it has given up
            self.say(f"late: {name}: {type(error).__name__}")

    def say(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.steps:4} {text}")

    def pause(self) -> None:
        """Let others run."""
        if not self.direct:
            self._hub.switch()

    def sleep(self, steps: int) -> None:
        """Let others run for so many steps."""
        if self._running is not None and steps:
            self._running.sleeps_until = self.steps + steps
        self.pause()

    def call(
        self,
        process: Process,
        step: str,
        effect: Callable[[], Any],
        *,
        half: Callable[[], object] | None = None,
        flipped: Callable[[], Any] | None = None,
        twice: bool = False,
        late: bool = True,
    ) -> Any:
        """One call of a port, with whatever happens to it."""
        self.pause()
        if process.dead:
            raise Crash
        rate = 0.4 if step == self.focus else self.rate
        fault = self._draw(rate, half, flipped, twice, late)
        if fault is not None:
            self.faults += 1
        if self.trace is not None:
            self.say(f"{process.name}: {step}" + (f" — {fault.value}" if fault else ""))
        if fault is None:
            return effect()
        if fault in (Fault.CRASH_BEFORE, Fault.CRASH_HALF, Fault.CRASH_AFTER):
            if fault is Fault.CRASH_HALF and half is not None:
                half()
            elif fault is Fault.CRASH_AFTER:
                effect()
            process.dead = True
            raise Crash
        if fault is Fault.FLIPPED and flipped is not None:
            return flipped()
        if fault is Fault.HANG:
            self.sleep(self.rng.choice((5, 15, 40, 90)))
            if process.dead:
                raise Crash
            self.say(f"{process.name}: {step} — goes on")
            return effect()
        if fault is Fault.TWICE:
            result = effect()
            self.late.append((f"{process.name}: {step} again", effect))
            return result
        if fault is Fault.APPLIED:
            effect()
        elif fault is Fault.HALF and half is not None:
            half()
        elif fault is Fault.LATE:
            self.late.append((f"{process.name}: {step}", effect))
        raise Injected(step)

    def _draw(
        self, rate: float, half: object, flipped: object, twice: bool, late: bool
    ) -> Fault | None:
        """Nothing, or one of the faults that this call can have."""
        if self.direct or self.rng.random() >= rate:
            return None
        impossible = {
            Fault.HALF: half is None,
            Fault.CRASH_HALF: half is None,
            Fault.FLIPPED: flipped is None,
            Fault.TWICE: not twice,
            Fault.LATE: not late,
        }
        return self.rng.choice([one for one in self.kinds if not impossible.get(one)] or [None])
