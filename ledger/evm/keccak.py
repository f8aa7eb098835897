"""Keccak-256, the hash of EVM chains (not SHA3-256: another padding)."""

from eth_hash.auto import keccak as _keccak


def keccak(data: bytes) -> bytes:
    """32 bytes."""
    return bytes(_keccak(data))
