"""`mianjiao backup`: rows from one snapshot, then all that they refer to, then the manifest.

What is erased while the backup runs may be gone before it was copied, and a rotation of the
keys ends what the rows are wrapped under: then the rows are taken again. Key material is
never part of a backup (ADR 0011).
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import select

from kernel.clock import time_text
from kernel.errors import CodedError
from ledger import heads
from ledger.checkpoints import SignedCheckpoint, parse_checkpoint
from ledger.heads import Head
from ledger.mirror import copy_log
from ledger.reader import LogReader
from ledger.tilestore import FilesystemTiles
from migrations.revision import HEAD
from runtime.backup.errors import BackupChanging, BackupOfAnother, BackupSpace, ShardClosing
from runtime.backup.folder import LOG, OBJECTS, digest_file, put_file, read_manifest, writing
from runtime.backup.manifest import MANIFEST, Manifest, Tree
from runtime.backup.rows import kept_objects, key_epochs, open_rows, write_rows
from runtime.store import Store
from storage.database import ReadTx
from storage.errors import ObjectMissing
from storage.objects import FilesystemStore
from storage.objects.copying import StoredBytes, copy_object
from storage.tables import objects

MIB = 1 << 20
_TIMES = 5  # the rows are taken anew, because something was erased or rotated meanwhile
_THREADS = 4
_ROWS = ".rows.new"
_SPARE = 16 * MIB

Tell = Callable[[str, int, int], None]


def make_backup(store: Store, folder: Path, tell: Tell) -> Manifest:
    """Make or renew the backup in `folder`, beside a running service.

    The backup that was there stays whole until the new one is. `BackupFolderForeign`,
    `BackupOfAnother`, `BackupBusy`, `BackupSpace`, `ShardClosing`; errors of the device as
    they are.
    """
    with writing(folder):
        with store.database.read() as tx:
            _require_whole(tx, store.ledger.shard)  # before anything is copied
        if (folder / MANIFEST).exists():
            before = read_manifest(folder)
            # It may have been made before a shard ended.
            if all(
                (one.key.name, _vkeys(one)) != (before.origin, before.vkeys)
                for one in store.ledger.readers.all()
            ):
                raise BackupOfAnother(path=str(folder), origin=before.origin)
        for _ in range(_TIMES):
            manifest = _attempt(store, folder, tell)
            if manifest is not None:
                return manifest
        raise BackupChanging()


def _attempt(store: Store, folder: Path, tell: Tell) -> Manifest | None:
    """One snapshot and its objects; None if some were erased, or keys rotated, meanwhile."""
    at = store.clock.now()
    _require_space(folder, _rows_size(store))
    rows_path = folder / _ROWS
    counts = write_rows(store.database, rows_path, lambda *_told: None)
    tell("rows", sum(counts.values()), sum(counts.values()))
    with open_rows(rows_path) as rows:
        head = _require_whole(rows, store.ledger.shard)
        epochs = key_epochs(rows)
        kept = [one for page in kept_objects(rows) for one in page]
    target = FilesystemStore(folder / OBJECTS, create=True)
    missing = _copy_objects(store, target, folder, kept, tell)
    if _erased_since(store, missing) or _rotated_since(store, epochs):
        return None
    earlier = [
        _copy_log(folder, reader, reader.refresh(), tell)
        for reader in store.ledger.readers.retired.readers()
    ]
    signed = _copy_log(folder, store.ledger.reader, _newest_log(store, head.checkpoint), tell)
    size, digest = digest_file(rows_path)
    name = f"rows-{digest[:16]}.sqlite3"
    rows_path.replace(folder / name)
    manifest = Manifest(
        made_at=time_text(at),
        schema=HEAD,
        origin=store.ledger.origin,
        vkeys=_vkeys(store.ledger.reader),
        head=Tree(head.shard, head.size, head.root.hex()),
        log=(*earlier, signed),
        rows_file=name,
        rows_bytes=size,
        rows_sha256=digest,
        row_counts=counts,
        objects=len(kept),
        object_bytes=sum(one.size for one in kept),
        damaged=tuple(sorted(missing)),
        key_epochs=epochs,
    )
    put_file(folder / MANIFEST, manifest.encode())
    _tidy(folder, target, name, {one.key for one in kept})
    return manifest


def _require_whole(tx: ReadTx, shard: str) -> Head:
    """The head of the shard in force. `ShardClosing`: it has ended, or signed nothing yet."""
    head = heads.load(tx, shard)
    if head.successor is not None:
        raise ShardClosing(shard=shard)
    if head.size == 0:
        before = heads.predecessor(tx, shard)
        raise ShardClosing(shard=shard if before is None else before.shard)
    return head


def _copy_objects(
    store: Store, target: FilesystemStore, folder: Path, kept: Sequence[StoredBytes], tell: Tell
) -> list[str]:
    """Copy what is not there yet; the keys of those that are not what their row says."""
    new = [one for one in kept if not _has(target, one)]
    _require_space(folder, sum(one.size for one in new))
    missing: list[str] = []

    def copy(one: StoredBytes) -> bool:
        return copy_object(store.object_store, target, one)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="backup") as pool:
        for done, (one, whole) in enumerate(zip(new, pool.map(copy, new), strict=True), start=1):
            if not whole:
                missing.append(one.key)
            tell("objects", done, len(new))
    return missing


def _has(target: FilesystemStore, one: StoredBytes) -> bool:
    """Written once and durably, so its size tells; `check` reads every byte."""
    try:
        return target.size(one.key) == one.size
    except ObjectMissing:
        return False


def _rotated_since(store: Store, epochs: tuple[int, int] | None) -> bool:
    """A key that these rows need was destroyed meanwhile: nobody could open them."""
    return epochs is not None and epochs[0] < store.vault.oldest_epoch


def _erased_since(store: Store, keys: Sequence[str]) -> bool:
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        with store.database.read() as tx:
            query = select(objects.c.object_key).where(
                objects.c.object_key.in_(some), objects.c.wrapped_key.is_not(None)
            )
            if len(tx.all(query)) < len(some):
                return True
    return False


def _newest_log(store: Store, own: bytes) -> SignedCheckpoint:
    """What is published, or the tree of the rows where that is not published yet."""
    reader = store.ledger.reader
    signed = parse_checkpoint(own)
    reader.verify(signed)
    try:
        published = reader.refresh()
    except CodedError:
        published = signed  # the rows and their tiles are enough for a restore
    return published if published.checkpoint.size > signed.checkpoint.size else signed


def _copy_log(folder: Path, reader: LogReader, signed: SignedCheckpoint, tell: Tell) -> Tree:
    """One shard, to the tree of `signed`."""
    root = folder / LOG / reader.shard
    target = FilesystemTiles(root) if root.is_dir() else FilesystemTiles.create(root)
    target.sweep()
    data = target.checkpoint()
    held = None if data is None else parse_checkpoint(data).checkpoint
    copy_log(reader, signed, target, held, lambda done, total: tell("log", done, total))
    return Tree(reader.shard, signed.checkpoint.size, signed.checkpoint.root.hex())


def _tidy(folder: Path, target: FilesystemStore, rows: str, kept: set[str]) -> None:
    """What only the backup before needed. Erased ciphertext goes from here as well."""
    for path in folder.glob("rows-*.sqlite3"):
        if path.name != rows:
            path.unlink(missing_ok=True)
    for key, _ in target.keys():  # noqa: SIM118 - no mapping
        if key not in kept:
            target.delete(key)


def _vkeys(reader: LogReader) -> tuple[str, ...]:
    return tuple(key.text for key in reader.keys)


def _rows_size(store: Store) -> int:
    place = store.database.place
    return place.stat().st_size if isinstance(place, Path) else 0


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise BackupSpace(path=str(folder), needed=(needed + _SPARE) // MIB + 1, free=free // MIB)
