"""`mianjiao restore`: a store from a backup, told what was lost."""

import json
from pathlib import Path

from rich.console import Console

from kernel.clock import SystemClock
from runtime.backup.restoring import ASIDE, REPORT, Sources, restore
from runtime.commands.progress import bar
from runtime.settings import data_path, read_settings

NAMES = {
    "verify": "核对日志 verify log",
    "objects": "内容 objects",
    "log": "日志 log",
    "rows": "数据行 rows",
    "adopt": "对账 reconcile",
}


def restore_store(
    data: Path, backup: Path, keys: Path, log: Path | None, *, is_newest: bool, as_json: bool
) -> int:
    """0: restored, nothing lost. 1: restored, and what was lost is named."""
    data = data_path(data)
    newest = None if log is None else data_path(log)
    sources = Sources(data_path(backup), data_path(keys), newest, is_newest)
    with bar(Console(stderr=True), NAMES) as tell:
        report = restore(data, sources, read_settings(), SystemClock(), tell)
    said = report.told()
    if as_json:
        print(json.dumps(said))
    else:
        print(f"已恢复 restored: {data}")
        print(f"  备份时间 backup of {report.made_at}")
        print(f"  日志 log {report.rows_size} → {report.log_size}")
        print(
            "  重新执行 honoured: "
            f"删除 erased {report.erased}, 已用 spent {report.spent}, 撤回 revoked {report.revoked}"
        )
        print(f"  丢失记录 records lost: {said['lost']}  {said['lost_indexes'] or ''}")
        for key in report.damaged:
            print(f"  内容损坏 damaged: objects/{key}")
        if report.set_aside:
            print(f"  未签名的日志分块 unsigned tiles: {report.set_aside} → {data / ASIDE}")
        print(f"  明细 report: {data / REPORT}")
        print(
            f"  已停用全部访问令牌，请重新签发。/ tokens withdrawn, all of them: {report.tokens}; "
            "issue them anew"
        )
        print("  请运行 mianjiao fsck。/ run mianjiao fsck.")
    return 1 if report.lost or report.damaged else 0
