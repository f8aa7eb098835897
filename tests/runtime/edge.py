"""How the tests of the edge talk to a real server, and what every refusal must look like."""

import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn

from kernel.ids import IdKind, new_id
from runtime.demo import people

if TYPE_CHECKING:
    from tests.runtime.conftest import Served

PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
MIB = 1 << 20
NAMES = (
    people.COMPANY.name,
    people.LEGAL_REPRESENTATIVE.name,
    people.OPERATOR_PERSON.name,
    people.LANDLORD.name,
    people.CO_OWNER.name,
    people.ELDER.name,
    people.CLERK,
    people.REVIEWER,
)
# Rows that a refusal may add: who asked for what.
_AUDIT = {"audit", "code_tries"}


class Window:
    """The window's system, talking to the server over HTTP or plain sockets."""

    def __init__(self, server: "Served") -> None:
        self.server = server
        self.http = httpx2.Client(base_url=server.url, timeout=60)

    def send(self, method: str, path: str, who: str = "window", **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.server.tokens[who]}", **more.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **more)

    def made(self, method: str, path: str, who: str = "window", **more: Any) -> Any:
        answer = self.send(method, path, who, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def opened(self, **more: Any) -> str:
        return str(self.made("POST", "/v1/cases", json={**CASE, **more})["case_id"])

    def uploaded(self, data: bytes) -> str:
        upload = new_id(IdKind.UPLOAD)
        self.made("PUT", f"/v1/uploads/{upload}", content=data)
        return upload

    def raw(self, head: str, body: bytes = b"", *, seconds: float = 20) -> bytes:
        """Send bytes as they are; everything that comes back until the server closes."""
        with self.connected(head) as connection:
            connection.settimeout(seconds)
            connection.sendall(body)
            return received(connection)

    @contextmanager
    def connected(self, head: str) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            token = self.server.tokens["window"]
            lines = f"{head}\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            connection.sendall(lines.encode("utf-8", "surrogateescape"))
            yield connection


CASE = {
    "matter": people.FOOD_MATTER,
    "variant": "moved",
    "applicant": people.COMPANY.ref(),
    "acting": people.ACTS_FOR_COMPANY,
    "channel": "window",
}


def received(connection: socket.socket) -> bytes:
    data = b""
    while block := connection.recv(MIB):
        data += block
    return data


def read_answer(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the one answer in `data`."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def problem_of(body: bytes, status: int, code: str, content_type: str) -> dict[str, Any]:
    problem: dict[str, Any] = json.loads(body)
    assert content_type == "application/problem+json"
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["type"] == f"urn:mianjiao:problem:{code}"
    assert re.search(r"[\u4e00-\u9fff]", problem["zh"])
    assert problem["title"] == problem["zh"]
    assert problem["en"]
    assert not re.search(r"[\u4e00-\u9fff]", problem["en"].replace("、", ""))
    assert problem["detail"] == f"{problem['zh']} / {problem['en']}"
    # Nobody is named: no citizen number, and no name of the story.
    assert not re.search(rb"\d{17}[\dX]", body)
    assert not any(name.encode() in body for name in NAMES)
    return problem


def assert_refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    problem = problem_of(answer.content, status, code, answer.headers["content-type"])
    assert problem["request"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    return problem


def assert_raw_refused(data: bytes, status: int, code: str) -> dict[str, Any]:
    told, headers, body = read_answer(data)
    assert told == status, data[:500]
    assert int(headers["content-length"]) == len(body)
    return problem_of(body, status, code, headers["content-type"])


def stored(server: "Served") -> tuple[dict[str, int], int]:
    """Rows of every table, and files of the object store."""
    address = f"file:{server.data / 'mianjiao.sqlite3'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as rows:
        names = [
            name for (name,) in rows.execute("select name from sqlite_master where type='table'")
        ]
        counts = {
            name: rows.execute(f'select count(*) from "{name}"').fetchone()[0]  # noqa: S608
            for name in names
            if name not in _AUDIT
        }
    return counts, len(server.objects())


@contextmanager
def nothing_stored(server: "Served") -> Iterator[None]:
    before = stored(server)
    yield
    assert stored(server) == before


def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within 10 s")


@contextmanager
def threaded(app: Any, protocol: Any) -> Iterator[int]:
    """A real server in a thread of this process; yields its port."""
    config = uvicorn.Config(app, port=0, log_config=None, http=protocol, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
