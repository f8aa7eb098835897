"""`python -m tests.simulation --seed 17 [--bug NAME]`: replay one seed and print its trace.
`--year-end`: a seed in which a shard may be closed.

Without `--seed` it runs `--count` seeds from `--first` on, and prints what fails.
"""

import argparse
import sys

from tests.simulation.bugs import BUGS
from tests.simulation.running import replay, run_seeds
from tests.simulation.schedule import Violation
from tests.simulation.world import World, run_seed
from tests.simulation.year_end import run_seed as run_year_end


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--bug", choices=[bug.name for bug in BUGS])
    parser.add_argument("--year-end", action="store_true")
    given = parser.parse_args()
    bug = next((one for one in BUGS if one.name == given.bug), None)
    if given.seed is None:
        failures, totals = run_seeds(range(given.first, given.first + given.count), bug)
        print(totals)
        for seed, what in failures:
            print(f"seed {seed}: {what}\n  {replay(seed, bug)}")
        return 1 if failures else 0
    world: World
    try:
        if given.year_end:
            world = run_year_end(given.seed, trace=True)
        elif bug is None:
            world = run_seed(given.seed, trace=True)
        else:
            with bug.plant():
                world = run_seed(given.seed, trace=True, tiles=bug.tiles)
    except Violation as violation:
        print("\n".join(violation.__notes__))
        print(f"violated: {violation}")
        return 1
    print("\n".join(world.schedule.trace or ()))
    print("every invariant holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
