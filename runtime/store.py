"""The wiring of one store: every adapter is built here and nowhere else.

A store is one folder: `mianjiao.sqlite3` (unless the rows are in a PostgreSQL
server), `objects/` and `log/<shard>/` exactly as served (unless both are in a
bucket), `stops/`, `keys/`, `exports/`.
"""

import logging
import math
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL

from archive.package import clear_unfinished
from archive.records import forget_stale
from archive.room import ArchiveRoom
from kernel.clock import Clock, SystemClock, time_text
from ledger.errors import (
    HighWaterExists,
    LogMissing,
    LogNotTrusted,
    PolicyMalformed,
    SequencerBusy,
)
from ledger.heads import newest_shard
from ledger.high_water import HighWaterFile
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
from runtime.errors import (
    ClockBehind,
    RestoreUnfinished,
    SettingInvalid,
    StoreExists,
    StoreMissing,
)
from runtime.evidence import Evidence, chain_memory
from runtime.metrics import Metrics
from runtime.observing import Observing
from runtime.places import BucketPlace, FolderPlace, Place, bucket_settings, open_place
from runtime.queue_state import queue_state, signed_at
from runtime.rooms import ALL, Room
from runtime.scrub.progress import load
from runtime.settings import Settings, data_path, read_settings, variable
from runtime.signing_keys import tokens_of
from runtime.timed_objects import TimedObjects
from runtime.tracing import open_tracing
from runtime.unexpected import describe
from runtime.watch import Watch
from storage.database import Database
from storage.errors import StoreAway
from storage.keyvault import FileKeyVault
from storage.objects import SealedObjects
from storage.objects.durable_file import fsync_folder
from storage.objects.locking import apply_locks
from storage.objects.sweep import sweep

log = logging.getLogger("mianjiao.store")

DATABASE = "mianjiao.sqlite3"
KEYS = "keys"
VAULT = "vault.json"
EXPORTS = "exports"
RESTORING = "restore-unfinished.json"
SWEEP_SECONDS = 600
LOCK_SECONDS = 5  # between two looks for objects whose retention is known by now


class Store:
    """All rooms of one store, wired. Use `open_store` or `create_store`."""

    def __init__(
        self, data: Path, settings: Settings, clock: Clock, database: Database, place: Place
    ) -> None:
        self.data = data
        self.settings = settings
        self.clock = clock
        self.database = database
        self.vault = FileKeyVault.open(data / KEYS / VAULT)
        self.observing = Observing(Metrics(), open_tracing(settings))
        self.place = place
        self.object_store = place.objects
        self.objects = SealedObjects(
            TimedObjects(self.object_store, self.observing.stored), self.vault
        )
        self.ledger = Ledger.open(
            data,
            database=database,
            vault=self.vault,
            clock=clock,
            interval=settings.batch_interval_ms / 1000,
            shards=place.shards,
            stops=place.stops,
            memory=head_memory(settings),
            tokens=tokens_of(settings),
        )
        if settings.witness_policy is not None:
            use_witnesses(self.ledger, settings, settings.witness_policy)
        if settings.anchor_contract is not None:
            self.ledger.outside.add(chain_memory(settings))
        journal, records = self.ledger.journal, self.ledger.records
        self.parties = Parties(journal, records, self.vault)
        self.licenses = Licenses(journal, records, self.parties, load_kinds())
        catalogue = load_catalogue(known_kinds=frozenset(kind.key for kind in self.licenses.kinds))
        self.credentials = Credentials(catalogue.fonds)
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
            catalogue=catalogue,
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
            places={"data": data, **place.folders},
            reserve=Reserve(data, settings.disk_reserve_mib * MIB),
            metrics=self.observing.metrics,
            canary=lambda: self.canary.failure,
            evidence=lambda: self.evidence.tell(),
        )
        self.evidence = Evidence(settings, self.ledger, clock, self.observing.metrics)
        self._counts = KeptCounts(database, clock)
        self._stopping = threading.Event()
        self._sweeper: threading.Thread | None = None

    @property
    def ledger_origin(self) -> str:
        return self.ledger.origin

    def start(self, rooms: Collection[Room] = ALL) -> None:
        """Adopt the catalogue and begin to watch; with the sequencer's room recover the
        log, sequence and sweep, or stand by where another process does.

        `ClockBehind`, or what `Place.prove` raises, before anything is touched.
        """
        self.require_clock()
        self.place.prove(self.clock.now())
        sequences = Room.SEQUENCER in rooms
        if sequences:
            self.evidence.start()
            self._sequence()
        else:
            self.ledger.follow()
        self.adopt_catalogue()
        self.watch.start(sequences=sequences)
        self.canary.start()
        if Room.ARCHIVE in rooms:
            clear_unfinished(self.archive)
        if sequences:
            self._sweeper = threading.Thread(target=self._sweep_often, name="sweeper", daemon=True)
            self._sweeper.start()

    def _sequence(self) -> None:
        """Recovery that fails is raised here, at the start; later it is a `failure`."""
        try:
            self.ledger.start()
        except SequencerBusy:
            self.ledger.stand_by()

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
        self.evidence.stop()
        self.canary.stop()
        if self._sweeper is not None:
            self._sweeper.join()
        self.watch.stop()
        self.ledger.stop()
        self.database.close()
        self.place.close()
        if self.observing.tracing is not None:
            self.observing.tracing.close()

    def warnings(self) -> list[str]:
        """What an operator should know, though the store works."""
        return self.database.warnings()

    def lock_objects(self) -> None:
        """Have the object store refuse to delete what must be kept, where it can."""
        locked = apply_locks(self.database, self.object_store, self.clock.now())
        if locked.failed:
            log.error("objects_not_locked", extra={"count": len(locked.failed)})

    def sweep(self) -> None:
        """Remove what nothing refers to, finish pending erasures, let old requests lapse."""
        at = self.clock.now()
        self.database.write(lambda tx: lapse_overdue(self.materials, tx, at))
        forget_stale(self.archive, at)
        continue_erasures(self.materials, at)
        self._tell_of_scrub()
        sweep(
            self.database,
            self.object_store,
            self.vault,
            at,
            older_than=timedelta(hours=self.settings.sweep_hours),
            release=release_uploads,
        )

    def finish_erasures(self) -> None:
        """Take pending erasures as far as they go now."""
        continue_erasures(self.materials, self.clock.now())

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
        except (LogMissing, StoreAway):
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

    def _tell_of_scrub(self) -> None:
        """A scrub is a process of its own, which nobody scrapes."""
        last = load(self.data)
        if last is not None:
            self.observing.metrics.scrub_problems.set(len(last.problems))
            if last.finished is not None:
                self.observing.metrics.scrub_finished.set(last.finished)

    def _sweep_often(self) -> None:
        swept = -math.inf
        while True:
            try:
                if self.ledger.leading:  # one process locks and sweeps
                    self.lock_objects()
                    if time.monotonic() - swept >= SWEEP_SECONDS:
                        swept = time.monotonic()
                        self.sweep()
            except StoreAway:
                pass  # the watch says so
            except Exception as error:  # noqa: BLE001 - a full disk, say: the next one may succeed
                self.observing.metrics.unexpected.inc()
                log.error("sweep_failed", extra={"error": describe(error)})
            if self._stopping.wait(timeout=LOCK_SECONDS):
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


