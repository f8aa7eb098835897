"""Registering a material: uploads become part of a case, in one transaction.

Rows, claims on the objects, ledger record, requirement and audit commit
together. After it the uploads' digests stand in the record alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update

from kernel.canonical import JsonValue
from kernel.clock import time_text
from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from ledger.records import asked_latest
from materials_api.cases.access import CaseView, asked_case, case_for, load_case, rules_of
from materials_api.cases.candidates import AskedLicenses, ask_licenses, kinds_asked, upload_reason
from materials_api.cases.requirements import UPLOAD, asked_last, note_met, still_open
from materials_api.catalogue.terms import PartyRole
from materials_api.errors import (
    PartiesInvalid,
    SupersedesInvalid,
)
from materials_api.materials.checks import (
    PartyInput,
    RegisterMaterial,
    Row,
    certification,
    check_requirement,
    document_dates,
    fresh_uploads,
    uploads_of,
)
from materials_api.materials.lifecycle import MaterialEvent, MaterialState
from materials_api.materials.retention import extend_for_use
from materials_api.materials.states import change_state
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.tables import material_files, material_parties, materials, uploads
from materials_api.texts import clean_name, clean_text
from materials_api.uploads.incoming import Received, add_upload
from parties import HolderRef
from storage import audit
from storage.database import WriteTx
from storage.database.prepared import Prepared, Wanted
from storage.objects import registry

_ADD = Prepared(
    insert(materials), [column.key for column in materials.c if column.key != "retain_until"]
)
_ADD_PARTY = Prepared(insert(material_parties), material_parties.c.keys())
_ADD_FILE = Prepared(insert(material_files), material_files.c.keys())


@dataclass(frozen=True, slots=True)
class Registered:
    """The new material and the entry of its record."""

    material_id: str
    entry_id: str
    state: MaterialState


@dataclass(frozen=True, slots=True)
class _Share:
    party: str
    role: PartyRole
    stated_name: str | None = None


def register_material(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    wanted: RegisterMaterial,
    asked: AskedLicenses | None = None,
    fresh: Mapping[str, Received] | None = None,
) -> Registered:
    """Register in this transaction. Every refusal is coded and stores nothing.

    `asked`: what `ask_before` found; without it, licences issued here count. `fresh`:
    the files, if they came in this very request and have no rows yet, by upload id.
    """
    case = still_open(case_for(tx, principal, case_id))
    checked_state(room, tx, case_id, case.state.value)
    catalogue, matter = rules_of(room, tx, case)
    type_ = catalogue.type(wanted.type)
    check_requirement(matter, case, wanted, type_)
    title = clean_text("title", wanted.title, room.limits.title_chars)
    issued_at, valid_until = document_dates(at, wanted)
    certified = certification(at, principal, wanted)
    most = room.limits.files_per_material
    found: Sequence[Row]
    if fresh is None:
        found = uploads_of(tx, principal, wanted.files, type_, most, room.vault)
    else:
        found = fresh_uploads(fresh, type_, most)
    names = [clean_name("files", file.name, room.limits.name_chars) for file in wanted.files]
    shares = _parties(room, tx, at, principal, case, wanted.parties)
    exemptible, reason = upload_reason(room, tx, at, case, wanted.requirement, wanted.reason, asked)

    material_id = new_id(IdKind.MATERIAL)
    if wanted.supersedes is not None:
        _supersede(room, tx, at, principal, case, wanted.supersedes, wanted.type, material_id)
    body: dict[str, JsonValue] = {
        "type": type_.key,
        "title": title,
        "form": type_.form.value,
        "case": case_id,
        "project": case.project,
        "requirement": wanted.requirement,
        "provenance": wanted.provenance.value,
        "parties": [
            {"party": share.party, "role": share.role.value, "stated_name": share.stated_name}
            for share in shares
        ],
        "files": [
            file_record(name, row["media_type"], row["size"], row["sha256"], row["sm3"])
            for name, row in zip(names, found, strict=True)
        ],
        "issued_at": None if issued_at is None else time_text(issued_at),
        "valid_until": None if valid_until is None else time_text(valid_until),
        "supersedes": wanted.supersedes,
        "certified": None
        if certified is None
        else {"by": certified.by, "at": time_text(certified.at)},
        "exemptible": exemptible,
        "reason": reason,
        "catalogue": catalogue.sha256.hex(),
        "by": {
            "role": principal.role.value,
            "org": principal.org,
            "unit": principal.unit,
            "officer": principal.officer,
            "person": principal.person,
            "capacity": principal.capacity.value if principal.capacity else None,
        },
        "status": MaterialState.PENDING.value,
    }
    entry = room.ledger.journal.record(tx, at, "material.registered", material_id, body)
    _ADD.add(
        tx,
        {
            "material_id": material_id,
            "type": type_.key,
            "case_id": case_id,
            "project": case.project,
            "status": MaterialState.PENDING.value,
            "version": 1,
            "provenance": wanted.provenance.value,
            "form": type_.form.value,
            "issued_at": issued_at,
            "valid_until": valid_until,
            "supersedes": wanted.supersedes,
            "registered_at": at,
            "entry_id": entry.entry_id,
        },
    )
    for share in shares:
        _ADD_PARTY.add(
            tx, {"material_id": material_id, "party_id": share.party, "role": share.role.value}
        )
    if fresh is None:
        _take_uploads(tx, at, material_id, found)
    else:
        for upload_id, received in fresh.items():
            add_upload(room, tx, at, principal, upload_id, received, material_id)
    _add_files(tx, material_id, found)
    if wanted.requirement is not None:
        note_met(
            tx,
            at,
            case_id,
            wanted.requirement,
            UPLOAD,
            item=material_id,
            exemptible=exemptible,
            reason=reason,
        )
    # Accepted with gaps: what comes later is kept as long as the rest.
    extend_for_use(tx, case, material_id, type_, matter)
    audit.note(
        tx,
        at,
        principal,
        "material.register",
        entity=material_id,
        case_id=case_id,
        detail={"type": type_.key, "files": len(found), "reason": reason},
    )
    return Registered(material_id, entry.entry_id, MaterialState.PENDING)


def asked_registration(case_id: str, requirement: str | None) -> list[Wanted]:
    """What `register_material` asks in any case, for `read_ahead`."""
    met = [] if requirement is None else [asked_last(case_id, requirement)]
    return [asked_case(case_id), asked_latest(case_id), *met]


def ask_before(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    case_id: str,
    requirement: str | None,
) -> AskedLicenses | None:
    """Ask the licence source what `register_material` must know, before its transaction."""
    if requirement is None:
        return None
    with room.database.glance() as tx:
        case = still_open(case_for(tx, principal, case_id))
        _, matter = rules_of(room, tx, case)
        matter.requirement(case.variant, requirement)
    kinds = kinds_asked(matter, case.variant, requirement)
    return ask_licenses(room, at, case, kinds) if kinds else None


def file_record(
    name: str, media_type: str, size: int, sha256: bytes, sm3: bytes
) -> dict[str, JsonValue]:
    """A file as it stands in a material's record (docs/formats.md): lower-case hex."""
    return {
        "name": name,
        "media_type": media_type,
        "size": size,
        "digests": {"sha256": sha256.hex(), "sm3": sm3.hex()},
    }


