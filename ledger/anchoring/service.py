"""The background thread that anchors: it waits for the chain, and nobody waits for it."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kernel.clock import Clock
from ledger.sequencer import reason_of

_log = logging.getLogger(__name__)
POLL = 5.0  # seconds between two steps
STOP_SECONDS = 15.0


class Steps(Protocol):
    """Something that brings evidence a step further. `step` may take as long as its
    time-outs allow, and raises why it got no further; the next step goes on from there."""

    def step(self, at: datetime, *, now: bool = False) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of the newest step: when it ended, and why it got no further (a code), if it did not."""

    at: datetime | None = None
    reason: str | None = None


class EvidenceThread:
    """Steps one source of evidence while this process writes the log; safe from many threads.

    No error of a step ends it: whatever is down now may be back at the next.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        clock: Clock,
        leading: Callable[[], bool],
        poll: float = POLL,
        observe: Callable[[str, str | None], None] = lambda _name, _reason: None,
    ) -> None:
        self.name = name
        self._steps = steps
        self._clock = clock
        self._leading = leading
        self._poll = poll
        self._observe = observe
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.last = Outcome()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step that runs; one that takes too long is left behind. Nothing is
        lost by that: what counts was saved before it was sent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            self._thread = None
        self._steps.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._leading():
                self._step()
            self._stopping.wait(self._poll)

    def _step(self) -> None:
        reason = None
        try:
            self._steps.step(self._clock.now())
        except Exception as error:  # noqa: BLE001 - the next step may succeed
            reason = reason_of(error)
            if reason != self.last.reason:
                _log.warning("%s got no further: %s", self.name, reason)
        self.last = Outcome(self._clock.now(), reason)
        try:
            self._observe(self.name, reason)
        except Exception as error:  # noqa: BLE001 - the database may be away: not the end of this
            _log.warning("%s was not observed: %s", self.name, reason_of(error))
