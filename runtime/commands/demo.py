"""`mianjiao demo`: the story against a fresh store and a real server process."""

import json
import sys
from collections import Counter
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.request import urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from runtime.demo import own_files, story
from runtime.demo.cast import Identity, clients, issue_tokens
from runtime.demo.client import Refused
from runtime.demo.errors import DemoExpectation
from runtime.demo.papers import Papers
from runtime.demo.results import Results, keep, summary
from runtime.demo.server import running_server
from runtime.demo.stage import Stage
from runtime.demo.tampering import tampering
from runtime.demo.tryout import TOKENS, command, results_of, short
from runtime.errors import StoreExists
from runtime.settings import data_path, read_settings
from runtime.store import create_store, open_store

NAME = "yunjian.mianjiao.example"


def play(data: Path, files: Path | None, *, as_json: bool) -> int:
    """Make the store, play, keep the results in `DIR-demo/`; 0 when all went as told."""
    data = data_path(data)
    folder = results_of(data)
    if folder.exists() and any(folder.iterdir()):
        raise StoreExists(path=str(folder))
    taken, passed = own_files.find(files)
    create_store(data, NAME)
    folder.mkdir(exist_ok=True)
    identities = issue_tokens(data)
    with open_store(data) as store:
        policy = store.ledger.policy_text()
    console = Console(stderr=True)
    with (
        running_server(data) as server,
        tampering(data, read_settings()) as objects,
        _bar(console) as bar,
    ):
        task = bar.add_task("", total=None)

        def say(line: str) -> None:
            if console.is_terminal:
                bar.console.print(line, highlight=False)
            elif not as_json:
                print(line, file=sys.stderr)

        callers = clients(server.url, identities, lambda size: bar.advance(task, size))
        stage = Stage(callers, Papers(folder / "papers"), objects, say)
        for one in passed:
            say(f"  不提交 refused: {one.name}: {one.zh} / {one.en} [{one.code}]")
        try:
            story.play(stage, taken)
        except Refused as refused:
            raise DemoExpectation(step=stage.step, got=str(refused)) from refused
        say("10 取回凭证，导出归档包 / receipts are fetched, packages exported")
        results = keep(stage, folder, policy)
        origin, size = _checkpoint(server.url, policy)
        for caller in callers.values():
            caller.close()
    answer = summary(stage, results, passed, origin, size)
    keep_tokens(folder, identities)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        _show(answer, results, data)
    return 0


def keep_tokens(folder: Path, identities: list[Identity]) -> None:
    """The demo identities with their tokens, readable by this user alone."""
    path = folder / TOKENS
    path.touch(mode=0o600)
    listed = [
        {"key": one.key, "who": one.who, "role": one.role, "token": one.token} for one in identities
    ]
    path.write_text(json.dumps(listed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _checkpoint(url: str, policy: str) -> tuple[str, int]:
    """Origin and size, as anybody reads them from the served checkpoint."""
    shard = policy.split()[1].split("+")[0].rsplit("/", 1)[1]
    with urlopen(f"{url}/log/{shard}/checkpoint", timeout=10) as answer:  # noqa: S310 - our own URL
        lines = answer.read().decode().splitlines()
    return lines[0], int(lines[1])


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("上传 uploaded"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _show(answer: dict[str, Any], results: Results, data: Path) -> None:
    console = Console()
    table = Table(title="演示结果 / what the demo left", title_justify="left", show_header=False)
    reasons = Counter(
        one["reason"] for one in answer["verifications"] if one["outcome"] == "denied"
    )
    allowed = sum(one["outcome"] == "allowed" for one in answer["verifications"])
    rows = (
        ("日志 log", f"{answer['origin']} · {answer['tree_size']} 条 entries"),
        ("办件 cases", str(len(answer["cases"]))),
        ("材料 materials", str(len(answer["materials"]))),
        ("证照 licences", str(len(answer["licenses"]))),
        ("核验 verifications", f"{allowed} 通过 allowed · {sum(reasons.values())} 未通过 denied"),
        ("未通过原因 reasons", "\n".join(f"{code} × {n}" for code, n in sorted(reasons.items()))),
        (
            "未提交文件 refused files",
            "\n".join(one["name"] for one in answer["refused_files"]) or "–",
        ),
    )
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    receipt = next(iter(sorted(results.receipts.glob("mat_*.json"))))
    mianjiao, policy = command(), quote(short(results.policy))
    for line in (
        "接下来 / what next:",
        f"  {mianjiao} verify {quote(short(receipt))} --policy {policy}",
        f"  {mianjiao} verify {quote(short(results.packages[0]))} --policy {policy}",
        f"  {mianjiao} fsck --data {quote(short(data))}",
        f"  {mianjiao} serve --data {quote(short(data))}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
