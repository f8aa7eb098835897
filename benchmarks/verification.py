"""Verification of one 20 KB item by 8 clients, against a trivial endpoint of the same server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.figures import Figure
from benchmarks.stores import Served
from runtime.demo import people
from runtime.demo.cast import clients
from runtime.demo.papers import Papers
from runtime.demo.stage import Stage

CLIENTS = 8
SECONDS = 8.0


def measure(served: Served, scratch: Path) -> list[Figure]:
    """The same load generator asks both; it has a process of its own."""
    port = int(urlsplit(served.url).port or 0)
    verify = json.dumps(prepare(served, scratch))
    trivial = json.dumps({"method": "GET", "path": "/health/live"})
    _load(port, verify, 2.0, 201)  # warm
    first = _load(port, trivial, SECONDS, 200)
    asked = _load(port, verify, SECONDS, 201)
    second = _load(port, trivial, SECONDS, 200)
    rate = (first["rate"] + second["rate"]) / 2
    if asked["failures"]:
        raise RuntimeError(f"{asked['failures']} verifications failed")
    return [
        Figure("verifications, 8 clients", asked["rate"], "/s"),
        Figure("trivial endpoint, 8 clients", rate, "/s"),
        Figure("verification : trivial endpoint", asked["rate"] / rate, "ratio", ">=", 0.08),
        Figure("verification p50", asked["p50"], "ms"),
        Figure("verification p99", asked["p99"], "ms", "<", 60),
    ]


def prepare(served: Served, scratch: Path) -> dict[str, str]:
    """An approved material of 20 KB, and a case whose holder authorised its reuse."""
    callers = clients(served.url, served.identities, lambda _: None)
    stage = Stage(callers, Papers(scratch / "papers"), served.data, lambda _: None)
    file = scratch / "20kB.bin"
    file.write_bytes(os.urandom(20_000))
    earlier = stage.case(people.ESTABLISHMENT, people.COMPANY, acting=people.ACTS_FOR_COMPANY)
    item = stage.hand_in_plain(earlier, file, file.name)
    stage.decide(earlier, gaps=True)
    case = stage.case(
        people.FOOD_MATTER, people.COMPANY, variant="moved", acting=people.ACTS_FOR_COMPANY
    )
    stage.approve(stage.ask(case, "核验", items=[item]), "representative")
    stage.evidence()
    body = {
        "case": case,
        "items": [{"requirement": "other", "item": item}],
        "basis": {"kind": "consent"},
    }
    return {
        "method": "POST",
        "path": "/v1/verifications",
        "token": served.token("window"),
        "body": json.dumps(body),
    }


def _load(port: int, spec: str, seconds: float, expect: int) -> dict[str, float]:
    arguments = [str(port), spec, str(CLIENTS), str(seconds), str(expect)]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer: dict[str, float] = json.loads(run.stdout)
    return answer
