"""What bad uploads and downloads get, over a real server process.

A clear problem with a stable code, nothing stored, nothing lost: also when the
sender stalls, trickles, cuts the connection or sends without end.
"""

import hashlib
import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kernel.ids import IdKind, new_id
from tests.runtime.edge import (
    MIB,
    PDF,
    Window,
    assert_raw_refused,
    assert_refused,
    nothing_stored,
    read_answer,
    received,
    until,
)

if TYPE_CHECKING:
    from tests.runtime.conftest import Served


def upload_path() -> str:
    return f"/v1/uploads/{new_id(IdKind.UPLOAD)}"


def digest_header(data: bytes) -> dict[str, str]:
    digest = b64encode(hashlib.sha256(data).digest()).decode()
    return {"Content-Digest": f"sha-256=:{digest}:"}


def test_a_wrong_digest_is_refused_and_the_right_one_is_not(window: Window) -> None:
    path = upload_path()
    with nothing_stored(window.server):
        answer = window.send("PUT", path, content=PDF, headers=digest_header(b"other"))
        assert_refused(answer, 422, "digest_mismatch")
    window.made("PUT", path, content=PDF, headers=digest_header(PDF))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha-256",
        "sha-256=:%%:",
        "sha-256=:AAAA:",
        "md5=:AAAA:",
        "sha-256=:AAAA:, sha-256=:AAAA:",
    ],
)
def test_a_digest_header_that_cannot_be_checked_is_refused(window: Window, header: str) -> None:
    with nothing_stored(window.server):
        answer = window.send("PUT", upload_path(), content=PDF, headers={"Content-Digest": header})
        assert_refused(answer, 422, "content_digest_invalid")


def test_an_empty_file_is_refused(window: Window) -> None:
    with nothing_stored(window.server):
        assert_refused(window.send("PUT", upload_path(), content=b""), 422, "empty_file")


def test_an_upload_id_of_another_form_is_refused(window: Window) -> None:
    with nothing_stored(window.server):
        answer = window.send("PUT", "/v1/uploads/mine", content=PDF)
        assert_refused(answer, 422, "upload_id_invalid")


@pytest.mark.parametrize("length", [2 * MIB + 1, 1 << 40, (1 << 64) - 1])
def test_a_file_declared_too_large_is_refused_before_it_is_sent(
    window: Window, length: int
) -> None:
    with nothing_stored(window.server):
        data = window.raw(f"PUT {upload_path()} HTTP/1.1\r\nContent-Length: {length}")
        assert_raw_refused(data, 413, "file_too_large")
        assert read_answer(data)[1]["connection"] == "close"


