"""`mianjiao import` of 10,000 files of 20 KB against a plain loop over the same files."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.plain import keep_files
from materials_api.back_files.manifest import COLUMNS
from runtime.demo.people import COMPANY
from runtime.store import create_store

FILES = 10_000
SIZE = 20_000


def measure(scratch: Path) -> list[Figure]:
    """One import and one loop; both read files that were just written."""
    folder = scratch / "files"
    folder.mkdir()
    names = [f"{number:05d}.bin" for number in range(FILES)]
    for name in names:
        (folder / name).write_bytes(os.urandom(SIZE))
    manifest = scratch / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        for number, name in enumerate(names):
            writer.writerow(
                [
                    COMPANY.type, COMPANY.code, COMPANY.name, "other", f"存量材料 {number}",
                    f"CASE-{number // 10:05d}", "000131014000", "back_scan", "", "",
                    "2024-03-01", "", f"files/{name}",
                ]
            )  # fmt: skip
    out = scratch / "plain"
    out.mkdir()
    began = time.perf_counter()
    keep_files([folder / name for name in names], out)
    loop = time.perf_counter() - began
    data = scratch / "store"
    create_store(data, "bench.example")
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "runtime.cli", "import", "--data", str(data), str(manifest)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    imported = time.perf_counter() - began
    return [
        Figure(f"import of {FILES:,} files of 20 KB", FILES / imported, "files/s"),
        Figure("plain loop over the same files", FILES / loop, "files/s"),
        Figure("import : plain loop", loop / imported, "ratio", ">=", 0.5),
    ]
