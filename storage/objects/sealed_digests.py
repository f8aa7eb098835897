"""Digests of content, sealed under the key of its own object: whoever has not that key
learns nothing, and when it is destroyed they are gone, from copies of rows as well."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.errors import ObjectCorrupt
from storage.keyvault import KeyVault
from storage.objects.sealed_writer import ObjectRef

_NONCE = 12
_DIGEST = 32
_INFO = b"mianjiao.object-digests.v1"


def seal_digests(vault: KeyVault, ref: ObjectRef, sha256: bytes, sm3: bytes) -> bytes:
    """92 bytes: nonce, both digests encrypted, tag; bound to the object's key in the store."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + _cipher(vault, ref).encrypt(nonce, sha256 + sm3, ref.object_key.encode())


def open_digests(vault: KeyVault, ref: ObjectRef, sealed: bytes) -> tuple[bytes, bytes]:
    """SHA-256 and SM3. `ObjectCorrupt` if this was not sealed for the object; `KeyMissing`."""
    try:
        opened = _cipher(vault, ref).decrypt(
            sealed[:_NONCE], sealed[_NONCE:], ref.object_key.encode()
        )
    except (InvalidTag, ValueError) as error:
        raise ObjectCorrupt(part="digests") from error
    if len(opened) != 2 * _DIGEST:
        raise ObjectCorrupt(part="digests")
    return opened[:_DIGEST], opened[_DIGEST:]


def _cipher(vault: KeyVault, ref: ObjectRef) -> AESGCM:
    # Not the data key itself: it serves one message, the content.
    key = vault.unwrap(ref.wrapped_key, ref.object_key.encode())
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=_INFO).derive(key))
