"""Downloads by ticket: audited and recorded before the first byte, checked to the last.

The whole content is compared with its record while it streams, and its last
block is held back until the digest is right; a range is released only after
the whole was re-hashed. Every few MiB the right to the bytes is looked at again.
Body of `download.released`, about a `tkt_…` id: `verification`, `case`, `item`,
`position`, `basis`, role, org, unit, by_officer, person, status "released".
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import RowMapping, Select, select, update

from kernel.errors import CodedError
from kernel.principals import Principal
from materials_api.errors import RecordMismatch
from materials_api.grants.errors import (
    FileUnknown,
    NotAllowedToRelease,
    ReleaseStopped,
    TicketExpired,
    TicketUnknown,
    TicketUsed,
)
from materials_api.materials.access import FileFacts, MaterialFacts, open_material
from materials_api.releases.byte_ranges import ByteRange, RangeRequest, requested_range
from materials_api.releases.release import Claim, check_release
from materials_api.releases.tickets import secret_digest
from materials_api.room import MaterialsRoom
from materials_api.rules.reasons import ReasonCode
from materials_api.tables import tickets, uses, verifications
from storage import audit
from storage.database import ReadTx, WriteTx
from storage.errors import KeyMissing, ObjectCorrupt, ObjectMissing
from storage.objects import ObjectRef, registry


@dataclass(frozen=True, slots=True)
class Release:
    """Bytes that may leave now. `name` is personal data; `etag` is quoted and strong."""

    ticket_id: str
    claim: Claim
    file: FileFacts
    ref: ObjectRef
    range: ByteRange

    @property
    def etag(self) -> str:
        return etag_of(self.file)

    @property
    def repr_digest(self) -> str:
        """RFC 9530: of the whole content, whatever part of it is sent."""
        return f"sha-256=:{base64.b64encode(self.file.sha256).decode()}:"


def etag_of(file: FileFacts) -> str:
    return f'"{file.sha256.hex()}"'


def begin_download(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    ticket: str,
    wanted: RangeRequest,
) -> Release:
    """Use the ticket; its audit row and record are durable on return.

    `TicketUnknown` (also: somebody else's), `TicketExpired`, `TicketUsed`
    unless the request resumes the same download, `NotAllowedToRelease`,
    `RangeUnsatisfiable` (the ticket stays good).
    """
    digest = secret_digest(ticket)
    with room.database.read() as tx:
        release, _ = _look(room, tx, at, principal, digest, wanted, select(tickets))
    if release.range.partial or release.file.size <= room.limits.block_bytes:
        # A small file is looked at whole first, so that a damaged one gets an answer.
        _rehash(room, release)

    def work(tx: WriteTx) -> Release:
        return _use(room, tx, at, principal, digest, wanted)

    return room.database.write(work)


def stream(room: MaterialsRoom, principal: Principal, release: Release) -> Iterator[bytes]:
    """The bytes of the release's range, in blocks.

    `ReleaseStopped` when the right to them ends meanwhile or the content is not
    what was recorded: the receiver is then short of at least the last block.
    """
    start, stop = release.range.start, release.range.stop
    hashed = None if release.range.partial else sha256()
    held = b""
    since = 0
    try:
        for block in room.objects.read(release.ref, start, stop):
            if held:
                yield held
                since += len(held)
                if since >= room.limits.grants.recheck_bytes:
                    since = 0
                    _recheck(room, principal, release)
            held = block
            if hashed is not None:
                hashed.update(block)
    except (ObjectCorrupt, ObjectMissing, KeyMissing) as error:
        raise ReleaseStopped(reason=error.code) from error
    if hashed is not None and hashed.digest() != release.file.sha256:
        raise ReleaseStopped(reason=ReasonCode.CONTENT_MISMATCH.value)
    yield held


def note_stopped(
    room: MaterialsRoom, at: datetime, principal: Principal, release: Release, error: CodedError
) -> None:
    """The audit row of a download that was cut off."""
    reason = error.details.get("reason") or error.code

    def work(tx: WriteTx) -> None:
        audit.note(
            tx,
            at,
            principal,
            "download.stop",
            entity=release.ticket_id,
            outcome="stopped",
            detail={"item": release.claim.material_id, "reason": str(reason)},
        )

    room.database.write(work)


def _look(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    principal: Principal,
    digest: bytes,
    wanted: RangeRequest,
    rows: Select[Any],
) -> tuple[Release, MaterialFacts]:
    row = tx.one(rows.where(tickets.c.secret_sha256 == digest))
    if row is None or row["principal"] != principal.subject:
        raise TicketUnknown()
    if at >= row["expires_at"]:
        raise TicketExpired()
    claim = Claim(row["verification_id"], row["material_id"], row["position"])
    check_release(room, tx, at, principal, claim)
    material = open_material(room, tx, claim.material_id)
    if not material.agrees:
        raise RecordMismatch(entity=claim.material_id)
    file = _file(material, claim.position)
    etag = etag_of(file)
    if row["used_at"] is not None and not wanted.resumes(etag):
        raise TicketUsed()
    release = Release(
        ticket_id=row["ticket_id"],
        claim=claim,
        file=file,
        ref=registry.ref(tx, file.object_key),
        range=requested_range(wanted, file.size, etag),
    )
    return release, material


def _use(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    digest: bytes,
    wanted: RangeRequest,
) -> Release:
    locked = select(tickets).with_for_update()
    release, material = _look(room, tx, at, principal, digest, wanted, locked)
    done = tx.execute(
        update(tickets)
        .where(tickets.c.ticket_id == release.ticket_id, tickets.c.used_at.is_(None))
        .values(used_at=at)
    )
    first = done.rowcount == 1
    row = _verification(tx, release.claim)
    case_id = material.case_id if row is None else row["case_id"]
    if first:
        _record(room, tx, at, principal, release, material, row, case_id)
    audit.note(
        tx,
        at,
        principal,
        "download" if first else "download.resume",
        entity=release.ticket_id,
        case_id=case_id,
        detail={
            "item": release.claim.material_id,
            "position": release.claim.position,
            "start": release.range.start,
            "stop": release.range.stop,
        },
    )
    return release


def _record(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    release: Release,
    material: MaterialFacts,
    row: RowMapping | None,
    case_id: str,
) -> None:
    """Who saw what: a record, and a line in the use history of every party."""
    basis = "own" if row is None else row["basis"]
    entry = room.ledger.journal.record(
        tx,
        at,
        "download.released",
        release.ticket_id,
        {
            "verification": release.claim.verification_id,
            "case": case_id,
            "item": release.claim.material_id,
            "position": release.claim.position,
            "basis": basis,
            "role": principal.role.value,
            "org": principal.org,
            "unit": principal.unit,
            "by_officer": principal.officer,
            "person": principal.person,
            "status": "released",
        },
    )
    parties = dict.fromkeys(share.party for share in material.parties)
    tx.insert_many(
        uses,
        [
            {
                "entry_id": entry.entry_id,
                "holder": party,
                "item": release.claim.material_id,
                "case_id": case_id,
                "verification_id": release.claim.verification_id,
                "org": principal.org,
                "action": "downloaded",
                "basis": basis,
                "at": at,
            }
            for party in parties
        ],
    )


def _verification(tx: ReadTx, claim: Claim) -> RowMapping | None:
    if claim.verification_id is None:
        return None
    return tx.one(
        select(verifications).where(verifications.c.verification_id == claim.verification_id)
    )


def _file(material: MaterialFacts, position: int) -> FileFacts:
    for file in material.files:
        if file.position == position:
            return file
    raise FileUnknown(position=position)


def _rehash(room: MaterialsRoom, release: Release) -> None:
    """The whole must be what was recorded before any part of it is shown."""
    try:
        digests = room.objects.rehash(release.ref)
    except (ObjectCorrupt, ObjectMissing, KeyMissing) as error:
        raise NotAllowedToRelease(reason=error.code) from error
    if (digests.size, digests.sha256) != (release.file.size, release.file.sha256):
        raise NotAllowedToRelease(reason=ReasonCode.CONTENT_MISMATCH.value)


def _recheck(room: MaterialsRoom, principal: Principal, release: Release) -> None:
    try:
        with room.database.read() as tx:
            check_release(room, tx, room.clock.now(), principal, release.claim)
    except CodedError as error:
        reason = error.details.get("reason") or error.code
        raise ReleaseStopped(reason=str(reason)) from error
