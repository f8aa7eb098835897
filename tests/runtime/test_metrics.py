"""Metrics: what happened is counted, labels come from closed sets, and not everybody may ask."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families as parsed

from kernel.ids import IdKind, new_id
from runtime.app import build_app
from runtime.demo import people
from runtime.metrics import Metrics
from runtime.settings import Settings
from runtime.shared_metrics import forget, shared_metrics
from runtime.store import Store
from tests.runtime.edge import NAMES, PDF, until

if TYPE_CHECKING:
    from tests.runtime.conftest import House

LOCAL = ("127.0.0.1", 50_000)
TOKEN = "scrape-scrape-scrape"
ROOT = Path(__file__).parent.parent.parent

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Value by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((f"mianjiao_{name}", frozenset(labels.items())), 0.0)


def asked(store: Store, settings: Settings, peer: tuple[str, int], **headers: str) -> Any:
    with TestClient(build_app(store, settings), client=peer) as client:
        return client.get("/metrics", headers=headers)


def scraped(house: "House") -> Samples:
    client = TestClient(house.app, client=LOCAL)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples(answer.text)


@pytest.fixture
def started(store: Store) -> Store:
    store.start()
    return store


def test_on_loopback_only_who_is_here_may_ask(started: Store) -> None:
    settings = Settings()
    assert asked(started, settings, LOCAL).status_code == 200
    assert asked(started, settings, ("::1", 50_000)).status_code == 200
    for peer in (("192.0.2.7", 50_000), ("testclient", 50_000), ("2001:db8::1", 50_000)):
        answer = asked(started, settings, peer)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_local")
    # A proxy on this computer brings callers from elsewhere.
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert asked(started, settings, LOCAL, **{header: "127.0.0.1"}).status_code == 403


def test_with_a_token_only_who_has_it_may_ask(started: Store) -> None:
    settings = Settings(metrics_access="token", metrics_token=TOKEN)
    answer = asked(started, settings, LOCAL)
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_missing")
    for wrong in ("Bearer nope", f"Bearer {TOKEN}x", "bearer x y"):
        answer = asked(started, settings, LOCAL, Authorization=wrong)
        assert (answer.status_code, answer.json()["code"]) == (401, "credential_unknown")
    assert asked(started, settings, LOCAL, Authorization=f"Basic {TOKEN}").status_code == 401
    elsewhere = ("192.0.2.7", 50_000)
    right = asked(started, settings, elsewhere, Authorization=f"Bearer {TOKEN}")
    assert right.status_code == 200


def test_switched_off_there_is_no_such_route(started: Store) -> None:
    assert asked(started, Settings(metrics_access="off"), LOCAL).status_code == 404


def test_requests_are_counted_by_template_with_their_bytes(house: "House") -> None:
    before = scraped(house)
    upload = new_id(IdKind.UPLOAD)
    house.made("window", "PUT", f"/v1/uploads/{upload}", PDF)
    house.call("window", "GET", "/v1/cases/cas_" + "0" * 26)
    house.call(None, "GET", "/v1/" + people.LEGAL_REPRESENTATIVE.code)
    after = scraped(house)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    put = {"route": "/v1/uploads/{upload_id}", "method": "PUT", "status": "201"}
    assert more("http_request_seconds_count", **put) == 1
    assert more("http_received_bytes_total", route=put["route"]) == len(PDF)
    assert more("http_sent_bytes_total", route=put["route"]) > 100
    assert more("refusals_total", code="case_unknown") == 1
    assert more("http_request_seconds_count", route="-", method="GET", status="404") == 1
    assert more("object_put_seconds_count") == 1
    assert more("database_commit_seconds_count") >= 1


def test_verifications_are_counted_by_outcome_and_reason(house: "House") -> None:
    def verify(item: str) -> Any:
        body = {"case": "$case", "items": [{"requirement": "other", "item": item}]}
        return house.made("window", "POST", "/v1/verifications", body)

    before = scraped(house)
    denied = verify("$license")
    reasons = [one["code"] for one in denied["items"][0]["reasons"]]
    assert reasons
    after = scraped(house)
    for reason in reasons:
        name = "denials_total"
        assert value(after, name, reason=reason) == value(before, name, reason=reason) + 1
    name = "verifications_total"
    assert value(after, name, outcome="denied") == value(before, name, outcome="denied") + 1


def test_the_log_and_the_disk_are_told(house: "House") -> None:
    house.made(
        "window", "POST", "/v1/cases",
        {"matter": people.ELDERLY, "applicant": people.ELDER.ref(), "channel": "window"},
    )  # fmt: skip
    house.settle()
    house.store.watch.look()
    found = scraped(house)
    assert value(found, "ready") == 1
    assert value(found, "missing", what="log") == 0
    assert value(found, "log_queue_depth") == 0
    assert value(found, "log_oldest_waiting_seconds") == 0
    assert 0 < value(found, "log_checkpoint_age_seconds") < 60
    assert value(found, "log_size") == house.store.ledger.checkpoint().size
    assert value(found, "log_batch_entries_sum") >= 1
    assert value(found, "disk_free_bytes", place="data") > 0


def test_labels_hold_templates_codes_and_nothing_that_was_sent(house: "House") -> None:
    name, code = people.LEGAL_REPRESENTATIVE.name, people.LEGAL_REPRESENTATIVE.code
    for path in (f"/v1/cases/{code}", f"/{name}", f"/v1/cases?number={name}", f"/log/{code}/x"):
        house.call("window", "GET", path)
    house.client.request("PROPFIND", "/v1/cases")
    found = scraped(house)
    templates = {
        labels["route"]
        for _, labels in ((one, dict(pairs)) for one, pairs in found)
        if "route" in labels
    }
    assert "/v1/cases/{case_id}" in templates
    assert all(re.fullmatch(r"-|/[a-z0-9_{}./:-]*", one) for one in templates), templates
    methods = {dict(pairs)["method"] for _, pairs in found if "method" in dict(pairs)}
    assert methods <= {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "other"}
    text = str(found)
    for secret in (*NAMES, code, people.ELDER.code, people.COMPANY.code, "cas_", "mat_", "mj_"):
        assert secret not in text, secret


def test_every_metric_is_described_once_in_both_languages() -> None:
    metrics = Metrics()
    names = [one.name for one in metrics.described]
    assert len(set(names)) == len(names)
    for one in metrics.described:
        assert re.search(r"[\u4e00-\u9fff]", one.zh), one.name
        assert not re.search(r"[\u4e00-\u9fff]", one.en), one.name
    families = {family.name for family in parsed(metrics.exposition().decode())}
    assert set(names) <= families


WORKER = """
import sys
from runtime.metrics import Metrics
metrics, count = Metrics(), int(sys.argv[1])
for _ in range(count):
    metrics.request("/v1/cases", "GET", 200, 0.01, 0, 5, None)
