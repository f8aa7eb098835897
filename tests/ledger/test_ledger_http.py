"""The public routes of the log: content types, cache headers, bad paths, no queries."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from kernel.errors import CodedError, NotFound
from ledger.closing import close_shard, prepare_successor
from ledger.http import routes
from ledger.service import Ledger


def serving(ledger: Ledger) -> TestClient:
    app = FastAPI()
    app.include_router(routes(ledger))

    @app.exception_handler(CodedError)
    def problem(_request: Request, error: CodedError) -> JSONResponse:
        return JSONResponse({"code": error.code}, 404 if isinstance(error, NotFound) else 503)

    return TestClient(app)


@pytest.fixture
def client(store: Any) -> Iterator[TestClient]:
    store.record_many(299)
    store.sequence()
    with serving(store.ledger) as one:
        yield one


@pytest.fixture
def year_end(store: Any) -> Iterator[Any]:
    """The store with 301 entries in its first shard, and 21 in the next."""
    store.record_many(299)
    store.sequence()
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    store = store.reopen()
    store.record_many(20)
    store.sequence()
    yield store
    store.close()


@pytest.fixture
def both(year_end: Any) -> Iterator[TestClient]:
    with serving(year_end.ledger) as one:
        yield one


OLD_TILES = ["0/000", "0/001.p/45", "1/000.p/1", "entries/000", "entries/001.p/45"]


def test_an_ended_shard_is_served_as_ever(both: TestClient, year_end: Any) -> None:
    log = year_end.directory / "log"
    for shard in ("2026", "2027"):
        answer = both.get(f"/log/{shard}/checkpoint")
        assert answer.content == (log / shard / "checkpoint").read_bytes()
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        # Also of a shard that ended: more cosignatures may still come.
        assert answer.headers["cache-control"] == "public, max-age=1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert both.head(f"/log/{shard}/checkpoint").status_code == 200
    for path in OLD_TILES:
        answer = both.get(f"/log/2026/tile/{path}?shard=2027")
        assert answer.content == (log / "2026" / "tile" / path).read_bytes()
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        head = both.head(f"/log/2026/tile/{path}")
        assert (head.status_code, head.content) == (200, b"")
    narrow = both.get("/log/2026/tile/0/000.p/1")
    assert narrow.content == both.get("/log/2026/tile/0/000").content[:32]


@pytest.mark.parametrize(
    "path",
    [
        "2026/tile/0/001.p/46",  # past its end
        "2026/tile/0/001",
        "2026/tile/entries/001.p/46",
        "2026/tile/0/002.p/1",
        "2026/tile/2/000.p/1",
        "2026/tile/0/00",
        "2026/tile/0/..%2f..%2f2027%2fcheckpoint",
        "2026/tile/",
        "2026",
        "2026-1/checkpoint",
        "2025/checkpoint",
        "2028/checkpoint",
        "2028/tile/0/000",
        "2027/tile/0/000",  # the next one is not so large
        "2027/tile/0/001.p/45",
        "%2e%2e/checkpoint",
        "2026%00/checkpoint",
        "2026.born/checkpoint",
        "20\u0662\u0666/checkpoint",
    ],
)
def test_any_other_path_of_two_shards_is_not_found(both: TestClient, path: str) -> None:
    answer = both.get(f"/log/{path}")
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_another_end_in_the_folder_is_not_served(both: TestClient, year_end: Any) -> None:
    """An older checkpoint of the ended shard, signed by its keys: no head of it any more."""
    final = year_end.directory / "log" / "2026" / "checkpoint"
    whole = final.read_bytes()
    final.write_bytes((year_end.directory / "log" / "2027" / "checkpoint").read_bytes())
    assert both.get("/log/2026/checkpoint").status_code == 503
    final.unlink()
    assert both.get("/log/2026/checkpoint").json() == {"code": "log_missing"}
    final.write_bytes(whole)
    assert both.get("/log/2026/checkpoint").content == whole


def test_the_checkpoint_is_text_and_short_lived(client: TestClient, store: Any) -> None:
    answer = client.get("/log/2026/checkpoint")
    assert answer.status_code == 200
    assert answer.content == (store.log / "checkpoint").read_bytes()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=1"
    assert client.head("/log/2026/checkpoint").status_code == 200


@pytest.mark.parametrize(
    "path", ["0/000", "0/001.p/44", "1/000.p/1", "entries/000", "entries/001.p/44"]
)
def test_tiles_and_bundles_are_served_as_stored_for_ever(
    client: TestClient, store: Any, path: str
) -> None:
    answer = client.get(f"/log/2026/tile/{path}")
    assert answer.content == (store.log / "tile" / path).read_bytes()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    queried = client.get(f"/log/2026/tile/{path}?w=1&path=0/001")
    assert queried.content == answer.content


def test_a_partial_tile_stays_served_when_the_full_one_took_its_place(client: TestClient) -> None:
    full = client.get("/log/2026/tile/0/000").content
    assert client.get("/log/2026/tile/0/000.p/1").content == full[:32]
    assert client.get("/log/2026/tile/entries/000.p/1").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/log/2026/tile/0/002",
        "/log/2026/tile/0/001",
        "/log/2026/tile/0/001.p/45",
        "/log/2026/tile/2/000.p/1",
        "/log/2026/tile/0/00",
        "/log/2026/tile/0/000.p/0",
        "/log/2026/tile/0/000/",
        "/log/2026/tile/0/x000/000",
        "/log/2026/tile/0/..%2f..%2fcheckpoint",
        "/log/2026/tile/../../../keys/vault.json",
        "/log/2026/tile/entries/%2e%2e/000",
        "/log/2025/checkpoint",
        "/log/2025/tile/0/000",
        "/log/2026/tile/",
    ],
)
def test_any_other_path_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_missing_checkpoint_is_unavailable(client: TestClient, store: Any) -> None:
    (store.log / "checkpoint").unlink()
    answer = client.get("/log/2026/checkpoint")
    assert (answer.status_code, answer.json()) == (503, {"code": "log_missing"})


def test_reading_only_get_and_head(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/log/2026/checkpoint").status_code == 405
