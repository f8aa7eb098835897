"""Cuts the power after every operation of a scenario, and looks at what is left."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.power_loss.disk import Disk, Files, Operation, Recorder, current, write_state


class Scenario(Protocol):
    """Work on files, and what must be there afterwards."""

    name: str

    def play(self, root: Path, recorder: Recorder) -> None: ...

    def check(self, root: Path, marks: list[Any]) -> None:
        """`AssertionError` or any other error: something acknowledged is lost."""
        ...


@dataclass
class Recorded:
    scenario: Scenario
    log: list[Operation]

    @property
    def sites(self) -> set[str]:
        return {one.site for one in self.log if one.site}


def record(scenario: Scenario, folder: Path) -> Recorded:
    """Play it once; the recording must tell what really lies there."""
    root = folder / "disk"
    root.mkdir(parents=True)
    with Recorder(root).recording() as recorder:
        scenario.play(root, recorder)
    disk = Disk()
    for operation in recorder.log:
        disk.apply(operation, None)
    kept = disk.state(lambda: True, lambda: True)
    real = {path: data for path, data in current(root).items() if "sqlite3" not in path}
    assert kept == real, "the recording misses something"
    return Recorded(scenario, recorder.log)


@dataclass
class Cuts:
    """How many states were looked at, and the first in which something was lost."""

    states: int = 0
    loss: str | None = None


def cut_everywhere(
    recorded: Recorded, folder: Path, *, several: int, without: str | None = None, seed: int = 0
) -> Cuts:
    """Every state that differs from the last one, after every operation, until one shows a loss.

    `without`: as if the fsyncs of this line were not there.
    """
    rng, disk, cuts = random.Random(seed), Disk(), Cuts()
    marks: list[Any] = []
    seen: set[int] = set()
    for number, operation in enumerate(recorded.log):
        disk.apply(operation, without)
        if operation.kind == "mark":
            marks.append(operation.mark)
        if not marks:
            continue  # nothing was acknowledged yet
        for files in disk.states(rng, several):
            # Of a state that was seen nothing new is learnt.
            key = hash((len(marks), frozenset(files.items())))
            if key in seen:
                continue
            seen.add(key)
            cuts.states += 1
            cuts.loss = _loss(recorded.scenario, files, marks, folder / "after")
            if cuts.loss is not None:
                cuts.loss = f"cut after operation {number} ({operation.kind}): {cuts.loss}"
                return cuts
    return cuts


def _loss(scenario: Scenario, files: Files, marks: list[Any], folder: Path) -> str | None:
    write_state(files, folder)
    try:
        scenario.check(folder, marks)
    except Exception as error:  # noqa: BLE001 - whatever it is, the store did not come back
        return f"{type(error).__name__} {str(error)[:300]}"
    return None