metrics.queue_depth.set(count)
metrics.ready.set(count != 3)
print(metrics.exposition().decode())
"""


def test_processes_that_share_a_folder_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    got = {"route": "/v1/cases", "method": "GET", "status": "200"}
    with shared_metrics():

        def worker(count: int) -> tuple[int, Samples]:
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER, str(count)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            out, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            return process.pid, samples(out)

        first, alone = worker(3)
        assert value(alone, "log_queue_depth") == 3
        _, both = worker(4)
        assert value(both, "http_request_seconds_count", **got) == 7
        assert value(both, "http_sent_bytes_total", route="/v1/cases") == 35
        assert value(both, "log_queue_depth") == 4  # the newest look, not the sum
        assert value(both, "ready") == 0  # one that is not ready is seen
        forget(first)
        _, later = worker(1)
        assert value(later, "ready") == 1
        assert value(later, "http_request_seconds_count", **got) == 8
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    assert not folder.exists()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "elsewhere")
    with shared_metrics():
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == "elsewhere"  # theirs is used
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == "elsewhere"


def test_what_the_server_refuses_by_itself_is_counted_too(window: Any) -> None:
    def count() -> float:
        found = samples(window.http.get("/metrics").text)
        return value(found, "refusals_total", code="head_too_large")

    before = count()
    window.raw("GET /health/live HTTP/1.1\r\nX: " + "a" * 70_000)
    until(lambda: count() == before + 1)
    assert count() == before + 1
