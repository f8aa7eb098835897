"""A real log in a temporary folder: database, vault, tiles, key. Nothing is mocked."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

import ledger.tables  # noqa: F401 - registers its tables
from kernel.canonical import Record
from kernel.clock import FixedClock
from kernel.ids import IdKind, new_id
from ledger.fsck import Problem, fsck
from ledger.journal import JournalEntry
from ledger.pkcs11.signers import Tokens
from ledger.policy import Policy, parse_policy
from ledger.service import Ledger
from storage.database import Database
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault
from tests.engines import Engine

START = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
NAME = "log.yunjian.example"
SHARD = "2026"
DATABASE = "mianjiao.sqlite3"


@cache
def _born(engine: Engine) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mianjiao-born-"))
    atexit.register(shutil.rmtree, folder)
    Store.bear(folder / "store", engine).close()
    return folder / "store"


@dataclass
class Store:
    """One folder with a log in it, and short forms of what tests do."""

    directory: Path
    engine: Engine
    tokens: Tokens | None = None
    clock: FixedClock = field(default_factory=lambda: FixedClock(START))
    database: Database = field(init=False)
    vault: FileKeyVault = field(init=False)
    ledger: Ledger = field(init=False)

    @classmethod
    def create(cls, directory: Path, engine: Engine, tokens: Tokens | None = None) -> "Store":
        """With `tokens` its Ed25519 key is made in that token; without, all are copies of one
        that was just born."""
        if tokens is None:
            engine.copy_folder(_born(engine), directory, DATABASE)
            return cls.open(directory, engine)
        return cls.bear(directory, engine, tokens)

    @classmethod
    def bear(cls, directory: Path, engine: Engine, tokens: Tokens | None = None) -> "Store":
        store = cls(directory, engine, tokens)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "keys").mkdir()
        store.vault = FileKeyVault.create(directory / "keys" / "vault.json")
        store.database = Database(engine.place(directory / DATABASE), create=True)
        metadata.create_all(store.database.writer_engine)
        store.ledger = Ledger.create(
            directory,
            database=store.database,
            vault=store.vault,
            clock=store.clock,
            name=NAME,
            shard=SHARD,
            tokens=tokens,
        )
        return store

    @classmethod
    def open(cls, directory: Path, engine: Engine, tokens: Tokens | None = None) -> "Store":
        store = cls(directory, engine, tokens)
        store.vault = FileKeyVault.open(directory / "keys" / "vault.json")
        store.database = Database(engine.place(directory / DATABASE))
        store.ledger = Ledger.open(
            directory,
            database=store.database,
            vault=store.vault,
            clock=store.clock,
            tokens=tokens,
        )
        return store

    def close(self) -> None:
        self.ledger.stop()
        self.database.close()

    def reopen(self) -> "Store":
        self.close()
        return Store.open(self.directory, self.engine, self.tokens)

    @property
    def log(self) -> Path:
        return self.directory / "log" / SHARD

    @property
    def now(self) -> datetime:
        self.clock.set(self.clock.now() + timedelta(milliseconds=1))
        return self.clock.now()

    @property
    def policy(self) -> Policy:
        return parse_policy(self.ledger.policy_text().encode())

    def record(self, body: Record | None = None, entity: str | None = None) -> JournalEntry:
        return self.database.write(
            lambda tx: self.ledger.journal.record(
                tx,
                self.now,
                "material.registered",
                entity or new_id(IdKind.MATERIAL),
                body if body is not None else {"title": "租赁合同"},
            )
        )

    def record_many(self, count: int) -> list[JournalEntry]:
        rows = [
            ("material.registered", new_id(IdKind.MATERIAL), {"number": number})
            for number in range(count)
        ]
        at = self.now
        return self.database.write(lambda tx: self.ledger.journal.record_many(tx, at, rows))

    def sequence(self) -> int:
        return self.ledger.sequence(self.now)

    def receipt(self, entry_id: str) -> bytes:
        with self.database.read() as tx:
            return self.ledger.evidence.receipt(tx, entry_id)

    def fsck(self) -> list[Problem]:
        return fsck(self.ledger)

    def codes(self) -> set[str]:
        return {problem.code for problem in self.fsck()}


@pytest.fixture
def store(tmp_path: Path, engine: Engine) -> Iterator[Store]:
    made = Store.create(tmp_path / "data", engine)
    yield made
    made.close()


@pytest.fixture
def create_store(tmp_path: Path, engine: Engine) -> Iterator[Callable[[], Store]]:
    """Fresh stores on demand, all closed at the end."""
    made: list[Store] = []

    def create() -> Store:
        made.append(Store.create(tmp_path / f"data-{len(made)}", engine))
        return made[-1]

    yield create
    for one in made:
        one.close()


@pytest.fixture
def open_store(engine: Engine) -> Callable[[Path], Store]:
    return lambda directory: Store.open(directory, engine)
