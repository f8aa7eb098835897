"""Real SIGKILLs: see kill_sequencer.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL before and after every system call of the sequencer's rounds."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    output = subprocess.run(
        [sys.executable, str(HERE / "kill_sequencer.py"), str(tmp_path), "16"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=110,
    ).stdout
    children = [json.loads(line) for line in output.splitlines()]
    assert children[-1]["finished"]
    assert sum(not child["finished"] for child in children) > 22
    assert all(child["problems"] == [] for child in children)
    assert all(child["lost"] == [] for child in children)
    assert children[-1]["acknowledged"] > 8


@pytest.mark.timeout(300)
def test_a_process_killed_while_it_closes_a_shard(tmp_path: Path) -> None:
    """SIGKILL before and after system calls of a close; the next start finishes it."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    output = subprocess.run(
        [sys.executable, str(HERE / "kill_closing.py"), str(tmp_path), "37"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=290,
    ).stdout
    children = [json.loads(line) for line in output.splitlines()]
    assert children[-1]["finished"]
    assert {child["found"] for child in children} == {"2026", "2027"}
    assert len(children) > 12
    assert all(child["problems"] == [] for child in children)
    assert all(child["lost"] == [] for child in children)
