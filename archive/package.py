"""Exporting a case: gather, check completeness, write the package, check it, record it.

The package is written to a temporary folder and checked there as a stranger
would check it; only then the export is recorded, and only then the package is
put in place. A failure before the record leaves nothing.
"""

import errno
import fcntl
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from archive.assembly import Content, assemble
from archive.bag import sync_folder
from archive.checks import check_package
from archive.completeness import check_complete
from archive.describe import (
    Rendered,
    checkpoint_path,
    describe,
    document_path,
    file_path,
    license_path,
    receipt_path,
)
from archive.errors import (
    EvidencePending,
    PackageDefective,
    PackageIncomplete,
    PackageTooLarge,
    TargetExists,
    TargetUnusable,
)
from archive.gather import gather
from archive.gathered import Gathered
from archive.reading import file_blocks, read_folder
from archive.record_rules import license_text
from archive.records import Built, Export, record_export
from archive.room import ArchiveRoom
from archive.stored_zip import ZipMember, zip_blocks
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import NotInLog
from ledger.merkle import inclusion_proof, leaf_hash, verify_inclusion
from ledger.policy import parse_policy
from ledger.proofs import LogProof
from ledger.receipts import build_receipt
from ledger.records import OpenedRecord
from materials_api.documents.renderer import render_document
from storage.database import ReadTx, WriteTx
from storage.errors import StorageFull
from storage.objects import registry

Progress = Callable[[str, int, int], None]
"""Told the step, and bytes done and in all: `("materials", 1048576, 7340032)`."""


def silent(_step: str, _done: int, _total: int) -> None:
    """A `Progress` that tells nobody."""


def export_to_folder(
    room: ArchiveRoom,
    principal: Principal,
    case_id: str,
    target: Path,
    progress: Progress = silent,
) -> Export:
    """Write the package of a case into the new folder `target`.

    `TargetExists`, `TargetUnusable`; `CaseUnknown`, `CaseNotExportable`,
    `PackageIncomplete`, `EvidencePending`, `PackageTooLarge`; `PackageDefective`
    and what storage and ledger raise when something stored is corrupt.
    """
    target = target.absolute()
    if target.is_symlink() or target.exists():
        raise TargetExists()
    if not target.parent.is_dir():
        raise TargetUnusable(reason="no such folder to write it into")
    with _built(room, case_id, target.parent, progress) as built:
        export = room.materials.database.write(
            lambda tx: record_export(room, tx, principal, built, object_key=None)
        )
        # Nothing of another is lost: a folder that came into being meanwhile stops
        # the rename unless it is empty.
        try:
            built.root.rename(target)
        except OSError as error:
            raise TargetExists() from error
        sync_folder(target.parent)
    return export


T = TypeVar("T")


def export_to_store(
    room: ArchiveRoom,
    principal: Principal,
    case_id: str,
    commit: Callable[[Callable[[WriteTx], Export]], T],
) -> T:
    """Build the package and keep it, packed and sealed, until it is fetched.

    `commit(work)` runs `work` in a write transaction, so that an idempotent
    answer can share it. Raises what `export_to_folder` does about the case.
    """
    rooms = room.materials
    room.exports.mkdir(mode=0o700, exist_ok=True)
    with _built(room, case_id, room.exports, silent) as built:
        stored = rooms.objects.put(_packed(built), limit=2 * room.package_bytes)

        def work(tx: WriteTx) -> Export:
            registry.add(tx, built.at, rooms.vault, stored)
            registry.claim(tx, stored.object_key, built.export_id)
            return record_export(room, tx, principal, built, object_key=stored.object_key)

        return commit(work)


