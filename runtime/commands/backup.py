"""`mianjiao backup`: a whole copy of a store, or a check of one."""

import json
from pathlib import Path

from rich.console import Console

from runtime.backup.checking import check_backup
from runtime.backup.making import make_backup
from runtime.backup.manifest import Manifest
from runtime.commands.progress import bar
from runtime.settings import data_path
from runtime.store import open_store

NAMES = {"rows": "数据行 rows", "objects": "内容 objects", "log": "日志 log"}


def back_up(data: Path, folder: Path, *, as_json: bool) -> int:
    """0: whole. 1: whole, but of a store in which objects were missing or damaged."""
    folder = data_path(folder)
    with open_store(data) as store, bar(Console(stderr=True), NAMES) as tell:
        manifest = make_backup(store, folder, tell)
    problems = [f"objects/{key}" for key in manifest.damaged]
    if as_json:
        print(json.dumps(_told(manifest, problems), ensure_ascii=False))
    else:
        _say(folder, manifest)
        for problem in problems:
            print(f"  已损坏 damaged in the store: {problem}; mianjiao fsck")
        print("  不含 keys/：请另存他处，与备份分开。/ keys/ is not in it: keep it apart.")
    return 1 if problems else 0


def check(folder: Path, *, as_json: bool) -> int:
    """0 when every byte is as the manifest says, 1 with every problem named."""
    folder = data_path(folder)
    with bar(Console(stderr=True), NAMES) as tell:
        manifest, problems = check_backup(folder, tell)
    if as_json:
        print(json.dumps(_told(manifest, problems), ensure_ascii=False))
    else:
        _say(folder, manifest)
        for problem in problems:
            print(f"  {problem}")
        print(f"  问题 problems: {len(problems)}")
    return 1 if problems else 0


def _told(manifest: Manifest, problems: list[str]) -> dict[str, object]:
    return {
        "whole": not problems,
        "made_at": manifest.made_at,
        "origin": manifest.origin,
        "head": manifest.head.size,
        "log": max(tree.size for tree in manifest.log),
        "rows": sum(manifest.row_counts.values()),
        "objects": manifest.objects,
        "object_bytes": manifest.object_bytes,
        "problems": problems,
    }


def _say(folder: Path, manifest: Manifest) -> None:
    rows, size = sum(manifest.row_counts.values()), max(tree.size for tree in manifest.log)
    print(f"备份 backup {folder}")
    print(f"  {manifest.origin} · {manifest.made_at}")
    print(f"  数据行 rows {rows} · 内容 objects {manifest.objects} · 日志 log {size}")
