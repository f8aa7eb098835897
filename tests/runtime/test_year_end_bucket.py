"""The whole life of a store in a bucket of a real MinIO, across the end of a year of its log."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from ledger.demands import Demands, parse_demands
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.tables import ledger_entries
from runtime.app import build_app
from runtime.settings import read_settings
from runtime.store import Store, open_store
from tests.conftest import mianjiao
from tests.runtime.conftest import House, come_strangers
from tests.servers.minio import MinioServer

pytestmark = pytest.mark.timeout(600)

_COLUMNS = ledger_entries.c


def use(minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name a bucket that is not there yet."""
    for name, value in minio.environment(minio.settings()).items():
        monkeypatch.setenv(name, value)


@contextmanager
def served(data: Path) -> Iterator[House]:
    """The store of the settings, its log written, and somebody who brings something in."""
    told = json.loads((data.parent / f"{data.name}-demo/tokens.json").read_text(encoding="utf-8"))
    tokens = {one["key"]: one["token"] for one in told}
    settings = read_settings()
    with open_store(data, settings) as store:
        store.start()
        app = build_app(store, settings)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield House(store, app, client, tokens, {})


def receipts(store: Store, shard: str) -> list[bytes]:
    of_shard = select(_COLUMNS.entry_id).where(_COLUMNS.shard == shard, _COLUMNS.public.is_(False))
    with store.database.read() as tx:
        entries = tx.execute(of_shard.order_by(_COLUMNS.leaf_index)).scalars().all()
        return [store.ledger.evidence.receipt(tx, one) for one in entries[:: len(entries) // 9 + 1]]


def clean(data: Path) -> bool:
    return bool(json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["problems"] == [])


def trust(data: Path) -> tuple[str, Demands]:
    """The policy and the pins that this store now hands out."""
    policy = mianjiao("log", "policy", "--data", data).stdout
    return policy, parse_demands(mianjiao("log", "retired", "--data", data).stdout.encode())


def test_upload_close_upload_check_back_up_and_restore(
    minio: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(minio, monkeypatch)
    data = tmp_path / "store"
    mianjiao("demo", "--data", data)
    old = str(datetime.now(UTC).year)
    new = str(int(old) + 1)
    before = mianjiao("log", "policy", "--data", data).stdout
    with open_store(data) as store:
        assert store.ledger.shard == old
        kept = receipts(store, old)
    announced = mianjiao("log", "close", new, "--prepare", "--data", data).stdout
    assert clean(data)
    mianjiao("log", "close", new, "--data", data)
    assert sorted(path.name for path in (data / "keys").glob("log-*")) == [
        f"log-{new}.key",
        f"log-{new}.mldsa44.key",
    ]
    with served(data) as house:
        come_strangers(house)
        house.settle()
        assert {house.store.ledger.shard} == {new}
        fresh = receipts(house.store, new)
        assert len(fresh) > 2
        for shard in (old, new):
            assert house.client.get(f"/log/{shard}/checkpoint").text.split("/")[1][:4] == shard
            assert house.client.get(f"/log/{shard}/tile/entries/000.p/1").status_code == 200
        again = receipts(house.store, old)
    policy, pins = trust(data)
    assert [line for line in announced.splitlines() if line.startswith("log ")] == [
        line for line in policy.splitlines() if line.startswith("log ") and f"/{new}+" in line
    ]
    assert [one[-4:] for one in pins.retired] == [old]
    for trusted, given in ((before, [*kept, *again]), (policy, [*kept, *again, *fresh])):
        for receipt in given:
            outcome = verify_receipt(receipt, parse_policy(trusted.encode()), pins)
            assert isinstance(outcome, Evidence), outcome
    assert clean(data)
    assert not (data / "log").exists()

    mianjiao("backup", "--data", data, "-o", tmp_path / "backup")
    assert mianjiao("backup", "--check", tmp_path / "backup").returncode == 0
    with served(data) as house:  # goes on after the backup
        house.ids["late"] = house.upload("window", b"late")
        mianjiao("token", "--data", data, "--role", "operator")
        house.settle()
    shutil.move(data / "keys", tmp_path / "keys")
    shutil.rmtree(data)
    options = ("--from", tmp_path / "backup", "--keys", tmp_path / "keys")
    # The bucket outlived the rows: its log, of both shards, is the newest.
    restored = tmp_path / "restored"
    told = json.loads(mianjiao("restore", "--data", restored, *options, "--json").stdout)
    assert told["lost"] == 0
    assert clean(restored)
    assert trust(restored) == (policy, pins)
    # The bucket is lost as well: the backup's own is whole.
    use(minio, monkeypatch)
    alone = tmp_path / "alone"
    mianjiao("restore", "--data", alone, *options, "--backup-is-newest")
    assert clean(alone)
    assert trust(alone) == (policy, pins)
    with open_store(alone) as store:
        for receipt in (*receipts(store, old), *receipts(store, new)):
            outcome = verify_receipt(receipt, parse_policy(policy.encode()), pins)
            assert isinstance(outcome, Evidence), outcome
