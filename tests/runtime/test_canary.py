"""The canary: what it writes comes back and is proved, or the service says that it does not."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed
from sqlalchemy import select

from ledger.tables import ledger_entries
from runtime.canary import KIND
from runtime.settings import Settings
from runtime.store import Store, create_store, open_store
from tests.conftest import mianjiao


def value(store: Store, name: str, **labels: str) -> float:
    text = store.observing.metrics.exposition().decode()
    for family in parsed(text):
        for sample in family.samples:
            if sample.name == f"mianjiao_{name}" and sample.labels == labels:
                return float(sample.value)
    return 0.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", "test.example")
    return tmp_path / "store"


@pytest.fixture
def started(data: Path) -> Iterator[Store]:
    with open_store(data, Settings(canary_timeout_seconds=5)) as store:
        store.start()
        yield store


def test_what_it_writes_is_logged_proved_and_leaves_no_object(started: Store) -> None:
    started.canary.check()
    assert started.canary.failure is None
    with started.database.read() as tx:
        (row,) = tx.all(select(ledger_entries).where(ledger_entries.c.kind == KIND))
        record = started.ledger.records.open(tx, row["entry_id"])
    assert started.ledger.records.prove(record).index == row["leaf_index"]
    assert record.entity.startswith("cny_")
    assert list(started.object_store.keys()) == []
    assert value(started, "canary_success_timestamp_seconds") > 0
    assert value(started, "canary_seconds_count") == 1
    assert value(started, "canary_failures_total", step="entry") == 0


def test_fsck_knows_its_entries(data: Path) -> None:
    with open_store(data) as store:
        store.start()
        store.canary.check()
        assert store.canary.failure is None
    assert json.loads(mianjiao("fsck", "--data", data, "--json").stdout)["clean"] is True


def test_objects_that_cannot_be_written_make_it_fail_until_they_can(started: Store) -> None:
    incoming = started.data / "objects" / "incoming"
    incoming.rename(started.data / "elsewhere")
    started.canary.check()
    assert started.canary.failure == "object:storage_failed"
    assert value(started, "canary_failures_total", step="object") == 1
    started.watch.look()
    assert started.watch.missing() == {"canary": "object:storage_failed"}
    assert started.watch.refusal is None  # one failed check is no reason to refuse the hall
    (started.data / "elsewhere").rename(incoming)
    started.canary.check()
    started.watch.look()
    assert started.watch.missing() == {}


def test_a_log_that_does_not_publish_makes_it_fail(data: Path) -> None:
    with open_store(data, Settings(canary_timeout_seconds=0.2)) as store:
        store.start()
        store.ledger.stop()
        store.canary.check()
        assert store.canary.failure == "entry:canary_failed"
        assert value(store, "canary_failures_total", step="entry") == 1


def test_it_runs_by_itself_at_its_interval(data: Path) -> None:
    with open_store(data, Settings(canary_seconds=0.05)) as store:
        store.start()
        for _ in range(500):
            if value(store, "canary_seconds_count") >= 2:
                break
            time.sleep(0.02)
        assert value(store, "canary_seconds_count") >= 2
        assert store.watch.missing() == {}


def test_at_zero_it_never_runs(data: Path) -> None:
    with open_store(data, Settings(canary_seconds=0)) as store:
        store.start()
        time.sleep(0.2)
        assert value(store, "canary_seconds_count") == 0
        assert store.canary.failure is None
