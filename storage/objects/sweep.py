"""The sweep: removes what nothing refers to, from rows and from the store.

An upload that was never used leaves an unclaimed row; a crash between the put
and the commit leaves a file without a row. Both are removed once old enough, and
so is ciphertext whose key was erased while a retention still held it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import select

from storage.database import Database, WriteTx
from storage.errors import ObjectRetained
from storage.keyvault import KeyVault
from storage.objects import registry
from storage.objects.erasure import finish_erasures
from storage.objects.port import ObjectStore
from storage.tables import objects

_BATCH = 500

Release = Callable[[WriteTx, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many objects were removed with their rows, how many files that nothing
    needs, how many erasures came to their end, how many are still pending, and how
    many files that nothing needs a retention still holds."""

    unclaimed: int
    strays: int
    erased: int
    pending: int
    locked: int


def sweep(
    database: Database,
    store: ObjectStore,
    vault: KeyVault,
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
            # A lock leaves a stray, for a later sweep.
            with suppress(ObjectRetained):
                store.delete(key)
        unclaimed += len(keys)
    strays = locked = 0
    old = (key for key, stored in store.keys() if stored < before)  # noqa: SIM118 - no mapping
    for batch in _batches(old):
        needed = _needed(database, batch)
        for key in batch:
            if key in needed:
                continue
            try:
                store.delete(key)
                strays += 1
            except ObjectRetained:
                locked += 1
    erasures = finish_erasures(database, store, vault, at)
    locked += len(erasures.locked)
    return Swept(unclaimed, strays, len(erasures.done), len(erasures.pending), locked)


def _remove_unclaimed(tx: WriteTx, before: datetime, release: Release) -> list[str]:
    keys = registry.unreferenced(tx, before, limit=_BATCH)
    if not keys:
        return []
    release(tx, keys)
    return registry.remove(tx, keys)


def _needed(database: Database, keys: Sequence[str]) -> set[str]:
    """Those with a row, unless their erasure has come to its end."""
    query = select(objects.c.object_key).where(
        objects.c.object_key.in_(keys), objects.c.forgotten_at.is_(None)
    )
    with database.read() as tx:
        return {row["object_key"] for row in tx.all(query)}


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(keys)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