def head_memory(settings: Settings) -> HighWaterFile | None:
    """Where the newest head is remembered outside of the store, if the settings say so."""
    file = settings.high_water_file
    return None if file is None else HighWaterFile(data_path(file))


def create_store(
    data: Path, name: str, clock: Clock | None = None, settings: Settings | None = None
) -> None:
    """Make a store in a new or empty folder; `StoreExists` otherwise, also if the
    database of the settings holds one, `BucketTaken` if its bucket does.

    The bucket is made if it is missing; one that is there must keep versions and locks,
    which is tried before anything else is made. The origin of the first log is
    `name/<year>`, the year in UTC.
    """
    # Only here: alembic is slow to load, and opening a store does not need it.
    from migrations.apply import upgrade

    clock = clock or SystemClock()
    settings = settings or read_settings()
    data = data_path(data)
    rows = database_place(data, settings)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise StoreExists(path=str(data))
    memory = head_memory(settings)
    if memory is not None and Path(memory.name).exists():
        raise HighWaterExists(path=memory.name)
    if isinstance(rows, URL):
        _refuse_another(rows)
    bucket = bucket_settings(settings)
    if bucket is not None:
        with closing(BucketPlace(bucket, create=True)) as place:
            place.require_empty()
            place.prove(clock.now())
    new = [folder for folder in (data, *data.parents) if not folder.exists()]
    data.mkdir(parents=True, exist_ok=True)
    (data / KEYS).mkdir(mode=0o700)
    (data / EXPORTS).mkdir()
    vault = FileKeyVault.create(data / KEYS / VAULT)
    with (
        closing(FolderPlace(data, create=True) if bucket is None else BucketPlace(bucket)) as place,
        closing(Database(rows, create=True)) as database,
    ):
        upgrade(database.writer_engine)
        ledger = Ledger.create(
            data,
            database=database,
            vault=vault,
            clock=clock,
            name=name,
            shard=str(clock.now().year),
            shards=place.shards,
            stops=place.stops,
            tokens=tokens_of(settings),
        )
        if memory is not None:
            memory.create(ledger.signed_checkpoint().encode())
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
    if (data / RESTORING).exists():
        raise RestoreUnfinished(path=str(data))
    if not (data / DATABASE).is_file() and not (data / KEYS).is_dir():
        raise StoreMissing(path=str(data))
    with ExitStack() as opened:
        database = opened.enter_context(closing(Database(database_place(data, settings))))
        require_head(database.reader_engine)
        place = opened.enter_context(closing(open_place(data, settings)))
        store = Store(data, settings, clock or SystemClock(), database, place)
        opened.pop_all()
    try:
        yield store
    finally:
        store.close()
