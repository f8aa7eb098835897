"""Random ids: a three-letter prefix that names the kind, and 128 random bits.

Ledger records refer to each other by these alone, so an id must tell nothing.
"""

import re
import secrets
from enum import StrEnum

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32: no i, l, o, u
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
    number = secrets.randbits(128)
    text = "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
    return f"{kind.value}_{text}"


def is_id(text: str, kind: IdKind) -> bool:
    """Whether `text` has the form of an id of this kind. Says nothing about existence."""
    return text.startswith(kind.value + "_") and _ID.fullmatch(text) is not None
