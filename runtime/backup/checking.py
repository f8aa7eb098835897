"""`mianjiao backup --check`: every byte of a backup against its manifest, without keys."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from kernel.errors import CodedError
from ledger import heads
from ledger.errors import LogDiverged
from ledger.mirror import check_log
from ledger.notes import VerifierKey
from ledger.reader import LogReader
from ledger.retired import Retired
from ledger.tilestore import FilesystemTiles, FolderShards
from runtime.backup.errors import BackupInvalid
from runtime.backup.folder import LOG, OBJECTS, digest_file, read_manifest
from runtime.backup.manifest import Manifest, Tree
from runtime.backup.rows import kept_objects, open_rows
from storage.objects import FilesystemStore
from storage.objects.copying import matches

Tell = Callable[[str, int, int], None]
_THREADS = 4


def check_backup(folder: Path, tell: Tell) -> tuple[Manifest, list[str]]:
    """The manifest, and a line for everything that is not as it says.

    `BackupMissing` and `BackupInvalid` where there is no manifest to check against.
    """
    manifest = read_manifest(folder)
    problems = [f"objects/{key}: damaged when the backup was made" for key in manifest.damaged]
    keys = [VerifierKey.parse(one) for one in manifest.vkeys]
    rows = _rows(folder, manifest)
    problems += rows or _objects(folder, manifest, tell)
    newest = FolderShards(folder / LOG)
    known = {manifest.head.shard: keys}
    try:
        reader = LogReader(newest.open(manifest.head.shard), manifest.head.shard, *keys)
        known |= {one.shard: list(one.keys) for one in Retired(reader, newest).readers()}
    except CodedError as error:
        problems.append(f"log: {error.message_en()}")
    for tree in manifest.log:
        if tree.shard in known:
            problems += _log(folder, manifest, tree, known[tree.shard], tell)
    for shard in sorted(set(known) ^ {tree.shard for tree in manifest.log}):
        problems.append(f"log/{shard}: not in the manifest, or not in the chain of shards")
    return manifest, problems


def require_rows(folder: Path, manifest: Manifest) -> Path:
    """The file of the rows, if it is what the manifest says. `BackupInvalid`."""
    path = folder / manifest.rows_file
    if Path(manifest.rows_file).name != manifest.rows_file or not path.is_file():
        raise BackupInvalid(reason=f"{manifest.rows_file} is missing")
    if digest_file(path) != (manifest.rows_bytes, manifest.rows_sha256):
        raise BackupInvalid(reason=f"{manifest.rows_file} is not what the manifest says")
    return path


def _rows(folder: Path, manifest: Manifest) -> list[str]:
    try:
        path = require_rows(folder, manifest)
        with open_rows(path) as rows:
            found = [str(row[0]) for row in rows.execute(text("PRAGMA integrity_check"))]
            head = heads.load(rows, manifest.head.shard)
    except CodedError as error:
        return [error.message_en()]
    except SQLAlchemyError as error:
        return [f"{manifest.rows_file}: {type(error).__name__}"]
    problems = [] if found == ["ok"] else [f"{manifest.rows_file}: {line}" for line in found]
    if (head.size, head.root.hex()) != (manifest.head.size, manifest.head.root):
        problems.append(f"{manifest.rows_file}: another head than the manifest's")
    return problems


def _objects(folder: Path, manifest: Manifest, tell: Tell) -> list[str]:
    problems: list[str] = []
    store = FilesystemStore(folder / OBJECTS)
    damaged = set(manifest.damaged)
    done = 0
    with (
        open_rows(folder / manifest.rows_file) as rows,
        ThreadPoolExecutor(_THREADS, thread_name_prefix="backup") as pool,
    ):
        for page in kept_objects(rows):
            for one, whole in zip(
                page, pool.map(lambda item: matches(store, item), page), strict=True
            ):
                if not whole and one.key not in damaged:
                    problems.append(f"objects/{one.key}: missing or damaged")
            done += len(page)
            tell("objects", done, manifest.objects)
    return problems


def _log(
    folder: Path, manifest: Manifest, tree: Tree, keys: Sequence[VerifierKey], tell: Tell
) -> list[str]:
    where = f"log/{tree.shard}"
    try:
        tiles = FilesystemTiles(folder / LOG / tree.shard)
        reader = LogReader(tiles, tree.shard, *keys)
        signed = check_log(reader, tiles, lambda done, total: tell("log", done, total))
        if signed.checkpoint.size < tree.size or reader.root(tree.size).hex() != tree.root:
            raise LogDiverged(reason="not the tree of the manifest")
        head = manifest.head
        if head.shard == tree.shard and reader.root(head.size).hex() != head.root:
            raise LogDiverged(reason="the rows' head is no prefix of it")
    except CodedError as error:
        return [f"{where}: {error.message_en()}"]
    return []