def clear_unfinished(room: ArchiveRoom) -> int:
    """Remove what killed processes left in the store's own export folder; how many.

    It holds readable files. What a living process builds is locked, and stays.
    """
    left = list(room.exports.glob(".exp_*.part")) if room.exports.is_dir() else []
    removed = 0
    for folder in left:
        with suppress(OSError), _claim(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


@contextmanager
def _claim(folder: Path) -> Iterator[None]:
    """Hold the folder against other processes; `OSError` if one holds it, or it is gone."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _workplace(root: Path) -> Iterator[None]:
    """Make `root`, claimed before it has the name by which leftovers are known; remove it
    at the end."""
    unnamed = root.with_suffix(".new")
    with ExitStack() as claimed:
        try:
            unnamed.mkdir(mode=0o700)
            claimed.callback(shutil.rmtree, root, ignore_errors=True)
            claimed.callback(shutil.rmtree, unnamed, ignore_errors=True)
            claimed.enter_context(_claim(unnamed))
            unnamed.rename(root)
        except OSError as error:
            raise TargetUnusable(reason=error.strerror or "no folder to work in") from error
        yield


@contextmanager
def _built(room: ArchiveRoom, case_id: str, folder: Path, progress: Progress) -> Iterator[Built]:
    """Build and check in a temporary folder below `folder`; it is gone afterwards."""
    at = room.materials.clock.now()
    export_id = new_id(IdKind.EXPORT)
    place = folder / f".{export_id}.part"
    root = place / "package"
    with _workplace(place):
        gathered = _settled(room, case_id)
        missing = check_complete(gathered.completeness)
        if missing:
            raise PackageIncomplete(count=len(missing), reasons=[str(item) for item in missing])
        pinned = _pinned(room, gathered)
        content = _content(room, gathered, pinned, at)
        total = sum(file.size for item in gathered.materials for file in item.facts.files)
        if total > room.package_bytes:
            raise PackageTooLarge(limit=room.package_bytes)
        done = 0

        def told(size: int) -> None:
            nonlocal done
            done += size
            progress("write", done, total)

        try:
            summary = assemble(root, content, told)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StorageFull() from error
            raise TargetUnusable(reason=error.strerror or "write failed") from error
        progress("check", 0, total)
        _check_own(room, root)
        newest = max(pinned)
        yield Built(export_id, at, root, gathered, newest, pinned[newest], summary)


def _pinned(room: ArchiveRoom, gathered: Gathered) -> dict[str, SignedCheckpoint]:
    """For each shard in which a record stands, the one checkpoint of its receipts."""
    last: dict[str, int] = {}
    for record in gathered.records().values():
        if record.shard is None or record.leaf_index is None:
            raise NotInLog(entry=record.entry_id)
        last[record.shard] = max(last.get(record.shard, 0), record.leaf_index)
    ledger = room.materials.ledger
    return {shard: ledger.evidence.checkpoint_for(shard, last[shard]) for shard in sorted(last)}


def _settled(room: ArchiveRoom, case_id: str) -> Gathered:
    """The case with every record in the published log; `EvidencePending` when that takes long."""
    rooms = room.materials
    for attempt in range(3):
        with rooms.database.read() as tx:
            gathered = gather(rooms, tx, case_id)
        waiting = rooms.ledger.unpublished(gathered.records().values())
        if not waiting:
            return gathered
        if attempt == 2 or not rooms.ledger.wait_for_all(waiting, room.wait_seconds):
            break
    raise EvidencePending()


def _content(
    room: ArchiveRoom, gathered: Gathered, pinned: Mapping[str, SignedCheckpoint], at: datetime
) -> Content:
    rooms = room.materials
    with rooms.database.read() as tx:
        documents = [
            Rendered(row, records, render_document(rooms, tx, row))
            for row, records in gathered.documents
        ]
        texts = {checkpoint_path(shard): signed.encode() for shard, signed in pinned.items()}
        for record in gathered.records().values():
            under = pinned[record.shard or ""]
            texts[receipt_path(record.entry_id)] = _receipt(room, tx, record, under)
    payload: dict[str, Callable[[], Iterator[bytes]]] = {}
    for number, item in enumerate(gathered.materials, start=1):
        for file, ref in zip(item.facts.files, item.objects, strict=True):
            path = file_path(number, file.position, file.media_type)
            payload[path] = partial(rooms.objects.read, ref)
    for number, held in enumerate(gathered.licenses, start=1):
        records = [(record.entry_id, record.body) for record in held.records]
        payload[license_path(number)] = _whole(license_text(held.license_id, records))
    for number, document in enumerate(documents, start=1):
        payload[document_path(number)] = _whole(document.data)
    return Content(
        case=describe(gathered, documents, pinned, at, room.software),
        payload=payload,
        texts=texts,
        vkeys=[key.text for shard in pinned for key in rooms.ledger.readers.of(shard).keys],
        at=at,
        software=room.software,
    )


def _receipt(
    room: ArchiveRoom, tx: ReadTx, record: OpenedRecord, pinned: SignedCheckpoint
) -> bytes:
    """The receipt against the one checkpoint of this package, whatever was published since,
    with the evidence from outside that there is by now."""
    if record.shard is None or record.leaf_index is None:
        raise NotInLog(entry=record.entry_id)
    head = pinned.checkpoint
    ledger = room.materials.ledger
    nodes = ledger.readers.of(record.shard).nodes(head.size)
    hashes = inclusion_proof(nodes, record.leaf_index, head.size)
    verify_inclusion(leaf_hash(record.leaf), record.leaf_index, head.size, hashes, head.root)
    proof = LogProof(record.leaf_index, tuple(hashes), pinned)
    anchors = ledger.evidence.anchors_of(tx, record.shard, record.leaf_index)
    return build_receipt(record.canonical, record.salt, proof, anchors)


def _whole(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter((data,))


def _check_own(room: ArchiveRoom, root: Path) -> None:
    """Read the package back and check it as a stranger would, under our own log's key."""
    policy = parse_policy(room.materials.ledger.policy_text().encode())
    package = read_folder(root)
    report = check_package(package.members, package.texts, policy)
    found = [*package.findings, *report.findings]
    if found:
        shown = [f"{item.code} {item.path or ''}".strip() for item in found[:20]]
        raise PackageDefective(findings=shown)


def _packed(built: Built) -> Iterator[bytes]:
    """The package as a stored ZIP below a folder named after the case's id."""
    top = built.gathered.case.case_id
    paths = sorted(item for item in built.root.rglob("*") if item.is_file())
    names = {f"{top}/{item.relative_to(built.root).as_posix()}": item for item in paths}
    members = [ZipMember(name, item.stat().st_size, _crc(item)) for name, item in names.items()]
    return zip_blocks(members, built.at, lambda member: file_blocks(names[member.name]))


def _crc(path: Path) -> int:
    crc = 0
    for block in file_blocks(path):
        crc = zlib.crc32(block, crc)
    return crc
