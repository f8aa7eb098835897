"""`mianjiao verify` of one receipt, cold: a new process, nothing warmed up by us."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure

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
