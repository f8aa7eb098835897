"""Retention locks: the object store is told what the rows say, and what it was told is noted.

`registry.keep` says in the business transaction until when objects must be kept.
Afterwards, and again after any crash, `apply_locks` asks the store to refuse their
deletion until then. Between the two nothing is lost: a lock that was set and not
noted is asked for again, which changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, select, update

from kernel.errors import CodedError
from storage.database import Database, WriteTx
from storage.errors import StoreAway
from storage.objects.port import ObjectStore
from storage.tables import LOCK_DUE, objects

_BATCH = 500
_THREADS = 8  # each lock is a wait for the server


@dataclass(frozen=True, slots=True)
class Locked:
    """How many objects were locked or locked for longer, and the keys of those that could
    not be: `fsck` says what is wrong with them."""

    done: int
    failed: list[str]


def apply_locks(database: Database, store: ObjectStore, at: datetime) -> Locked:
    """Lock what must be kept beyond `at` and is not locked for as long yet.

    Nothing to do where the store holds no locks (a folder). `StoreAway` ends it: what
    was done is noted. Safe while the store is in use, in several processes, and to repeat.
    """
    done = 0
    failed: list[str] = []
    if not store.locks:
        return Locked(done, failed)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="locks") as pool:
        for page in _due(database, at):
            tried = list(pool.map(lambda row: _lock(store, row), page))
            locked = [row for row, error in zip(page, tried, strict=True) if error is None]
            _note(database, locked)
            done += len(locked)
            for row, error in zip(page, tried, strict=True):
                if isinstance(error, StoreAway):
                    raise error
                if error is not None:
                    failed.append(row["object_key"])
    return Locked(done, failed)


def _due(database: Database, at: datetime) -> Iterator[Sequence[RowMapping]]:
    """Pages in the order of keys, so that what cannot be locked holds up nothing else."""
    columns = objects.c
    query = (
        select(columns.object_key, columns.retain_until)
        .where(LOCK_DUE, columns.retain_until > at)
        .order_by(columns.object_key)
        .limit(_BATCH)
    )
    after = ""
    while True:
        with database.read() as tx:
            page = tx.all(query.where(columns.object_key > after))
        if page:
            yield page
        if len(page) < _BATCH:
            return
        after = page[-1]["object_key"]


def _lock(store: ObjectStore, row: RowMapping) -> CodedError | None:
    try:
        store.retain(row["object_key"], row["retain_until"])
    except CodedError as error:
        return error
    return None


def _note(database: Database, rows: Sequence[RowMapping]) -> None:
    keys: dict[datetime, list[str]] = defaultdict(list)
    for row in rows:
        keys[row["retain_until"]].append(row["object_key"])

    def note(tx: WriteTx) -> None:
        for until, some in keys.items():
            tx.execute(
                update(objects).where(objects.c.object_key.in_(some)).values(locked_until=until)
            )

    if keys:
        database.write(note)
