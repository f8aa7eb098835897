"""Digests sealed under the key of their object: only that object's key opens them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import KeyMissing, ObjectCorrupt
from storage.keyvault import FileKeyVault, WrappedKey
from storage.objects import FilesystemStore, SealedObjects
from storage.objects.sealed_digests import open_digests, seal_digests


def test_what_is_sealed_is_opened_for_its_object_alone(tmp_path: Path) -> None:
    vault = FileKeyVault.create(tmp_path / "vault.json")
    sealed_objects = SealedObjects(FilesystemStore(tmp_path / "objects", create=True), vault)
    one, other = (sealed_objects.put([data], limit=10) for data in (b"same", b"same"))
    digest = hashlib.sha256(b"same").digest()
    assert one.sha256 == other.sha256 == digest
    sealed = seal_digests(vault, one.ref(), one.sha256, one.sm3)
    assert len(sealed) == 92
    assert digest not in sealed
    assert seal_digests(vault, one.ref(), one.sha256, one.sm3) != sealed
    assert open_digests(vault, one.ref(), sealed) == (one.sha256, one.sm3)
    flipped = bytes([*sealed[:40], sealed[40] ^ 1, *sealed[41:]])
    for ref, given in (
        (other.ref(), sealed),
        (one.ref(), flipped),
        (one.ref(), sealed[:-1]),
        (one.ref(), b""),
    ):
        with pytest.raises(ObjectCorrupt):
            open_digests(vault, ref, given)
    # Its epoch destroyed, nothing opens them.
    gone = replace(one.ref(), wrapped_key=WrappedKey(9, one.wrapped_key.blob))
    with pytest.raises(KeyMissing):
        open_digests(vault, gone, sealed)
