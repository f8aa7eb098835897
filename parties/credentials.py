"""Bearer credentials: opaque secrets, checked live in the database.

The secret is shown once. Only its SHA-256 is kept, which suffices because the
secret has 256 random bits. The OAuth server with DPoP (RFC 9449) will stand
behind the same `Authenticator` port.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    bindparam,
    exists,
    insert,
    or_,
    select,
    update,
)

from kernel.identifiers import parse_credit_code
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Principal, Role
from parties.errors import (
    CredentialExpired,
    CredentialInvalid,
    CredentialNotFound,
    CredentialRevoked,
    CredentialUnknown,
    NotActingForHolder,
)
from parties.tables import capacities, credentials
from storage.database import ReadTx, WriteTx
from storage.database.metadata import UtcDateTime
from storage.database.prepared import Prepared

PREFIX = "mj_"
_SECRET_BYTES = 32
_SECRET = re.compile(r"mj_[A-Za-z0-9_-]{43}")
OFFICES = frozenset({Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST})


@dataclass(frozen=True, slots=True)
class Presented:
    """What an authenticator may look at besides the secret: the request it came with.

    `proof` is the value of the `DPoP` header. Bearer credentials ignore all of it.
    """

    method: str
    url: str
    proof: str | None = None


class Authenticator(Protocol):
    """Turns a secret into the principal it stands for, now.

    Reads only; safe from many threads. Raises a `NotAuthenticated` for what is
    unknown, expired or revoked, and `NotActingForHolder` when the authority
    behind a good credential has ended. A revocation that was durable before
    `tx` began is seen.
    """

    def authenticate(
        self, tx: ReadTx, at: datetime, secret: str, presented: Presented | None = None
    ) -> Principal: ...


def _in_force(holder: Any, person: Any, capacity: Any, at: Any) -> ColumnElement[bool]:
    """SQL: a capacity row of these three is in force at `at`; values or columns."""
    return exists().where(
        capacities.c.holder == holder,
        capacities.c.person == person,
        capacities.c.capacity == capacity,
        capacities.c.valid_from <= at,
        or_(capacities.c.valid_until.is_(None), capacities.c.valid_until > at),
        or_(capacities.c.ended_at.is_(None), capacities.c.ended_at > at),
    )


# One indexed select per request, compiled once. For a credential that acts for
# another it also asks whether that authority is still in force, so that it ends
# at once.
_c = credentials.c
_BY_SECRET = Prepared(
    select(
        _c.credential_id,
        _c.role,
        _c.org,
        _c.unit,
        _c.officer,
        _c.person,
        _c.holder,
        _c.capacity,
        _c.expires_at,
        _c.revoked_at,
        or_(
            _c.capacity.is_(None),
            _c.capacity == bindparam("self"),
            _in_force(_c.holder, _c.person, _c.capacity, bindparam("at", type_=UtcDateTime)),
        ).label("acting"),
    ).where(_c.secret_sha256 == bindparam("digest"))
)


class Credentials:
    """Issues, checks and revokes bearer credentials. Implements `Authenticator`.

    `fonds`: by archive office (credit code), the bodies whose archives it keeps. A
    credential names its body only, so that a change here reaches every archivist.
    """

    def __init__(self, fonds: Mapping[str, frozenset[str]] | None = None) -> None:
        self._fonds = dict(fonds or {})

    def issue(
        self,
        tx: WriteTx,
        at: datetime,
        *,
        role: Role,
        org: str | None = None,
        unit: str | None = None,
        officer: str | None = None,
        person: str | None = None,
        holder: str | None = None,
        capacity: Capacity | None = None,
        expires_at: datetime,
    ) -> tuple[str, str]:
        """Make a credential; return its id and the secret, which is kept nowhere.

        Windows, departments and archives name their `org` (credit code).
        Applicants name the acting `person`, and the `holder` and `capacity` if
        they act for another; that capacity must be in force (`NotActingForHolder`).
        """
        if expires_at <= at:
            raise CredentialInvalid(
                reason="有效期须在将来", reason_en="it would already have expired"
            )
        if role is Role.APPLICANT:
            holder, capacity = _applicant(person, holder, capacity)
        elif person is not None or holder is not None or capacity is not None:
            raise CredentialInvalid(
                reason="工作人员的凭证不写本人或被代办人",
                reason_en="officers act for no holder",
            )
        if role in OFFICES and org is None:
            raise CredentialInvalid(
                reason="该角色须注明所属机构（--org）",
                reason_en="this role needs the body it belongs to",
            )
        if org is not None:
            parse_credit_code(org)
        if capacity is not None and capacity is not Capacity.SELF:
            acting = select(_in_force(holder, person, capacity.value, at))
            if not tx.scalar(acting):
                raise NotActingForHolder()
        credential_id = new_id(IdKind.CREDENTIAL)
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        tx.execute(
            insert(credentials),
            {
                "credential_id": credential_id,
                "secret_sha256": sha256(secret.encode()).digest(),
                "role": role.value,
                "org": org,
                "unit": unit,
                "officer": officer,
                "person": person,
                "holder": holder,
                "capacity": None if capacity is None else capacity.value,
                "created_at": at,
                "expires_at": expires_at,
                "version": 1,
            },
        )
        return credential_id, secret

    def authenticate(
        self, tx: ReadTx, at: datetime, secret: str, presented: Presented | None = None
    ) -> Principal:
        """The principal behind `secret`, valid during [created_at, expires_at)."""
        if _SECRET.fullmatch(secret) is None:
            raise CredentialUnknown()
        digest = sha256(secret.encode()).digest()
        row = _BY_SECRET.one(tx, {"digest": digest, "at": at, "self": Capacity.SELF.value})
        if row is None:
            raise CredentialUnknown()
        if row["revoked_at"] is not None:
            raise CredentialRevoked()
        if row["expires_at"] <= at:
            raise CredentialExpired()
        if not row["acting"]:
            raise NotActingForHolder()
        return self._principal(row)

    def in_force(self, tx: ReadTx, at: datetime) -> Sequence[RowMapping]:
        """Those that can be used at `at`, oldest first: who they are and their times."""
        query = select(
            *(_c.credential_id, _c.role, _c.org, _c.unit, _c.officer, _c.person, _c.holder),
            *(_c.capacity, _c.created_at, _c.expires_at),
        ).where(_c.revoked_at.is_(None), _c.expires_at > at)
        return tx.all(query.order_by(_c.created_at, _c.credential_id))

    def id_of(self, tx: ReadTx, secret: str) -> str:
        """`CredentialNotFound`."""
        digest = sha256(secret.encode()).digest()
        query = select(credentials.c.credential_id).where(credentials.c.secret_sha256 == digest)
        found: str | None = tx.scalar(query)
        if found is None:
            raise CredentialNotFound()
        return found

    def revoke(self, tx: WriteTx, at: datetime, credential_id: str) -> None:
        """End a credential for good. Revoking twice keeps the first time."""
        known = tx.scalar(
            select(credentials.c.credential_id).where(credentials.c.credential_id == credential_id)
        )
        if known is None:
            raise CredentialNotFound()
        tx.execute(
            update(credentials)
            .where(credentials.c.credential_id == credential_id, credentials.c.revoked_at.is_(None))
            .values(revoked_at=at, version=credentials.c.version + 1)
        )

    def revoke_all(self, tx: WriteTx, at: datetime) -> int:
        """End every credential that has not ended: for rows that may not know of a
        revocation. How many."""
        ended = tx.execute(
            update(credentials)
            .where(credentials.c.revoked_at.is_(None), credentials.c.expires_at > at)
            .values(revoked_at=at, version=credentials.c.version + 1)
        )
        return ended.rowcount

    def _principal(self, row: Mapping[str, Any]) -> Principal:
        role = Role(row["role"])
        archivist = role is Role.ARCHIVIST
        return Principal(
            subject=row["credential_id"],
            role=role,
            org=row["org"],
            unit=row["unit"],
            officer=row["officer"],
            person=row["person"],
            holder=row["holder"],
            capacity=None if row["capacity"] is None else Capacity(row["capacity"]),
            keeps=self._fonds.get(row["org"], frozenset()) if archivist else frozenset(),
        )


def _applicant(
    person: str | None, holder: str | None, capacity: Capacity | None
) -> tuple[str, Capacity]:
    if person is None:
        raise CredentialInvalid(
            reason="申请人的凭证须写明本人（--holder）",
            reason_en="an applicant's credential names the person who acts",
        )
    holder = person if holder is None else holder
    if capacity is None:
        if holder != person:
            raise CredentialInvalid(
                reason="代他人办理须注明身份（--capacity）",
                reason_en="acting for another needs a capacity",
            )
        return holder, Capacity.SELF
    if (capacity is Capacity.SELF) != (holder == person):
        raise CredentialInvalid(
            reason="为本人办理时身份只能是 self",
            reason_en="acting for oneself is the capacity self, and only that",
        )
    return holder, capacity
