"""`fsck` of the archive room: exports against their records, kept packages byte by byte.

Changes nothing and may run beside a server.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from archive.records import BASIS, EXPORTED, Export, export_of
from archive.room import ArchiveRoom
from archive.tables import exports
from kernel.canonical import JsonValue
from kernel.errors import CodedError
from kernel.ids import IdKind
from ledger.fsck_reading import UNREADABLE
from ledger.problems import Problem, Progress, quiet
from ledger.records import OpenedRecord, Row
from ledger.tables import ledger_entries
from license_service.tables import licenses
from materials_api.tables import material_parties, uses
from storage.database import ReadTx
from storage.errors import KeyMissing, ObjectMissing
from storage.objects import SealedObjects, registry
from storage.tables import objects

_SENTENCES = {
    "export_row": (
        "归档导出的数据行与存证记录不一致",
        "the row of an export does not agree with its record",
    ),
    "export_record": (
        "归档导出的存证记录无法打开：{detail}",
        "the record of an export cannot be opened: {detail}",
    ),
    "record_without_row": ("存证记录没有数据行", "a record in the ledger has no row"),
    "package_missing": (
        "找不到归档包或其密钥：{detail}",
        "a kept package or its key is missing: {detail}",
    ),
    "package_corrupt": ("归档包已损坏：{detail}", "a kept package is corrupt: {detail}"),
    "package_owner": ("归档包的归属不一致", "a package is claimed by something else"),
    "package_unused": (
        "归档包已被认领，但没有导出使用它",
        "a package is claimed, but no export has it",
    ),
    "package_row": (
        "归档包的数据行自相矛盾：{detail}",
        "the row of a package contradicts the rows around it: {detail}",
    ),
    "use_row": (
        "使用记录的数据行与导出的存证记录不一致：{detail}",
        "a row of the use history does not agree with the record of its export: {detail}",
    ),
    "use_missing": (
        "使用记录缺少数据行：{detail}",
        "a row of the use history is missing: {detail}",
    ),
    "row_unreadable": ("数据行无法读取", "a row cannot be read"),
    "database_unreadable": ("数据库无法读取：{detail}", "the database cannot be read: {detail}"),
}


def fsck(room: ArchiveRoom, progress: Progress = quiet) -> list[Problem]:
    """Every problem of this room; an empty list means clean.

    `progress("exports", done, total)` is called as it goes.
    """
    problems: list[Problem] = []
    try:
        with room.materials.database.read() as tx:
            ids = [row["export_id"] for row in tx.all(select(exports.c.export_id))]
            problems += _strays(tx, set(ids))
            packages = _claimed(tx)
        for done, export_id in enumerate(ids, start=1):
            try:
                with room.materials.database.read() as tx:
                    problems += _check(room, tx, export_id, packages.get(export_id, []))
            except UNREADABLE:
                problems.append(_problem("row_unreadable", f"exports/{export_id}"))
            progress("exports", done, len(ids))
    except CodedError as error:
        problems.append(_problem("database_unreadable", "exports", error.code))
    except UNREADABLE as error:
        problems.append(_problem("database_unreadable", "exports", type(error).__name__))
    return problems


def _strays(tx: ReadTx, ids: set[str]) -> list[Problem]:
    prefix = IdKind.EXPORT.value + "_"
    entities = tx.all(
        select(ledger_entries.c.entity).where(ledger_entries.c.entity.startswith(prefix)).distinct()
    )
    lost = {str(row["entity"]) for row in entities} - ids
    claimed = tx.all(
        select(objects.c.object_key, objects.c.claimed_by).where(
            objects.c.claimed_by.startswith(prefix),
            objects.c.erased_at.is_(None),
            objects.c.object_key.not_in(
                select(exports.c.object_key).where(exports.c.object_key.is_not(None))
            ),
        )
    )
    found = [_problem("record_without_row", entity) for entity in sorted(lost)]
    return found + [_problem("package_unused", str(row["object_key"])) for row in claimed]


def _claimed(tx: ReadTx) -> Mapping[str, list[Row]]:
    """All content that exports claimed, by export: asked once, as no index leads there."""
    rows: dict[str, list[Row]] = {}
    claimed = objects.c.claimed_by.startswith(IdKind.EXPORT.value + "_", autoescape=True)
    for row in tx.all(select(objects).where(claimed)):
        rows.setdefault(row["claimed_by"], []).append(row)
    return rows


def _check(room: ArchiveRoom, tx: ReadTx, export_id: str, packages: Sequence[Row]) -> list[Problem]:
    row = tx.one(select(exports).where(exports.c.export_id == export_id))
    if row is None:
        return []  # gone since it was listed
    export = export_of(row)
    try:
        record = room.materials.ledger.records.open(tx, export.entry_id)
    except CodedError as error:
        return [_problem("export_record", export_id, error.code)]
    problems = []
    own = (record.kind, record.entity) == (EXPORTED, export_id)
    if not own or record.at != export.at or not _agrees(export, record.body, record.shard):
        problems.append(_problem("export_row", export_id))
    if own:
        problems += _lines(tx, record)
    problems += _packages(packages, export)
    if export.object_key is not None:
        problems += check_package(room.materials.objects, tx, export_id, export.object_key)
    return problems


def _agrees(export: Export, body: Mapping[str, JsonValue], shard: str | None) -> bool:
    """Whether the row repeats its record."""
    files, head = body.get("files"), body.get("checkpoint")
    first = files[0] if isinstance(files, list) and files else None
    digests = first.get("digests") if isinstance(first, dict) else None
    if not isinstance(head, dict) or not isinstance(digests, dict):
        return False
    stated = (
        export.case_id,
        export.tree_size,
        export.root.hex(),
        export.tagmanifest_sha256.hex(),
        export.payload_files,
        export.payload_bytes,
    )
    recorded = (
        body.get("case"),
        head.get("size"),
        head.get("root"),
        digests.get("sha256"),
        body.get("payload_files"),
        body.get("payload_bytes"),
    )
    origin = str(head.get("origin"))
    return (
        stated == recorded
        and origin.endswith(f"/{export.shard}")
        and (shard is None or shard >= export.shard)
    )


def _lines(tx: ReadTx, record: OpenedRecord) -> list[Problem]:
    """Every holder of every item must see in the use history that it was exported."""
    left = _holders(tx, record.body)
    by = record.body.get("by")
    expected = {
        "case_id": record.body.get("case"),
        "verification_id": None,
        "org": by.get("org") if isinstance(by, dict) else None,
        "action": "exported",
        "basis": BASIS,
        "at": record.at,
    }
    where = f"uses/{record.entry_id}"
    problems = []
    for row in tx.all(select(uses).where(uses.c.entry_id == record.entry_id)):
        line = (row["holder"], row["item"])
        wrong = [] if line in left else ["holder or item"]
        wrong += [name for name, told in expected.items() if row[name] != told]
        left.discard(line)
        if wrong:
            problems.append(_problem("use_row", where, ", ".join(wrong)))
    return problems + [_problem("use_missing", where, " ".join(line)) for line in sorted(left)]


def _holders(tx: ReadTx, body: Mapping[str, JsonValue]) -> set[tuple[str, str]]:
    """Holder and item of each line; the rows asked here are checked in their own rooms."""
    pairs: set[tuple[str, str]] = set()
    for item in _texts(body.get("materials")):
        parties = select(material_parties.c.party_id).where(material_parties.c.material_id == item)
        pairs |= {(holder, item) for holder in tx.execute(parties).scalars()}
    for item in _texts(body.get("licenses")):
        holders = select(licenses.c.holder).where(licenses.c.license_id == item)
        pairs |= {(holder, item) for holder in tx.execute(holders).scalars()}
    return pairs


def _texts(value: JsonValue) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _packages(rows: Sequence[Row], export: Export) -> list[Problem]:
    """The rows of the content that this export claimed: kept, or erased when its time was over."""
    problems = []
    for row in rows:
        erased, forgotten = row["erased_at"], row["forgotten_at"]
        wrong = [] if row["created_at"] == export.at else ["created_at"]
        wrong += [] if (row["wrapped_key"] is None) == (erased is not None) else ["wrapped_key"]
        kept = row["object_key"] == export.object_key
        wrong += ["erased_at"] if erased is not None and (kept or erased < export.at) else []
        early = forgotten is not None and (erased is None or forgotten < erased)
        wrong += ["forgotten_at"] if early else []
        if wrong:
            problems.append(_problem("package_row", str(row["object_key"]), ", ".join(wrong)))
    return problems


def check_package(
    objects_: SealedObjects, tx: ReadTx, export_id: str, object_key: str
) -> list[Problem]:
    """The bytes of one kept package, all of them."""
    where = f"{export_id} {object_key}"
    owner = tx.scalar(select(objects.c.claimed_by).where(objects.c.object_key == object_key))
    if owner != export_id:
        return [_problem("package_owner", where)]
    try:
        ref = registry.ref(tx, object_key)
        objects_.rehash(ref, cipher=True)
    except (ObjectMissing, KeyMissing) as error:
        return [_problem("package_missing", where, error.code)]
    except CodedError as error:
        return [_problem("package_corrupt", where, error.code)]
    return []


def _problem(code: str, where: str, detail: str = "") -> Problem:
    zh, en = _SENTENCES[code]
    return Problem(code, where, zh.format(detail=detail), en.format(detail=detail))
