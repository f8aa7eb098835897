"""What a benchmark returns, and how a run is shown and kept."""

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `target` is a bound: at least (`>=`) or at most (`<`, `<=`)."""

    name: str
    value: float
    unit: str
    bound: str = ""
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        if self.bound == ">=":
            return self.value >= self.target
        return self.value <= self.target if self.bound == "<=" else self.value < self.target


def show(figures: Sequence[Figure]) -> None:
    """The table that a person reads."""
    table = Table(title="Mianjiao benchmarks, one run on one machine", title_justify="left")
    for heading in ("figure", "value", "target", "met"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for figure in figures:
        met = {True: "yes", False: "NO", None: ""}[figure.met]
        target = "" if figure.target is None else f"{figure.bound} {figure.target:g}"
        table.add_row(figure.name, f"{figure.value:,.4g} {figure.unit}", target, met)
    Console().print(table)


def keep(figures: Sequence[Figure], path: Path) -> None:
    """The same numbers as JSON, with what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "system": platform.system(),
        },
        "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
