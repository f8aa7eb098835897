"""Idempotency-Key: a retry gets the first answer, and nothing happens twice.

Honoured per principal, route, key and body. The remembered reply commits in
the same transaction as the work, so a retry after a crash finds both or neither.
It is sealed with a keyed digest: an answer that was edited in the database is
refused, not repeated.
"""

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, insert, select

from kernel.canonical import canonical_bytes
from kernel.clock import time_text
from storage.database import Database, ReadTx, WriteTx
from storage.database.prepared import Prepared, Wanted, read_ahead
from storage.errors import IdempotencyMismatch, ReplyAltered
from storage.keyvault import KeyVault
from storage.tables import idempotency

_KNOWN = Prepared(
    select(idempotency).where(
        idempotency.c.principal == bindparam("principal"),
        idempotency.c.route == bindparam("route"),
        idempotency.c.key == bindparam("key"),
    )
)
_REMEMBER = Prepared(insert(idempotency), idempotency.c.keys())


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answers: an HTTP-like status and the JSON bytes of the body.

    `replayed` tells a remembered answer from a fresh one.
    """

    status: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies one request of one principal. `key` is 1 to 128 printable ASCII characters.

    The body is known by a keyed digest: a plain one could be guessed from a copy of
    the database.
    """

    principal: str
    route: str
    key: str
    body_mac: bytes
    vault: KeyVault

    @classmethod
    def of(cls, vault: KeyVault, principal: str, route: str, key: str, body: bytes) -> "RequestKey":
        return cls(principal, route, key, vault.mac("idempotency", body), vault)


def once(
    database: Database,
    at: datetime,
    key: RequestKey | None,
    work: Callable[[WriteTx], Reply],
    ahead: Collection[Wanted] = (),
) -> Reply:
    """Run `work` and remember its reply under `key`, or return the remembered one.

    Without a key, just the work. A known key with another body raises
    `IdempotencyMismatch`, a reply that was edited meanwhile `ReplyAltered`. Work
    that raises remembers nothing. `ahead`: what the work will ask first, see `read_ahead`.
    """
    return database.write(remembering(at, key, work, ahead))


def remembering(
    at: datetime,
    key: RequestKey | None,
    work: Callable[[WriteTx], Reply],
    ahead: Collection[Wanted] = (),
) -> Callable[[WriteTx], Reply]:
    """The unit of work that `once` runs, for callers that submit it themselves."""

    def attempt(tx: WriteTx) -> Reply:
        if ahead:
            read_ahead(tx, ahead if key is None else [(_KNOWN, _asked(key)), *ahead])
        if key is None:
            return work(tx)
        known = remembered(tx, key)
        if known is not None:
            return known
        reply = work(tx)
        row: dict[str, Any] = {
            **_asked(key),
            "body_mac": key.body_mac,
            "status": reply.status,
            "reply": reply.body,
            "created_at": at,
        }
        _REMEMBER.add(tx, {**row, "mac": seal(key.vault, row)})
        return reply

    return attempt


def remembered(tx: ReadTx, key: RequestKey) -> Reply | None:
    """The reply remembered under `key`, or None; errors as of `once`.

    For use cases that read much before they write: `once` looks again.
    """
    known = _KNOWN.one(tx, _asked(key))
    if known is None:
        return None
    if not hmac.compare_digest(known["mac"], seal(key.vault, known)):
        raise ReplyAltered()
    if known["body_mac"] != key.body_mac:
        raise IdempotencyMismatch()
    return Reply(known["status"], known["reply"], replayed=True)


def seal(vault: KeyVault, row: Mapping[str, Any]) -> bytes:
    """The keyed digest over all that a row of `idempotency` says."""
    said = [
        row["principal"],
        row["route"],
        row["key"],
        row["body_mac"].hex(),
        row["status"],
        sha256(row["reply"]).hexdigest(),
        time_text(row["created_at"]),
    ]
    return vault.mac("idempotency-reply", canonical_bytes(said))


def _asked(key: RequestKey) -> dict[str, str]:
    return {"principal": key.principal, "route": key.route, "key": key.key}
