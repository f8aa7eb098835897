"""Random ids: a three-letter prefix that names the kind, and 130 random bits.

Ledger records refer to each other by these alone, so an id must tell nothing.
"""

import re
import secrets
from enum import StrEnum

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32: no i, l, o, u
_LENGTH = 26
_FROM_BYTE = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))
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
    CANARY = "cny"


def new_id(kind: IdKind) -> str:
    """A fresh id, e.g. `mat_3v9q…` (30 characters). Collision odds: 2^-66 at 2^32 ids."""
    return new_ids(kind, 1)[0]


def new_ids(kind: IdKind, count: int) -> list[str]:
    """`count` fresh ids at once: one call for the random bits of all."""
    # Five bits of each random byte: 256 is a multiple of 32, so all are equally likely.
    text = secrets.token_bytes(_LENGTH * count).translate(_FROM_BYTE).decode("ascii")
    prefix = f"{kind.value}_"
    return [prefix + text[at : at + _LENGTH] for at in range(0, len(text), _LENGTH)]


def is_id(text: str, kind: IdKind) -> bool:
    """Whether `text` has the form of an id of this kind. Says nothing about existence."""
    return text.startswith(kind.value + "_") and _ID.fullmatch(text) is not None
