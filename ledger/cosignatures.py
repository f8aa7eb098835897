"""C2SP tlog-cosignature, and which keys a checkpoint is verified with.

Types: 0x01 Ed25519 over the note text (signed-note), 0x04 Ed25519 and 0x06
ML-DSA-44 timestamped cosignatures.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import SignatureInvalid
from ledger.notes import SignatureType, VerifierKey

_ED25519_BYTES = 64
_MLDSA44_BYTES = 2420
_MAX_TIME = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A signature that holds. `time`: POSIX seconds, of cosignatures only; 0 says nothing."""

    key: VerifierKey
    time: int | None


def ed25519_message(checkpoint: Checkpoint, time: int) -> bytes:
    """`cosignature/v1`, `time <decimal>`, then the note body."""
    return f"cosignature/v1\ntime {time}\n{checkpoint.text}".encode()


def mldsa44_message(cosigner: str, checkpoint: Checkpoint, time: int) -> bytes:
    """The `cosigned_message` structure with start 0 and end the size of the tree."""
    name, origin = cosigner.encode(), checkpoint.origin.encode()
    if not 1 <= len(name) <= 255 or not 1 <= len(origin) <= 255:
        raise ValueError("cosigner and origin have 1 to 255 bytes")
    return b"".join(
        (
            b"subtree/v1\n\x00",
            bytes([len(name)]),
            name,
            time.to_bytes(8, "big"),
            bytes([len(origin)]),
            origin,
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def verify_signatures(
    signed: SignedCheckpoint, keys: Iterable[VerifierKey]
) -> list[VerifiedSignature]:
    """The signatures by `keys`, each verified; those of unknown keys are ignored.

    Raises `SignatureInvalid` if a known key's signature does not hold, or if a
    known key signed twice. The list may be empty: nobody known signed.
    """
    known = {(key.name, key.key_id): key for key in keys}
    verified: list[VerifiedSignature] = []
    seen: set[tuple[str, bytes]] = set()
    for line in signed.note.signatures:
        identity = (line.name, line.key_id)
        key = known.get(identity)
        if key is None:
            continue
        if identity in seen:
            raise SignatureInvalid(name=key.name)
        seen.add(identity)
        verified.append(VerifiedSignature(key, _verify(signed.checkpoint, key, line.blob)))
    return verified


def _verify(checkpoint: Checkpoint, key: VerifierKey, blob: bytes) -> int | None:
    try:
        if key.type is SignatureType.ED25519:
            _ed25519(key.public).verify(blob, checkpoint.text.encode())
            return None
        time, signature = int.from_bytes(blob[:8], "big"), blob[8:]
        if time > _MAX_TIME:
            raise SignatureInvalid(name=key.name)
        if key.type is SignatureType.COSIGNATURE_ED25519:
            if len(signature) != _ED25519_BYTES:
                raise SignatureInvalid(name=key.name)
            message = ed25519_message(checkpoint, time)
            _ed25519(key.public).verify(signature, message)
            return time
        if len(signature) != _MLDSA44_BYTES:
            raise SignatureInvalid(name=key.name)
        message = mldsa44_message(key.name, checkpoint, time)
        _mldsa44(key.public).verify(signature, message)
        return time
    except (InvalidSignature, ValueError) as error:
        # ValueError: bytes that are no point of the curve, or an over-long origin.
        raise SignatureInvalid(name=key.name) from error


# Keys of policies are few and the same for every checkpoint; only keys that somebody trusts
# come here, never those that a checkpoint brings.
@lru_cache(256)
def _ed25519(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


@lru_cache(256)
def _mldsa44(public: bytes) -> MLDSA44PublicKey:
    return MLDSA44PublicKey.from_public_bytes(public)
