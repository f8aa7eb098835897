"""What an operator sees of evidence from outside: health, readiness and metrics."""

import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ledger.leaves import EVIDENCE, PublicLeaf, parse_leaf
from runtime.app import build_app
from runtime.settings import Settings
from runtime.store import Store, create_store, open_store
from tests.runtime.test_anchoring import record
from tests.runtime.test_canary import value
from tests.servers.witness import RunningWitness, run_witness


@pytest.fixture
def data(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", "test.example")
    return tmp_path / "store"


@pytest.fixture
def witness(data: Path, tmp_path: Path) -> Iterator[RunningWitness]:
    with open_store(data) as store:
        started = run_witness(tmp_path / "w1", [store.ledger.vkey])
    yield started
    started.kill()
    started.process.stdout.close()


@pytest.fixture
def settings(data: Path, tmp_path: Path, witness: RunningWitness) -> Settings:
    with open_store(data) as store:
        logs = store.ledger.policy_text().replace("quorum none\n", "")
    policy = tmp_path / "policy"
    policy.write_text(f"{logs}{witness.policy_lines('w1')}quorum w1\n")
    return Settings(
        witness_policy=str(policy), witness_seconds=5, log_late_seconds=0.5, watch_seconds=0.1
    )


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def seen(client: TestClient) -> tuple[dict[str, Any], dict[str, Any]]:
    """The quorum, and the one witness."""
    answer = client.get("/health/evidence").json()
    (quorum,), (witness,) = answer["sources"], answer["witnesses"]
    return quorum, witness


def test_a_quorum_that_is_met_and_then_pending_since_an_entry(
    data: Path, settings: Settings, witness: RunningWitness
) -> None:
    with open_store(data, settings) as store:
        client = TestClient(build_app(store, settings))
        store.start()
        until(lambda: seen(client)[0]["pending_since"] is None, "the quorum covers all")
        quorum, one = seen(client)
        assert (quorum["name"], quorum["kind"], quorum["reason"]) == ("quorum", "quorum", None)
        assert quorum["final"] == quorum["size"] == one["size"]
        assert (one["name"], one["reachable"], one["failure"]) == ("w1.example", True, None)
        assert one["succeeded_at"] is not None
        until(lambda: _value(store, "witness_up", witness="w1.example") == 1, "up is told")
        assert _value(store, "evidence_pending_since_timestamp_seconds", source="quorum") == 0
        assert _value(store, "evidence_timestamp_seconds", source="quorum") > 0
        assert _value(store, "witness_success_timestamp_seconds", witness="w1.example") > 0
        witness.kill()
        before = store.clock.now()
        assert store.ledger.wait_for(record(store), 10), "nobody waits for a witness"
        until(lambda: seen(client)[1]["failure"] == "witness_unavailable", "its failure is seen")
        record(store)
        quorum, one = seen(client)
        since = datetime.fromisoformat(quorum["pending_since"])
        assert before <= since <= store.clock.now(), "the first entry, not the last"
        assert (quorum["reason"], one["reachable"]) == ("quorum_not_met", False)
        assert quorum["final"] < quorum["size"]
        until(lambda: _value(store, "witness_up", witness="w1.example") == 0, "down is told")
        told = _value(store, "evidence_pending_since_timestamp_seconds", source="quorum")
        assert told == since.timestamp()
        failed = {"witness": "w1.example", "code": "witness_unavailable"}
        assert value(store, "witness_failures_total", **failed) >= 1
        assert client.get("/health/ready").json() == {"status": "ready"}


def test_a_start_that_waits_for_witnesses_is_ready_and_says_so_all_the_time(
    data: Path, settings: Settings, witness: RunningWitness
) -> None:
    witness.kill()
    with open_store(data, settings) as store:
        client = TestClient(build_app(store, settings))
        store.start()
        entry = record(store)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            answer = client.get("/health/ready")
            assert answer.status_code == 200, answer.text
            assert answer.json()["waiting"] == {"log": "outside_unreachable"}
        until(lambda: _value(store, "log_waits_for_outside") == 1, "it is told")
        assert _value(store, "missing", what="log") == 0
        assert not _tells_of_witnesses(store)
        again = run_witness(witness.folder, [store.ledger.vkey], witness.port)
        try:
            until(lambda: store.ledger.wait_for(entry, 1), "the log goes on")
            assert client.get("/health/ready").json() == {"status": "ready"}
            until(lambda: _value(store, "log_waits_for_outside") == 0, "it is told")
            until(lambda: seen(client)[0]["pending_since"] is None, "the quorum covers all")
        finally:
            again.kill()
            again.process.stdout.close()


def test_another_process_takes_the_quorum_from_what_is_published(
    data: Path, settings: Settings
) -> None:
    with open_store(data, settings) as store:
        store.start()
        met = store.ledger.cosigning
        assert met is not None
        until(lambda: store.evidence.states()[0].pending_since is None, "the quorum covers all")
        with open_store(data, settings) as other:
            other.ledger.reader.refresh()
            (state,) = other.evidence.states()
            assert (state.reason, state.reached.at) == (None, None)
            (one,) = other.evidence.witnesses()
            assert (one.reachable, one.failure) == (None, None)
            other.evidence.tell()
            assert not _tells_of_witnesses(other)


def test_a_process_that_stands_by_does_not_hide_what_the_one_that_asks_knows(
    data: Path, settings: Settings
) -> None:
    """Workers share their numbers, and of this one the newest counts."""
    with open_store(data, settings) as store:
        store.start()
        until(lambda: _value(store, "witness_up", witness="w1.example") == 1, "up is told")
        store.ledger.stop()
        assert not store.ledger.leading
        store.evidence.tell()
        assert math.isnan(_value(store, "witness_up", witness="w1.example"))
        store.observing.metrics.witness_up.labels("w1.example").set(0)  # by the next one
        store.evidence.tell()
        assert _value(store, "witness_up", witness="w1.example") == 0


def _tells_of_witnesses(store: Store) -> bool:
    return "mianjiao_witness_up{" in store.observing.metrics.exposition().decode()


def _value(store: Store, name: str, **labels: str) -> float:
    return float(value(store, name, **labels))


def test_evidence_is_served_by_the_digest_that_stands_in_the_log(
    data: Path, settings: Settings, witness: RunningWitness
) -> None:
    quick = settings.model_copy(update={"evidence_leaf_seconds": 1})
    with open_store(data, quick) as store:
        client = TestClient(build_app(store, quick))
        store.start()
        record(store)
        found: list[dict[str, Any]] = []

        def named() -> bool:
            entries = store.ledger.reader.entries(store.ledger.checkpoint().size)
            parsed = [parse_leaf(leaf) for _, leaf in entries]
            found[:] = [
                item
                for leaf in parsed
                if isinstance(leaf, PublicLeaf) and leaf.kind == EVIDENCE
                for item in leaf.body["evidence"]  # type: ignore[union-attr,misc]
            ]
            return bool(found)

        until(named, "a leaf names evidence")
        address = f"/log/evidence/sha256/{found[0]['sha256']}"
        answer = client.get(address)
        assert answer.status_code == 200
        assert sha256(answer.content).hexdigest() == found[0]["sha256"]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "application/json"
        assert client.head(address).status_code == 200
        for wrong in ("0" * 64, found[0]["sha256"].upper(), "x"):
            unknown = client.get(f"/log/evidence/sha256/{wrong}")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "evidence_unknown")
        cosigning = store.ledger.cosigning
        assert cosigning is not None
    witness.kill()
    with open_store(data, quick) as store:  # restarted while witnesses are down
        store.start()
        assert store.ledger.cosigning is not None
        assert store.ledger.cosigning.newest is not None
