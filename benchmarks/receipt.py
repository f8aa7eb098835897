"""`mianjiao verify` of one receipt, cold: a new process, nothing warmed up by us."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.stores import Served
from runtime.demo import people
from runtime.demo.cast import clients
from runtime.demo.papers import Papers
from runtime.demo.stage import Stage
from runtime.store import open_store

RUNS = 9


def measure(receipt: Path, policy: Path) -> list[Figure]:
    """The median of nine runs; the command must say valid each time."""
    command = [
        sys.executable, "-m", "runtime.cli", "verify", str(receipt), "--policy", str(policy),
    ]  # fmt: skip
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return [Figure("verify one receipt, cold", statistics.median(times), "s", "<", 0.5)]


def one(served: Served, scratch: Path) -> tuple[Path, Path]:
    """A receipt of a material in a served store, and a policy that trusts its log."""
    stage = Stage(
        clients(served.url, served.identities, lambda _: None),
        Papers(scratch / "papers"),
        served.data,
        lambda _: None,
    )
    case = stage.case(people.ESTABLISHMENT, people.COMPANY, acting=people.ACTS_FOR_COMPANY)
    paper = stage.papers.pdf("测试材料", "用于计时")
    item = stage.hand_in_plain(case, paper, paper.name)
    address, caller = stage.kept.receipts[item]
    receipt, policy = scratch / "receipt.json", scratch / "policy.txt"
    receipt.write_bytes(stage[caller].receipt(address))
    with open_store(served.data) as store:
        policy.write_text(store.ledger.policy_text(), encoding="utf-8")
    return receipt, policy
