"""`mianjiao keys`: key-encryption keys in epochs."""

import json
from pathlib import Path

from rich.console import Console
from sqlalchemy import func, select

from ledger.tables import ledger_entries
from runtime.commands.progress import bar
from runtime.store import Store, open_store
from storage.database import ReadTx
from storage.rotation import WrappedColumn, rotate, waiting
from storage.tables import objects

# Every table that keeps wrapped keys; a test looks for others.
WRAPPED = (
    WrappedColumn(objects.c.object_key, objects.c.object_key),
    WrappedColumn(ledger_entries.c.position, ledger_entries.c.entry_id),
)
_NAMES = {"objects": "内容 objects", "ledger_entries": "存证 records"}


def rotate_keys(data: Path, *, as_json: bool) -> int:
    """Rotate, or finish a rotation that was cut off; beside a running service, too."""
    with open_store(data) as store:
        with bar(Console(stderr=True), _NAMES) as tell:
            done = rotate(store.database, store.vault, WRAPPED, tell)
        # What waited for exactly this is complete now.
        store.finish_erasures()
        pending = _pending(store)
    if as_json:
        said = {"epoch": done.epoch, "rewrapped": done.rewrapped, "erasures_pending": pending}
        print(json.dumps(said))
        return 0
    print(f"密钥已轮换至第 {done.epoch} 期，重新封装 {done.rewrapped} 个")
    print(f"keys rotated to epoch {done.epoch}, {done.rewrapped} wrapped anew")
    print("  请随即运行 mianjiao backup：此前的备份都不能再恢复。")
    print("  Run mianjiao backup at once: no earlier backup can be restored any more.")
    print("  请重新备份 keys/，并销毁旧的 keys/ 副本：此前删除的内容靠它才能打开。")
    print("  Copy keys/ anew and destroy older copies: only those still open what was erased.")
    return 0


def show_keys(data: Path, *, as_json: bool) -> int:
    """Epochs, keys still under an older one, and erasures that older copies still open."""
    with open_store(data) as store:
        vault = store.vault
        current, oldest = vault.current_epoch, vault.oldest_epoch
        with store.database.read() as tx:
            left = waiting(tx, WRAPPED, current)
            readable = _readable(tx, oldest)
        pending = _pending(store)
    if as_json:
        said = {
            "epoch": current,
            "rotating": oldest != current,
            "to_rewrap": left,
            "erasures_pending": pending,
            "erased_readable_in_older_copies": readable,
        }
        print(json.dumps(said))
        return 0
    print(f"第 {current} 期 / epoch {current}")
    if oldest != current:
        print(
            f"  轮换未完成，剩 {left} 个 / rotation unfinished, {left} left: mianjiao keys rotate"
        )
    print(f"  删除未完成 erasures pending: {pending}")
    print(f"  旧副本中仍可打开的已删除内容 erased, but readable in older copies: {readable}")
    return 0


def _readable(tx: ReadTx, oldest: int) -> int:
    query = select(func.count()).where(
        objects.c.erased_at.is_not(None), objects.c.key_epoch >= oldest
    )
    return int(tx.scalar(query) or 0)


def _pending(store: Store) -> int:
    with store.database.read() as tx:
        query = select(func.count()).where(
            objects.c.erased_at.is_not(None), objects.c.forgotten_at.is_(None)
        )
        return int(tx.scalar(query) or 0)
