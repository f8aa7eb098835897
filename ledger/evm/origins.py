"""How a contract names a log."""

from hashlib import sha256


def origin_id(origin: str) -> bytes:
    """SHA-256 of the origin's UTF-8."""
    return sha256(origin.encode()).digest()
