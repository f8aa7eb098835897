"""The part of `fsck` for names: what lies in `objects/` and `log/` and nothing accounts for.

Bytes of files that are accounted for are the business of the rooms.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import select

from ledger.fsck_reading import PAGE, Findings
from ledger.tilestore import Shards
from storage.database import Database
from storage.objects import ObjectStore
from storage.tables import objects

# The sweep removes what a crash or an abandoned upload left behind after a day; what
# is younger may be on its way in.
LEFT_BEHIND = timedelta(days=2)

SENTENCES = {
    "unexpected_file": ("不应存在的文件：{detail}", "a file that does not belong there: {detail}"),
}


def check_files(
    database: Database, store: ObjectStore, logs: Shards, shards: set[str], now: datetime
) -> Findings:
    """Objects without a row, names that are none of a store's. `now` is the computer's
    time, because the age of files is; `shards` are those that the database knows, or that
    are prepared."""
    found = Findings(SENTENCES)
    with found.guarded("objects"):
        for name in store.strangers():
            found.add("unexpected_file", f"objects/{name}", "name")
        old = (key for key, stored in store.keys() if stored < now - LEFT_BEHIND)  # noqa: SIM118
        for key in _without_row(database, old):
            found.add("unexpected_file", f"objects/{key[:2]}/{key}", "no row")
    with found.guarded("log"):
        for name in logs.strangers(shards):
            found.add("unexpected_file", f"log/{name}", "name")
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
