"""Log entries: blinded leaves, which commit to a record, and public ones.

A blinded leaf is `{"commitment":"sha256:…","v":1}`; from outside, all of them
look alike. A public leaf is `{"body":{…},"kind":"…","v":1}`, for what monitors
must read. Both are canonical JSON and at most 65,535 bytes (tlog-tiles: the
length in an entry bundle is a uint16).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from kernel.canonical import JsonValue, NotCanonical, Record, canonical_bytes, parse_record
from ledger.errors import LeafMalformed, RecordTooLarge

# The entity of public leaves that are about the log itself.
PUBLIC_ENTITY = "log"
# The first entry of every shard: its origin and verifier keys, and how the one before ended.
OPENED = "shard.opened"
CLOSED = "shard.closed"  # the last entry of a shard that ended: the next one's origin and keys
ENDED = "ended"  # which entries can no longer be opened, or no longer count
EVIDENCE = "evidence.kept"  # digests of evidence from outside about earlier checkpoints
LOST = "lost"  # kind of a row whose record only the log remembers: see `adoption`
SALT_SIZE = 32
MAX_LEAF = 65_535
_CONTEXT = b"mianjiao.record.v1\x00"
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_BLINDED = re.compile(rb'\{"commitment":"sha256:[0-9a-f]{64}","v":1\}')


@dataclass(frozen=True, slots=True)
class BlindedLeaf:
    commitment: bytes  # 32


@dataclass(frozen=True, slots=True)
class PublicLeaf:
    kind: str
    body: dict[str, JsonValue]


def commitment(salt: bytes, canonical: bytes) -> bytes:
    """`SHA-256("mianjiao.record.v1" ‖ 0x00 ‖ salt[32] ‖ canonical record)`."""
    if len(salt) != SALT_SIZE:
        raise ValueError("a salt has 32 bytes")
    return sha256(_CONTEXT + salt + canonical).digest()


def blinded_leaf(salt: bytes, canonical: bytes) -> bytes:
    """The entry that stands in the log for a record. Reveals nothing without the salt."""
    if len(salt) != SALT_SIZE:
        raise ValueError("a salt has 32 bytes")
    digest = sha256(_CONTEXT + salt + canonical).hexdigest()
    return b'{"commitment":"sha256:' + digest.encode() + b'","v":1}'


def public_leaf(kind: str, body: Record) -> bytes:
    """The entry of a public statement. `body` holds no personal data."""
    if not is_kind(kind):
        raise LeafMalformed(reason="not a kind")
    data = canonical_bytes({"v": 1, "kind": kind, "body": body})
    if len(data) > MAX_LEAF:
        raise RecordTooLarge(limit=MAX_LEAF)
    return data


@lru_cache(1024)
def is_kind(text: str) -> bool:
    """Kinds are dotted lower-case words, at most 64 characters: `case.accepted`."""
    return len(text) <= 64 and _KIND.fullmatch(text) is not None


def parse_leaf(data: bytes) -> BlindedLeaf | PublicLeaf:
    """Read an entry; anything that this module would not write is `LeafMalformed`."""
    if _BLINDED.fullmatch(data):
        return BlindedLeaf(bytes.fromhex(data[22:86].decode()))
    if len(data) > MAX_LEAF:
        raise LeafMalformed(reason="longer than 65,535 bytes")
    try:
        value = parse_record(data)
    except NotCanonical as error:
        raise LeafMalformed(reason=str(error)) from error
    kind, body = value.get("kind"), value.get("body")
    if set(value) != {"v", "kind", "body"} or value["v"] is True or value["v"] != 1:
        raise LeafMalformed(reason="neither a blinded nor a public entry")
    if not isinstance(kind, str) or not is_kind(kind) or not isinstance(body, dict):
        raise LeafMalformed(reason="neither a blinded nor a public entry")
    return PublicLeaf(kind, body)
