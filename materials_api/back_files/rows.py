"""One batch of back files in one transaction: parties, cases, materials, row keys.

An imported case is `closed` with the outcome `approved`: its materials are
reusable from the start, as far as their provenance goes. Nobody knows any more
who acted, so the holder stands as acting for itself, and retention starts now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from kernel.canonical import JsonValue, Record
from kernel.clock import time_text
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Principal
from materials_api.back_files.manifest import ManifestRow
from materials_api.cases.lifecycle import CaseState
from materials_api.catalogue.model import Matter
from materials_api.catalogue.terms import PartyRole
from materials_api.materials.lifecycle import MaterialState
from materials_api.materials.registration import file_record
from materials_api.materials.retention import retained_until
from materials_api.room import MaterialsRoom
from materials_api.tables import (
    case_events,
    cases,
    imported_rows,
    material_files,
    material_parties,
    materials,
)
from parties import HolderRef
from parties.errors import HolderNameDiffers
from storage import audit
from storage.database import WriteTx
from storage.objects import StoredObject, registry

ORIGIN = "imported"
CHANNEL = "import"


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file whose bytes are durable."""

    name: str
    media_type: str
    stored: StoredObject


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked row with its stored files, ready to be written."""

    row: ManifestRow
    key: bytes
    files: tuple[PreparedFile, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The fate of a row: a material, a problem's code, or neither (known meanwhile)."""

    line: int
    material_id: str | None = None
    problem: str | None = None
    bytes: int = 0


@dataclass(slots=True)
class _Case:
    case_id: str
    applicant: str
    matter: str
    imported: bool


