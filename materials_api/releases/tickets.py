"""Download tickets (下载凭票): short-lived, bound to a principal, a file and its verification.

Only a digest of the secret is kept; it has 256 random bits.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import insert, select

from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from materials_api.cases.access import case_for
from materials_api.errors import MaterialUnknown
from materials_api.grants.errors import FileUnknown, NotAllowedToRelease, VerificationUnknown
from materials_api.materials.access import material_for
from materials_api.releases.release import Claim, check_release
from materials_api.room import MaterialsRoom
from materials_api.tables import material_files, tickets, verifications
from storage import audit
from storage.database import WriteTx

PREFIX = "mjt_"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """`ticket` is the secret, told once."""

    ticket: str
    expires_at: datetime


def ticket_for_verification(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    verification_id: str,
    position: int,
) -> IssuedTicket:
    """A ticket for one file of an item that was verified and allowed, in a case of the
    caller's body. `VerificationUnknown`, `NotAllowedToRelease`, `FileUnknown`."""
    row = tx.one(select(verifications).where(verifications.c.verification_id == verification_id))
    if row is None:
        raise VerificationUnknown()
    case_for(tx, principal, row["case_id"])
    if row["outcome"] != "allowed":
        raise NotAllowedToRelease(reason=row["reason"])
    if row["item_kind"] != "material":
        raise FileUnknown(position=position)
    return _issue(room, tx, at, principal, Claim(verification_id, row["item"], position))


def ticket_for_own(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    material_id: str,
    position: int,
) -> IssuedTicket:
    """A ticket for a file of the holder's own material; anybody else's is `MaterialUnknown`."""
    if principal.role is not Role.APPLICANT:
        raise MaterialUnknown()
    material_for(room, tx, principal, material_id)
    return _issue(room, tx, at, principal, Claim(None, material_id, position))


def secret_digest(ticket: str) -> bytes:
    return sha256(ticket.encode()).digest()


def _issue(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, claim: Claim
) -> IssuedTicket:
    check_release(room, tx, at, principal, claim)
    known = tx.scalar(
        select(material_files.c.position).where(
            material_files.c.material_id == claim.material_id,
            material_files.c.position == claim.position,
        )
    )
    if known is None:
        raise FileUnknown(position=claim.position)
    secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    ticket_id = new_id(IdKind.TICKET)
    expires_at = at + timedelta(seconds=room.limits.grants.ticket_life)
    tx.execute(
        insert(tickets),
        {
            "ticket_id": ticket_id,
            "secret_sha256": secret_digest(secret),
            "verification_id": claim.verification_id,
            "material_id": claim.material_id,
            "position": claim.position,
            "principal": principal.subject,
            "issued_at": at,
            "expires_at": expires_at,
        },
    )
    audit.note(
        tx,
        at,
        principal,
        "ticket.issue",
        entity=ticket_id,
        detail={"item": claim.material_id, "position": claim.position},
    )
    return IssuedTicket(secret, expires_at)