def _add_files(tx: WriteTx, material_id: str, found: Sequence[Row]) -> None:
    for position, row in enumerate(found, start=1):
        _ADD_FILE.add(
            tx,
            {
                "material_id": material_id,
                "position": position,
                "object_key": row["object_key"],
                "size": row["size"],
                "media_type": row["media_type"],
            },
        )


def _take_uploads(tx: WriteTx, at: datetime, material_id: str, found: Sequence[Row]) -> None:
    for row in found:
        registry.claim(tx, row["object_key"], material_id)
    tx.execute(
        update(uploads)
        .where(uploads.c.upload_id.in_([row["upload_id"] for row in found]))
        .values(used_at=at, digests=None)
    )


def _parties(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case: CaseView,
    inputs: Sequence[PartyInput],
) -> list[_Share]:
    if len(inputs) > room.limits.parties_per_material:
        raise PartiesInvalid(problem="too_many")
    if not inputs:
        return [_Share(case.applicant, PartyRole.OWNER)]
    shares: list[_Share] = []
    for item in inputs:
        holder, stated = item.holder, None
        if principal.role is Role.APPLICANT:
            # What an applicant calls somebody else neither names that party nor is
            # compared with its name: the answer would tell whose code it is.
            stated = None if holder.name is None else clean_text("parties", holder.name, 200)
            holder = HolderRef(holder.type, holder.code)
        shares.append(_Share(room.parties.ensure(tx, at, holder), item.role, stated))
    if len({(share.party, share.role) for share in shares}) != len(shares):
        raise PartiesInvalid(problem="one_twice")
    return shares


def _supersede(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case: CaseView,
    old_id: str,
    type_: str,
    new_id_: str,
) -> None:
    """The old version must be of the same type and applicant, and not replaced yet."""
    old = tx.one(select(materials).where(materials.c.material_id == old_id).with_for_update())
    if old is None or old["type"] != type_:
        raise SupersedesInvalid()
    if old["case_id"] != case.case_id and (
        load_case(tx, old["case_id"]).applicant != case.applicant
    ):
        raise SupersedesInvalid()
    replaced = tx.one(select(materials.c.material_id).where(materials.c.supersedes == old_id))
    states = (
        MaterialState.PENDING,
        MaterialState.REUSABLE,
        MaterialState.REJECTED,
        MaterialState.STOPPED,
        MaterialState.STOPPED_PENDING,
    )
    if replaced is not None or old["status"] not in states:
        raise SupersedesInvalid()
    change_state(room, tx, at, principal, old, MaterialEvent.SUPERSEDE, {"by": new_id_})
