"""Idempotency-Key: a retry gets the first answer, and nothing happens twice.

Honoured per principal, route, key and body. The remembered reply commits in
the same transaction as the work, so a retry after a crash finds both or neither.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import bindparam, insert, select

from storage.database import Database, ReadTx, WriteTx
from storage.database.prepared import Prepared
from storage.errors import IdempotencyMismatch
from storage.tables import idempotency

_KNOWN = Prepared(
    select(idempotency.c.body_sha256, idempotency.c.status, idempotency.c.reply).where(
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
    """Identifies one request of one principal. `key` is 1 to 128 printable ASCII characters."""

    principal: str
    route: str
    key: str
    body_sha256: bytes

    @classmethod
    def of(cls, principal: str, route: str, key: str, body: bytes) -> "RequestKey":
        return cls(principal, route, key, sha256(body).digest())


def once(
    database: Database, at: datetime, key: RequestKey | None, work: Callable[[WriteTx], Reply]
) -> Reply:
    """Run `work` and remember its reply under `key`, or return the remembered one.

    Without a key, just the work. A known key with another body raises
    `IdempotencyMismatch`. Work that raises remembers nothing.
    """
    return database.write(remembering(at, key, work))


def remembering(
    at: datetime, key: RequestKey | None, work: Callable[[WriteTx], Reply]
) -> Callable[[WriteTx], Reply]:
    """The unit of work that `once` runs, for callers that submit it themselves."""

    def attempt(tx: WriteTx) -> Reply:
        if key is None:
            return work(tx)
        known = remembered(tx, key)
        if known is not None:
            return known
        reply = work(tx)
        _REMEMBER.run(
            tx,
            {
                **_asked(key),
                "body_sha256": key.body_sha256,
                "status": reply.status,
                "reply": reply.body,
                "created_at": at,
            },
        )
        return reply

    return attempt


def remembered(tx: ReadTx, key: RequestKey) -> Reply | None:
    """The reply remembered under `key`, or None; `IdempotencyMismatch` for another body.

    For use cases that read much before they write: `once` looks again.
    """
    known = _KNOWN.one(tx, _asked(key))
    if known is None:
        return None
    if known["body_sha256"] != key.body_sha256:
        raise IdempotencyMismatch()
    return Reply(known["status"], known["reply"], replayed=True)


def _asked(key: RequestKey) -> dict[str, str]:
    return {"principal": key.principal, "route": key.route, "key": key.key}
