"""`mianjiao fsck`: everything that is stored, against everything that was recorded."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from kernel.errors import CodedError
from ledger.fsck_reading import UNREADABLE, Findings, Share
from ledger.problems import Problem
from ledger.problems import Progress as Tell
from runtime.fsck_checks import CHECKS, SENTENCES, check
from runtime.pool.pools import check_processes, local_pool
from runtime.pool.units import Checked
from runtime.store import Store, open_store

NAMES = {
    "checks": "检查 checks",
    "database": "数据库 database",
    "ledger": "日志 log",
    "parties": "主体 parties",
    "licenses": "证照 licences",
    "materials": "材料 materials",
    "objects": "内容 objects",
    "exports": "归档 exports",
    "audit": "审计 audit",
}
SHOWN = 200  # lines on a terminal; a file or a pipe gets them all
# Of the caller or the machine: nothing was looked at.
_NOT_OF_THE_STORE = frozenset(
    {
        "store_missing",
        "setting_invalid",
        "setting_unknown",
        "setting_twice",
        "config_unreadable",
        "traces_unavailable",
    }
)
_OPENING = {
    "store_unreadable": ("存储无法打开：{detail}", "the store cannot be opened: {detail}"),
}


def check_store(data: Path, *, as_json: bool, jobs: int = 1) -> int:
    """Check a store, served or not, in so many processes; 0 when clean, 1 with every
    problem named.

    A store that cannot even be opened is one problem: the reason.
    """
    check_processes(jobs)
    console = Console(stderr=True)
    checked = "-"
    try:
        with open_store(data) as store:
            with _bar(console) as bar:
                problems = run_checks(store, _teller(bar), jobs)
            checked = store.ledger.origin
    except (CodedError, *UNREADABLE) as error:
        if isinstance(error, CodedError) and error.code in _NOT_OF_THE_STORE:
            raise
        problems = [not_opened(error)]
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
        for line in lines(problems, checked, SHOWN if sys.stdout.isatty() else None):
            print(line)
    return 1 if problems else 0


def run_checks(store: Store, tell: Tell, jobs: int = 1) -> list[Problem]:
    """All checks, in this process or in `jobs` others. None keeps the others from running."""
    if jobs > 1:
        return _run_apart(store.data, tell, jobs)
    return [problem for name in CHECKS for problem in check(store, name, tell)]


def _run_apart(data: Path, tell: Tell, jobs: int) -> list[Problem]:
    found = Findings(SENTENCES)
    units = [
        Checked(name, Share(number, parts))
        for name, one in CHECKS.items()
        for parts in (jobs if one.shared else 1,)
        for number in range(parts)
    ]
    with local_pool(data, None, jobs) as pool:
        running = [(unit, pool.submit(unit)) for unit in units]
        for done, (unit, future) in enumerate(running, start=1):
            try:
                result = future.result()
            except BrokenExecutor:
                found.add("check_unfinished", unit.check, "worker_lost")
                continue
            if result.failure is not None:
                found.add("check_unfinished", unit.check, result.failure)
            found.problems += result.problems
            tell("checks", done, len(units))
    return found.problems


def not_opened(error: Exception) -> Problem:
    """Why a store cannot be opened at all: what it says of itself, or what broke."""
    if isinstance(error, CodedError):
        return Problem(error.code, "store", error.message_zh(), error.message_en())
    found = Findings(_OPENING)
    found.add("store_unreadable", "store", type(error).__name__)
    return found.problems[0]


def lines(problems: Sequence[Problem], checked: str, shown: int | None) -> list[str]:
    """What a person reads: a line for each problem, at most `shown`, and how many of each kind."""
    if not problems:
        return [f"未发现问题 / clean: {checked}"]
    told = [f"{one.where}: {one.zh} / {one.en} [{one.code}]" for one in problems[:shown]]
    left = len(problems) - len(told)
    if left:
        told.append(f"… 另有 {left} 个，--json 列出全部 / {left} more: --json lists all")
    kinds = Counter(one.code for one in problems)
    counts = ", ".join(f"{code} {count}" for code, count in kinds.most_common())
    noun = "problem" if len(problems) == 1 else "problems"
    return [*told, f"发现 {len(problems)} 个问题 / {len(problems)} {noun}: {counts}"]


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