@dataclass(slots=True)
class _Batch:
    """Rows to insert, collected so that each table gets one statement."""

    records: list[tuple[str, str, Record]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    materials: list[dict[str, Any]] = field(default_factory=list)
    parties: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    stored: list[StoredObject] = field(default_factory=list)
    owners: list[tuple[str, str]] = field(default_factory=list)


def write_batch(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, rows: Sequence[Prepared]
) -> list[Written]:
    """Write all rows of a batch; a row that cannot be written does not hinder the others."""
    known = {
        row["row_key"]
        for row in tx.all(
            select(imported_rows.c.row_key).where(
                imported_rows.c.row_key.in_([prepared.key for prepared in rows])
            )
        )
    }
    holders: dict[tuple[str, str, str], str] = {}
    numbers = _numbers(tx, rows)
    batch = _Batch()
    written: list[Written] = []
    for prepared in rows:
        row = prepared.row
        if prepared.key in known:
            # Another import of the same manifest was faster.
            written.append(Written(row.line))
            continue
        who = (row.holder_type, row.holder_code, row.holder_name)
        try:
            if who not in holders:
                holders[who] = room.parties.ensure(tx, at, HolderRef(*who))
        except HolderNameDiffers:
            written.append(Written(row.line, problem="holder_differs"))
            continue
        case = _case(room, at, principal, prepared, holders[who], numbers, batch)
        if case is None:
            written.append(Written(row.line, problem="case_differs"))
            continue
        material_id = _material(room, at, principal, prepared, case, batch)
        known.add(prepared.key)
        size = sum(file.stored.size for file in prepared.files)
        written.append(Written(row.line, material_id, bytes=size))
    _insert(room, tx, at, principal, batch)
    return written


def _numbers(tx: WriteTx, rows: Sequence[Prepared]) -> dict[str, _Case]:
    wanted = {prepared.row.source_case for prepared in rows}
    found = tx.all(select(cases).where(cases.c.number.in_(wanted)))
    return {
        row["number"]: _Case(
            row["case_id"], row["applicant"], row["matter"], row["origin"] == ORIGIN
        )
        for row in found
    }


def _case(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    prepared: Prepared,
    holder: str,
    numbers: dict[str, _Case],
    batch: _Batch,
) -> _Case | None:
    """The imported case of this number, made if it is new; None if it is somebody else's."""
    row = prepared.row
    case = numbers.get(row.source_case)
    if case is not None:
        same = case.imported and (case.applicant, case.matter) == (holder, row.matter)
        return case if same else None
    matter = room.catalogue.matter(row.matter)
    case = _Case(new_id(IdKind.CASE), holder, matter.code, imported=True)
    numbers[row.source_case] = case
    values: dict[str, Any] = {
        "number": row.source_case,
        "matter": matter.code,
        "variant": matter.variants[0].key,
        "applicant": holder,
        "person": holder,
        "capacity": Capacity.SELF.value,
        "project": None,
        "channel": CHANNEL,
        "window_org": None,
        "department": matter.department,
        "origin": ORIGIN,
    }
    body: dict[str, JsonValue] = {
        **values,
        "catalogue": room.catalogue.sha256.hex(),
        "outcome": CaseState.APPROVED.value,
        "by": _by(principal),
        "status": CaseState.CLOSED.value,
    }
    batch.records.append(("case.imported", case.case_id, body))
    batch.cases.append(
        {
            **values,
            "case_id": case.case_id,
            "state": CaseState.CLOSED.value,
            "version": 1,
            "catalogue_sha256": room.catalogue.sha256,
            "opened_at": at,
            "accepted_at": at,
            "closed_at": at,
        }
    )
    return case


def _material(
    room: MaterialsRoom,
    at: datetime,
    principal: Principal,
    prepared: Prepared,
    case: _Case,
    batch: _Batch,
) -> str:
    row = prepared.row
    type_ = room.catalogue.type(row.material_type)
    matter: Matter = room.catalogue.matter(case.matter)
    material_id = new_id(IdKind.MATERIAL)
    certified: JsonValue = None
    if row.certified_by is not None and row.certified_at is not None:
        certified = {"by": row.certified_by, "at": time_text(row.certified_at)}
    body: dict[str, JsonValue] = {
        "type": type_.key,
        "title": row.title,
        "form": type_.form.value,
        "case": case.case_id,
        "project": None,
        "requirement": None,
        "provenance": row.provenance,
        "parties": [{"party": case.applicant, "role": PartyRole.OWNER.value, "stated_name": None}],
        "files": [
            file_record(
                file.name,
                file.media_type,
                file.stored.size,
                file.stored.sha256,
                file.stored.sm3,
            )
            for file in prepared.files
        ],
        "issued_at": None if row.issued_at is None else time_text(row.issued_at),
        "valid_until": None if row.valid_until is None else time_text(row.valid_until),
        "supersedes": None,
        "certified": certified,
        "exemptible": False,
        "reason": None,
        "catalogue": room.catalogue.sha256.hex(),
        "by": _by(principal),
        "origin": ORIGIN,
        "status": MaterialState.REUSABLE.value,
    }
    batch.records.append(("material.registered", material_id, body))
    batch.materials.append(
        {
            "material_id": material_id,
            "type": type_.key,
            "case_id": case.case_id,
            "project": None,
            "status": MaterialState.REUSABLE.value,
            "version": 1,
            "provenance": row.provenance,
            "form": type_.form.value,
            "issued_at": row.issued_at,
            "valid_until": row.valid_until,
            "supersedes": None,
            "retain_until": retained_until(at, matter, type_),
            "registered_at": at,
        }
    )
    batch.parties.append(
        {
            "material_id": material_id,
            "party_id": case.applicant,
            "role": PartyRole.OWNER.value,
        }
    )
    for position, file in enumerate(prepared.files, start=1):
        batch.stored.append(file.stored)
        batch.owners.append((file.stored.object_key, material_id))
        batch.files.append(
            {
                "material_id": material_id,
                "position": position,
                "object_key": file.stored.object_key,
                "size": file.stored.size,
                "media_type": file.media_type,
            }
        )
    batch.keys.append(
        {
            "row_key": prepared.key,
            "material_id": material_id,
            "bytes": sum(file.stored.size for file in prepared.files),
            "at": at,
        }
    )
    return material_id


def _insert(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, batch: _Batch
) -> None:
    entries = room.ledger.journal.record_many(tx, at, batch.records)
    entry_of: Mapping[str, str] = {entry.entity: entry.entry_id for entry in entries}
    retained = {row["material_id"]: row["retain_until"] for row in batch.materials}
    owners = dict(batch.owners)
    retain = {object_key: retained[owner] for object_key, owner in owners.items()}
    registry.add_many(tx, at, room.vault, batch.stored, owners, retain)
    for row in batch.cases:
        row["entry_id"] = entry_of[row["case_id"]]
        for sequence, (event, state) in enumerate(
            (("import", CaseState.APPROVED), ("close", CaseState.CLOSED)), start=1
        ):
            batch.events.append(
                {
                    "case_id": row["case_id"],
                    "sequence": sequence,
                    "event": event,
                    "state": state.value,
                    "at": at,
                    "role": principal.role.value,
                    "entry_id": row["entry_id"],
                }
            )
    for row in batch.materials:
        row["entry_id"] = entry_of[row["material_id"]]
    tx.insert_many(cases, batch.cases)
    tx.insert_many(case_events, batch.events)
    tx.insert_many(materials, batch.materials)
    tx.insert_many(material_parties, batch.parties)
    tx.insert_many(material_files, batch.files)
    tx.insert_many(imported_rows, batch.keys)
    # One audit row for the batch: the records say who imported each material.
    if batch.materials:
        audit.note(
            tx,
            at,
            principal,
            "back_files.import",
            entity=batch.materials[0]["material_id"],
            detail={"materials": len(batch.materials), "cases": len(batch.cases)},
        )


def _by(principal: Principal) -> dict[str, JsonValue]:
    return {
        "role": principal.role.value,
        "org": principal.org,
        "unit": principal.unit,
        "officer": principal.officer,
        "person": principal.person,
        "capacity": principal.capacity.value if principal.capacity else None,
    }
