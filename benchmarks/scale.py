"""How cost grows with the store: the same questions, put in turns to stores of each size.

`python -m benchmarks.scale FOLDER questions 10000 100000 1000000` measures what
`benchmarks.scale_store` left in FOLDER into `FOLDER/scale.json`; `checks` adds
`scrub` and `fsck`. `--engine postgresql` if that is where their rows are.

The stores take turns question by question, so that a busy moment of the machine
meets all of them; what counts are the ratios. Processor time is given beside, for
machines that others use too.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.scale_engines import ENGINES, Postgresql, Sqlite, engine
from benchmarks.scale_store import PER_HOLDER, TYPE, holder, log_size
from kernel.principals import Capacity, Channel, Principal, Role
from ledger.reader import LogReader
from materials_api.cases.exempting import exemptions_of
from materials_api.cases.opening import Acting, OpenCase, open_case
from materials_api.grants.granting import approve
from materials_api.grants.lifecycle import GrantUse
from materials_api.grants.requests import AskGrant, ask_grants
from materials_api.http.verifications import rendered
from materials_api.rules.reuse_facts import Consent
from materials_api.tables import material_parties
from materials_api.verification.facts import AskedItem
from materials_api.verification.verifying import Verify, verify
from parties import HolderRef
from runtime.interpreter import settle
from runtime.store import Store, open_store
from storage.database import WriteTx

SAMPLES = 150
PROOFS = 1_000
SEED = 20261124
HALL = "11310199MB2Y050411"
PERSON = HolderRef("111", "310199198802299064", "沈云舟")


@dataclass
class Times:
    """Seconds of each question: as the caller waits, and of the processor, for this process
    and the database's server."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def take(self, work: Callable[[], Any], server: Callable[[], float]) -> Any:
        """`server`: seconds of processor that it used so far; they belong to the answer."""
        before, wall, cpu = server(), time.perf_counter(), time.process_time()
        done = work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu + server() - before)
        return done

    def summary(self) -> dict[str, float]:
        """Milliseconds."""
        ordered = sorted(self.wall)
        return {
            "median": statistics.median(ordered) * 1e3,
            "p95": ordered[len(ordered) * 95 // 100] * 1e3,
            "cpu": statistics.median(self.cpu) * 1e3,
        }


class Sized:
    """One store, with a window, and holders taken from it at random."""

    def __init__(self, store: Store, materials: int, server: Callable[[], float]) -> None:
        self.store = store
        self._server = server
        self.room = store.materials
        self.materials = materials
        self.times = {
            name: Times() for name in ("verification", "exemptions", "proof", "proof_cold")
        }
        self._chosen = random.Random(SEED)
        numbers = self._chosen.sample(range(materials // PER_HOLDER), SAMPLES)
        self._holders = [holder(number) for number in numbers]
        self._window = self._login(Role.WINDOW, org=HALL, unit="1", officer="陈晓岚")
        self._person = self._write(lambda tx: self.room.parties.ensure(tx, self._now(), PERSON))

    def question(self, number: int) -> None:
        """A holder comes to the window: what is exempt, and is it verified?"""
        room, window, ref = self.room, self._window, self._holders[number]
        capacity = Capacity.LEGAL_REPRESENTATIVE

        def register(tx: WriteTx) -> str:
            party = room.parties.ensure(tx, self._now(), ref)
            room.parties.register_capacity(
                tx, self._now(), party, self._person, capacity, "registration"
            )
            return party

        party = self._write(register)
        boss = self._login(Role.APPLICANT, person=self._person, holder=party, capacity=capacity)
        wanted = OpenCase("000131014000", ref, Channel.WINDOW, "moved", Acting(PERSON, capacity))
        case = self._write(lambda tx: open_case(room, tx, self._now(), window, wanted))
        _, found = self.times["exemptions"].take(
            lambda: exemptions_of(room, self._now(), window, case.case_id), self._server
        )
        assert any(one.requirement.key == TYPE and one.exemptible for one in found.requirements)
        with room.database.read() as tx:
            item = tx.execute(
                select(material_parties.c.material_id)
                .where(material_parties.c.party_id == party)
                .limit(1)
            ).scalar_one()
        asking = AskGrant("食品经营许可", GrantUse.ONCE, items=(item,))
        (grant,) = self._write(
            lambda tx: ask_grants(room, tx, self._now(), window, case.case_id, asking)
        )
        self._write(lambda tx: approve(room, tx, self._now(), boss, grant.grant_id))
        self.store.ledger.sequence(self._now())
        call = Verify(case.case_id, (AskedItem(TYPE, item, None),), Consent())
        answer = self.times["verification"].take(
            lambda: verify(room, self._now(), window, call, rendered), self._server
        )
        assert json.loads(answer.body)["items"][0]["outcome"] == "allowed", answer.body

    def proofs(self) -> None:
        """Inclusion of random entries, by a reader that knows the log and by new ones."""
        ledger = self.store.ledger
        size = ledger.checkpoint().size
        for index in range(0, size, 256):
            ledger.reader.inclusion(index)
        for _ in range(PROOFS):
            index = self._chosen.randrange(size)
            self.times["proof"].take(lambda: ledger.reader.inclusion(index), _no_server)  # noqa: B023
        for _ in range(PROOFS // 20):
            reader = LogReader(ledger.tiles, ledger.shard, ledger.key)
            reader.refresh()
            index = self._chosen.randrange(size)
            self.times["proof_cold"].take(lambda: reader.inclusion(index), _no_server)  # noqa: B023

    def _now(self) -> Any:
        return self.store.clock.now()

    def _write(self, work: Callable[[WriteTx], Any]) -> Any:
        return self.room.database.write(work)

    def _login(self, role: Role, **more: Any) -> Principal:
        def work(tx: WriteTx) -> Principal:
            at = self._now()
            end = at + timedelta(days=1)
            _, secret = self.store.credentials.issue(tx, at, role=role, expires_at=end, **more)
            return self.store.credentials.authenticate(tx, at, secret)

        return self._write(work)


def _no_server() -> float:
    return 0.0  # proofs are made from the published log


_CHILD = """
import resource, sys
from runtime.cli import run
code = run(sys.argv[1:])
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
peak = next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))
print(code, sum(one.ru_utime + one.ru_stime for one in used), peak.split()[1])
"""


def command(rows: Sqlite | Postgresql, name: str, *arguments: str) -> dict[str, float]:
    """Seconds, processor seconds (its server's among them) and peak memory (MB) of
    `mianjiao …` on a store, which must exit 0."""
    began, before = time.perf_counter(), rows.cpu()
    run = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **rows.environment(name)},
    )
    seconds = time.perf_counter() - began
    code, cpu, peak = run.stdout.split()[-3:]
    assert code == "0", run.stdout
    server = rows.cpu() - before
    return {"seconds": seconds, "cpu": float(cpu) + server, "peak_mb": int(peak) / 1024}


def questions(
    folder: Path, sizes: list[int], rows: Sqlite | Postgresql
) -> dict[int, dict[str, Any]]:
    """What a person waits for, and how large the files are."""
    settle()
    found: dict[int, dict[str, Any]] = {size: {"materials": size} for size in sizes}
    for size in sizes:
        data = folder / str(size)
        found[size] |= {"database": rows.size(data), "log": log_size(data)}
    with ExitStack() as stack:
        stores = [
            Sized(
                stack.enter_context(open_store(folder / str(size), rows.settings(str(size)))),
                size,
                rows.cpu,
            )
            for size in sizes
        ]
        for one in stores:
            found[one.materials]["entries"] = one.store.ledger.checkpoint().size
        before = {size: rows.scanned(str(size)) for size in sizes}
        for number in range(SAMPLES):
            for one in stores:
                one.question(number)
        for one in stores:
            one.proofs()
            found[one.materials] |= {name: t.summary() for name, t in one.times.items()}
    for size in sizes:
        scanned = rows.scanned(str(size))
        # Rows that one window's questions made the server read from end to end, by table.
        found[size]["scanned"] = {
            table: (read - before[size].get(table, 0)) / SAMPLES for table, read in scanned.items()
        }
    return found


def checks(folder: Path, sizes: list[int], rows: Sqlite | Postgresql) -> dict[int, dict[str, Any]]:
    """What the operator waits for: every byte and every row, in one process each."""
    found: dict[int, dict[str, Any]] = {size: {"materials": size} for size in sizes}
    for size in sizes:
        data = ("--data", str(folder / str(size)))
        for what in (("scrub", "--restart", "--jobs", "1"), ("fsck",)):
            found[size][what[0]] = command(rows, str(size), what[0], *data, *what[1:])
            print(json.dumps(found[size]), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Parts may be measured one after the other: `scale.json` gathers them, by engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("questions", "checks"))
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    wanted = parser.parse_args()
    measure = questions if wanted.what == "questions" else checks
    with engine(wanted.engine, wanted.folder) as rows:
        result = measure(wanted.folder, sorted(wanted.sizes), rows)
    path = wanted.folder / "scale.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    merged = {one["materials"]: one for one in known.get(wanted.engine, [])}
    for size, more in result.items():
        merged[size] = merged.get(size, {}) | more
    kept = {
        **known,
        "machine": {"cpus": os.cpu_count(), "sqlite": sqlite3.sqlite_version},
        wanted.engine: [merged[size] for size in sorted(merged)],
    }
    path.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
