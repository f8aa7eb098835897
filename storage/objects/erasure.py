"""Erasure, after the commit that destroyed a key: nothing of it is left in our files.

`registry.erase` and the ledger null the keys inside the business transaction.
Older pages may still stand in the write-ahead log, so erasure is `pending`
until the log was emptied. On PostgreSQL old versions of rows stay in the server's
files, out of our reach: there it is pending until the epoch was destroyed that the
key was wrapped in, and they open nothing (`storage.rotation`). Safe to repeat at any
time; run it at every start.

Ciphertext that a lock still holds stays where it is: without its key nobody can
ever read it. It is deleted by the sweep, once the lock has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from storage.database import Database, ReadTx, WriteTx
from storage.errors import ObjectRetained
from storage.keyvault import KeyVault
from storage.objects.port import ObjectStore
from storage.tables import objects

_BATCH = 500  # rows in one statement


@dataclass(frozen=True, slots=True)
class Erasures:
    """Object keys whose erasure is complete since this call, and those still pending.

    `locked`: of those done, the ones whose ciphertext a retention still holds.
    """

    done: list[str]
    pending: list[str]
    locked: list[str]


def pending(tx: ReadTx, since_epoch: int = 0) -> list[str]:
    """Keys of erased objects whose traces may still be in our files; of those alone
    that were erased in this epoch of the vault or later."""
    query = select(objects.c.object_key).where(
        objects.c.erased_at.is_not(None),
        objects.c.forgotten_at.is_(None),
        objects.c.key_epoch >= since_epoch,
    )
    return [row["object_key"] for row in tx.all(query)]


def finish_erasures(
    database: Database, store: ObjectStore, vault: KeyVault, at: datetime
) -> Erasures:
    """Delete the ciphertexts of erased objects and see to it that their keys are gone.

    The log is emptied even if no object is pending: the ledger erases records
    of its own. Pending stays what a reader's old snapshot still holds; call
    again later. `StorageFailed` if a file cannot be deleted: pending too.
    """
    with database.read() as tx:
        keys = pending(tx)
    locked = []
    for key in keys:
        try:
            store.delete(key)
        except ObjectRetained:
            locked.append(key)
    left: list[str] = []
    if not database.forget_deleted():
        with database.read() as tx:
            left = pending(tx, since_epoch=vault.oldest_epoch)
        keys = sorted(set(keys) - set(left))

    def mark(tx: WriteTx) -> None:
        for batch in _batches(keys):
            tx.execute(
                update(objects).where(objects.c.object_key.in_(batch)).values(forgotten_at=at)
            )

    if keys:
        database.write(mark)
    return Erasures(done=keys, pending=left, locked=[key for key in locked if key in set(keys)])


def _batches(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
