"""What nobody expected: a problem without details, a log line without personal data.

The real application with a few routes that break in different ways, behind a
real server, because a server logs what an application lets through.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, IncompleteRead
from typing import Any

import pytest
from fastapi import Depends
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import OperationalError

from kernel.clock import SystemClock
from parties.http import Access
from parties.http.wire import Wire
from runtime.app import build_app
from runtime.logs import formatter
from runtime.protocol import bounded_protocol
from runtime.settings import Settings
from runtime.store import create_store, open_store
from runtime.unexpected import describe
from storage.errors import ObjectCorrupt
from tests.runtime.edge import problem_of, threaded

SECRET = "沈云舟 310199198802299064"


class Lines(logging.Handler):
    """Everything that anyone logs, as it would be printed."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Troubled:
    port: int
    log: Lines

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer, answer.read()

    def logged(self, **fields: object) -> dict[str, Any]:
        """The line with these fields, which may come a moment after the answer."""
        for _ in range(200):
            for line in map(json.loads, self.log.lines):
                if fields.items() <= line.items():
                    return dict(line)
            time.sleep(0.02)
        raise AssertionError(self.log.lines)


class Told(Wire):
    number: int


def trouble(app: Any) -> None:
    public = [Depends(Access.public)]

    @app.get("/trouble/plain", dependencies=public)
    def plain() -> None:
        raise ValueError(SECRET)

    @app.post("/trouble/plain", dependencies=public)
    async def unread() -> None:
        raise ValueError(SECRET)

    @app.get("/trouble/cause", dependencies=public)
    def cause() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise LookupError(SECRET) from error

    @app.get("/trouble/group", dependencies=public)
    async def group() -> None:
        raise ExceptionGroup(SECRET, [ValueError(SECRET)])

    @app.get("/trouble/model", dependencies=public, response_model=Told)
    def model() -> dict[str, str]:
        return {"number": SECRET}

    @app.get("/trouble/database", dependencies=public)
    def database() -> None:
        raise OperationalError("select ?", {"name": SECRET}, Exception(SECRET))

    @app.get("/trouble/corrupt", dependencies=public)
    def corrupt() -> None:
        raise ObjectCorrupt()

    @app.get("/trouble/guard", dependencies=[*public, Depends(plain)])
    def guard() -> None: ...

    def blocks(error: Exception) -> Iterator[bytes]:
        yield b"begun"
        raise error

    @app.get("/trouble/stream", dependencies=public)
    def stream() -> StreamingResponse:
        return StreamingResponse(blocks(ValueError(SECRET)))

    @app.get("/trouble/coded-stream", dependencies=public)
    def coded_stream() -> StreamingResponse:
        return StreamingResponse(blocks(ObjectCorrupt()), headers={"Content-Length": "100"})


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    data = tmp_path_factory.mktemp("troubled") / "store"
    create_store(data, "test.example", SystemClock())
    log = Lines()
    # Ours too: a command that another test ran may have set a level of its own.
    loggers = [logging.getLogger(), logging.getLogger("mianjiao")]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(log)
    for logger in loggers:
        logger.setLevel(logging.INFO)
    with open_store(data) as store:
        app = build_app(store, Settings())
        trouble(app)
        with threaded(app, bounded_protocol(5)) as port:
            yield Troubled(port, log)
    loggers[0].removeHandler(log)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("plain", ["ValueError at", "tests.runtime.test_http_last_resort:"]),
        ("guard", ["ValueError at"]),
        ("cause", ["LookupError at", "<- KeyError at"]),
        ("group", ["ExceptionGroup at", "<- ValueError"]),
        ("model", ["ResponseValidationError at"]),
    ],
)
def test_an_unexpected_error_tells_nothing_and_is_logged_by_place(
    troubled: Troubled, path: str, kinds: list[str]
) -> None:
    answer, body = troubled.get(f"/trouble/{path}")
    assert answer.status == 500
    problem = problem_of(body, 500, "internal_error", answer.headers["content-type"])
    assert set(problem) == {"type", "title", "status", "detail", "code", "zh", "en", "request"}
    assert problem["request"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    told = troubled.logged(event="unexpected", request=problem["request"])
    for kind in kinds:
        assert kind in told["error"]
    assert "Traceback" not in str(told)
    line = troubled.logged(event="request", request=problem["request"])
    assert (line["method"], line["route"], line["status"]) == ("GET", f"/trouble/{path}", 500)
    assert line["refusal"] == "internal_error"


def test_nothing_of_the_errors_texts_is_logged_anywhere(troubled: Troubled) -> None:
    for path in ("plain", "cause", "group", "model", "database", "guard"):
        _, body = troubled.get(f"/trouble/{path}")
        assert "沈云舟".encode() not in body
    troubled.logged(route="/trouble/guard", status=500)
    for line in troubled.log.lines:
        assert "沈云舟" not in line
        assert "310199198802299064" not in line


def test_a_request_whose_body_was_not_read_ends_the_connection(troubled: Troubled) -> None:
    answer, body = troubled.get("/trouble/plain", "POST", b"x" * 100_000)
    problem_of(body, 500, "internal_error", answer.headers["content-type"])
    assert answer.headers["connection"] == "close"


def test_a_failing_database_is_503_and_only_its_kind_is_logged(troubled: Troubled) -> None:
    answer, body = troubled.get("/trouble/database")
    problem = problem_of(body, 503, "database_unavailable", answer.headers["content-type"])
    assert answer.headers["retry-after"] == "1"
    told = troubled.logged(event="database", request=problem["request"])
    assert told["error"] == "OperationalError"


def test_damage_is_a_problem_with_its_code_and_is_logged(troubled: Troubled) -> None:
    answer, body = troubled.get("/trouble/corrupt")
    problem = problem_of(body, 500, "content_mismatch", answer.headers["content-type"])
    told = troubled.logged(event="refused", request=problem["request"])
    assert (told["level"], told["code"]) == ("error", "content_mismatch")


@pytest.mark.parametrize(
    ("path", "kind"), [("stream", "ValueError"), ("coded-stream", "storage.errors.ObjectCorrupt")]
)
def test_an_error_after_the_head_cuts_the_connection_and_is_logged(
    troubled: Troubled, path: str, kind: str
) -> None:
    connection = HTTPConnection("127.0.0.1", troubled.port, timeout=20)
    connection.request("GET", f"/trouble/{path}")
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises(IncompleteRead) as cut:
        answer.read()
    assert cut.value.partial == b"begun"
    told = troubled.logged(event="unexpected", request=answer.headers["x-request-id"])
    assert kind in told["error"]
    # The server goes on.
    assert troubled.get("/health/live")[0].status == 200


def test_a_description_has_kinds_and_places_and_an_end() -> None:
    first = ValueError(SECRET)
    second = KeyError(SECRET)
    first.__cause__, second.__cause__ = second, first
    assert describe(first) == "ValueError <- KeyError"
    try:
        raise first
    except ValueError as error:
        text = describe(error)
    assert text.startswith("ValueError at tests.runtime.test_http_last_resort:")
    assert describe(ObjectCorrupt()) == "storage.errors.ObjectCorrupt"
