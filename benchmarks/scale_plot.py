"""Draws `docs/scale.svg` from `docs/scale.json`: `python -m benchmarks.scale_plot`.

Needs matplotlib (`uv sync --group plot`).
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SOURCE = Path("docs/scale.json")
TARGET = Path("docs/scale.svg")
MB = 1_000_000


def line(axes: Axes, sizes: list[dict[str, Any]], label: str, *path: str, by: float = 1) -> None:
    """One figure by number of materials, where it was measured."""
    points = []
    for one in sizes:
        value: Any = one
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            points.append((one["materials"], value / by))
    axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label)


def draw(found: dict[str, list[dict[str, Any]]]) -> Figure:
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    waits, proofs, checks, space = figure.subplots(2, 2).flat
    waits.set_title("what a person waits for, processor ms (median)")
    checks.set_title("whole-store checks, processor seconds")
    space.set_title("space, MB")
    for engine, name in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
        sizes = found[engine]
        line(waits, sizes, f"verification, {name}", "verification", "cpu")
        line(waits, sizes, f"exemption look-up, {name}", "exemptions", "cpu")
        line(checks, sizes, f"scrub, {name}", "scrub", "cpu")
        line(checks, sizes, f"fsck, {name}", "fsck", "cpu")
        line(space, sizes, f"rows, {name}", "database", by=MB)
    sizes = found["sqlite"]
    proofs.set_title("inclusion proof, µs (median)")
    line(proofs, sizes, "reader that knows the tiles", "proof", "median", by=1e-3)
    line(proofs, sizes, "new reader", "proof_cold", "median", by=1e-3)
    line(space, sizes, "published log", "log", by=MB)
    for axes in (waits, proofs, checks, space):
        axes.set_xscale("log")
        axes.set_xlabel("materials")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(frameon=False)
    for axes in (proofs, checks, space):
        axes.set_yscale("log")
    waits.set_ylim(bottom=0)
    return figure


def main() -> None:
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "mianjiao"  # the same data gives the same file
    figure = draw(json.loads(SOURCE.read_text()))
    figure.savefig(TARGET, metadata={"Date": None})


if __name__ == "__main__":
    main()
