"""`mianjiao restore`: a store from a backup, its keys, and the newest log there is.

The folder is marked until all is done, and a marked folder is not opened: a restore
that was cut off is started again, and nothing is ever signed by half a store.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, text

from kernel.clock import Clock, time_text
from kernel.errors import CodedError
from kernel.principals import Principal, Role
from ledger.adoption import Adopted, adopt
from ledger.checkpoints import SignedCheckpoint, parse_checkpoint
from ledger.errors import HighWaterMissing, LogMissing
from ledger.layout import STOPS
from ledger.mirror import check_log, copy_log
from ledger.notes import VerifierKey
from ledger.reader import LogReader
from ledger.shard_keys import signer_paths, signers_in
from ledger.tilestore import FilesystemTiles, Shards, TileStore
from materials_api.adoption import follow_log
from materials_api.restored import honour
from runtime.backup.checking import require_rows
from runtime.backup.errors import (
    BackupInvalid,
    BackupKeysDestroyed,
    BackupSpace,
    NewestLogMissing,
    NewestLogUnknown,
    RestoreFolderTaken,
    RestoreKeysWrong,
)
from runtime.backup.folder import LOG, OBJECTS, put_file, read_manifest
from runtime.backup.manifest import Manifest
from runtime.backup.rows import kept_objects, open_rows
from runtime.places import BucketPlace, FolderPlace, Place, bucket_settings
from runtime.settings import Settings
from runtime.store import (
    EXPORTS,
    KEYS,
    RESTORING,
    VAULT,
    Store,
    database_place,
    head_memory,
)
from storage.database import Database, WriteTx
from storage.database.metadata import metadata
from storage.database.transfer import continue_numbers, copy_all
from storage.errors import VaultInvalid, VaultMissing
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, ObjectStore, registry
from storage.objects.copying import copy_object, matches
from storage.objects.durable_file import fsync_folder

REPORT = "restore-report.json"
LOCAL = Principal(subject="local", role=Role.OPERATOR)
_MIB = 1 << 20

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Sources:
    """`newest_log`: a folder with the newest log; `is_newest`: the operator says that
    nothing was published after the backup.

    The notes of stops that lie beside the newest log, as they do in a store's folder, are
    taken over, too.
    """

    backup: Path
    keys: Path
    newest_log: Path | None
    is_newest: bool

    @property
    def stops(self) -> Path | None:
        if self.newest_log is None:
            return None
        folders = (one / STOPS for one in (self.newest_log.parent, self.newest_log.parent.parent))
        return next((one for one in folders if one.is_dir()), None)


@dataclass(frozen=True, slots=True)
class Report:
    """What a restore did; also written to `restore-report.json`. `tokens`: withdrawn by it."""

    made_at: str
    restored_at: str
    rows_size: int
    log_size: int
    lost: tuple[int, ...]
    erased: int
    spent: int
    revoked: int
    tokens: int
    damaged: tuple[str, ...]

    def told(self) -> dict[str, object]:
        return {
            "backup_made_at": self.made_at,
            "restored_at": self.restored_at,
            "rows_size": self.rows_size,
            "log_size": self.log_size,
            "lost": len(self.lost),
            "lost_indexes": _runs(self.lost),
            "erased": self.erased,
            "spent": self.spent,
            "revoked": self.revoked,
            "tokens_withdrawn": self.tokens,
            "damaged_objects": list(self.damaged),
        }


def restore(data: Path, sources: Sources, settings: Settings, clock: Clock, tell: Tell) -> Report:
    """Build the store in `data`, a new or empty folder or one whose restore was cut off.

    Everything is verified before anything is written. `BackupMissing`, `BackupInvalid`,
    `RestoreKeysWrong`, `BackupKeysDestroyed`, `NewestLogUnknown`, `NewestLogMissing`,
    `RestoreFolderTaken`, `BackupSpace`; what the log's checks raise.
    """
    manifest = read_manifest(sources.backup)
    rows_path = require_rows(sources.backup, manifest)
    _check_keys(sources.keys, manifest)
    bucket = bucket_settings(settings)
    with ExitStack() as opened:
        place: Place | None = None
        if bucket is not None:
            place = opened.enter_context(closing(BucketPlace(bucket, create=True)))
            place.prove(clock.now())
        reader, signed = _newest(sources, settings, manifest, place, tell)
        _claim(data, settings, manifest)
        _copy_keys(sources.keys, data / KEYS, manifest)
        (data / EXPORTS).mkdir(exist_ok=True)
        if place is None:
            place = opened.enter_context(closing(FolderPlace(data, create=True)))
        damaged = _copy_objects(sources.backup, place.objects, manifest, tell)
        _copy_log(reader, signed, place.shards, manifest.head.shard, tell)
        database = Database(database_place(data, settings), create=True)
        opened.enter_context(closing(database))
        _load_rows(database, rows_path, tell)
        store = Store(data, settings, clock, database, place)
        report = _reconcile(store, signed, manifest, damaged, tell)
        store.ledger.stops.catch_up(database)
        # Only now: what the log itself says of grants was carried out in histories that
        # these notes would call cut.
        if sources.stops is not None:
            store.ledger.stops.take_over(FilesystemStore(sources.stops))
    put_file(data / REPORT, json.dumps(report.told(), indent=1).encode() + b"\n")
    (data / RESTORING).unlink()
    # Were the mark to come back after a power loss, the same command would begin anew
    # and clear what was acknowledged since.
    fsync_folder(str(data))
    return report


def _copy_log(
    reader: LogReader, signed: SignedCheckpoint, shards: Shards, shard: str, tell: Tell
) -> None:
    """A bucket that outlived the rows has the log, or part of it: that is gone on from."""
    try:
        tiles = shards.open(shard)
    except LogMissing:
        tiles = shards.create(shard)
    data = tiles.checkpoint()
    held = None if data is None else parse_checkpoint(data).checkpoint
    copy_log(reader, signed, tiles, held, lambda done, total: tell("log", done, total))


def _check_keys(keys: Path, manifest: Manifest) -> None:
    """The vault and the log's key must be this store's."""
    try:
        vault = FileKeyVault.open(keys / VAULT)
    except (VaultMissing, VaultInvalid) as error:
        raise RestoreKeysWrong(path=str(keys), reason=error.message_en()) from error
    try:
        signers = signers_in(keys, manifest.head.shard)
    except FileNotFoundError as error:
        name = Path(str(error.filename)).name
        raise RestoreKeysWrong(path=str(keys), reason=f"{name} is missing") from None
    if tuple(signer.key.text for signer in signers) != manifest.vkeys:
        raise RestoreKeysWrong(path=str(keys), reason="its log-*.key are another log's")
    epochs = manifest.key_epochs
    if epochs is not None:
        if epochs[0] < vault.oldest_epoch:
            raise BackupKeysDestroyed(epoch=epochs[0], oldest=vault.oldest_epoch)
        if epochs[1] > vault.current_epoch:
            raise RestoreKeysWrong(
                path=str(keys), reason=f"older than the backup, which needs epoch {epochs[1]}"
            )


def _newest(
    sources: Sources, settings: Settings, manifest: Manifest, place: Place | None, tell: Tell
) -> tuple[LogReader, SignedCheckpoint]:
    """The newest log at hand, verified whole: its signature, entries, tiles, and that the
    backup's tree and the remembered one are prefixes of it. `place`: a bucket, in which
    the newest log still lies if only the rows were lost."""
    keys = [VerifierKey.parse(one) for one in manifest.vkeys]
    shard = manifest.head.shard
    memory = head_memory(settings)
    found: list[tuple[LogReader, SignedCheckpoint]] = []
    own = None if place is None else _published(place.shards, shard)
    if own is not None:
        found.append(_verified(own, shard, keys, tell))
    elif memory is None and sources.newest_log is None and not sources.is_newest:
        raise NewestLogUnknown()
    if sources.newest_log is not None:
        inner = sources.newest_log / shard
        folder = inner if inner.is_dir() else sources.newest_log
        found.append(_verified(FilesystemTiles(folder), shard, keys, tell))
    try:
        tiles = FilesystemTiles(sources.backup / LOG / shard)
        found.append(_verified(tiles, shard, keys, tell))
    except CodedError:
        if not found:  # another one, verified whole, takes its place
            raise
    reader, signed = max(found, key=lambda one: one[1].checkpoint.size)
    known = [one[1].checkpoint for one in found]
    if memory is not None:
        try:
            remembered = memory.read()
        except HighWaterMissing:
            if own is None and sources.newest_log is None and not sources.is_newest:
                raise
        else:
            reader.verify(remembered)
            known.append(remembered.checkpoint)
    for tree in known:
        if tree.size > signed.checkpoint.size:
            raise NewestLogMissing(remembered=tree.size, found=signed.checkpoint.size)
        if reader.root(tree.size) != tree.root:
            raise BackupInvalid(reason="two logs that contradict each other")
    head = manifest.head
    if head.size > signed.checkpoint.size or reader.root(head.size).hex() != head.root:
        raise BackupInvalid(reason="the rows' head is no prefix of the log")
    return reader, signed


def _published(shards: Shards, shard: str) -> TileStore | None:
    try:
        tiles = shards.open(shard)
    except LogMissing:
        return None
    return None if tiles.checkpoint() is None else tiles


def _verified(
    tiles: TileStore, shard: str, keys: Sequence[VerifierKey], tell: Tell
) -> tuple[LogReader, SignedCheckpoint]:
    reader = LogReader(tiles, shard, *keys)
    return reader, check_log(reader, tiles, lambda done, total: tell("verify", done, total))


def _claim(data: Path, settings: Settings, manifest: Manifest) -> None:
    """Mark the folder as half made; clear what a restore that was cut off left there."""
    place = database_place(data, settings)
    where = place.render_as_string() if isinstance(place, URL) else place.name
    mark = json.dumps({"origin": manifest.origin, "database": where}).encode() + b"\n"
    begun = data / RESTORING
    resumed = begun.is_file() and begun.read_bytes() == mark
    if data.exists() and not resumed and (not data.is_dir() or not _bare(data)):
        raise RestoreFolderTaken(path=str(data))
    if isinstance(place, URL):
        with closing(Database(place)) as database:
            _empty(database, clear=resumed)
    if resumed:
        for path in data.iterdir():
            if path.name in (RESTORING, OBJECTS):
                continue  # objects are written once and checked again
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    needed = manifest.object_bytes + 3 * manifest.rows_bytes
    data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(data).free
    if not resumed and free < needed:
        raise BackupSpace(path=str(data), needed=needed // _MIB + 1, free=free // _MIB)
    put_file(begun, mark)
    fsync_folder(str(data.parent))


def _bare(data: Path) -> bool:
    """Empty, but for a mark that was cut off while it was written."""
    return not {path.name for path in data.iterdir()} - {f".{RESTORING}.new"}


def _empty(database: Database, *, clear: bool) -> None:
    from migrations.revision import VERSION_TABLE, found_revision

    if found_revision(database.reader_engine) is None:
        return
    if not clear:
        raise RestoreFolderTaken(path=database.name)

    def drop(tx: WriteTx) -> None:
        metadata.drop_all(tx.connection)
        tx.execute(text(f"DROP TABLE {VERSION_TABLE}"))

    database.write(drop)


def _copy_keys(source: Path, target: Path, manifest: Manifest) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    for path in (source / VAULT, *signer_paths(source, manifest.head.shard)):
        put_file(target / path.name, path.read_bytes())


def _copy_objects(
    backup: Path, target: ObjectStore, manifest: Manifest, tell: Tell
) -> tuple[str, ...]:
    """All ciphertext, compared with its digest on the way; the keys of what is not whole."""
    source = FilesystemStore(backup / OBJECTS)
    damaged: list[str] = []
    done = 0
    with open_rows(backup / manifest.rows_file) as rows:
        for page in kept_objects(rows):
            for one in page:
                if not matches(target, one) and not copy_object(source, target, one):
                    damaged.append(one.key)
                done += 1
                tell("objects", done, manifest.objects)
    return tuple(damaged)


def _load_rows(database: Database, rows_path: Path, tell: Tell) -> None:
    from migrations.apply import upgrade

    upgrade(database.writer_engine)
    with open_rows(rows_path) as rows:

        def load(tx: WriteTx) -> None:
            copy_all(rows, tx, lambda _table, done, total: tell("rows", done, total))
            continue_numbers(tx)
            registry.forget_locks(tx)

        database.write(load)


def _reconcile(
    store: Store, signed: SignedCheckpoint, manifest: Manifest, damaged: Sequence[str], tell: Tell
) -> Report:
    """Adopt the newest head and honour what ended, in one transaction."""
    reader, database = store.ledger.reader, store.database
    reader.refresh()
    at = store.clock.now()
    gone: list[str] = []
    tokens: list[int] = []

    def work(tx: WriteTx) -> Adopted:
        gone.clear()
        adopted = adopt(tx, at, reader, signed, lambda done, total: tell("adopt", done, total))
        for ended in adopted.ended:
            gone.extend(honour(store.materials, tx, at, LOCAL, ended))
        follow_log(tx, store.materials.catalogue)
        # The log does not tell which tokens were withdrawn: none comes back to life.
        tokens.append(store.credentials.revoke_all(tx, at))
        store.ledger.journal.publish(
            tx,
            at,
            "restored",
            {
                "shard": reader.shard,
                "rows": adopted.before,
                "size": adopted.after,
                "lost": len(adopted.lost),
            },
        )
        return adopted

    adopted = database.write(work)
    for key in gone:
        store.object_store.delete(key)
    database.forget_deleted()
    told = {
        name: len({one.entity for one in adopted.ended if one.reason == name and one.entity})
        for name in ("erased", "spent", "revoked")
    }
    return Report(
        made_at=manifest.made_at,
        restored_at=time_text(at),
        rows_size=adopted.before,
        log_size=adopted.after,
        lost=tuple(adopted.lost),
        tokens=tokens[-1],
        damaged=tuple(one for one in damaged if one not in set(gone)),
        **told,
    )


def _runs(indexes: Sequence[int]) -> list[list[int]]:
    """[first, last] of each run of neighbours."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][1] + 1 == index:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return runs
