"""What a registration may say: its inputs, and the checks that need no writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

from sqlalchemy import RowMapping, select

from kernel.clock import china_date, china_midnight
from kernel.ids import IdKind, is_id
from kernel.principals import Principal, Role
from materials_api.cases.access import CaseView
from materials_api.catalogue.model import MaterialType, Matter
from materials_api.catalogue.terms import PartyRole, Provenance
from materials_api.days import ends
from materials_api.errors import (
    CertificationInvalid,
    DateImpossible,
    FileOverTypeLimit,
    FilesInvalid,
    ProvenanceNotYours,
    TypeNotOfRequirement,
    UnacceptableContent,
    UploadUnknown,
    UploadUsed,
)
from materials_api.tables import uploads
from materials_api.texts import clean_text
from materials_api.uploads.incoming import Received, waiting_digests
from parties import HolderRef
from storage.database import ReadTx
from storage.keyvault import KeyVault

Row: TypeAlias = RowMapping | Mapping[str, Any]

# Who may say that a copy is more than a copy.
_PROVENANCES = {
    Role.APPLICANT: frozenset({Provenance.UNCHECKED_COPY}),
    Role.WINDOW: frozenset(
        {
            Provenance.UNCHECKED_COPY,
            Provenance.BACK_SCAN,
            Provenance.CERTIFIED_COPY,
            Provenance.DATA_CHECKED,
        }
    ),
    Role.DEPARTMENT: frozenset(Provenance),
}


@dataclass(frozen=True, slots=True)
class PartyInput:
    holder: HolderRef
    role: PartyRole


@dataclass(frozen=True, slots=True)
class FileInput:
    """An upload, and what its sender calls the file."""

    upload: str
    name: str


@dataclass(frozen=True, slots=True)
class RegisterMaterial:
    """What is to be registered.

    `requirement` None: beside the requirements. `parties` empty: the case's
    applicant as owner. `issued_at` and `valid_until` are the dates on the
    document; it counts as valid to the end of the last. `reason`: why paper is
    asked for although a route was open (应免未免).
    """

    type: str
    title: str
    provenance: Provenance
    files: tuple[FileInput, ...]
    requirement: str | None = None
    parties: tuple[PartyInput, ...] = ()
    issued_at: date | None = None
    valid_until: date | None = None
    supersedes: str | None = None
    certified_by: str | None = None
    certified_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Certified:
    by: str
    at: datetime


def check_requirement(
    matter: Matter, case: CaseView, wanted: RegisterMaterial, type_: MaterialType
) -> None:
    """The requirement must be one of the case's variant, and ask for this type."""
    if wanted.requirement is None:
        return
    rule = matter.requirement(case.variant, wanted.requirement)
    if rule.type != type_.key:
        raise TypeNotOfRequirement(requirement=rule.key, type=type_.key)


def document_dates(
    at: datetime, wanted: RegisterMaterial
) -> tuple[datetime | None, datetime | None]:
    issued, until = wanted.issued_at, wanted.valid_until
    if issued is not None and issued > china_date(at):
        raise DateImpossible(field="issued_at")
    # A century either way: beyond that it is a slip of the pen.
    for field, day in (("issued_at", issued), ("valid_until", until)):
        if day is not None and not 1900 <= day.year <= 2200:
            raise DateImpossible(field=field)
    if issued is not None and until is not None and until < issued:
        raise DateImpossible(field="valid_until")
    return (
        None if issued is None else china_midnight(issued),
        None if until is None else ends(until),
    )


def certification(at: datetime, principal: Principal, wanted: RegisterMaterial) -> Certified | None:
    """Who compared it with the original and when (与原件核对一致)."""
    if wanted.provenance not in _PROVENANCES.get(principal.role, frozenset()):
        raise ProvenanceNotYours(provenance=wanted.provenance.value)
    if wanted.provenance is not Provenance.CERTIFIED_COPY:
        if wanted.certified_by is not None or wanted.certified_at is not None:
            raise CertificationInvalid()
        return None
    officer = wanted.certified_by or principal.officer
    when = wanted.certified_at or at
    if officer is None or when > at:
        raise CertificationInvalid()
    return Certified(clean_text("certified_by", officer, 64), when)


def uploads_of(
    tx: ReadTx,
    principal: Principal,
    files: Sequence[FileInput],
    type_: MaterialType,
    limit: int,
    vault: KeyVault,
) -> list[Row]:
    """The uploads' rows in order, and their digests: this principal's own, unused, of
    accepted content."""
    ids = [file.upload for file in files]
    _check_number(ids, type_, limit)
    rows = {
        row["upload_id"]: row
        for row in tx.all(
            select(uploads)
            .where(uploads.c.upload_id.in_(ids), uploads.c.principal == principal.subject)
            .with_for_update()
        )
    }
    found: list[Row] = []
    for upload_id in ids:
        row = rows.get(upload_id)
        if row is None:
            # The id is echoed only in its proper form: anything else could be anything.
            raise UploadUnknown(upload=upload_id if is_id(upload_id, IdKind.UPLOAD) else None)
        if row["used_at"] is not None:
            raise UploadUsed(upload=upload_id)
        sha256, sm3 = waiting_digests(vault, tx, row)
        if sha256 is None:
            raise UploadUnknown(upload=upload_id)  # to be sent again
        found.append({**row, "sha256": sha256, "sm3": sm3})
    _check_content(found, type_)
    return found


def fresh_uploads(
    fresh: Mapping[str, Received], type_: MaterialType, limit: int
) -> list[Mapping[str, Any]]:
    """The same of what came in this very request and has no rows yet, by upload id."""
    _check_number(list(fresh), type_, limit)
    found = [
        {
            "upload_id": upload_id,
            "object_key": received.stored.object_key,
            "size": received.stored.size,
            "sha256": received.stored.sha256,
            "sm3": received.stored.sm3,
            "media_type": received.media_type,
        }
        for upload_id, received in fresh.items()
    ]
    _check_content(found, type_)
    return list(found)


def _check_number(ids: Sequence[str], type_: MaterialType, limit: int) -> None:
    most = min(limit, type_.max_files)
    if not 1 <= len(ids) <= most or len(set(ids)) != len(ids):
        raise FilesInvalid(limit=most)


def _check_content(found: Sequence[Row], type_: MaterialType) -> None:
    for position, row in enumerate(found, start=1):
        if not type_.accepts(row["media_type"]):
            raise UnacceptableContent(
                position=position,
                found=row["media_type"],
                type=type_.key,
                accepted=", ".join(type_.formats),
            )
        if row["size"] > type_.size_limit:
            raise FileOverTypeLimit(position=position, limit=type_.size_limit)
