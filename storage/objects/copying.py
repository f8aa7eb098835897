"""Stored bytes from one object store to another, compared with their digest on the way."""

import hashlib
from typing import NamedTuple

from storage.errors import ObjectCorrupt, ObjectMissing
from storage.objects.port import ObjectStore


class StoredBytes(NamedTuple):
    """An object as its row describes its ciphertext."""

    key: str
    size: int
    sha256: bytes


def copy_object(source: ObjectStore, target: ObjectStore, one: StoredBytes) -> bool:
    """Copy the object, durably; False, and nothing stored, if it is not what its row says."""
    writer = target.create(one.key)
    try:
        digest = hashlib.sha256()
        size = 0
        for block in source.read(one.key):
            digest.update(block)
            size += len(block)
            writer.write(block)
        whole = (size, digest.digest()) == (one.size, one.sha256)
        if whole:
            writer.commit()
        return whole
    except (ObjectMissing, ObjectCorrupt):
        return False
    finally:
        writer.abort()


def matches(store: ObjectStore, one: StoredBytes) -> bool:
    """Whether the stored ciphertext is what its row says."""
    digest = hashlib.sha256()
    size = 0
    try:
        for block in store.read(one.key):
            digest.update(block)
            size += len(block)
    except (ObjectMissing, ObjectCorrupt):
        return False
    return (size, digest.digest()) == (one.size, one.sha256)