def test_a_file_that_turns_out_too_large_is_refused(window: Window) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(MIB // 2)

    with nothing_stored(window.server):
        answer = window.send("PUT", upload_path(), content=blocks())
        assert_refused(answer, 413, "file_too_large")
        assert answer.headers["connection"] == "close"


def test_whoever_sends_everything_first_still_gets_the_answer(window: Window) -> None:
    # As many clients do: they read nothing before the last byte is out.
    body = bytes(8 * MIB)
    head = f"PUT {upload_path()} HTTP/1.1\r\nContent-Length: {len(body)}"
    with nothing_stored(window.server):
        assert_raw_refused(window.raw(head, body), 413, "file_too_large")


def test_a_connection_cut_in_the_middle_leaves_nothing(window: Window) -> None:
    with nothing_stored(window.server):
        for chunked in (False, True):
            how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {2 * MIB}"
            with window.connected(f"PUT {upload_path()} HTTP/1.1\r\n{how}") as connection:
                part = bytes(MIB + MIB // 2)
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                until(lambda: any("incoming" in str(path) for path in window.server.objects()))
        until(lambda: not any("incoming" in str(path) for path in window.server.objects()))
    assert not any("incoming" in str(path) for path in window.server.objects())


# --- Slow senders ---


@pytest.mark.parametrize(
    "target", ["PUT /v1/uploads/upl_" + "0" * 26, "POST /v1/cases", "POST /v1/verifications"]
)
def test_a_sender_that_stalls_is_given_up(strict_server: "Served", target: str) -> None:
    slow = Window(strict_server)
    head = f"{target} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000"
    with nothing_stored(strict_server):
        began = time.monotonic()
        data = slow.raw(head, b'{"matter"')
        assert_raw_refused(data, 408, "sender_too_slow")
        assert read_answer(data)[1]["connection"] == "close"
        assert time.monotonic() - began < 10


def test_a_sender_that_trickles_is_given_up(strict_server: "Served") -> None:
    slow = Window(strict_server)
    head = f"PUT {upload_path()} HTTP/1.1\r\nContent-Length: {MIB}"
    with nothing_stored(strict_server), slow.connected(head) as connection:
        connection.settimeout(0.1)
        data = b""
        for _ in range(100):  # never still for as long as 1.2 s, never near 64 KiB/s
            connection.sendall(bytes(100))
            try:
                data = received(connection)
                break
            except TimeoutError:
                continue
        assert_raw_refused(data, 408, "sender_too_slow")


def test_a_steady_sender_is_not_given_up(strict_server: "Served") -> None:
    steady = Window(strict_server)
    upload = new_id(IdKind.UPLOAD)
    head = f"PUT /v1/uploads/{upload} HTTP/1.1\r\nConnection: close\r\nContent-Length: {MIB}"
    with steady.connected(head) as sender:
        for _ in range(16):
            time.sleep(0.1)
            sender.sendall(bytes(MIB // 16))
        sender.settimeout(20)
        status, _, body = read_answer(received(sender))
    assert (status, json.loads(body)["upload_id"]) == (201, upload)


def test_a_head_that_does_not_end_is_given_up(strict_server: "Served") -> None:
    with socket.create_connection(("127.0.0.1", strict_server.port)) as connection:
        connection.settimeout(20)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert_raw_refused(received(connection), 408, "sender_too_slow")
    with socket.create_connection(("127.0.0.1", strict_server.port)) as silent:
        silent.settimeout(20)
        assert silent.recv(1) == b""


# --- Downloads ---


@pytest.fixture(scope="module")
def small_material(window: Window) -> str:
    items = window.made("GET", "/v1/materials?type=other&limit=200", "representative")["items"]
    for one in items:
        told = window.made("GET", f"/v1/materials/{one['material_id']}", "representative")
        if told["files"][0]["name"].endswith(".txt"):
            return str(one["material_id"])
    raise AssertionError("the story has lost its text file")


def ticket(window: Window, material_id: str) -> str:
    path = f"/v1/materials/{material_id}/tickets"
    return str(window.made("POST", path, "representative", json={})["href"])


def test_a_range_outside_of_the_file_is_refused_and_the_ticket_stays_good(
    window: Window, small_material: str
) -> None:
    href = ticket(window, small_material)
    answer = window.send("GET", href, "representative", headers={"Range": "bytes=999999-"})
    assert_refused(answer, 416, "range_not_satisfiable")
    whole = window.send("GET", href, "representative")
    assert whole.status_code == 200
    assert answer.headers["content-range"] == f"bytes */{len(whole.content)}"
    again = window.send("GET", href, "representative")
    assert_refused(again, 403, "ticket_used")


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "lines=1-2"},
        {"Range": "bytes=a-b"},
        {"Range": "bytes=5-2"},
        {"Range": "bytes=-"},
        {"Range": "bytes=0-1,3-4"},
        {"Range": "bytes=0-1", "If-Range": '"something else"'},
        {"Range": "bytes=0-1", "If-Range": "yesterday"},
        {"If-Range": '"x"'},
    ],
)
def test_a_range_that_makes_no_sense_gets_the_whole(
    window: Window, small_material: str, headers: dict[str, str]
) -> None:
    href = ticket(window, small_material)
    answer = window.send("GET", href, "representative", headers=headers)
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"]) > 2


@pytest.mark.parametrize("position", [0, -1, 2, 10_001, "1", None, 1.5])
def test_a_file_that_is_not_there_gets_no_ticket(
    window: Window, small_material: str, position: Any
) -> None:
    path = f"/v1/materials/{small_material}/tickets"
    with nothing_stored(window.server):
        answer = window.send("POST", path, "representative", json={"position": position})
        code = "file_unknown" if position == 2 else "invalid_fields"
        assert_refused(answer, 404 if position == 2 else 422, code)
