"""`mianjiao fsck`: everything that is stored, against everything that was recorded."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from kernel.errors import CodedError
from ledger.fsck import fsck as check_ledger
from ledger.problems import Problem
from ledger.problems import Progress as Tell
from materials_api.fsck import fsck as check_materials
from runtime.store import Store, open_store

NAMES = {
    "ledger": "日志 log",
    "parties": "主体 parties",
    "licenses": "证照 licences",
    "materials": "材料 materials",
    "objects": "内容 objects",
}


def check_store(data: Path, *, as_json: bool) -> int:
    """Check a store, served or not; 0 when clean, 1 with every problem named.

    A store that cannot even be opened is one problem: the reason.
    """
    console = Console(stderr=True)
    checked = "-"
    try:
        with open_store(data) as store:
            with _bar(console) as bar:
                problems = run_checks(store, _teller(bar))
            checked = store.ledger.origin
    except CodedError as error:
        if error.code in ("store_missing", "setting_invalid"):
            raise
        problems = [Problem(error.code, "store", error.message_zh(), error.message_en())]
    if as_json:
        found = [
            {"code": one.code, "where": one.where, "zh": one.zh, "en": one.en} for one in problems
        ]
        print(
            json.dumps(
                {"clean": not problems, "origin": checked, "problems": found}, ensure_ascii=False
            )
        )
    else:
        for one in problems:
            print(f"{one.where}: {one.zh} / {one.en} [{one.code}]")
        print(
            f"发现 {len(problems)} 个问题 / {len(problems)} problem(s)"
            if problems
            else f"未发现问题 / clean: {checked}"
        )
    return 1 if problems else 0


def run_checks(store: Store, tell: Tell) -> list[Problem]:
    """The checks of every room, in the order of their imports."""
    checks: Sequence[Callable[[], list[Problem]]] = (
        lambda: check_ledger(store.ledger, tell),
        lambda: check_materials(store.materials, tell),
    )
    return [problem for check in checks for problem in check()]


def _teller(bar: Progress) -> Tell:
    tasks = {what: bar.add_task(name, total=None, visible=False) for what, name in NAMES.items()}

    def tell(what: str, done: int, total: int) -> None:
        bar.update(tasks[what], completed=done, total=total, visible=True)

    return tell


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
