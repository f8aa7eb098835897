"""The rows are lost while a close is held up: on either engine, and with the log in a folder or
in a bucket that outlived them."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ledger import heads
from ledger.closing import close_shard, prepare_successor
from ledger.errors import SequencerBusy
from ledger.lock import lock_of
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.service import Ledger
from ledger.shard_keys import open_signers
from ledger.tiles import TilePath
from ledger.tilestore import FolderShards
from runtime.backup.errors import ShardClosing
from runtime.backup.logs import Verified, bring
from runtime.backup.making import make_backup
from runtime.backup.restoring import Report, Sources, restore
from runtime.commands.fsck import run_checks
from runtime.settings import Settings
from runtime.store import DATABASE, Store, open_store
from tests.archive.store.conftest import Office
from tests.engines import Engine
from tests.ledger import fault_ports as faults
from tests.servers.minio import MinioServer

pytestmark = pytest.mark.timeout(300)

# What fsck says of records that only the log knows, and of people without credentials.
GONE = {"lost_in_restore", "record_without_row", "stop_not_noted", "audit_actor", "audit_row"}


def quiet(*_told: Any) -> None: ...


class Stores:
    """The stores of one test, one after the other, each made from a backup: rows each time in a
    new place, content and log in the folder of each, or all in one bucket."""

    def __init__(self, office: Office, engine: Engine, folder: Path, bucket: dict[str, Any]):
        self.office = office
        self._engine = engine
        self._folder = folder
        self._bucket = bucket
        self._opened: ExitStack | None = None

    def make(
        self, name: str, backup: Path, keys: Path, log: Path | None = None, **more: bool
    ) -> Report:
        """Restore the backup and go on with that store."""
        self.close()
        data = self._folder / name
        self._engine.place(data / DATABASE, empty=True)
        settings = self._engine.settings(data / DATABASE).model_copy(update=self._bucket)
        sources = Sources(backup, keys, log, **{"is_newest": False, **more})
        report = restore(data, sources, settings, self.office.clock, quiet)
        self.open(data, settings)
        self.office.publish()  # as `serve` does at once: what the restore itself records
        return report

    def lose(self, name: str, backup: Path) -> Report:
        """The rows are lost: restore them to the log that outlived them."""
        data = self.store.data
        return self.make(name, backup, data / "keys", None if self._bucket else data / "log")

    def open(self, data: Path, settings: Settings) -> None:
        self._opened = ExitStack()
        self.office.store = self._opened.enter_context(
            open_store(data, settings, self.office.clock)
        )

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def store(self) -> Store:
        return self.office.store

    @property
    def in_bucket(self) -> bool:
        return bool(self._bucket)

    def receipt(self) -> bytes:
        """Of a new case, logged."""
        case_id = self.office.open()
        self.office.publish()
        ledger = self.store.ledger
        with self.store.database.read() as tx:
            return bytes(ledger.evidence.receipt(tx, ledger.records.latest(tx, case_id).entry_id))

    def cut_off(self, shard: str) -> None:
        """A close that ends between its transaction and the signature."""
        store, old = self.store, self.store.ledger.shard
        fault = faults.Fault("sign", faults.When.BEFORE)
        broken = Ledger(
            database=store.database,
            vault=store.vault,
            stops=store.place.stops,
            tiles=store.place.shards.open(old),
            signers=[faults.FaultySigner(one, fault) for one in open_signers(store.data, old)],
            lock=lock_of(store.database, store.data / f"sequencer-{old}.lock", old),
            clock=store.clock,
            shard=old,
            directory=store.data,
            shards=store.place.shards,
        )
        with pytest.raises(faults.Injected):
            close_shard(broken, prepare_successor(broken, shard), store.clock.now())

    def codes(self) -> set[str]:
        return {one.code for one in run_checks(self.store, quiet)}

    def holds(self, *receipts: bytes) -> bool:
        """Each as it is and brought to the newest evidence."""
        policy = parse_policy(self.store.ledger.policy_text().encode())
        with self.store.database.read() as tx:
            fresh = [self.store.ledger.evidence.refreshed(tx, one) for one in receipts]
        return all(isinstance(verify_receipt(one, policy), Evidence) for one in (*receipts, *fresh))


@pytest.fixture
def stores(
    request: pytest.FixtureRequest, office: Office, engine: Engine, tmp_path: Path
) -> Iterator[Stores]:
    """Rows in SQLite and the log in a bucket, or rows in PostgreSQL and the log in a folder."""
    if not engine.is_sqlite:
        made = Stores(office, engine, tmp_path / "stores", {})
    else:
        minio: MinioServer = request.getfixturevalue("minio")
        # The server has a clock of its own, and takes no lock that ends in its past.
        office.clock.set(max(office.clock.now(), datetime.now(UTC)))
        wanted = minio.settings()
        bucket = {
            "s3_endpoint": wanted.endpoint,
            "s3_bucket": wanted.bucket,
            "s3_secure": False,
            "s3_access_key": SecretStr(wanted.access_key),
            "s3_secret_key": SecretStr(wanted.secret_key),
        }
        make_backup(office.store, tmp_path / "template", quiet)
        made = Stores(office, engine, tmp_path / "stores", bucket)
        made.make("first", tmp_path / "template", office.store.data / "keys", is_newest=True)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else writes here, but where a test says so."""
    monkeypatch.setattr("runtime.backup.logs.ROUND_SECONDS", 0.5)


