"""The loop: start, load, SIGKILL, check; and a last check of everything."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ledger.policy import Policy
from runtime.demo.cast import issue_tokens
from runtime.store import create_store
from tests.kills.checks import lost, missing_rows, policy_of
from tests.kills.clients import Applicant, Caller, Known, Place, Wrong
from tests.kills.hosts import Host

CLIENTS = 3
SLOW = 20.0  # seconds
NEWEST, OLDER = 6, 3  # acknowledgements asked for after every start; at the end all are


@dataclass
class Outcome:
    """What happened; all is well when `lost` and `problems` are empty."""

    kills: int = 0
    while_starting: int = 0
    seconds: float = 0.0
    acknowledged: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    retried: int = 0
    checked: int = 0
    checks: int = 0  # runs of fsck
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def make_store(data: Path) -> dict[str, str]:
    """A fresh store with everybody's tokens."""
    create_store(data, "kills.example")
    return {one.key: one.token for one in issue_tokens(data)}


def run(
    host: Host,
    tokens: dict[str, str],
    *,
    kills: int,
    seed: int,
    check_every: int = 5,
    life: float = 0.5,
    tell: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Kill the host's processes `kills` times while clients work; what was lost.

    A life lasts up to twice `life` seconds after the server answers; one in eight
    is cut off while it starts. On a slow machine every other one goes on until somebody
    was answered.
    """
    rng, outcome, begun = random.Random(seed), Outcome(), time.monotonic()
    place, known = Place(), Known()
    policy = policy_of(host.data)
    callers = [Caller(place, tokens, known) for _ in range(CLIENTS)]
    threads = [Applicant(n, caller, seed * 100 + n) for n, caller in enumerate(callers)]
    checker = Caller(place, tokens, Known())
    for thread in threads:
        thread.start()
    try:
        while outcome.kills < kills and not outcome.lost:
            host.start()
            if rng.random() < 1 / 8:
                time.sleep(rng.uniform(0, 0.4))
                outcome.while_starting += 1
            else:
                place.move(host.url())
                until = time.monotonic() + rng.uniform(0.02, 2 * life)
                before, patient = len(known.items), rng.random() < 1 / 2
                items = known.items[-NEWEST:]
                items += rng.sample(known.items, min(OLDER, len(known.items)))
                outcome.lost += lost(checker, items, policy)
                outcome.checked += len(items)
                time.sleep(max(0.0, until - time.monotonic()))
                while patient and len(known.items) == before and time.monotonic() < until + SLOW:
                    time.sleep(0.01)
            place.move("")
            host.kill()
            outcome.kills += 1
            tell(outcome.kills)
            outcome.lost += _wrong(threads)
            if outcome.kills % check_every == 0:
                outcome.checks += 1
                outcome.problems += host.problems()
        if not outcome.lost:
            _last(host, place, threads, known, outcome, policy)
    finally:
        place.move("", ended=True)
        host.close()
    outcome.acknowledged = known.counts()
    outcome.requests, outcome.retried = known.requests, known.retried
    outcome.seconds = time.monotonic() - begun
    return outcome


def _last(
    host: Host,
    place: Place,
    threads: list[Applicant],
    known: Known,
    outcome: Outcome,
    policy: Policy,
) -> None:
    """A last life, in which every client ends what it began; then all is looked at."""
    for thread in threads:
        thread.ending = True
    host.start()
    place.move(host.url())
    for thread in threads:
        thread.join(60)
    outcome.lost += _wrong(threads)
    checker = Caller(place, threads[0].tokens, Known())
    newest = {(kind, thing): said for kind, thing, said in known.items}
    items = [(kind, thing, said) for (kind, thing), said in newest.items()]
    outcome.lost += lost(checker, items, policy)
    outcome.checked += len(items)
    outcome.lost += missing_rows(host.ids, known.items)
    place.move("")
    host.kill()
    outcome.checks += 1
    outcome.problems += host.problems()


def _wrong(threads: list[Applicant]) -> list[str]:
    """Answers that no kill explains; any other failure of a client is the loop's own."""
    found = []
    for thread in threads:
        if isinstance(thread.failure, Wrong):
            found.append(f"{thread.name}: {thread.failure}")
        elif thread.failure is not None:
            raise thread.failure
    return found
