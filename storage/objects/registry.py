"""The `objects` table: which stored bytes belong to what, and the wrapped keys.

An object is added when its bytes are durable, claimed when something durable
refers to it, kept for as long as a case demands, and erased by destroying its wrapped key.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, or_, select, update

from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared
from storage.errors import KeyMissing, ObjectClaimed, ObjectMissing
from storage.keyvault import KeyVault, WrappedKey
from storage.objects.sealed_writer import ObjectRef, StoredObject
from storage.tables import objects

_NONE: Mapping[str, Any] = MappingProxyType({})
_REF = Prepared(
    select(
        objects.c.size,
        objects.c.cipher_size,
        objects.c.cipher_sha256,
        objects.c.wrapped_key,
        objects.c.key_epoch,
    ).where(objects.c.object_key == bindparam("key"))
)
_ADD = Prepared(
    insert(objects),
    [
        "object_key",
        "size",
        "cipher_size",
        "cipher_sha256",
        "wrapped_key",
        "key_epoch",
        "created_at",
        "claimed_by",
    ],
)
_CLAIM = Prepared(
    update(objects)
    .where(
        objects.c.object_key == bindparam("key"),
        objects.c.claimed_by.is_(None),
        objects.c.erased_at.is_(None),
    )
    .values(claimed_by=bindparam("owner"))
)
_OWNER = select(objects.c.claimed_by, objects.c.erased_at).where(
    objects.c.object_key == bindparam("key")
)
_ERASE = (
    update(objects)
    .where(objects.c.object_key == bindparam("key"), objects.c.erased_at.is_(None))
    .values(wrapped_key=None, key_epoch=bindparam("epoch"), erased_at=bindparam("at"))
)


def add(
    tx: WriteTx, at: datetime, vault: KeyVault, stored: StoredObject, owner: str | None = None
) -> None:
    """Note an object whose bytes are durable, claimed by `owner` (an id) at once if there
    is one. Until it is claimed a sweep may remove it.

    `KeyRotated`: the epoch that it was encrypted in was destroyed meanwhile.
    """
    vault.require({stored.wrapped_key.epoch})
    _ADD.add(
        tx,
        {
            "object_key": stored.object_key,
            "size": stored.size,
            "cipher_size": stored.cipher_size,
            "cipher_sha256": stored.cipher_sha256,
            "wrapped_key": stored.wrapped_key.blob,
            "key_epoch": stored.wrapped_key.epoch,
            "created_at": at,
            "claimed_by": owner,
        },
    )


def add_many(
    tx: WriteTx,
    at: datetime,
    vault: KeyVault,
    stored: Sequence[StoredObject],
    owners: Mapping[str, str] = _NONE,
    retain: Mapping[str, datetime] = _NONE,
) -> None:
    """`add` for a batch, in one statement. `owners`, by object key; so `retain`, as `keep`."""
    vault.require({item.wrapped_key.epoch for item in stored})
    tx.insert_many(
        objects,
        [
            {
                "object_key": item.object_key,
                "size": item.size,
                "cipher_size": item.cipher_size,
                "cipher_sha256": item.cipher_sha256,
                "wrapped_key": item.wrapped_key.blob,
                "key_epoch": item.wrapped_key.epoch,
                "created_at": at,
                "claimed_by": owners.get(item.object_key),
                "retain_until": retain.get(item.object_key),
            }
            for item in stored
        ],
    )


def claim(tx: WriteTx, object_key: str, owner: str) -> None:
    """Let `owner` (an id) keep the object from now on; again by the same owner is no change.

    `ObjectMissing`: no such row, e.g. swept meanwhile. `KeyMissing`: erased.
    `ObjectClaimed`: another owner has it; erasing one would erase both.
    """
    if _CLAIM.run(tx, {"key": object_key, "owner": owner}):
        return
    row = tx.one(_OWNER, {"key": object_key})
    if row is None:
        raise ObjectMissing()
    if row["erased_at"] is not None:
        raise KeyMissing()
    if row["claimed_by"] != owner:
        raise ObjectClaimed()


def keep(tx: WriteTx, object_keys: Select[Any], until: datetime) -> None:
    """Say that these must be kept at least until then (UTC); never shortens.

    The store is told afterwards, by `locking.apply_locks`.
    """
    tx.execute(
        update(objects)
        .where(
            objects.c.object_key.in_(object_keys),
            or_(objects.c.retain_until.is_(None), objects.c.retain_until < until),
        )
        .values(retain_until=until)
    )


def forget_locks(tx: WriteTx) -> None:
    """Of rows that come to another store, or back from a backup: it is told anew."""
    tx.execute(update(objects).values(locked_until=None))


def ref(tx: ReadTx, object_key: str) -> ObjectRef:
    """What it takes to read the object. `ObjectMissing`: no such row. `KeyMissing`: erased."""
    row = _REF.one(tx, {"key": object_key})
    if row is None:
        raise ObjectMissing()
    if row["wrapped_key"] is None:
        raise KeyMissing()
    wrapped = WrappedKey(row["key_epoch"], row["wrapped_key"])
    return ObjectRef(object_key, row["size"], row["cipher_size"], row["cipher_sha256"], wrapped)


def erase(tx: WriteTx, at: datetime, vault: KeyVault, object_key: str) -> None:
    """Destroy the wrapped key. From these rows the bytes can then never be read again.

    The row keeps the current epoch: once that is destroyed, no older copy of the
    rows opens them either. Erasure is pending until `erasure.finish_erasures`.
    Erased already is no change. `ObjectMissing`: no such row.
    """
    values = {"key": object_key, "at": at, "epoch": vault.current_epoch}
    done = tx.execute(_ERASE, values).rowcount
    if not done and tx.one(_OWNER, {"key": object_key}) is None:
        raise ObjectMissing()


def unreferenced(tx: ReadTx, older_than: datetime, *, limit: int = 500) -> list[str]:
    """Keys of objects stored before `older_than` that nothing has claimed, oldest first."""
    query = (
        select(objects.c.object_key)
        .where(objects.c.claimed_by.is_(None), objects.c.created_at < older_than)
        .order_by(objects.c.created_at)
        .limit(limit)
    )
    return [row["object_key"] for row in tx.all(query)]


def remove(tx: WriteTx, object_keys: Sequence[str]) -> list[str]:
    """Delete the rows of unclaimed objects; the keys that were deleted.

    Rows that still point at them make this fail: the caller drops those first.
    """
    unclaimed = select(objects.c.object_key).where(
        objects.c.object_key.in_(object_keys), objects.c.claimed_by.is_(None)
    )
    keys = [row["object_key"] for row in tx.all(unclaimed)]
    tx.execute(delete(objects).where(objects.c.object_key.in_(keys)))
    return keys
