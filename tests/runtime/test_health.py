"""Readiness says what is missing, from memory; writes wait while queue or disk say so."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from kernel.clock import FixedClock
from kernel.errors import CodedError
from ledger.closing import close_shard, prepare_successor
from ledger.tables import ledger_entries
from runtime.app import build_app
from runtime.commands.token import TokenRequest, issue_token
from runtime.counts import KeptCounts
from runtime.disk import Reserve
from runtime.errors import ClockBehind
from runtime.guard import ALWAYS
from runtime.metrics import Metrics
from runtime.settings import Settings
from runtime.store import Store, create_store, open_store
from runtime.timed_objects import TimedObjects
from runtime.watch import Watch
from storage.errors import StorageFull
from storage.objects import ObjectStore
from tests.conftest import START
from tests.runtime.test_access_matrix import ACCESS

WINDOW = "12310199MB2Y080841"
ELDER = {"type": "111", "code": "310199194803219179", "name": "赵阿福"}
CASE = {"matter": "elderly_allowance", "applicant": ELDER, "channel": "window"}


class Hanging(TimedObjects):
    """An object store that does not answer until `answers` is set."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store, lambda seconds: None)
        self.answers = threading.Event()

    def size(self, key: str) -> int:
        assert self.answers.wait(10)
        return super().size(key)


class Desk:
    """A started store whose log stands still, and a window that works with it."""

    def __init__(self, store: Store, client: TestClient) -> None:
        self.store = store
        self.client = client
        self.token = ""

    def ready(self, of: str = "all") -> Any:
        self.store.watch.look()
        return self.client.get(f"/health/ready?of={of}")

    def missing(self) -> dict[str, str]:
        answer = self.ready()
        if answer.status_code == 200:
            assert answer.json() == {"status": "ready"}
            return {}
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (503, "not_ready")
        assert answer.headers["retry-after"] == "1"
        for what, reason in problem["missing"].items():
            assert f"{what}:{reason}" in problem["detail"]
        return dict(problem["missing"])

    def open_case(self) -> Any:
        return self.send("POST", "/v1/cases", CASE)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.client.request(method, path, json=body, headers=headers)


@contextmanager
def opened(data: Path, clock: FixedClock | None = None, **settings: Any) -> Iterator[Desk]:
    with open_store(data, Settings(**settings), clock) as store:
        store.start()
        app = build_app(store, store.settings)
        with TestClient(app, raise_server_exceptions=False) as client:
            desk = Desk(store, client)
            yield desk


