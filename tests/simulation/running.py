"""Many seeds in a row, and how to see one again."""

from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext

from tests.simulation.bugs import Bug
from tests.simulation.ports import SimulatedTiles
from tests.simulation.schedule import Violation
from tests.simulation.world import World, run_seed
from tests.simulation.year_end import run_seed as run_year_end


def replay(seed: int, bug: Bug | None = None, *, year_end: bool = False) -> str:
    """The command that shows this seed step by step."""
    planted = "" if bug is None else f" --bug {bug.name}"
    return f"python -m tests.simulation --seed {seed}{planted}{' --year-end' * year_end}"


def run_seeds(
    seeds: Iterable[int], bug: Bug | None = None, *, year_end: bool = False
) -> tuple[list[tuple[int, str]], Counter[str]]:
    """The seeds that violate an invariant, with what they violate; and what was done in all.

    `year_end`: seeds in which a shard may be closed, without a bug.
    """
    failures: list[tuple[int, str]] = []
    totals: Counter[str] = Counter()
    with nullcontext() if bug is None else bug.plant():
        for seed in seeds:
            totals["seeds"] += 1
            try:
                if year_end:
                    world: World = run_year_end(seed)
                else:
                    world = run_seed(seed, tiles=SimulatedTiles if bug is None else bug.tiles)
            except Violation as violation:
                failures.append((seed, str(violation)))
                continue
            totals["processes"] += world.starts
            totals["published"] += len(world.oracle.published)
            totals["faults"] += world.schedule.faults
            totals["entries"] += len(world.oracle.owners)
            totals["acknowledged"] += len(world.oracle.acknowledged)
            totals["checks"] += world.oracle.checks
    return failures, totals


def seeds_until_found(bug: Bug) -> tuple[int, str] | None:
    """How many seeds, from 0 on, until the bug shows, and as what; None if it does not."""
    with bug.plant():
        for seed in range(bug.within):
            try:
                run_seed(seed, tiles=bug.tiles)
            except Violation as violation:
                return seed + 1, str(violation)
    return None
