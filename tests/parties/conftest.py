"""A real store of this room: database, vault, ledger; nothing is mocked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

import ledger.tables  # noqa: F401 - registers its tables
import parties.tables  # noqa: F401 - registers its tables
import storage.tables  # noqa: F401 - registers its tables
from kernel.clock import FixedClock
from ledger.service import Ledger
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
    "ledger_entries",
    "ledger_heads",
}
NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)  # noon in China


@dataclass
class Store:
    """The parts, the people of the demo story, and short forms of reading and writing."""

    NOON = NOON
    COMPANY = HolderRef("001", "91310199MA1Y7K2D1G", "上海云间禾味餐饮管理有限公司")
    SHEN = HolderRef("111", "310199198802299064", "沈云舟")
    ZHOU = HolderRef("111", "310199199207089155", "周文博")
    ELDER = HolderRef("111", "310199194803219179", "赵阿福")
    MARKET = "11310199MB2Y01016G"

    engine: Engine
    path: Path
    clock: FixedClock
    database: Database
    vault: FileKeyVault
    ledger: Ledger
    parties: Parties
    credentials: Credentials

    def write(self, work: Callable[[WriteTx], T]) -> T:
        return self.database.write(work)

    def read(self, work: Callable[[ReadTx], T]) -> T:
        with self.database.read() as tx:
            return work(tx)

    def ensure(self, ref: HolderRef) -> str:
        return self.write(lambda tx: self.parties.ensure(tx, self.clock.now(), ref))

    def advance(self, **by: float) -> datetime:
        self.clock.set(self.clock.now() + timedelta(**by))
        return self.clock.now()

    def everything_on_disk(self) -> bytes:
        """All bytes of the database, with its write-ahead log."""
        self.database.forget_deleted()
        files = b"".join(path.read_bytes() for path in self.path.glob("mianjiao.sqlite3*"))
        return files + self.engine.content(self.path / "mianjiao.sqlite3")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A store that was just born; tests work on copies of it."""
    path = tmp_path_factory.mktemp("template")
    database = Database(engine.place(path / "mianjiao.sqlite3"), create=True)
    wanted = [table for table in metadata.sorted_tables if table.name in TABLES]
    database.write(lambda tx: metadata.create_all(tx.connection, tables=wanted))
    vault = FileKeyVault.create(path / "vault.json")
    clock = FixedClock(NOON)
    Ledger.create(
        path, database=database, vault=vault, clock=clock, name="test.example", shard="2026"
    )
    database.close()
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path, engine: Engine) -> Iterator[Store]:
    path = engine.copy_folder(template, tmp_path / "store", "mianjiao.sqlite3")
    clock = FixedClock(NOON)
    database = Database(engine.place(path / "mianjiao.sqlite3"))
    vault = FileKeyVault.open(path / "vault.json")
    log = Ledger.open(path, database=database, vault=vault, clock=clock)
    people = Parties(log.journal, log.records, vault)
    yield Store(engine, path, clock, database, vault, log, people, Credentials())
    database.close()
