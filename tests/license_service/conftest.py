"""A real store of this room: database, vault, ledger, parties; nothing is mocked."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

import ledger.tables  # noqa: F401 - registers its tables
import license_service.tables  # noqa: F401 - registers its tables
import parties.tables  # noqa: F401 - registers its tables
import storage.tables  # noqa: F401 - registers its tables
from kernel.clock import FixedClock
from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from ledger.service import Ledger
from license_service.kinds import load_kinds
from license_service.licenses import Licenses
from license_service.lifecycle import Event
from license_service.model import DraftLicense, LicenseView
from license_service.room import LicenseRoom
from license_service.sources import LocalSource
from parties import Credentials, HolderRef, Parties
from storage.database import Database, ReadTx, WriteTx
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault
from tests.engines import Engine

T = TypeVar("T")
TABLES = {
    "parties",
    "capacities",
    "credentials",
    "audit",
    "idempotency",
    "licenses",
    "license_events",
    "license_snapshots",
    "ledger_entries",
    "ledger_heads",
}


@dataclass
class Store:
    """The room, the people of the demo story, and short forms of reading and writing."""

    NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
    COMPANY = HolderRef("001", "91310199MA1Y7K2D1G", "上海云间禾味餐饮管理有限公司")
    SHEN = HolderRef("111", "310199198802299064", "沈云舟")
    MARKET = "11310199MB2Y01016G"
    ARCHIVE = "12310199MB2Y04049F"

    room: LicenseRoom
    credentials: Credentials

    @property
    def licenses(self) -> Licenses:
        return self.room.licenses

    @property
    def now(self) -> datetime:
        return self.room.clock.now()

    def write(self, work: Callable[[WriteTx], T]) -> T:
        return self.room.database.write(work)

    def read(self, work: Callable[[ReadTx], T]) -> T:
        with self.room.database.read() as tx:
            return work(tx)

    def advance(self, **by: float) -> datetime:
        self.room.clock.set(self.now + timedelta(**by))
        return self.now

    def ensure(self, ref: HolderRef) -> str:
        return self.write(lambda tx: self.room.parties.ensure(tx, self.now, ref))

    def department(self, org: str | None = None) -> Principal:
        return Principal(new_id(IdKind.CREDENTIAL), Role.DEPARTMENT, org or self.MARKET)

    def drafted(self, **changes: object) -> LicenseView:
        wanted = replace(self.business_license(), **changes)
        return self.write(lambda tx: self.licenses.draft(tx, self.now, self.department(), wanted))

    def issued(self, **changes: object) -> LicenseView:
        return self.apply(self.drafted(**changes).license_id, Event.ISSUE)

    def business_license(self, **changes: object) -> DraftLicense:
        made = DraftLicense(
            kind="business_license",
            holder=self.ensure(self.COMPANY),
            issuer_name="上海市云间区市场监督管理局",
            number="310199000187",
            area_code="310199",
            attributes={"address": "云间路 88 号 101 室", "legal_representative": "沈云舟"},
        )
        return replace(made, **changes)

    def apply(self, license_id: str, event: Event, **what: object) -> LicenseView:
        who = what.pop("by", self.department())
        return self.write(
            lambda tx: self.licenses.apply(tx, self.now, who, license_id, event, **what)
        )

    def supersede(
        self, license_id: str, event: Event, successor: object, **what: object
    ) -> LicenseView:
        who = what.pop("by", self.department())
        return self.write(
            lambda tx: self.licenses.supersede(
                tx, self.now, who, license_id, event, successor, **what
            )
        )

    def facts(self, license_id: str):
        return self.read(lambda tx: self.licenses.facts(tx, license_id))


def open_store(path: Path, engine: Engine) -> Store:
    clock = FixedClock(Store.NOON)
    database = Database(engine.place(path / "mianjiao.sqlite3"))
    vault = FileKeyVault.open(path / "vault.json")
    log = Ledger.open(path, database=database, vault=vault, clock=clock)
    people = Parties(log.journal, log.records, vault)
    licenses = Licenses(log.journal, log.records, people, load_kinds())
    source = LocalSource(database, people, licenses)
    room = LicenseRoom(clock, database, vault, log, people, licenses, source)
    return Store(room, Credentials())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A store that was just born; tests work on copies of it."""
    path = tmp_path_factory.mktemp("template")
    database = Database(engine.place(path / "mianjiao.sqlite3"), create=True)
    wanted = [table for table in metadata.sorted_tables if table.name in TABLES]
    database.write(lambda tx: metadata.create_all(tx.connection, tables=wanted))
    vault = FileKeyVault.create(path / "vault.json")
    clock = FixedClock(Store.NOON)
    Ledger.create(
        path, database=database, vault=vault, clock=clock, name="test.example", shard="2026"
    )
    database.close()
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path, engine: Engine) -> Iterator[Store]:
    path = engine.copy_folder(template, tmp_path / "store", "mianjiao.sqlite3")
    made = open_store(path, engine)
    yield made
    made.room.database.close()


@pytest.fixture
def new_store(template: Path, tmp_path: Path, engine: Engine) -> Callable[[], Store]:
    """Makes a fresh store each time: for stateful tests."""
    numbers = itertools.count()

    def make() -> Store:
        path = tmp_path / str(next(numbers))
        return open_store(engine.copy_folder(template, path, "mianjiao.sqlite3"), engine)

    return make
