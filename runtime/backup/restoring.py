"""`mianjiao restore`: a store from a backup, its keys, and the newest log there is.

The folder is marked until all is done, and a marked folder is not opened: a restore
that was cut off is started again, and nothing is ever signed by half a store.
"""

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, text

from kernel.clock import Clock, time_text
from kernel.errors import CodedError
from kernel.principals import Principal, Role
from ledger import heads
from ledger.adoption import Adopted, adopt, begin
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import HighWaterMissing, LogMissing
from ledger.layout import STOPS
from ledger.mirror import check_log
from ledger.notes import VerifierKey
from ledger.reader import LogReader
from ledger.retired import shard_of
from ledger.shard_keys import shards_in, signer_paths, signers_in
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
from runtime.backup.logs import (
    AnyOf,
    Begun,
    Verified,
    bring,
    earlier_logs,
    later_logs,
    place_of,
)
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
ASIDE = "set-aside"  # tiles of a round that nobody signed, by shard
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
    """What a restore did; also written to `restore-report.json`. `tokens`: withdrawn by it.
    Sizes are those of all shards together; `lost`: indexes by shard; `set_aside`: tiles."""

    made_at: str
    restored_at: str
    rows_size: int
    log_size: int
    lost: Mapping[str, tuple[int, ...]]
    erased: int
    spent: int
    revoked: int
    tokens: int
    damaged: tuple[str, ...]
    set_aside: int

    def told(self) -> dict[str, object]:
        return {
            "backup_made_at": self.made_at,
            "restored_at": self.restored_at,
            "rows_size": self.rows_size,
            "log_size": self.log_size,
            "lost": sum(map(len, self.lost.values())),
            "lost_indexes": {shard: _runs(indexes) for shard, indexes in self.lost.items()},
            "erased": self.erased,
            "spent": self.spent,
            "revoked": self.revoked,
            "tokens_withdrawn": self.tokens,
            "damaged_objects": list(self.damaged),
            "tiles_set_aside": self.set_aside,
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
        logs, begun = _newest(sources, settings, manifest, place, tell)
        # A shard that has signed nothing is begun by the keys of the one before.
        newest = {logs[-1].reader.shard: logs[-1].reader.keys}
        if begun is not None:
            newest[begun.shard] = begun.keys
        for shard, keys in newest.items():
            _check_signers(sources.keys, shard, keys)
        _claim(data, settings, manifest)
        _copy_keys(sources.keys, data / KEYS, newest)
        (data / EXPORTS).mkdir(exist_ok=True)
        if place is None:
            place = opened.enter_context(closing(FolderPlace(data, create=True)))
        damaged = _copy_objects(sources.backup, place.objects, manifest, tell)
        for log in logs:
            bring(log, place.shards, data / ASIDE, lambda done, total: tell("log", done, total))
        if begun is not None:
            place_of(begun.shard, place.shards)
        database = Database(database_place(data, settings), create=True)
        opened.enter_context(closing(database))
        _load_rows(database, rows_path, logs, begun, clock, tell)
        store = Store(data, settings, clock, database, place)
        report = _reconcile(store, logs, manifest, damaged, tell)
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


def _check_keys(keys: Path, manifest: Manifest) -> None:
    """The vault must be this store's."""
    try:
        vault = FileKeyVault.open(keys / VAULT)
    except (VaultMissing, VaultInvalid) as error:
        raise RestoreKeysWrong(path=str(keys), reason=error.message_en()) from error
    epochs = manifest.key_epochs
    if epochs is not None:
        if epochs[0] < vault.oldest_epoch:
            raise BackupKeysDestroyed(epoch=epochs[0], oldest=vault.oldest_epoch)
        if epochs[1] > vault.current_epoch:
            raise RestoreKeysWrong(
                path=str(keys), reason=f"older than the backup, which needs epoch {epochs[1]}"
            )


def _check_signers(keys: Path, shard: str, wanted: tuple[VerifierKey, ...]) -> None:
    """The keys of the newest shard must be at hand; those of shards that ended need not."""
    try:
        signers = signers_in(keys, shard)
    except FileNotFoundError as error:
        name = Path(str(error.filename)).name
        raise RestoreKeysWrong(path=str(keys), reason=f"{name} is missing") from None
    if tuple(signer.key for signer in signers) != wanted:
        raise RestoreKeysWrong(path=str(keys), reason="its log-*.key are another log's")


def _newest(
    sources: Sources, settings: Settings, manifest: Manifest, place: Place | None, tell: Tell
) -> tuple[list[Verified], Begun | None]:
    """The newest log at hand, all its shards, the oldest first, each verified whole: its
    signature, entries, tiles, and that the backup's tree and the remembered one are prefixes
    of it; and the shard after them, if that has published nothing yet. `place`: a
    bucket, in which the newest log still lies if only the rows were lost."""
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
    logs, begun = _all_shards(sources, place, Verified(reader, signed), tell)
    if memory is not None:
        try:
            remembered = memory.read()
        except HighWaterMissing:
            if own is None and sources.newest_log is None and not sources.is_newest:
                raise
        else:
            _compare(remembered, logs, begun)
    for tree in known:
        if tree.size > signed.checkpoint.size:
            raise NewestLogMissing(remembered=tree.size, found=signed.checkpoint.size)
        if reader.root(tree.size) != tree.root:
            raise BackupInvalid(reason="two logs that contradict each other")
    head = manifest.head
    if head.size > signed.checkpoint.size or reader.root(head.size).hex() != head.root:
        raise BackupInvalid(reason="the rows' head is no prefix of the log")
    return logs, begun


def _compare(remembered: SignedCheckpoint, logs: Sequence[Verified], begun: Begun | None) -> None:
    """What was remembered outside is a prefix of the log at hand."""
    tree = remembered.checkpoint
    if begun is not None and tree == begun.checkpoint:
        return  # signed and not published: it will be again, to the byte
    # Of a shard that is not at hand: then the newest is not at hand either.
    log = next((one for one in logs if one.reader.key.name == tree.origin), logs[-1])
    if log.reader.key.name != tree.origin and shard_of(tree.origin) > log.reader.shard:
        raise NewestLogMissing(remembered=tree.size, found=log.signed.checkpoint.size)
    log.reader.verify(remembered)
    if tree.size > log.signed.checkpoint.size:
        raise NewestLogMissing(remembered=tree.size, found=log.signed.checkpoint.size)
    if log.reader.root(tree.size) != tree.root:
        raise BackupInvalid(reason="two logs that contradict each other")


def _all_shards(
    sources: Sources, place: Place | None, found: Verified, tell: Tell
) -> tuple[list[Verified], Begun | None]:
    """The shards before and after that of the backup's rows."""

    def folder(path: Path) -> TileStore | None:
        return FilesystemTiles(path) if path.is_dir() else None

    ways: list[Callable[[str], TileStore | None]] = [
        lambda shard: folder(sources.backup / LOG / shard)
    ]
    if place is not None:
        shards = place.shards
        ways.append(lambda shard: _opened(shards, shard))
    newest = sources.newest_log
    if newest is not None:
        ways.append(lambda shard: folder(newest / shard))
        if newest.name == found.reader.shard:  # one shard was named: others lie beside it
            ways.append(lambda shard: folder(newest.parent / shard))
    places = AnyOf(ways)

    def told(done: int, total: int) -> None:
        tell("verify", done, total)

    later, begun = later_logs(found, places, told)
    return [*earlier_logs(found.reader, places, told), found, *later], begun


def _opened(shards: Shards, shard: str) -> TileStore | None:
    try:
        return shards.open(shard)
    except LogMissing:
        return None


def _published(shards: Shards, shard: str) -> TileStore | None:
    tiles = _opened(shards, shard)
    return None if tiles is None or tiles.checkpoint() is None else tiles


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
            if path.name in (RESTORING, OBJECTS, ASIDE):
                continue  # objects are written once, checked again; what is aside is there alone
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


def _copy_keys(source: Path, target: Path, shards: Collection[str]) -> None:
    """Also those of a shard that is only prepared: they may have been announced."""
    target.mkdir(mode=0o700, exist_ok=True)
    wanted = {*shards, *(one for one in shards_in(source) if one > max(shards))}
    signers = (path for shard in wanted for path in signer_paths(source, shard))
    for path in (source / VAULT, *(one for one in signers if one.exists())):
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


def _load_rows(
    database: Database,
    rows_path: Path,
    logs: Sequence[Verified],
    begun: Begun | None,
    clock: Clock,
    tell: Tell,
) -> None:
    """The rows, and the heads of shards that were begun after they were taken."""
    known = [(one.reader.shard, one.reader.key.name) for one in logs]
    if begun is not None:
        known.append((begun.shard, begun.origin))
    from migrations.apply import upgrade

    upgrade(database.writer_engine)
    with open_rows(rows_path) as rows:

        def load(tx: WriteTx) -> None:
            copy_all(rows, tx, lambda _table, done, total: tell("rows", done, total))
            continue_numbers(tx)
            registry.forget_locks(tx)
            if begun is not None:
                begin(tx, clock.now(), begun.shard, begun.origin, begun.opening)
            heads.follow(tx, clock.now(), known)

        database.write(load)


def _reconcile(
    store: Store,
    logs: Sequence[Verified],
    manifest: Manifest,
    damaged: Sequence[str],
    tell: Tell,
) -> Report:
    """Adopt the newest heads and honour what ended, in one transaction."""
    database = store.database
    if store.ledger.shard == logs[-1].reader.shard:
        store.ledger.reader.refresh()
    at = store.clock.now()
    gone: list[str] = []
    tokens: list[int] = []

    def work(tx: WriteTx) -> dict[str, Adopted]:
        gone.clear()
        adopted: dict[str, Adopted] = {}
        for log in logs:
            reader = store.ledger.readers.of(log.reader.shard)
            adopted[reader.shard] = adopt(
                tx, at, reader, log.signed, lambda done, total: tell("adopt", done, total)
            )
        erased = {place for one in adopted.values() for place in one.erased}
        for shard, one in adopted.items():
            one.lost = [index for index in one.lost if (shard, index) not in erased]
            for ended in one.ended:
                gone.extend(honour(store.materials, tx, at, LOCAL, ended))
        follow_log(tx, store.materials.catalogue)
        # The log does not tell which tokens were withdrawn: none comes back to life.
        tokens.append(store.credentials.revoke_all(tx, at))
        for shard, one in adopted.items():
            if shard < manifest.head.shard:
                continue  # it had ended when the backup was made
            store.ledger.journal.publish(
                tx,
                at,
                "restored",
                {"shard": shard, "rows": one.before, "size": one.after, "lost": len(one.lost)},
            )
        return adopted

    adopted = database.write(work)
    endings = [ended for one in adopted.values() for ended in one.ended]
    for key in gone:
        store.object_store.delete(key)
    database.forget_deleted()
    told = {
        name: len({one.entity for one in endings if one.reason == name and one.entity})
        for name in ("erased", "spent", "revoked")
    }
    return Report(
        made_at=manifest.made_at,
        restored_at=time_text(at),
        rows_size=sum(one.before for one in adopted.values()),
        log_size=sum(one.after for one in adopted.values()),
        lost={shard: tuple(one.lost) for shard, one in adopted.items() if one.lost},
        tokens=tokens[-1],
        damaged=tuple(one for one in damaged if one not in set(gone)),
        set_aside=sum(one.is_file() for one in (store.data / ASIDE).rglob("*")),
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
