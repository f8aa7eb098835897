"""May these bytes leave, now? Asked for a ticket, before the first byte, and while streaming.

A verification says "allowed then". What it rested on is looked at again: the
grants, from their newest records, and the material's state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from kernel.principals import Principal, Role
from materials_api.cases.access import case_for
from materials_api.errors import MaterialUnknown, RecordMismatch
from materials_api.grants.errors import NotAllowedToRelease
from materials_api.grants.lifecycle import GrantStanding, standing
from materials_api.grants.records import open_grant
from materials_api.materials.access import material_for
from materials_api.materials.lifecycle import MaterialState
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.rules.reasons import ReasonCode
from materials_api.rules.reuse import MATERIAL_STATE_REASONS
from materials_api.tables import materials, verifications
from storage.database import ReadTx

_GRANT_REASONS: Mapping[GrantStanding, ReasonCode] = {
    GrantStanding.REVOKED: ReasonCode.GRANT_REVOKED,
    GrantStanding.EXPIRED: ReasonCode.GRANT_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a ticket stands for. `verification_id` None: the holder's own download, and
    nobody else's, whatever the ticket's row says."""

    verification_id: str | None
    material_id: str
    position: int


def check_release(
    room: MaterialsRoom, tx: ReadTx, at: datetime, principal: Principal, claim: Claim
) -> None:
    """`NotAllowedToRelease` with the reason's code, or what tells that the caller may
    not see the case or the material any more."""
    row = tx.one(select(materials.c.status).where(materials.c.material_id == claim.material_id))
    if row is None:
        raise MaterialUnknown()
    state = MaterialState(row["status"])
    checked_state(room, tx, claim.material_id, state.value)
    if claim.verification_id is None:
        if principal.role is not Role.APPLICANT:
            raise MaterialUnknown()
        material_for(room, tx, principal, claim.material_id)
        if state is MaterialState.ERASED:
            raise NotAllowedToRelease(reason=ReasonCode.MATERIAL_ERASED.value)
        return
    # A newer version does not unmake what was verified for this case before.
    ended = MATERIAL_STATE_REASONS.get(state)
    if ended is not None and state is not MaterialState.SUPERSEDED:
        raise NotAllowedToRelease(reason=ended.value)
    _check_verification(room, tx, at, principal, claim.verification_id, claim.material_id)


def _check_verification(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    principal: Principal,
    verification_id: str,
    material_id: str,
) -> None:
    row = tx.one(select(verifications).where(verifications.c.verification_id == verification_id))
    if row is None:
        raise RecordMismatch(entity=verification_id)
    case_for(tx, principal, row["case_id"])
    record = room.ledger.records.open(tx, row["entry_id"])
    body = record.body
    told = (record.entity, body.get("outcome"), body.get("case"), body.get("item"))
    if told != (verification_id, "allowed", row["case_id"], material_id):
        raise RecordMismatch(entity=verification_id)
    grants = body.get("grants")
    for grant_id in grants if isinstance(grants, list) else []:
        grant = open_grant(room, tx, str(grant_id))
        now = standing(at, grant.state, grant.expires_at)
        if now not in (GrantStanding.GRANTED, GrantStanding.SPENT):
            reason = _GRANT_REASONS.get(now, ReasonCode.GRANT_MISSING)
            raise NotAllowedToRelease(reason=reason.value)
        if grant.case_id not in (None, row["case_id"]):
            raise NotAllowedToRelease(reason=ReasonCode.GRANT_OTHER_CASE.value)
