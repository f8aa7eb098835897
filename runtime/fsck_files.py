"""The part of `fsck` for names: files in `objects/` and `log/` that nothing accounts for.

Bytes of files that are accounted for are the business of the rooms.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from ledger.fsck_reading import PAGE, Findings
from storage.database import Database
from storage.objects import FilesystemStore
from storage.tables import objects

# The sweep removes what a crash or an abandoned upload left behind after a day; what
# is younger may be on its way in.
LEFT_BEHIND = timedelta(days=2)

SENTENCES = {
    "unexpected_file": ("不应存在的文件：{detail}", "a file that does not belong there: {detail}"),
}


def check_files(
    database: Database, store: FilesystemStore, logs: Path, shards: set[str], now: datetime
) -> Findings:
    """Files without a row, names that are none of a store's. `now` is the computer's time,
    because the age of files is; `logs` holds the folders of `shards`."""
    found = Findings(SENTENCES)
    with found.guarded("objects"):
        for name in store.strangers():
            found.add("unexpected_file", f"objects/{name}", "name")
        old = (key for key, stored in store.keys() if stored < now - LEFT_BEHIND)  # noqa: SIM118
        for key in _without_row(database, old):
            found.add("unexpected_file", f"objects/{key[:2]}/{key}", "no row")
    for path in sorted(logs.iterdir()) if logs.is_dir() else []:
        if path.name not in shards or path.is_symlink() or not path.is_dir():
            found.add("unexpected_file", f"log/{path.name}", "name")
    return found


def _without_row(database: Database, keys: Iterator[str]) -> Iterator[str]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == PAGE:
            yield from _unknown(database, batch)
            batch = []
    yield from _unknown(database, batch)


def _unknown(database: Database, keys: list[str]) -> list[str]:
    with database.read() as tx:
        known = set(
            tx.execute(select(objects.c.object_key).where(objects.c.object_key.in_(keys))).scalars()
        )
    return sorted(set(keys) - known)
