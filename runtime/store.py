"""The wiring of one store: every adapter is built here and nowhere else.

A store is one folder: `mianjiao.sqlite3` (unless the rows are in a PostgreSQL
server), `objects/`, `log/<shard>/` exactly as served, `keys/`, `exports/`.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL

from archive.package import clear_unfinished
from archive.records import forget_stale
from archive.room import ArchiveRoom
from kernel.clock import Clock, SystemClock, time_text
from ledger.errors import LogMissing, LogNotTrusted, PolicyMalformed
from ledger.heads import newest_shard
from ledger.policy import parse_policy
from ledger.service import Ledger
from license_service.kinds import load_kinds
from license_service.licenses import Licenses
from license_service.room import LicenseRoom
from license_service.sources import LocalSource
from materials_api.adoption import adopt
from materials_api.catalogue.loader import load_catalogue
from materials_api.grants.granting import lapse_overdue
from materials_api.limits import MIB, Limits
from materials_api.materials.erasure import continue_erasures
from materials_api.room import MaterialsRoom
from materials_api.uploads.incoming import release_uploads
from migrations.revision import found_revision, require_head
from parties import Parties
from parties.credentials import Credentials
from portal.state import CheckpointState, StoreState
from runtime.canary import Canary
from runtime.counts import KeptCounts
from runtime.disk import Reserve
from runtime.errors import ClockBehind, SettingInvalid, StoreExists, StoreMissing
from runtime.metrics import Metrics
from runtime.observing import Observing
from runtime.queue_state import queue_state, signed_at
from runtime.settings import Settings, data_path, read_settings, variable
from runtime.timed_objects import TimedObjects
from runtime.tracing import open_tracing
from runtime.unexpected import describe
from runtime.watch import Watch
from storage.database import Database
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects
from storage.objects.durable_file import fsync_folder
from storage.objects.sweep import sweep

log = logging.getLogger("mianjiao.store")

DATABASE = "mianjiao.sqlite3"
OBJECTS = "objects"
LOG = "log"
KEYS = "keys"
VAULT = "vault.json"
EXPORTS = "exports"
SWEEP_SECONDS = 600


class Store:
    """All rooms of one store, wired. Use `open_store` or `create_store`."""

    def __init__(self, data: Path, settings: Settings, clock: Clock, database: Database) -> None:
        self.data = data
        self.settings = settings
        self.clock = clock
        self.database = database
        self.vault = FileKeyVault.open(data / KEYS / VAULT)
        self.observing = Observing(Metrics(), open_tracing(settings))
        self.object_store = FilesystemStore(data / OBJECTS)
        self.objects = SealedObjects(
            TimedObjects(self.object_store, self.observing.stored), self.vault
        )
        self.ledger = Ledger.open(
            data,
            database=database,
            vault=self.vault,
            clock=clock,
            interval=settings.batch_interval_ms / 1000,
        )
        if settings.witness_policy is not None:
            use_witnesses(self.ledger, settings, settings.witness_policy)
        journal, records = self.ledger.journal, self.ledger.records
        self.parties = Parties(journal, records, self.vault)
        self.credentials = Credentials()
        self.licenses = Licenses(journal, records, self.parties, load_kinds())
        self.license_source = LocalSource(database, self.parties, self.licenses)
        self.materials = MaterialsRoom(
            clock=clock,
            database=database,
            vault=self.vault,
            objects=self.objects,
            ledger=self.ledger,
            parties=self.parties,
            licenses=self.licenses,
            license_source=self.license_source,
            catalogue=load_catalogue(
                known_kinds=frozenset(kind.key for kind in self.licenses.kinds)
            ),
            limits=replace(Limits(), upload_bytes=settings.upload_limit_mib * MIB),
            decided=self.observing.metrics.decided,
        )
        self.license_room = LicenseRoom(
            clock=clock,
            database=database,
            vault=self.vault,
            ledger=self.ledger,
            parties=self.parties,
            licenses=self.licenses,
            source=self.license_source,
        )
        self.archive = ArchiveRoom(materials=self.materials, exports=data / EXPORTS)
        database.observe_commits(self.observing.committed)
        self.ledger.observe_rounds(self.observing.sequenced)
        self.canary = Canary(
            settings=settings,
            clock=clock,
            database=database,
            objects=self.objects,
            ledger=self.ledger,
            metrics=self.observing.metrics,
            paused=lambda: self.watch.refusal is not None,
        )
        self.watch = Watch(
            settings=settings,
            clock=clock,
            database=database,
            objects=self.object_store,
            ledger=self.ledger,
            places={"data": data, "objects": data / OBJECTS, "log": data / LOG},
            reserve=Reserve(data, settings.disk_reserve_mib * MIB),
            metrics=self.observing.metrics,
            canary=lambda: self.canary.failure,
        )
        self._counts = KeptCounts(database, clock)
        self._stopping = threading.Event()
        self._sweeper: threading.Thread | None = None

    @property
    def ledger_origin(self) -> str:
        return self.ledger.origin

    def start(self) -> None:
        """Adopt the catalogue, recover the log, and begin to sequence, to watch and to sweep.

        `ClockBehind` before anything is touched.
        """
        self.require_clock()
        self.ledger.start()
        self.adopt_catalogue()
        self.watch.start()
        self.canary.start()
        clear_unfinished(self.archive)
        self._sweeper = threading.Thread(target=self._sweep_often, name="sweeper", daemon=True)
        self._sweeper.start()

    def require_clock(self) -> None:
        """`ClockBehind` if this computer's time lies before the newest checkpoint.

        Records written now would claim to be older than what they follow.
        """
        with self.database.read() as tx:
            signed = signed_at(tx, self.ledger.shard)
        now = self.clock.now()
        tolerance = timedelta(seconds=self.settings.clock_tolerance_seconds)
        if signed is not None and now < signed - tolerance:
            raise ClockBehind(now=time_text(now), checkpoint=time_text(signed))

    def adopt_catalogue(self) -> None:
        """Put the catalogue of this program in force, if another one was."""
        at = self.clock.now()
        catalogue = self.materials.catalogue
        self.database.write(lambda tx: adopt(tx, at, self.ledger.journal, catalogue))

    def close(self) -> None:
        """Publish what waits, stop the background work, close the database."""
        self._stopping.set()
        self.canary.stop()
        if self._sweeper is not None:
            self._sweeper.join()
        self.watch.stop()
        self.ledger.stop()
        self.database.close()
        if self.observing.tracing is not None:
            self.observing.tracing.close()

    def warnings(self) -> list[str]:
        """What an operator should know, though the store works."""
        return self.database.warnings()

    def sweep(self) -> None:
        """Remove what nothing refers to, finish pending erasures, let old requests lapse."""
        at = self.clock.now()
        self.database.write(lambda tx: lapse_overdue(self.materials, tx, at))
        forget_stale(self.archive, at)
        continue_erasures(self.materials, at)
        sweep(
            self.database,
            self.object_store,
            at,
            older_than=timedelta(hours=self.settings.sweep_hours),
            release=release_uploads,
        )

    def snapshot(self) -> StoreState:
        """What the front page shows (a `PortalState`); cheap however much there is."""
        counts = self._counts.read()
        with self.database.read() as tx:
            queue = queue_state(tx, self.ledger.shard, self.settings.queue_limit)
        state = StoreState(
            name=self.ledger.origin.rsplit("/", 1)[0],
            materials=counts.materials,
            licenses=counts.licenses,
            cases=counts.cases,
            allowed=counts.allowed,
            denied=counts.denied,
            counted_at=counts.at,
            pending=queue.depth,
            checkpoint=None,
        )
        try:
            published = self.ledger.checkpoint()
        except LogMissing:
            return state
        if queue.signed_at is None:
            return state
        return replace(
            state,
            checkpoint=CheckpointState(
                shard=self.ledger.shard,
                origin=published.origin,
                size=published.size,
                root=published.root,
                at=queue.signed_at,
            ),
        )

    def _sweep_often(self) -> None:
        while True:
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 - a full disk, say: the next one may succeed
                self.observing.metrics.unexpected.inc()
                log.error("sweep_failed", extra={"error": describe(error)})
            if self._stopping.wait(timeout=SWEEP_SECONDS):
                return


def use_witnesses(ledger: Ledger, settings: Settings, policy: str) -> None:
    """Have the ledger ask the witnesses of the policy file; `SettingInvalid` if it cannot serve."""
    try:
        parsed = parse_policy(Path(policy).expanduser().read_bytes())
        ledger.use_witnesses(
            parsed, seconds=settings.witness_seconds, hold_back=settings.witness_unmet == "hold"
        )
    except OSError:
        rule = ("不能读取该文件", "the file cannot be read")
    except (PolicyMalformed, LogNotTrusted) as error:
        rule = (error.message_zh(), error.message_en())
    else:
        return
    raise SettingInvalid(name=variable("witness_policy"), rule=rule[0], rule_en=rule[1])


def database_place(data: Path, settings: Settings) -> Path | URL:
    """Where the rows lie: in the server that the settings name, or in the data folder."""
    if settings.database_url is None:
        return data / DATABASE
    # Only here: an embedded store needs no driver of a server.
    from storage.database.postgres import parse_url

    return parse_url(settings.database_url.get_secret_value())


def create_store(
    data: Path, name: str, clock: Clock | None = None, settings: Settings | None = None
) -> None:
    """Make a store in a new or empty folder; `StoreExists` otherwise, also if the
    database of the settings holds one.

    The origin of the first log is `name/<year>`, the year in UTC.
    """
    # Only here: alembic is slow to load, and opening a store does not need it.
    from migrations.apply import upgrade

    clock = clock or SystemClock()
    settings = settings or read_settings()
    data = data_path(data)
    place = database_place(data, settings)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise StoreExists(path=str(data))
    if isinstance(place, URL):
        _refuse_another(place)
    new = [folder for folder in (data, *data.parents) if not folder.exists()]
    data.mkdir(parents=True, exist_ok=True)
    (data / KEYS).mkdir(mode=0o700)
    FilesystemStore(data / OBJECTS, create=True)
    (data / EXPORTS).mkdir()
    vault = FileKeyVault.create(data / KEYS / VAULT)
    database = Database(place, create=True)
    try:
        upgrade(database.writer_engine)
        Ledger.create(
            data,
            database=database,
            vault=vault,
            clock=clock,
            name=name,
            shard=str(clock.now().year),
        )
    finally:
        database.close()
    with open_store(data, settings, clock) as store:
        store.adopt_catalogue()
        store.ledger.sequence(clock.now())
    # The names of what was made, and of the folders that lead there.
    for folder in (data, *(one.parent for one in new)):
        fsync_folder(str(folder))


def _refuse_another(place: URL) -> None:
    """Before anything is made: the server must be there, and its database without a log."""
    with closing(Database(place)) as database:
        if found_revision(database.reader_engine) is None:
            return
        with database.read() as tx:
            if newest_shard(tx) is not None:
                raise StoreExists(path=database.name)


@contextmanager
def open_store(
    data: Path, settings: Settings | None = None, clock: Clock | None = None
) -> Iterator[Store]:
    """Open an existing store and close it afterwards. Nothing is started.

    Raises `StoreMissing`, or what a damaged or half-made store raises: nothing
    is repaired or made by opening.
    """
    data = data_path(data)
    settings = settings or read_settings()
    if not (data / DATABASE).is_file() and not (data / KEYS).is_dir():
        raise StoreMissing(path=str(data))
    database = Database(database_place(data, settings))
    try:
        require_head(database.reader_engine)
        store = Store(data, settings, clock or SystemClock(), database)
    except BaseException:
        database.close()
        raise
    try:
        yield store
    finally:
        store.close()