@pytest.mark.both_engines
def test_the_rows_are_lost_while_a_close_is_held_up(stores: Stores, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    old = stores.receipt()
    make_backup(stores.store, backup, quiet)
    lost = stores.receipt()
    announced = prepare_successor(stores.store.ledger, "2027").keys
    # Closed by the rows alone, which then are lost: the log knows nothing of it.
    stores.cut_off("2027")
    with pytest.raises(ShardClosing):
        make_backup(stores.store, backup, quiet)
    report = stores.lose("second", backup)
    assert set(report.lost) == {"2026"}
    assert (report.set_aside > 0) == stores.in_bucket
    assert stores.store.ledger.shard == "2026"
    again = stores.receipt()
    assert stores.holds(old, lost, again)
    assert stores.codes() <= GONE
    # Closed by what is published as well: the next shard is the one that the log names.
    store = stores.store
    successor = prepare_successor(store.ledger, "2027")
    assert successor.keys == announced, "as witnesses may know them"
    close_shard(store.ledger, successor, store.clock.now())
    with store.database.read() as tx:
        opening = heads.opening_leaf(tx, "2027")
    assert store.place.shards.open("2027").checkpoint() is None
    stores.lose("third", backup)
    assert stores.store.ledger.shard == "2027"
    new = stores.receipt()
    assert stores.store.ledger.reader.entry(0) == opening
    assert stores.holds(old, lost, again, new)
    assert stores.codes() <= GONE


def test_a_round_of_a_process_that_writes_the_log_now_is_left_alone(
    office: Office, tmp_path: Path
) -> None:
    ledger = office.store.ledger
    signed = ledger.signed_checkpoint()
    copied = FolderShards(tmp_path / "live")
    bring(Verified(ledger.reader, signed), copied, tmp_path / "aside", quiet)
    tiles, size = copied.open("2026"), signed.checkpoint.size
    rounds = [{TilePath(None, 0, size + more): b"round"} for more in (1, 2)]
    tiles.put(rounds[0])
    writer = threading.Timer(0.1, tiles.put, rounds[1:])
    writer.start()
    with pytest.raises(SequencerBusy):
        bring(Verified(ledger.reader, signed), copied, tmp_path / "aside", quiet)
    writer.join()
    assert not (tmp_path / "aside").exists()
    # It was killed: what it left is kept, and its names are free.
    bring(Verified(ledger.reader, signed), copied, tmp_path / "aside", quiet)
    kept = sorted(str(one.relative_to(tmp_path / "aside")) for one in files(tmp_path / "aside"))
    assert kept == [f"2026/tile/entries/000.p/{size + more}" for more in (1, 2)]
    tiles.put({path: b"another" for one in rounds for path in one})


def files(folder: Path) -> Iterator[Path]:
    return (one for one in folder.rglob("*") if one.is_file())
