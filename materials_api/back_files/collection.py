"""Bulk collection of back files (存量归集): rows of a manifest become materials.

Rows go in batches: files are stored first, then one transaction holds the
rows, records and row keys of the whole batch. A run that is killed leaves
whole batches and at worst objects that nothing refers to; running it again
finds the row keys and goes on, without duplicates.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from kernel.canonical import canonical_bytes
from kernel.clock import time_text
from kernel.principals import Principal
from materials_api.back_files.manifest import Known, ManifestRow, RowProblem
from materials_api.back_files.rows import Prepared, PreparedFile, Written, write_batch
from materials_api.back_files.safe_files import FileRefused, Folder, OpenFile
from materials_api.catalogue.model import MaterialType
from materials_api.room import MaterialsRoom
from materials_api.tables import imported_rows
from materials_api.uploads.content_types import HEAD_BYTES, sniff
from storage.database import WriteTx
from storage.errors import EmptyObject, ObjectTooLarge

SMALL_BYTES = 1 << 20  # held in memory and stored in batches; larger files are streamed
BATCH_BYTES = 32 << 20  # of small files, held in memory at once


@dataclass(frozen=True, slots=True)
class Told:
    """What happened to one row: imported (with its material), known before, or refused."""

    line: int
    material_id: str | None = None
    known: bool = False
    problem: RowProblem | None = None


@dataclass(slots=True)
class ImportCounts:
    """How many rows were read, imported, known from an earlier run, refused; bytes stored."""

    rows: int = 0
    imported: int = 0
    known: int = 0
    refused: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _File:
    name: str
    media_type: str
    content: bytes | None  # small
    stored: PreparedFile | None  # large: durable already


@dataclass(slots=True)
class _Row:
    row: ManifestRow
    key: bytes
    files: list[_File]


def known_words(room: MaterialsRoom) -> Known:
    """What `parse_manifest` must know of the catalogue."""

    def matter(text: str) -> str | None:
        found = room.catalogue.find_matter(text)
        return None if found is None else found.code

    return Known(frozenset(type_.key for type_ in room.catalogue.types), matter)


def import_rows(
    room: MaterialsRoom,
    principal: Principal,
    rows: Iterable[ManifestRow | RowProblem],
    folder: Path,
    tell: Callable[[Told], None],
) -> ImportCounts:
    """Import what is not imported yet. `folder` is where the rows' paths begin.

    `tell` hears of every row once its fate is durable, in batches, in order
    within a batch. Errors of the store or the database end the run: it can be
    resumed. The clock is read once per batch.
    """
    counts = ImportCounts()
    running: Future[list[Written]] | None = None
    with Folder(folder) as base:
        for batch in _batches(room, rows, base, counts, tell):
            prepared = _store(room, batch)
            if running is not None:
                _tell(running.result(), counts, tell)
            # The next batch is read and stored while this one commits.
            running = room.database.submit(_writing(room, room.clock.now(), principal, prepared))
        if running is not None:
            _tell(running.result(), counts, tell)
    return counts


def _writing(
    room: MaterialsRoom, at: datetime, principal: Principal, prepared: Sequence[Prepared]
) -> Callable[[WriteTx], list[Written]]:
    def work(tx: WriteTx) -> list[Written]:
        return write_batch(room, tx, at, principal, prepared)

    return work


def row_key(room: MaterialsRoom, row: ManifestRow) -> bytes:
    """A keyed hash of all that the row says, its line number aside."""
    said = [
        row.holder_type,
        row.holder_code,
        row.holder_name,
        row.material_type,
        row.title,
        row.source_case,
        row.matter,
        row.provenance,
        row.certified_by,
        None if row.certified_at is None else time_text(row.certified_at),
        None if row.issued_at is None else time_text(row.issued_at),
        None if row.valid_until is None else time_text(row.valid_until),
        list(row.files),
    ]
    return room.vault.mac("import-row", canonical_bytes(said))


def _batches(
    room: MaterialsRoom,
    rows: Iterable[ManifestRow | RowProblem],
    base: Folder,
    counts: ImportCounts,
    tell: Callable[[Told], None],
) -> Iterator[list[_Row]]:
    """Rows that are new and whose files are good; the others are told at once."""
    for group in _groups(rows, room.limits.import_batch):
        known = _known(room, group)
        batch: list[_Row] = []
        held = 0
        seen: set[bytes] = set()
        for item in group:
            counts.rows += 1
            outcome = _look(room, item, base, known, seen)
            if isinstance(outcome, Told):
                _count(outcome, counts)
                tell(outcome)
                continue
            batch.append(outcome)
            seen.add(outcome.key)
            held += sum(len(file.content) for file in outcome.files if file.content is not None)
            if held > BATCH_BYTES:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch


def _groups(
    rows: Iterable[ManifestRow | RowProblem], size: int
) -> Iterator[list[ManifestRow | RowProblem]]:
    group: list[ManifestRow | RowProblem] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _known(room: MaterialsRoom, group: Sequence[ManifestRow | RowProblem]) -> dict[bytes, int]:
    """Row keys of the group that were imported, with the size of their files."""
    keys = [row_key(room, item) for item in group if isinstance(item, ManifestRow)]
    if not keys:
        return {}
    with room.database.read() as tx:
        found = tx.all(select(imported_rows).where(imported_rows.c.row_key.in_(keys)))
    return {row["row_key"]: row["bytes"] for row in found}


def _look(
    room: MaterialsRoom,
    item: ManifestRow | RowProblem,
    base: Folder,
    known: dict[bytes, int],
    seen: set[bytes],
) -> "Told | _Row":
    if isinstance(item, RowProblem):
        return Told(item.line, problem=item)
    key = row_key(room, item)
    try:
        if key in known or key in seen:
            return _again(item, base, known.get(key))
        return _Row(item, key, _read_files(room, item, base))
    except FileRefused as refused:
        return Told(item.line, problem=RowProblem(item.line, refused.code, "files"))


def _again(item: ManifestRow, base: Folder, size: int | None) -> Told:
    """A row that was imported. If its files changed since, somebody must look."""
    if size is not None:
        now = 0
        for path in item.files:
            with base.open(path) as file:
                now += file.size
        if now != size:
            return Told(item.line, problem=RowProblem(item.line, "row_changed", "files"))
    return Told(item.line, known=True)


def _read_files(room: MaterialsRoom, item: ManifestRow, base: Folder) -> list[_File]:
    """Look at all files of a row before any of them is stored."""
    type_ = room.catalogue.type(item.material_type)
    if len(item.files) > type_.max_files:
        raise FileRefused("row_files")
    found: list[_File] = []
    for path in item.files:
        with base.open(path) as file:
            content = _checked(room, type_, file)
            name = path.rsplit("/", 1)[-1]
            found.append(_File(name, content[0], content[1], None))
    for position, path in enumerate(item.files):
        if found[position].content is None:
            with base.open(path) as file:
                try:
                    stored = room.objects.put(file.blocks(), limit=type_.size_limit)
                except (EmptyObject, ObjectTooLarge):
                    # It changed since it was looked at.
                    raise FileRefused("file_unreadable") from None
            found[position].stored = PreparedFile(
                found[position].name, found[position].media_type, stored
            )
    return found


def _checked(room: MaterialsRoom, type_: MaterialType, file: OpenFile) -> tuple[str, bytes | None]:
    """The media type, and the content if it is small; `FileRefused`."""
    if file.size == 0:
        raise FileRefused("file_empty")
    if file.size > min(type_.size_limit, room.limits.upload_bytes):
        raise FileRefused("file_too_large")
    small = file.size <= SMALL_BYTES
    content = file.read(0, file.size) if small else None
    if content is not None:
        data = content
        if not data:
            raise FileRefused("file_empty")
        media_type = sniff(
            data[:HEAD_BYTES], len(data), lambda a, b: data[a:b], room.limits.archive
        )
    else:
        media_type = sniff(file.read(0, HEAD_BYTES), file.size, file.read, room.limits.archive)
    if not type_.accepts(media_type):
        raise FileRefused("file_content")
    return media_type, content


def _store(room: MaterialsRoom, batch: Sequence[_Row]) -> list[Prepared]:
    """Make the small files of a batch durable, with few waits for the disk."""
    small = [file for row in batch for file in row.files if file.content is not None]
    contents = (file.content for file in small if file.content is not None)
    stored = room.objects.put_many(contents, limit=SMALL_BYTES)
    for file, result in zip(small, stored, strict=True):
        file.stored = PreparedFile(file.name, file.media_type, result)
        file.content = None
    return [
        Prepared(
            row.row, row.key, tuple(file.stored for file in row.files if file.stored is not None)
        )
        for row in batch
    ]


def _tell(written: Sequence[Written], counts: ImportCounts, tell: Callable[[Told], None]) -> None:
    for one in written:
        if one.problem is not None:
            told = Told(one.line, problem=RowProblem(one.line, one.problem))
        else:
            told = Told(one.line, one.material_id, known=one.material_id is None)
            counts.bytes += one.bytes
        _count(told, counts)
        tell(told)


def _count(told: Told, counts: ImportCounts) -> None:
    if told.problem is not None:
        counts.refused += 1
    elif told.known:
        counts.known += 1
    else:
        counts.imported += 1
