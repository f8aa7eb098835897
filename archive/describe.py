"""Writes down a gathered case as the description of its package. Reads nothing itself.

What records say is repeated under the same names, so that the package check can
compare; what a record lacks or holds null in is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import cast

from archive.case_form import FORMAT
from archive.checks import CHECKPOINTS, RECEIPTS
from archive.form import Value
from archive.gathered import Gathered, GatheredMaterial
from archive.record_rules import RULES, newest, plain
from kernel.canonical import JsonValue
from kernel.clock import time_text
from ledger.checkpoints import SignedCheckpoint
from ledger.records import OpenedRecord
from materials_api.cases.lifecycle import LABELS_ZH
from materials_api.cases.requirements import UPLOAD
from materials_api.catalogue.model import Catalogue
from materials_api.documents.kinds import NAMES
from materials_api.documents.stored import DocumentRow

# What is no event of the lifecycle.
_EVENTS_ZH = {"open": "建件", "imported": "历史材料归集"}

# By the content that was found, never by the name that was sent.
EXTENSIONS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/tiff": "tif",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/webp": "webp",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/xml": "xml",
    "application/xml": "xml",
    "application/json": "json",
    "application/zip": "zip",
    "application/ofd": "ofd",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document of the case and its bytes."""

    row: DocumentRow
    records: Sequence[OpenedRecord]
    data: bytes


def describe(
    gathered: Gathered,
    documents: Sequence[Rendered],
    pinned: Mapping[str, SignedCheckpoint],
    at: datetime,
    software: str,
) -> dict[str, Value]:
    """The value of `case_form.CASE_FILE`. `pinned`: per shard the checkpoint of the receipts."""
    return {
        "format": FORMAT,
        "exported_at": time_text(at),
        "software": software,
        "case": _case(gathered),
        "parties": [_item("parties", party, records) for party, records in gathered.parties],
        "requirements": _requirements(gathered),
        "materials": [
            _material(number, item, gathered.catalogue)
            for number, item in enumerate(gathered.materials, start=1)
        ],
        "licenses": [
            _item("licenses", item.license_id, item.records)
            | _without_none(
                number=number,
                result=item.result,
                kind_name=_text(newest([one.body for one in item.records], "name")),
                path=license_path(number),
            )
            for number, item in enumerate(gathered.licenses, start=1)
        ],
        "verifications": [
            _item("verifications", item.verification_id, [item.record])
            | {"at": time_text(item.record.at)}
            for item in gathered.verifications
        ],
        "answers": [_item("answers", one.entity, [one]) for one in gathered.answers],
        "documents": [_document(number, item) for number, item in enumerate(documents, start=1)],
        "grants": [_item("grants", grant, records) for grant, records in gathered.grants],
        "process": _steps(gathered),
        "checkpoints": [
            {
                "shard": shard,
                "origin": signed.checkpoint.origin,
                "size": signed.checkpoint.size,
                "root": signed.checkpoint.root.hex(),
                "path": checkpoint_path(shard),
            }
            for shard, signed in pinned.items()
        ],
        "receipts": [
            {
                "record": record.entry_id,
                "entity": record.entity,
                "kind": record.kind,
                "at": time_text(record.at),
                "shard": record.shard or "",
                "index": record.leaf_index or 0,
                "path": receipt_path(record.entry_id),
            }
            for record in gathered.records().values()
        ],
    }


def file_path(number: int, position: int, media_type: str) -> str:
    """`data/materials/0001/0002.jpg`: ASCII, whatever the file was called."""
    return f"data/materials/{number:04d}/{position:04d}.{EXTENSIONS.get(media_type, 'bin')}"


def license_path(number: int) -> str:
    return f"data/licenses/{number:04d}.json"


def document_path(number: int) -> str:
    return f"data/documents/{number:04d}.pdf"


def receipt_path(entry_id: str) -> str:
    return f"{RECEIPTS}{entry_id}.json"


