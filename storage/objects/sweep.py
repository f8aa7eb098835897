"""The sweep: removes what nothing refers to, from rows and from the store.

An upload that was never used leaves an unclaimed row; a crash between the put
and the commit leaves a file without a row. Both are removed once old enough.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import select

from storage.database import Database, WriteTx
from storage.objects import registry
from storage.objects.erasure import finish_erasures
from storage.objects.port import ObjectStore
from storage.tables import objects

_BATCH = 500

Release = Callable[[WriteTx, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many objects were removed with their rows, how many files without one,
    how many erasures came to their end, and how many are still pending."""

    unclaimed: int
    strays: int
    erased: int
    pending: int


def sweep(
    database: Database,
    store: ObjectStore,
    at: datetime,
    *,
    older_than: timedelta,
    release: Release,
) -> Swept:
    """Remove unclaimed objects and stray files older than `older_than`.

    `older_than` must exceed the longest time an upload may take to arrive and
    be used: a file whose row is about to be written looks like a stray.
    `release(tx, keys)` is called in the transaction that deletes the rows, so
    that rooms above can drop their own rows that point at them. Rows go first:
    a crash in between leaves a stray for the next sweep, never a row without
    its bytes. Safe while the store is in use, and to repeat.
    """
    before = at - older_than
    unclaimed = 0
    while keys := database.write(lambda tx: _remove_unclaimed(tx, before, release)):
        for key in keys:
            store.delete(key)
        unclaimed += len(keys)
    strays = 0
    old = (key for key, stored in store.keys() if stored < before)  # noqa: SIM118 - no mapping
    for batch in _batches(old):
        known = _known(database, batch)
        for key in batch:
            if key not in known:
                store.delete(key)
                strays += 1
    erasures = finish_erasures(database, store, at)
    return Swept(unclaimed, strays, len(erasures.done), len(erasures.pending))


def _remove_unclaimed(tx: WriteTx, before: datetime, release: Release) -> list[str]:
    keys = registry.unreferenced(tx, before, limit=_BATCH)
    if not keys:
        return []
    release(tx, keys)
    return registry.remove(tx, keys)


def _known(database: Database, keys: Sequence[str]) -> set[str]:
    query = select(objects.c.object_key).where(objects.c.object_key.in_(keys))
    with database.read() as tx:
        return {row["object_key"] for row in tx.all(query)}


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(keys)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
