"""What a licence looks like to whom: the only place where answers are built."""

from datetime import datetime

from license_service.answers import Known
from license_service.errors import LicenseRecordMismatch
from license_service.http.models import (
    EventOut,
    FaceFieldOut,
    FaceOut,
    FullLicenseOut,
    HolderOut,
    IssuedOut,
    KindOut,
    KindsOut,
    LicenseOut,
    StatusOut,
    TextOut,
)
from license_service.kinds import Kind, Kinds
from license_service.model import LicenseFacts
from license_service.room import LicenseRoom
from storage.database import ReadTx


def trusted_facts(room: LicenseRoom, tx: ReadTx, license_id: str) -> LicenseFacts:
    """The facts, or `LicenseRecordMismatch`: nothing is shown that cannot be relied on."""
    facts = room.licenses.facts(tx, license_id)
    if facts.disagreements:
        raise LicenseRecordMismatch(license=license_id, fields=list(facts.disagreements))
    return facts


def plain(room: LicenseRoom, at: datetime, facts: LicenseFacts) -> LicenseOut:
    """For bodies that neither issued it nor hold it: no identifier, number or holder."""
    kind = room.licenses.kinds.get(facts.kind)
    status = facts.status_at(at)
    return LicenseOut(
        license_id=facts.license_id,
        kind=facts.kind,
        name=TextOut(zh=kind.name.zh, en=kind.name.en),
        issuer=facts.issuer,
        status=status.status.value,
        tainted=status.tainted,
        valid_from=facts.valid_from,
        valid_until=facts.valid_until,
        supersedes=facts.supersedes,
        version=facts.row_version,
    )


def brief(room: LicenseRoom, at: datetime, facts: LicenseFacts) -> IssuedOut:
    """With its identifier, without what is personal: may be remembered with a request."""
    return IssuedOut(
        **dict(plain(room, at, facts)),
        identifier=facts.identifier,
        entry_id=facts.status_entry_id,
        receipt=f"/v1/receipts/{facts.status_entry_id}",
    )


def full(room: LicenseRoom, tx: ReadTx, at: datetime, facts: LicenseFacts) -> FullLicenseOut:
    """For the holder and the issuing body. A bundle shows each permit with its own status."""
    holder = room.parties.describe(tx, facts.holder)
    kind = room.licenses.kinds.get(facts.kind)
    permits = [plain(room, at, trusted_facts(room, tx, license_id)) for license_id in facts.permits]
    return FullLicenseOut(
        **dict(brief(room, at, facts)),
        holder=HolderOut(
            party_id=holder.party_id, type=holder.type.value, code=holder.code, name=holder.name
        ),
        number=facts.number,
        issuer_name=facts.issuer_name,
        area_code=facts.area_code,
        source_case=facts.source_case,
        face=_face(kind, facts),
        permits=permits,
        history=[
            EventOut(
                event=item.event.value,
                status=item.status.value,
                effective_at=item.effective_at,
            )
            for item in facts.history
        ],
    )


def status(answer: Known, at: datetime) -> StatusOut:
    told = answer.license
    return StatusOut(
        identifier=told.identifier,
        kind=told.kind,
        issuer=told.issuer,
        issuer_name=told.issuer_name,
        status=told.status.status.value,
        tainted=told.status.tainted,
        since=told.status.since,
        valid_from=told.valid_from,
        valid_until=told.valid_until,
        at=at,
        source=answer.source,
    )


def kinds(known: Kinds) -> KindsOut:
    return KindsOut(version=known.version, items=[_kind(kind) for kind in known])


def _kind(kind: Kind) -> KindOut:
    months = None if kind.validity is None else kind.validity.months + 12 * kind.validity.years
    return KindOut(
        key=kind.key,
        name=TextOut(zh=kind.name.zh, en=kind.name.en),
        type_code=kind.type_code,
        defined_by=TextOut(zh=kind.defined_by.zh, en=kind.defined_by.en),
        holder=kind.holder,
        bundle=kind.bundle,
        months=months,
        face=[FaceFieldOut(key=shown.key, zh=shown.zh, en=shown.en) for shown in kind.face],
    )


def _face(kind: Kind, facts: LicenseFacts) -> list[FaceOut]:
    """In the order of the kind; fields that this licence leaves out are left out."""
    return [
        FaceOut(key=shown.key, zh=shown.zh, en=shown.en, value=facts.attributes[shown.key])
        for shown in kind.face
        if shown.key in facts.attributes
    ]
