"""`python -m tests.soak [--seeds N] [--year-end-seeds N] [--kills N] [--flips N] [--edits N]
[--mutations 0|1] [--minutes M]`.

One line per figure of a release; exit code 1 when anything was lost, missed or
violated. A loop that is given 0 is left out; one that comes to the end of its time
says how far it came, and is no failure.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from kernel.clock import FixedClock
from runtime.store import open_store
from tests.flips.flipping import Editor, Flipper, make_small
from tests.kills.hosts import CommandHost, ForkingHost, Host, PostgresHost, postgres_store
from tests.kills.loop import make_store, run
from tests.mutations.bugs import BUGS as CHECKS
from tests.mutations.judging import ALL, caught, judge_part
from tests.mutations.specimens import make
from tests.power_loss.cuts import cut_everywhere, record
from tests.power_loss.scenarios import SCENARIOS
from tests.runtime.fsck.conftest import NOON
from tests.simulation.bugs import BUGS
from tests.simulation.running import replay, run_seeds, seeds_until_found

SEEDS_AT_ONCE = 100
KILLS_OF_A_STORE = 50  # its `fsck` would take longer and longer
PARTS = 8  # of each family of mutations
SHOWN = 20


# A fresh store below a folder, by seed: its host, and everybody's tokens.
Hosts = Callable[[Path, int], AbstractContextManager[tuple[Host, dict[str, str]]]]


@contextmanager
def embedded(
    host: type[ForkingHost] | type[CommandHost], folder: Path, _seed: int
) -> Iterator[tuple[Host, dict[str, str]]]:
    tokens = make_store(folder / "store")
    yield host(folder / "store", folder / "log.txt"), tokens


@contextmanager
def on_postgresql(folder: Path, seed: int) -> Iterator[tuple[Host, dict[str, str]]]:
    with postgres_store(folder / "store") as (server, tokens):
        yield PostgresHost(folder / "store", folder / "log.txt", server, seed), tokens


class Soak:
    """Runs the loops and tells what came of them."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._until = time.monotonic() + given.minutes * 60
        self._told = 0.0
        self.failed = False

    def line(self, figure: str, failures: list[str]) -> None:
        """One figure; what failed follows it."""
        self._progress("")
        print(figure, flush=True)
        for one in failures[:SHOWN]:
            print(f"  {one}", flush=True)
        if failures:
            self.failed = True

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self._until

    def _progress(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif text and time.monotonic() - self._told > 60:
            self._told = time.monotonic()
            print(f"… {text}", file=sys.stderr, flush=True)

    def counted(self, what: str, count: int) -> Iterator[int]:
        """0 to `count`, shown as it goes, until the time is over."""
        for number in range(count):
            if self.out_of_time:
                return
            self._progress(f"{what} {number}/{count}")
            yield number

    # --- The loops ---

    def seeds(self, count: int, *, year_end: bool = False) -> None:
        first = self._given.first_seed
        parts = [
            range(start, min(start + SEEDS_AT_ONCE, first + count))
            for start in range(first, first + count, SEEDS_AT_ONCE)
        ]
        totals: Counter[str] = Counter()
        failures: list[str] = []
        with multiprocessing.Pool(self._given.processes) as pool:
            results = pool.imap(partial(run_seeds, year_end=year_end), parts)
            for _ in self.counted(f"parts of {SEEDS_AT_ONCE} seeds", len(parts)):
                found, done = next(results)
                totals += done
                failures += [
                    f"seed {seed}: {what}: {replay(seed, year_end=year_end)}"
                    for seed, what in found
                ]
            pool.terminate()
        self.line(
            f"{totals['seeds']} seeds of the simulated log{' with the end of a year' * year_end}"
            f" from {first} on:"
            f" {len(failures)} violations"
            f" ({totals['faults']} faults, {totals['processes']} processes,"
            f" {totals['published']} checkpoints, {totals['acknowledged']} acknowledged)",
            failures,
        )

    def bugs(self) -> None:
        failures, most = [], 0
        for number in self.counted("planted bugs", len(BUGS)):
            found = seeds_until_found(BUGS[number])
            if found is None:
                failures.append(f"{BUGS[number].name}: not found in {BUGS[number].within} seeds")
            else:
                most = max(most, found[0])
        verdict = f"all caught in ≤ {most} seeds" if not failures else f"{len(failures)} missed"
        self.line(f"{len(BUGS)} planted bugs of the log: {verdict}", failures)

    def mutations(self) -> None:
        totals: Counter[str] = Counter()
        wrong: list[str] = []
        work = [(family, part, PARTS) for family in ALL for part in range(PARTS)]
        with multiprocessing.Pool(self._given.processes) as pool:
            results = pool.imap_unordered(_judged, work)
            for _ in self.counted("parts of mutations", len(work)):
                one, found = next(results)
                totals += one
                wrong += found
            pool.terminate()
        verdict = f"{len(wrong)} passed" if wrong else "none passed"
        self.line(
            f"{totals.total()} changed receipts: {verdict} ({totals['refused']} refused,"
            f" {totals['lost']} evidence lost, {totals['taken']} as true,"
            f" {totals['unseen']} of what nothing depends on)",
            wrong,
        )
        missed = []
        with tempfile.TemporaryDirectory() as folder:
            specimens = make(Path(folder))
        for number in self.counted("checks left out", len(CHECKS)):
            if caught(specimens, CHECKS[number]) is None:
                missed.append(CHECKS[number].name)
        verdict = f"{len(missed)} missed" if missed else "all noticed"
        self.line(f"{len(CHECKS)} checks of a verifier left out: {verdict}", missed)

    def power(self, several: int) -> None:
        states, failures = 0, []
        with tempfile.TemporaryDirectory() as folder:
            for number in self.counted("power cuts", len(SCENARIOS)):
                scenario = SCENARIOS[number]
                recorded = record(scenario, Path(folder) / scenario.name)
                cuts = cut_everywhere(recorded, Path(folder) / "cuts", several=several)
                states += cuts.states
                failures += [] if cuts.loss is None else [f"{scenario.name}: {cuts.loss}"]
        self.line(f"{states} states after a power cut: {len(failures)} losses", failures)

    def kills(self, what: str, count: int, hosts: Hosts) -> None:
        done = starting = retried = 0
        acknowledged: Counter[str] = Counter()
        lost: list[str] = []
        problems: list[str] = []
        for number in self.counted(
            f"stores of {KILLS_OF_A_STORE} kills", -(-count // KILLS_OF_A_STORE)
        ):
            seed = self._given.first_seed + number
            with tempfile.TemporaryDirectory() as folder, hosts(Path(folder), seed) as made:
                host, tokens = made
                outcome = run(
                    host,
                    tokens,
                    kills=min(KILLS_OF_A_STORE, count - done),
                    seed=seed,
                    check_every=10,
                    life=0.3,
                    tell=lambda n, number=number: self._progress(
                        f"kills of {what} {number * KILLS_OF_A_STORE + n}/{count}"
                    ),
                )
            done += outcome.kills
            starting += outcome.while_starting
            retried += outcome.retried
            acknowledged += outcome.acknowledged
            lost += outcome.lost
            problems += outcome.problems
        self.line(
            f"{done} kills of {what} ({starting} while starting): {len(lost)} acknowledged lost of"
            f" {acknowledged.total()}, {retried} requests sent again,"
            f" {len(problems)} problems of fsck",
            [*lost, *problems],
        )

    def flips(self, flips: int, edits: int) -> None:
        rng = random.Random(self._given.first_seed)
        with tempfile.TemporaryDirectory() as folder:
            ids = make_small(Path(folder))
            later = FixedClock(NOON + timedelta(days=200))
            with open_store(Path(folder) / "store", clock=later) as store:
                flipper = Flipper(store, rng)
                for _ in self.counted("flips", flips):
                    flipper.flip()
                editor = Editor(store, ids, rng)
                for _ in self.counted("edits", edits):
                    editor.edit()
                editor.close()
        for what, found in (("flips", flipper.found), ("edits of rows", editor.found)):
            made = found.made.total()
            kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(found.made.items()))
            verdict = f"{len(found.missed)} missed" if found.missed else "all detected"
            if made:
                self.line(f"{made} {what} ({kinds}): {verdict}", found.missed)


def _judged(work: tuple[str, int, int]) -> tuple[Counter[str], list[str]]:
    judge = judge_part(*work)
    counted = ("refused", "lost", "taken", "unseen")
    return Counter({name: getattr(judge, name) for name in counted}), judge.wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    add: Callable[..., object] = parser.add_argument
    add("--seeds", type=int, default=20_000, help="seeds of the simulated log")
    add("--year-end-seeds", type=int, default=4_000, help="in which a shard may be closed")
    add("--kills", type=int, default=1_000, help="SIGKILLs of the embedded store")
    add("--command-kills", type=int, default=20, help="of `mianjiao serve`, started anew")
    add("--postgres-kills", type=int, default=300, help="of PostgreSQL and the API over it")
    add("--flips", type=int, default=10_000, help="single-bit flips of stored files")
    add("--edits", type=int, default=1_000, help="edits and deletions of rows")
    add("--mutations", type=int, default=1, help="0: no changed receipts; 1: every change")
    add("--cuts", type=int, default=8, help="random states after each operation")
    add("--first-seed", type=int, default=0)
    add("--processes", type=int, default=2, help="for the seeds")
    add("--minutes", type=float, default=240, help="no loop begins anything after that")
    given = parser.parse_args()
    soak = Soak(given)
    if given.seeds:
        soak.seeds(given.seeds)
        soak.bugs()
    if given.year_end_seeds:
        soak.seeds(given.year_end_seeds, year_end=True)
    if given.mutations:
        soak.mutations()
    if given.cuts:
        soak.power(given.cuts)
    if given.flips or given.edits:
        soak.flips(given.flips, given.edits)
    if given.command_kills:
        soak.kills("the command", given.command_kills, partial(embedded, CommandHost))
    if given.kills:
        soak.kills("the embedded store", given.kills, partial(embedded, ForkingHost))
    if given.postgres_kills:
        soak.kills("PostgreSQL and the API", given.postgres_kills, on_postgresql)
    print("soak: FAILED" if soak.failed else "soak: nothing lost, nothing missed", flush=True)
    return 1 if soak.failed else 0


if __name__ == "__main__":
    sys.exit(main())
