"""`mianjiao fsck`: everything that is stored, against everything that was recorded."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from sqlalchemy import select

from archive.fsck import fsck as check_archive
from kernel.clock import SystemClock
from kernel.errors import CodedError
from ledger.anchoring.fsck import check_anchoring
from ledger.closing import prepared_places
from ledger.fsck import fsck as check_ledger
from ledger.fsck_reading import UNREADABLE, Findings
from ledger.problems import Problem
from ledger.problems import Progress as Tell
from ledger.tables import ledger_heads
from license_service.fsck import fsck as check_licenses
from materials_api.fsck.checking import fsck as check_materials
from materials_api.tables import grants, tickets, uploads
from parties.fsck import fsck as check_parties
from runtime.fsck_audit import AuditCheck
from runtime.fsck_files import check_files
from runtime.fsck_replies import check_replies
from runtime.store import Store, open_store
from storage.tables import audit

NAMES = {
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
_SENTENCES = {
    "store_unreadable": ("存储无法打开：{detail}", "the store cannot be opened: {detail}"),
    "database_damaged": ("数据库文件已损坏：{detail}", "the database file is damaged: {detail}"),
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


def run_checks(store: Store, tell: Tell) -> list[Problem]:
    """The checks of the database, the files and every room, in the order of their imports.

    One that cannot go on is a problem itself, and does not keep the others from running.
    """
    found = Findings(_SENTENCES)
    checks: Sequence[tuple[str, Callable[[], list[Problem]]]] = (
        ("database", lambda: _database(store, tell)),
        ("files", lambda: _files(store)),
        ("ledger", lambda: check_ledger(store.ledger, tell)),
        ("anchors", lambda: check_anchoring(store.ledger)),
        (
            "parties",
            lambda: check_parties(store.database, store.vault, store.ledger.records, tell),
        ),
        ("licenses", lambda: check_licenses(store.database, store.ledger.records, tell)),
        ("materials", lambda: check_materials(store.materials, tell)),
        ("exports", lambda: check_archive(store.archive, tell)),
        ("audit", lambda: check_audit(store, tell)),
        ("replies", lambda: check_replies(store.database, store.vault).problems),
    )
    for name, check in checks:
        with found.guarded(name):
            found.problems += check()
    return found.problems


def not_opened(error: Exception) -> Problem:
    """Why a store cannot be opened at all: what it says of itself, or what broke."""
    if isinstance(error, CodedError):
        return Problem(error.code, "store", error.message_zh(), error.message_en())
    found = Findings(_SENTENCES)
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


def _database(store: Store, tell: Tell) -> list[Problem]:
    found = Findings(_SENTENCES)
    for line in store.database.damage():
        found.add("database_damaged", store.database.name, line)
    tell("database", 1, 1)
    return found.problems


def _files(store: Store) -> list[Problem]:
    with store.database.read() as tx:
        shards = set(tx.execute(select(ledger_heads.c.shard)).scalars())
    shards |= prepared_places(store.ledger)
    now = SystemClock().now()
    logs = store.place.shards
    return check_files(store.database, store.object_store, logs, shards, now).problems


def check_audit(store: Store, tell: Tell) -> list[Problem]:
    check = AuditCheck(store.database)
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        tell("audit", done, done)

    check.found.each(store.database, audit.c.id, check.row, told)
    check.actors()
    with check.found.guarded("audit"):
        check.entries()
    check.found.each(store.database, uploads.c.upload_id, check.upload)
    check.found.each(store.database, tickets.c.ticket_id, check.ticket)
    check.found.each(store.database, grants.c.grant_id, check.code)
    check.code_tries()
    return check.found.problems


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