@pytest.fixture
def data(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", "test.example")
    return tmp_path / "store"


@pytest.fixture
def token(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    issue_token(data, TokenRequest("window", org=WINDOW, unit="综窗3号", officer="陈晓岚"))
    return next(word for word in capsys.readouterr().out.split() if word.startswith("mj_"))


def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within 10 s")


def test_a_started_store_is_ready(data: Path) -> None:
    with opened(data) as desk:
        assert desk.missing() == {}
        assert desk.ready("reads").json() == {"status": "ready"}
        assert desk.client.get("/health/ready?of=x").status_code == 422


def test_before_the_start_nothing_is_ready(data: Path) -> None:
    with open_store(data) as store, TestClient(build_app(store, store.settings)) as client:
        answer = client.get("/health/ready")
        assert answer.json()["missing"] == {"log": "not_started", "watch": "not_started"}
        assert client.get("/health/live").json() == {"status": "live"}


def test_a_log_that_stops_is_named_at_once_and_reads_go_on(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(data, watch_seconds=60) as desk:
        tiles = data / "log" / desk.store.ledger.shard / "tile"
        moved = tiles.rename(data / "gone")
        (data / "log" / desk.store.ledger.shard / "tile").touch()  # nothing can be written below
        at = desk.store.clock.now()
        desk.store.database.write(
            lambda tx: desk.store.ledger.journal.publish(tx, at, "test.entry", {})
        )
        until(lambda: desk.store.ledger.sequencer.failure is not None)
        answer = desk.client.get("/health/ready")  # without another look
        assert answer.json()["missing"] == {"log": "storage_failed"}
        assert desk.client.get("/health/ready?of=reads").status_code == 200
        assert desk.client.get("/v1/catalogue/matters").status_code == 200
        with caplog.at_level("WARNING", "mianjiao.watch"):
            desk.store.watch.look()
            desk.store.watch.look()
        said = [record for record in caplog.records if record.name == "mianjiao.watch"]
        assert len(said) == 1  # said once, not at every look
        tiles.unlink()
        moved.rename(tiles)


def test_entries_that_wait_too_long_are_named(data: Path) -> None:
    with opened(data, log_late_seconds=5) as desk:
        desk.store.ledger.stop()
        at = desk.store.clock.now() - timedelta(seconds=6)
        desk.store.database.write(
            lambda tx: desk.store.ledger.journal.publish(tx, at, "test.entry", {})
        )
        desk.store.watch.look()
        assert desk.store.watch.last.missing == {"log": "late"}
        assert desk.store.watch.last.queue.depth == 1


def test_a_database_that_does_not_answer_is_named_and_health_does_not_hang(data: Path) -> None:
    with opened(data) as desk:
        desk.store.database.close()
        (data / "mianjiao.sqlite3").rename(data / "moved")
        missing = desk.missing()
        assert missing["database"]
        assert desk.ready("reads").status_code == 503
        (data / "moved").rename(data / "mianjiao.sqlite3")


def test_what_hangs_is_named_and_health_answers(data: Path) -> None:
    with opened(data) as desk:
        store, hangs = desk.store, Hanging(desk.store.object_store)
        watch = Watch(
            settings=store.settings,
            clock=store.clock,
            database=store.database,
            objects=hangs,
            ledger=store.ledger,
            places={"data": data},
            reserve=Reserve(data, 0),
            metrics=Metrics(),
            canary=lambda: None,
            stalled=0.2,
        )
        looking = threading.Thread(target=watch.look)
        looking.start()
        until(lambda: watch.missing().get("objects") == "not_answering")
        hangs.answers.set()
        looking.join()
        assert watch.missing() == {}


def watch_of(store: Store, data: Path) -> Watch:
    """A watch of its own beside that of the store."""
    return Watch(
        settings=store.settings,
        clock=store.clock,
        database=store.database,
        objects=store.object_store,
        ledger=store.ledger,
        places={"data": data},
        reserve=Reserve(data, 0),
        metrics=Metrics(),
        canary=lambda: None,
    )


def test_a_process_that_does_not_write_the_log_asks_only_what_waits(data: Path) -> None:
    with open_store(data, Settings(log_late_seconds=5)) as store:
        watch = watch_of(store, data)
        watch.start(sequences=False)
        watch.stop()
        assert watch.missing() == {}
        at = store.clock.now() - timedelta(seconds=6)
        store.database.write(lambda tx: store.ledger.journal.publish(tx, at, "test.entry", {}))
        watch.look()
        assert watch.missing() == {"log": "late"}


def test_folders_that_are_gone_are_named(data: Path) -> None:
    with opened(data) as desk:
        (data / "objects").rename(data / "elsewhere")
        assert desk.missing() == {"objects": "folder_missing"}
        assert desk.ready("reads").json()["missing"] == {"objects": "folder_missing"}
        refused = desk.open_case()
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_failed")
        (data / "elsewhere").rename(data / "objects")
        assert desk.missing() == {}


def test_low_disk_space_stops_writes_and_nothing_else(data: Path, token: str) -> None:
    plenty = shutil.disk_usage(data).free // (1 << 20) + 10_000
    with opened(data) as desk:
        desk.token = token
        case = desk.open_case().json()["case_id"]
    with opened(data, disk_low_mib=plenty) as desk:
        desk.token = token
        assert desk.missing() == {"disk": "disk_low"}
        assert desk.ready("reads").status_code == 200
        refused = desk.open_case()
        assert (refused.status_code, refused.json()["code"]) == (507, "disk_low")
        assert refused.headers["retry-after"] == "60"
        assert desk.send("GET", f"/v1/cases/{case}").status_code == 200
        assert desk.send("GET", "/").status_code == 200
        # Whoever takes an authorisation back is not held up.
        answer = desk.send("POST", "/v1/grants/grt_" + "0" * 26 + "/revoke")
        assert answer.json()["code"] == "role_not_allowed"
    with opened(data) as desk:
        desk.token = token
        assert desk.open_case().status_code == 201


def test_a_deep_queue_stops_writes_until_it_is_shorter(data: Path, token: str) -> None:
    with opened(data, queue_limit=3) as desk:
        desk.token = token
        desk.store.ledger.stop()
        answers = []
        for _ in range(3):
            answers.append(desk.open_case().status_code)
            desk.store.watch.look()
        assert answers[0] == 201
        assert desk.missing() == {"log": "not_started", "queue": "queue_too_deep"}
        refused = desk.open_case()
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_too_deep")
        assert refused.headers["retry-after"] == "5"
        upload = desk.send("PUT", "/v1/uploads/upl_" + "0" * 26)
        assert upload.json()["code"] == "queue_too_deep"
        assert desk.send("GET", "/v1/cases").status_code == 200
        desk.store.ledger.start()
        until(lambda: desk.missing() == {})
        assert desk.open_case().status_code == 201


def under_way(desk: Desk) -> float | None:
    registry = desk.store.observing.metrics.registry
    return registry.get_sample_value("mianjiao_verifications_under_way")


def test_verifications_beyond_the_limit_are_refused_at_once(data: Path, token: str) -> None:
    body = {
        "case": "cas_" + "0" * 26,
        "items": [{"requirement": "other", "item": "mat_" + "0" * 26}],
        "basis": {"kind": "consent"},
    }
    with opened(data, verification_limit=2) as desk, ThreadPoolExecutor(2) as pool:
        desk.token = token
        written = threading.Event()
        # Whoever asks about an unknown case waits for its audit row.
        held = desk.store.database.submit(lambda tx: written.wait(30))
        try:
            first = [pool.submit(desk.send, "POST", "/v1/verifications", body) for _ in range(2)]
            until(lambda: under_way(desk) == 2)
            refused = desk.send("POST", "/v1/verifications", body)
            assert (refused.status_code, refused.json()["code"]) == (503, "verifications_too_many")
            assert refused.headers["retry-after"] == "1"
            assert not any(one.done() for one in first)
            # Everything else goes on.
            assert desk.send("GET", "/v1/cases").status_code == 200
        finally:
            written.set()
        assert held.result(30)
        assert [one.result(30).json()["code"] for one in first] == ["case_unknown"] * 2
        until(lambda: under_way(desk) == 0)
        again = desk.send("POST", "/v1/verifications", body)
        assert again.json()["code"] == "case_unknown"


def test_the_queue_is_not_counted_beyond_its_limit(data: Path) -> None:
    with opened(data, queue_limit=10) as desk:
        desk.store.ledger.stop()
        at = desk.store.clock.now()
        rows = [("test.entry", "ent", {"n": number}) for number in range(50)]
        desk.store.database.write(lambda tx: desk.store.ledger.journal.record_many(tx, at, rows))
        desk.store.watch.look()
        assert desk.store.watch.last.queue.depth == 10
        desk.store.database.write(
            lambda tx: tx.execute(
                update(ledger_entries).where(ledger_entries.c.entity == "ent").values(entity="x")
            )
        )


def test_routes_that_are_never_held_up_exist() -> None:
    assert {("POST", route) for route in ALWAYS} <= set(ACCESS)


def test_counts_that_are_slow_are_kept_and_say_of_when(store: Store, clock: FixedClock) -> None:
    ticks = iter([0.0, 1.0, 30.0, 100.0, 100.0, 100.001, 101.0, 101.0, 101.001])
    counts = KeptCounts(store.database, clock, lambda: next(ticks))
    assert counts.read().at == START
    clock.set(START + timedelta(seconds=30))
    assert counts.read().at == START  # kept for 50 s, because it took 1 s
    clock.set(START + timedelta(seconds=100))
    assert counts.read().at == START + timedelta(seconds=100)
    clock.set(START + timedelta(seconds=101))
    assert counts.read().at == START + timedelta(seconds=101)  # it was quick


def test_a_clock_behind_the_last_checkpoint_is_refused_before_anything_is_touched(
    store: Store, clock: FixedClock
) -> None:
    before = _contents(store.data)
    clock.set(START - timedelta(seconds=11))
    with pytest.raises(ClockBehind) as caught:
        store.start()
    assert "2026-11-24T04:20:10.000Z" in str(caught.value)
    assert isinstance(caught.value, CodedError)
    assert _contents(store.data) == before
    clock.set(START - timedelta(seconds=10))
    store.start()
    assert store.watch.missing() == {}


def test_a_closed_store_leaves_no_sequencer_that_waits_for_space(store: Store) -> None:
    def full() -> None:
        raise StorageFull

    before = set(threading.enumerate())
    store.ledger.start()
    with pytest.raises(StorageFull):
        store.ledger.sequencer.check(full)
    store.close()
    assert set(threading.enumerate()) <= before


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def test_a_process_of_a_shard_that_ended_is_not_ready(data: Path) -> None:
    """Whoever leaves the log to others would answer for ever that receipts are pending."""
    with open_store(data) as store:
        watch = watch_of(store, data)
        watch.start(sequences=False)
        watch.stop()
        assert watch.missing() == {}
        with open_store(data) as other:
            following = prepare_successor(other.ledger, "9999")
            close_shard(other.ledger, following, other.clock.now())
        watch.look()
        assert watch.missing() == {"log": "shard_ended"}
