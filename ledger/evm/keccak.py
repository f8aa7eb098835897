"""Keccak-256, the hash of EVM chains (not SHA3-256: another padding)."""

from Crypto.Hash import keccak as _keccak


def keccak(data: bytes) -> bytes:
    """32 bytes."""
    return _keccak.new(digest_bits=256, data=data).digest()
