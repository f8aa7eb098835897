"""Materials (电子材料): what is recorded of one, and who may see it.

The registering record holds everything that people read; its row repeats what
queries need. `open_material` opens the record, compares the two and says
whether they agree. Body of `material.registered`:

    type, title, form, case, project, requirement, provenance,
    parties [{party, role, stated_name}], files [{name, media_type, size, digests {sha256, sm3}}],
    issued_at, valid_until (null or a time, [start, end)), supersedes,
    certified {by, at} or null, exemptible, reason, catalogue,
    by {role, org, unit, officer, person, capacity}, status "pending"

Later records of a material are `material.<event>` with its `status`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, and_, select

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from kernel.principals import Principal, Role
from ledger.errors import RecordErased
from ledger.records import OpenedRecord, Row
from materials_api.cases.access import case_for, load_case
from materials_api.catalogue.terms import MaterialForm, PartyRole, Provenance
from materials_api.errors import CaseUnknown, MaterialUnknown, RecordMismatch
from materials_api.materials.lifecycle import MaterialState
from materials_api.paging import Page, page_of
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_facts import PartyShare
from materials_api.tables import material_files, material_parties, materials
from storage.database import ReadTx


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file: what the record says, and under which key the bytes stand."""

    position: int
    name: str
    media_type: str
    size: int
    sha256: bytes
    sm3: bytes
    object_key: str


@dataclass(frozen=True, slots=True)
class MaterialFacts:
    """A material from its opened records. Title and names are personal data.

    `agrees`: rows, registering record and newest record tell the same; nothing
    may be decided on a material of which it is False.
    """

    material_id: str
    type: str
    title: str
    form: MaterialForm
    case_id: str
    project: str | None
    requirement: str | None
    state: MaterialState
    version: int
    provenance: Provenance
    parties: tuple[PartyShare, ...]
    files: tuple[FileFacts, ...]
    issued_at: datetime | None
    valid_until: datetime | None
    supersedes: str | None
    certified_by: str | None
    certified_at: datetime | None
    registered_at: datetime
    retain_until: datetime | None
    record: OpenedRecord
    latest: OpenedRecord
    agrees: bool


@dataclass(frozen=True, slots=True)
class MaterialRow:
    """A material as its row tells it, without names: for lists, and for what was erased."""

    material_id: str
    type: str
    case_id: str
    state: MaterialState
    version: int
    provenance: Provenance
    issued_at: datetime | None
    valid_until: datetime | None
    supersedes: str | None
    retain_until: datetime | None
    registered_at: datetime
    entry_id: str


def open_material(room: MaterialsRoom, tx: ReadTx, material_id: str) -> MaterialFacts:
    """Open and compare. `MaterialUnknown`, `RecordErased`, or a `Corrupt` of the ledger;
    a record that opens but is no material's is `RecordMismatch`."""
    row = tx.one(select(materials).where(materials.c.material_id == material_id))
    if row is None:
        raise MaterialUnknown()
    record = room.ledger.records.open(tx, row["entry_id"])
    latest = room.ledger.records.latest(tx, material_id)
    files = tx.all(
        select(material_files)
        .where(material_files.c.material_id == material_id)
        .order_by(material_files.c.position)
    )
    parties = tx.all(select(material_parties).where(material_parties.c.material_id == material_id))
    return read_material(row, files, parties, record, latest)


def material_for(
    room: MaterialsRoom, tx: ReadTx, principal: Principal, material_id: str
) -> MaterialRow:
    """The material's row, if this caller may see the material.

    An applicant: one of its parties, or the applicant of its case. Offices:
    those of its case. Anything else is `MaterialUnknown`, but for a window or
    department, which is told as by `case_for` that the case belongs to another.
    """
    row = tx.one(select(materials).where(materials.c.material_id == material_id))
    if row is None:
        raise MaterialUnknown()
    if principal.role is Role.APPLICANT:
        if not _is_holder(tx, principal, row):
            raise MaterialUnknown()
    else:
        try:
            case_for(tx, principal, row["case_id"])
        except CaseUnknown:
            raise MaterialUnknown() from None
    return row_view(row)


def material_row_of(tx: ReadTx, material_id: str) -> MaterialRow:
    """The row whoever asks: for use cases that have checked who does. `MaterialUnknown`."""
    row = tx.one(select(materials).where(materials.c.material_id == material_id))
    if row is None:
        raise MaterialUnknown()
    return row_view(row)


def is_party(tx: ReadTx, party_id: str | None, material_id: str) -> bool:
    """Whether this party stands in the material, in whatever role."""
    return party_id is not None and (
        tx.one(
            select(material_parties.c.party_id)
            .where(
                material_parties.c.material_id == material_id,
                material_parties.c.party_id == party_id,
            )
            .limit(1)
        )
        is not None
    )


def list_own(
    tx: ReadTx, holder: str, *, type_: str | None, cursor: str | None, limit: int
) -> Page[MaterialRow]:
    """What belongs to this holder, or was handed in by it; newest first."""
    where: list[ColumnElement[bool]] = [
        materials.c.material_id.in_(
            select(material_parties.c.material_id).where(material_parties.c.party_id == holder)
        )
    ]
    if type_ is not None:
        where.append(materials.c.type == type_)
    page = page_of(
        tx,
        select(materials).where(and_(*where)),
        materials.c.registered_at,
        materials.c.material_id,
        cursor=cursor,
        limit=limit,
    )
    return page.map(row_view)