def checkpoint_path(shard: str) -> str:
    return f"{CHECKPOINTS}{shard}"


def _item(name: str, id_: str, records: Sequence[OpenedRecord]) -> dict[str, Value]:
    """Id, the fields that repeat the records (`RULES`), and the records' ids."""
    rule = RULES[name]
    bodies = [record.body for record in records]
    item: dict[str, Value] = {"id": id_}
    for field, key in rule.first.items():
        _put(item, field, plain(bodies[0].get(key)))
    for field, key in rule.newest.items():
        _put(item, field, plain(newest(bodies, key)))
    item["records"] = [record.entry_id for record in records]
    return item


def _case(gathered: Gathered) -> dict[str, Value]:
    case, matter = gathered.case, gathered.matter
    name = matter.name_of(case.variant)
    item = _item("case", case.case_id, [record for _, record in gathered.steps])
    return item | _without_none(
        matter_name=name.zh,
        matter_name_en=name.en,
        department_name=matter.department_name.zh,
        outcome=None if gathered.outcome is None else gathered.outcome.value,
        opened_at=time_text(case.opened_at),
        accepted_at=_time(case.accepted_at),
        closed_at=_time(case.closed_at),
        retention=str(matter.retention),
    )


def _requirements(gathered: Gathered) -> list[Value]:
    found: list[Value] = []
    for item in gathered.requirements:
        met = item.met
        found.append(
            _without_none(
                requirement=item.key,
                name=item.name,
                mandatory=item.mandatory,
                exemptible=met is not None and met.exemptible,
                exempted=met is not None and met.route != UPLOAD,
                route=None if met is None else met.route,
                item=None if met is None else met.item,
                verification=None if met is None else met.verification_id,
                reason=None if met is None else met.reason,
                at=None if met is None else time_text(met.at),
            )
        )
    return found


def _material(number: int, item: GatheredMaterial, catalogue: Catalogue) -> dict[str, Value]:
    facts = item.facts
    names = {type_.key: type_.name.zh for type_ in catalogue.types}
    described = _item("materials", facts.material_id, item.records)
    return described | {
        "number": number,
        "own": item.own,
        "type_name": names.get(facts.type, facts.type),
        "registered_at": time_text(facts.registered_at),
        "files": [
            {
                "path": file_path(number, file.position, file.media_type),
                "name": file.name,
                "media_type": file.media_type,
                "size": file.size,
                "sha256": file.sha256.hex(),
                "sm3": file.sm3.hex(),
            }
            for file in facts.files
        ],
    }


def _document(number: int, item: Rendered) -> dict[str, Value]:
    row = item.row
    zh, _ = NAMES[row.kind]
    return _without_none(
        id=row.document_id,
        number=number,
        kind=row.kind.value,
        title=zh,
        requirement=row.requirement,
        verification=row.verification_id,
        at=time_text(row.at),
        path=document_path(number),
        size=len(item.data),
        sha256=sha256(item.data).hexdigest(),
        records=[record.entry_id for record in item.records],
    )


def _steps(gathered: Gathered) -> list[Value]:
    steps: list[Value] = []
    for event, record in gathered.steps:
        body = record.body
        opened = event.event == "open"
        steps.append(
            _without_none(
                sequence=event.sequence,
                event=event.event,
                event_name=_EVENTS_ZH.get(event.event) or LABELS_ZH.get(event.event, event.event),
                state=event.state,
                at=time_text(event.at),
                role=event.role,
                org=_text(body.get("window_org" if opened else "org")),
                unit=_text(body.get("window_unit" if opened else "unit")),
                officer=_text(body.get("officer")),
                note=_text(body.get("note")),
                record=event.entry_id,
            )
        )
    return steps


def _put(item: dict[str, Value], field: str, value: JsonValue) -> None:
    if value is not None:
        item[field] = cast("Value", value)


def _without_none(**values: "Value | None") -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: datetime | None) -> str | None:
    return None if value is None else time_text(value)
