"""The rows of exports: recording one, finding it, fetching its package, forgetting it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import RowMapping, insert, select, update

from archive.bag import BagSummary
from archive.errors import ExportUnknown, PackageGone
from archive.gathered import Gathered
from archive.room import ArchiveRoom
from archive.tables import exports
from kernel.canonical import JsonValue
from kernel.principals import Principal
from ledger.checkpoints import SignedCheckpoint
from materials_api.materials.lifecycle import MaterialState
from materials_api.tables import materials, uses
from storage import audit
from storage.database import ReadTx, WriteTx
from storage.objects import ObjectRef, registry

EXPORTED = "case.exported"
BASIS = "archiving"  # 归档: the duty to archive, not a consent


@dataclass(frozen=True, slots=True)
class Built:
    """A package that passed its own check, in its temporary folder."""

    export_id: str
    at: datetime
    root: Path
    gathered: Gathered
    shard: str  # the newest of those in which its records stand, and its checkpoint
    checkpoint: SignedCheckpoint
    summary: BagSummary


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was recorded. `object_key`: the sealed package while it is kept."""

    export_id: str
    case_id: str
    shard: str
    tree_size: int
    root: bytes
    tagmanifest_sha256: bytes
    payload_files: int
    payload_bytes: int
    at: datetime
    entry_id: str
    object_key: str | None


def record_export(
    room: ArchiveRoom,
    tx: WriteTx,
    principal: Principal,
    built: Built,
    *,
    object_key: str | None,
) -> Export:
    """Row, ledger record, use history of every holder, audit: in this transaction.

    The record names the digests of the tag manifest as a file, so that its
    receipt proves the whole package: `mianjiao verify RECEIPT --file tagmanifest-sha256.txt`.
    """
    case = built.gathered.case
    head = built.checkpoint.checkpoint
    tagmanifest = built.summary.tagmanifest
    shard = built.shard
    body: dict[str, JsonValue] = {
        "case": case.case_id,
        "files": [
            {
                "name": "tagmanifest-sha256.txt",
                "media_type": "text/plain",
                "size": tagmanifest.size,
                "digests": {"sha256": tagmanifest.sha256, "sm3": tagmanifest.sm3},
            }
        ],
        "checkpoint": {"origin": head.origin, "size": head.size, "root": head.root.hex()},
        "payload_files": built.summary.payload_files,
        "payload_bytes": built.summary.payload_bytes,
        "materials": [item.facts.material_id for item in built.gathered.materials],
        "licenses": [item.license_id for item in built.gathered.licenses],
        "by": {
            "role": principal.role.value,
            "org": principal.org,
            "unit": principal.unit,
            "officer": principal.officer,
        },
        "status": "exported",
    }
    entry = room.materials.ledger.journal.record(tx, built.at, EXPORTED, built.export_id, body)
    tx.execute(
        insert(exports),
        {
            "export_id": built.export_id,
            "case_id": case.case_id,
            "shard": shard,
            "tree_size": head.size,
            "root": head.root,
            "tagmanifest_sha256": bytes.fromhex(tagmanifest.sha256),
            "payload_files": built.summary.payload_files,
            "payload_bytes": built.summary.payload_bytes,
            "at": built.at,
            "entry_id": entry.entry_id,
            "object_key": object_key,
        },
    )
    tx.insert_many(uses, _uses(principal, built, entry.entry_id))
    audit.note(
        tx,
        built.at,
        principal,
        "case.export",
        entity=built.export_id,
        case_id=case.case_id,
        detail={
            "files": built.summary.payload_files,
            "bytes": built.summary.payload_bytes,
            "tree_size": head.size,
        },
    )
    return load_export(tx, built.export_id)


def _uses(principal: Principal, built: Built, entry_id: str) -> list[dict[str, object]]:
    """One row per holder and item, so that every holder sees that it went to the archive."""
    case = built.gathered.case
    pairs: dict[tuple[str, str], None] = {}
    for item in built.gathered.materials:
        holders = [share.party for share in item.facts.parties] or [case.applicant]
        pairs |= {(holder, item.facts.material_id): None for holder in holders}
    for held in built.gathered.licenses:
        pairs[(str(held.records[0].body["holder"]), held.license_id)] = None
    return [
        {
            "entry_id": entry_id,
            "holder": holder,
            "item": item_id,
            "case_id": case.case_id,
            "verification_id": None,
            "org": principal.org,
            "action": "exported",
            "basis": BASIS,
            "at": built.at,
        }
        for holder, item_id in pairs
    ]


def load_export(tx: ReadTx, export_id: str) -> Export:
    """The export, or `ExportUnknown`."""
    row = tx.one(select(exports).where(exports.c.export_id == export_id))
    if row is None:
        raise ExportUnknown()
    return export_of(row)


def exports_of(tx: ReadTx, case_id: str) -> list[Export]:
    """The exports of a case, newest first."""
    rows = tx.all(
        select(exports)
        .where(exports.c.case_id == case_id)
        .order_by(exports.c.at.desc(), exports.c.export_id)
    )
    return [export_of(row) for row in rows]


def fetch(
    room: ArchiveRoom, tx: WriteTx, at: datetime, principal: Principal, export_id: str
) -> tuple[Export, ObjectRef]:
    """How to read the package; its audit row commits before any byte is released.

    `PackageGone` when the time to fetch it is over, or something in it was erased.
    """
    export = load_export(tx, export_id)
    if export.object_key is None or is_stale(room, tx, at, export):
        raise PackageGone()
    audit.note(tx, at, principal, "export.fetch", entity=export_id, case_id=export.case_id)
    return export, registry.ref(tx, export.object_key)


def is_stale(room: ArchiveRoom, tx: ReadTx, at: datetime, export: Export) -> bool:
    """Whether a kept package must go: its time is over, or a material in it was erased."""
    if at >= export.at + room.kept:
        return True
    erased = (
        select(uses.c.item)
        .join(materials, materials.c.material_id == uses.c.item)
        .where(
            uses.c.entry_id == export.entry_id,
            materials.c.status == MaterialState.ERASED.value,
        )
        .limit(1)
    )
    return tx.scalar(erased) is not None


def forget_stale(room: ArchiveRoom, at: datetime) -> int:
    """Erase kept packages whose time is over; how many. For the background loop.

    Their bytes are deleted by the next `finish_erasures`. The records stay.
    """

    def work(tx: WriteTx) -> int:
        count = 0
        for export in _kept(tx):
            if export.object_key is not None and is_stale(room, tx, at, export):
                registry.erase(tx, at, room.materials.vault, export.object_key)
                tx.execute(
                    update(exports)
                    .where(exports.c.export_id == export.export_id)
                    .values(object_key=None)
                )
                count += 1
        return count

    return room.materials.database.write(work)


def _kept(tx: ReadTx) -> Iterator[Export]:
    for row in tx.all(select(exports).where(exports.c.object_key.is_not(None))):
        yield export_of(row)


def export_of(row: RowMapping) -> Export:
    """A row of `exports` as a value."""
    return Export(
        export_id=row["export_id"],
        case_id=row["case_id"],
        shard=row["shard"],
        tree_size=row["tree_size"],
        root=row["root"],
        tagmanifest_sha256=row["tagmanifest_sha256"],
        payload_files=row["payload_files"],
        payload_bytes=row["payload_bytes"],
        at=row["at"],
        entry_id=row["entry_id"],
        object_key=row["object_key"],
    )
