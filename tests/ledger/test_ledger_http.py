"""The public routes of the log: content types, cache headers, bad paths, no queries."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from kernel.errors import CodedError, NotFound
from ledger.http import routes


@pytest.fixture
def client(store: Any) -> Iterator[TestClient]:
    store.record_many(299)
    store.sequence()
    app = FastAPI()
    app.include_router(routes(store.ledger))

    @app.exception_handler(CodedError)
    def problem(_request: Request, error: CodedError) -> JSONResponse:
        return JSONResponse({"code": error.code}, 404 if isinstance(error, NotFound) else 503)

    with TestClient(app) as one:
        yield one


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
