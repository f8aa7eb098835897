"""500 seeds of the simulated log; `make soak` runs 20,000."""

import os
import subprocess
import sys

import pytest

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.running import replay, run_seeds, seeds_until_found
from tests.simulation.schedule import Violation
from tests.simulation.world import run_seed
from tests.simulation.year_end import NEXT
from tests.simulation.year_end import run_seed as run_year_end
from tests.simulation.year_end_bugs import BUGS as YEAR_END_BUGS

PART = 50


@pytest.mark.parametrize("first", range(0, 500, PART))
def test_every_invariant_holds_whatever_fails(first: int) -> None:
    failures, totals = run_seeds(range(first, first + PART))
    assert [f"{what}: {replay(seed)}" for seed, what in failures] == []
    # Something did happen.
    assert totals["published"] > PART
    assert totals["faults"] > PART
    assert totals["acknowledged"] > PART // 2


@pytest.mark.parametrize("first", range(0, 200, PART))
def test_a_shard_is_closed_once_whatever_fails(first: int) -> None:
    """By whichever of several processes that all believe they write the log."""
    failures, closed, further = [], 0, 0
    for seed in range(first, first + PART):
        try:
            world = run_year_end(seed)
        except Violation as violation:
            failures.append(f"{violation}: {replay(seed)} --year-end")
            continue
        closed += world.has_ended
        further += world.oracles[NEXT].published[-1:] > [(1, b"")]
    assert failures == []
    assert closed > PART // 5
    assert further > PART // 5


@pytest.mark.parametrize("bug", YEAR_END_BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_of_a_close_is_found(bug: Bug) -> None:
    with bug.plant(), pytest.raises(Violation):
        for seed in range(bug.within):
            run_year_end(seed)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    found = seeds_until_found(bug)
    assert found is not None, f"not found in {bug.within} seeds: {bug.what}"


def test_a_seed_is_the_same_run_again() -> None:
    for seed in (3, 11, 33):
        first, second = run_seed(seed, trace=True), run_seed(seed, trace=True)
        assert first.schedule.trace == second.schedule.trace
        assert first.oracle.signed.keys() == second.oracle.signed.keys()


@pytest.mark.parametrize("more", [(), ("--year-end",)], ids=["a year", "its end"])
def test_a_seed_is_the_same_run_in_another_process(more: tuple[str, ...]) -> None:
    """Whatever hash the names of things have there."""
    first, second = (
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "33", *more],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    )
    assert first.count(b"\n") > 50
    assert first == second


def test_a_planted_bug_leaves_nothing_behind() -> None:
    bug = BUGS[0]
    with bug.plant(), pytest.raises(Violation):
        for seed in range(bug.within):
            run_seed(seed)
    assert run_seeds(range(bug.within))[0] == []
