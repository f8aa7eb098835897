"""The wiring of one store: every adapter is built here and nowhere else.

A store is one folder: `mianjiao.sqlite3` (unless the rows are in a PostgreSQL
server), `objects/`, `log/<shard>/` exactly as served, `keys/`, `exports/`.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL, func, select

from archive.package import clear_unfinished
from archive.records import forget_stale
from archive.room import ArchiveRoom
from kernel.clock import Clock, SystemClock
from ledger.errors import LogMissing
from ledger.heads import newest_shard
from ledger.service import Ledger
from ledger.tables import ledger_entries, ledger_heads
from license_service.kinds import load_kinds
from license_service.licenses import Licenses
from license_service.room import LicenseRoom
from license_service.sources import LocalSource
from license_service.tables import licenses as license_rows
from materials_api.adoption import adopt
from materials_api.catalogue.loader import load_catalogue
from materials_api.grants.granting import lapse_overdue
from materials_api.limits import MIB, Limits
from materials_api.materials.erasure import continue_erasures
from materials_api.room import MaterialsRoom
from materials_api.tables import cases as case_rows
from materials_api.tables import materials as material_rows
from materials_api.tables import verifications as verification_rows
from materials_api.uploads.incoming import release_uploads
from migrations.revision import found_revision, require_head
from parties import Parties
from parties.credentials import Credentials
from portal.state import CheckpointState, StoreState
from runtime.errors import StoreExists, StoreMissing
from runtime.settings import Settings, data_path, read_settings
from storage.database import Database
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects
from storage.objects.sweep import sweep

DATABASE = "mianjiao.sqlite3"
OBJECTS = "objects"
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
        self.object_store = FilesystemStore(data / OBJECTS)
        self.objects = SealedObjects(self.object_store, self.vault)
        self.ledger = Ledger.open(
            data,
            database=database,
            vault=self.vault,
            clock=clock,
            interval=settings.batch_interval_ms / 1000,
        )
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
        self._stopping = threading.Event()
        self._sweeper: threading.Thread | None = None

    @property
    def ledger_origin(self) -> str:
        return self.ledger.origin

    def start(self) -> None:
        """Adopt the catalogue, recover the log, and begin to sequence and to sweep."""
        self.ledger.start()
        self.adopt_catalogue()
        clear_unfinished(self.archive)
        self._sweeper = threading.Thread(target=self._sweep_often, name="sweeper", daemon=True)
        self._sweeper.start()

    def adopt_catalogue(self) -> None:
        """Put the catalogue of this program in force, if another one was."""
        at = self.clock.now()
        catalogue = self.materials.catalogue
        self.database.write(lambda tx: adopt(tx, at, self.ledger.journal, catalogue))

    def close(self) -> None:
        """Publish what waits, stop the background work, close the database."""
        self._stopping.set()
        if self._sweeper is not None:
            self._sweeper.join()
        if self.ledger.running:
            self.ledger.stop()
        self.database.close()

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
        """What the front page shows (a `PortalState`)."""
        with self.database.read() as tx:
            count = func.count()
            outcomes = {
                str(row["outcome"]): int(row["n"])
                for row in tx.all(
                    select(verification_rows.c.outcome, count.label("n")).group_by(
                        verification_rows.c.outcome
                    )
                )
            }
            head = tx.one(
                select(ledger_heads.c.updated_at).where(ledger_heads.c.shard == self.ledger.shard)
            )
            state = StoreState(
                name=self.ledger.origin.rsplit("/", 1)[0],
                materials=int(tx.scalar(select(count).select_from(material_rows))),
                licenses=int(tx.scalar(select(count).select_from(license_rows))),
                cases=int(tx.scalar(select(count).select_from(case_rows))),
                allowed=outcomes.get("allowed", 0),
                denied=outcomes.get("denied", 0),
                pending=int(
                    tx.scalar(
                        select(count)
                        .select_from(ledger_entries)
                        .where(ledger_entries.c.leaf_index.is_(None))
                    )
                ),
                checkpoint=None,
            )
        try:
            published = self.ledger.checkpoint()
        except LogMissing:
            return state
        if head is None:
            return state
        return replace(
            state,
            checkpoint=CheckpointState(
                shard=self.ledger.shard,
                origin=published.origin,
                size=published.size,
                root=published.root,
                at=head["updated_at"],
            ),
        )

    def _sweep_often(self) -> None:
        while True:
            self.sweep()
            if self._stopping.wait(timeout=SWEEP_SECONDS):
                return


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
