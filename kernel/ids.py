"""Random ids: a three-letter prefix that names the kind, and 128 random bits.

Ledger records refer to each other by these alone, so an id must tell nothing.
"""

import re
import secrets
from enum import StrEnum

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = tuple(range(120, -1, -10))
_ID = re.compile(rf"[a-z]{{3}}_[{_ALPHABET}]{{26}}")


class IdKind(StrEnum):
    """Every kind of thing that has an id. The value is the id's prefix."""

    PARTY = "pty"
    CAPACITY = "cap"
    UPLOAD = "upl"
    MATERIAL = "mat"
    CASE = "cas"
    GRANT = "grt"
    VERIFICATION = "vrf"
    TICKET = "tkt"
    LICENSE = "lic"
    DOCUMENT = "doc"
    TASK = "tsk"
    EXPORT = "exp"
    ENTRY = "ent"
    CREDENTIAL = "tok"
    REQUEST = "req"
    PARTY_EVENT = "evt"
    REGISTER_FACT = "fct"


def new_id(kind: IdKind) -> str:
    """A fresh id, e.g. `mat_3v9q…` (30 characters). Collision odds: 2^-64 at 2^32 ids."""
    return new_ids(kind, 1)[0]


def new_ids(kind: IdKind, count: int) -> list[str]:
    """`count` fresh ids at once: one call for the random bits of all."""
    random = secrets.token_bytes(16 * count)
    ids = []
    for start in range(0, len(random), 16):
        number = int.from_bytes(random[start : start + 16], "big")
        text = "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
        ids.append(f"{kind.value}_{text}")
    return ids


def is_id(text: str, kind: IdKind) -> bool:
    """Whether `text` has the form of an id of this kind. Says nothing about existence."""
    return text.startswith(kind.value + "_") and _ID.fullmatch(text) is not None
