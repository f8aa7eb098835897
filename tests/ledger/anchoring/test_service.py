"""The thread behind evidence: no failure ends it; it steps only where the log is written."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kernel.clock import FixedClock
from ledger.anchoring.errors import NodeUnavailable
from ledger.anchoring.service import EvidenceThread
from storage.errors import DatabaseUnavailable

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Counting:
    """Steps that fail as long as they are told to."""

    def __init__(self) -> None:
        self.steps = 0
        self.failing = True
        self.closed = False
        self.hold = threading.Event()
        self.hold.set()

    def step(self, at: datetime, *, now: bool = False) -> None:
        assert at == NOW
        self.steps += 1
        self.hold.wait(30)
        if self.failing:
            raise NodeUnavailable(reason="test")

    def close(self) -> None:
        self.closed = True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_neither_a_step_nor_an_observer_that_fails_ends_it() -> None:
    def observe(_name: str, _reason: str | None) -> None:
        raise DatabaseUnavailable()

    steps = Counting()
    thread = EvidenceThread(
        "chain", steps, FixedClock(NOW), lambda: True, poll=0.001, observe=observe
    )
    thread.start()
    until(lambda: steps.steps > 3)
    assert thread.last.reason == "chain_unavailable"
    steps.failing = False
    until(lambda: thread.last.reason is None)
    thread.stop()
    assert steps.closed


def test_the_interpreters_recursion_limit_stays() -> None:
    """Chain libraries raise it a hundredfold; hostile nesting would then end the process."""
    code = "import sys; before = sys.getrecursionlimit(); import ledger.anchoring.anchorer, \
ledger.anchoring.deploying, ledger.stamps.stamper; print(before == sys.getrecursionlimit())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_only_the_process_that_writes_the_log_steps() -> None:
    leading = threading.Event()
    steps = Counting()
    thread = EvidenceThread("chain", steps, FixedClock(NOW), leading.is_set, poll=0.001)
    thread.start()
    time.sleep(0.05)
    assert steps.steps == 0
    leading.set()
    until(lambda: steps.steps > 0)
    thread.stop()
