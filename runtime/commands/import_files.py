"""`mianjiao import`: bulk collection of back files (存量归集) from a CSV manifest.

Runs beside or without a server. A run that was killed is simply run again: what
is durable is known by its row and is not imported twice.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kernel.principals import Principal, Role
from ledger.errors import SequencerBusy
from materials_api.back_files.collection import Told, import_rows, known_words
from materials_api.back_files.manifest import (
    ManifestRow,
    RowProblem,
    detect_encoding,
    parse_manifest,
)
from materials_api.errors import ManifestUnreadable
from runtime.interpreter import settle
from runtime.store import Store, open_store

# The operator at the machine; not the form of a credential's id, so nobody else acts as it.
LOCAL = Principal(subject="local", role=Role.OPERATOR)
BLOCK = 1 << 20
SHOWN = 20  # refused rows on the screen; all of them stand in the report


def import_manifest(data: Path, manifest: Path, *, as_json: bool) -> int:
    """Import every row that can be; 0 when none was refused, 1 otherwise.

    Refused rows and their reasons go into `<manifest>.refused.csv`, which names
    lines and columns but no values.
    """
    manifest = manifest.expanduser().resolve()
    if not manifest.is_file():
        raise ManifestUnreadable(
            problem=f"没有文件 {manifest.name}", problem_en=f"there is no file {manifest.name}"
        )
    report = manifest.with_name(manifest.name + ".refused.csv")
    with open_store(data) as store:
        server_runs = _start(store)
        settle()
        refused: list[RowProblem] = []
        limits = store.materials.limits.manifest
        encoding = detect_encoding(lambda: _blocks(manifest), limits)
        console = Console(stderr=True)
        with manifest.open(encoding=encoding, newline="") as lines, _bar(console) as bar:
            task = bar.add_task("导入 importing", total=_rows(manifest))

            def tell(told: Told) -> None:
                if told.problem is not None:
                    refused.append(told.problem)
                bar.advance(task)

            rows: Iterator[ManifestRow | RowProblem] = parse_manifest(
                lines, known_words(store.materials), store.clock.now(), limits
            )
            counts = import_rows(store.materials, LOCAL, rows, manifest.parent, tell)
        if not server_runs:
            store.ledger.sequence(store.clock.now())
            store.lock_objects()
        size = store.ledger.checkpoint().size
    _write_report(report, refused)
    summary = {
        "rows": counts.rows,
        "imported": counts.imported,
        "known": counts.known,
        "refused": [
            {"line": one.line, "field": one.field, "code": one.code, "zh": one.zh, "en": one.en}
            for one in refused
        ],
        "bytes": counts.bytes,
        "tree_size": size,
        "report": str(report) if refused else None,
    }
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        _show(sys.stdout, summary, refused)
    return 1 if refused else 0


def _start(store: Store) -> bool:
    """Sequence while importing, unless a server does so already (True)."""
    try:
        store.ledger.sequence(store.clock.now())
    except SequencerBusy:
        return True
    store.adopt_catalogue()
    return False


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            yield block


def _rows(path: Path) -> int:
    """Lines without the header: what the bar counts to, more or less."""
    return max(sum(block.count(b"\n") for block in _blocks(path)) - 1, 0)


def _write_report(path: Path, refused: list[RowProblem]) -> None:
    if not refused:
        path.unlink(missing_ok=True)
        return
    with path.open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["line", "column", "code", "原因", "reason"])
        for one in refused:
            writer.writerow([one.line, one.field or "", one.code, one.zh, one.en])


def _show(out: IO[str], summary: dict[str, object], refused: list[RowProblem]) -> None:
    print(
        f"读取 {summary['rows']} 行：新导入 {summary['imported']}，"
        f"此前已导入 {summary['known']}，拒绝 {len(refused)}",
        file=out,
    )
    print(
        f"{summary['rows']} rows: {summary['imported']} imported, "
        f"{summary['known']} known before, {len(refused)} refused",
        file=out,
    )
    for one in refused[:SHOWN]:
        where = f"第 {one.line} 行" + (f" {one.field}" if one.field else "")
        print(f"  {where}  {one.zh} / {one.en} [{one.code}]", file=out)
    if len(refused) > SHOWN:
        print(f"  … 其余 {len(refused) - SHOWN} 行见报告 / more in the report", file=out)
    if refused:
        print(f"报告 report: {summary['report']}", file=out)