def materials_of_case(tx: ReadTx, case_id: str) -> list[MaterialRow]:
    """All materials of a case in the order of registration, rejected versions included."""
    rows = tx.all(
        select(materials)
        .where(materials.c.case_id == case_id)
        .order_by(materials.c.registered_at, materials.c.material_id)
    )
    return [row_view(row) for row in rows]


def open_or_row(room: MaterialsRoom, tx: ReadTx, view: MaterialRow) -> MaterialFacts | MaterialRow:
    """The opened material, or only its row when it was erased."""
    if view.state is MaterialState.ERASED:
        return view
    try:
        return open_material(room, tx, view.material_id)
    except RecordErased:
        return view


def row_view(row: RowMapping) -> MaterialRow:
    return MaterialRow(
        material_id=row["material_id"],
        type=row["type"],
        case_id=row["case_id"],
        state=MaterialState(row["status"]),
        version=row["version"],
        provenance=Provenance(row["provenance"]),
        issued_at=row["issued_at"],
        valid_until=row["valid_until"],
        supersedes=row["supersedes"],
        retain_until=row["retain_until"],
        registered_at=row["registered_at"],
        entry_id=row["entry_id"],
    )


def _is_holder(tx: ReadTx, principal: Principal, row: RowMapping) -> bool:
    if principal.holder is None:
        return False
    if is_party(tx, principal.holder, row["material_id"]):
        return True
    return load_case(tx, row["case_id"]).applicant == principal.holder


def read_material(
    row: Row,
    file_rows: Sequence[Row],
    party_rows: Sequence[Row],
    record: OpenedRecord,
    latest: OpenedRecord,
) -> MaterialFacts:
    """The material of these rows and records, compared; `RecordMismatch` when the
    records are no material's. The rows may come from any query."""
    try:
        return _facts(row, file_rows, party_rows, record, latest)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordMismatch(entity=record.entity) from error


def _facts(
    row: Row,
    file_rows: Sequence[Row],
    party_rows: Sequence[Row],
    record: OpenedRecord,
    latest: OpenedRecord,
) -> MaterialFacts:
    body = record.body
    files = tuple(
        _file(position, _mapping(item), stored)
        for position, (item, stored) in enumerate(
            zip(_list(body["files"]), file_rows, strict=True), start=1
        )
    )
    parties = tuple(
        PartyShare(str(_mapping(item)["party"]), PartyRole(str(_mapping(item)["role"])))
        for item in _list(body["parties"])
    )
    certified = body["certified"]
    facts = MaterialFacts(
        material_id=record.entity,
        type=_text(body["type"]),
        title=_text(body["title"]),
        form=MaterialForm(_text(body["form"])),
        case_id=_text(body["case"]),
        project=_text_or_none(body["project"]),
        requirement=_text_or_none(body["requirement"]),
        state=MaterialState(_text(latest.body["status"])),
        version=row["version"],
        provenance=Provenance(_text(body["provenance"])),
        parties=parties,
        files=files,
        issued_at=_time_or_none(body["issued_at"]),
        valid_until=_time_or_none(body["valid_until"]),
        supersedes=_text_or_none(body["supersedes"]),
        certified_by=None if certified is None else _text(_mapping(certified)["by"]),
        certified_at=None if certified is None else _time_or_none(_mapping(certified)["at"]),
        registered_at=record.at,
        retain_until=row["retain_until"],
        record=record,
        latest=latest,
        agrees=False,
    )
    agrees = (
        record.kind == "material.registered"
        and record.entity == row["material_id"] == latest.entity
        and facts.type == row["type"]
        and facts.form == row["form"]
        and facts.case_id == row["case_id"]
        and facts.project == row["project"]
        and facts.state == row["status"]
        and facts.provenance == row["provenance"]
        and facts.issued_at == row["issued_at"]
        and facts.valid_until == row["valid_until"]
        and facts.supersedes == row["supersedes"]
        and facts.registered_at == row["registered_at"]
        and all(
            (file.position, file.size, file.media_type)
            == (stored["position"], stored["size"], stored["media_type"])
            for file, stored in zip(files, file_rows, strict=True)
        )
        and {(share.party, share.role.value) for share in parties}
        == {(party["party_id"], party["role"]) for party in party_rows}
    )
    return replace(facts, agrees=agrees)


def _file(position: int, item: Mapping[str, JsonValue], stored: Row) -> FileFacts:
    digests = _mapping(item["digests"])
    size = item["size"]
    if not isinstance(size, int):
        raise TypeError("size")
    return FileFacts(
        position=position,
        name=_text(item["name"]),
        media_type=_text(item["media_type"]),
        size=size,
        sha256=bytes.fromhex(_text(digests["sha256"])),
        sm3=bytes.fromhex(_text(digests["sm3"])),
        object_key=stored["object_key"],
    )


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _text_or_none(value: JsonValue) -> str | None:
    return None if value is None else _text(value)


def _time_or_none(value: JsonValue) -> datetime | None:
    return None if value is None else parse_time(_text(value))


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list(value: JsonValue) -> Sequence[JsonValue]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
