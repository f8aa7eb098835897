"""The bounds of the server's protocol: heads, framing, and clients that do not read."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.protocol import bounded_protocol
from tests.runtime.edge import MIB, assert_raw_refused, read_answer, received, threaded, until

HEAD_SECONDS = 0.7
SLOW = 1.0  # longer than any head may take


class App:
    """`/slow` answers late, `/big` answers 64 MiB, anything else its body's length."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        if scope["path"] == "/slow":
            await asyncio.sleep(SLOW)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/big":
            self.sent = 0
            self.ended.clear()
            for _ in range(64):
                await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})
                self.sent += 1
            self.ended.set()
        await send({"type": "http.response.body", "body": b"%d" % length})


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture(scope="module")
def port(app: App) -> Iterator[int]:
    with threaded(app, bounded_protocol(HEAD_SECONDS, read_seconds=2)) as found:
        yield found


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(20)
        yield one


def answered(connection: socket.socket) -> int:
    """The status of one short answer on a connection that stays open."""
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += connection.recv(4096)
    return read_answer(data)[0]


def send_on(connection: socket.socket, piece: bytes) -> None:
    for _ in range(64):
        connection.sendall(piece)
        time.sleep(0.01)


def test_a_head_that_takes_too_long_is_refused(connection: socket.socket) -> None:
    began = time.monotonic()
    connection.sendall(b"GET / HTTP/1.1\r\n")
    assert_raw_refused(received(connection), 408, "sender_too_slow")
    assert HEAD_SECONDS * 0.9 < time.monotonic() - began < 10


def test_a_head_that_trickles_is_refused_as_well(connection: socket.socket) -> None:
    connection.settimeout(0.1)
    data = b""
    for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 200:
        try:
            connection.sendall(bytes([byte]))
            data += connection.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            break
        if not data or data.endswith(b"}"):
            break
    assert_raw_refused(data, 408, "sender_too_slow")


def test_a_connection_on_which_nothing_is_said_is_closed(connection: socket.socket) -> None:
    assert connection.recv(1) == b""


def test_an_answer_may_take_longer_than_a_head(connection: socket.socket) -> None:
    connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answered(connection) == 200


def test_a_connection_may_rest_between_requests(connection: socket.socket) -> None:
    for _ in range(2):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answered(connection) == 200
        time.sleep(SLOW)
    connection.sendall(b"GET / HT")  # but a later head has its time as well
    assert_raw_refused(received(connection), 408, "sender_too_slow")


def test_a_head_over_the_limit_is_refused_once_and_read_to_its_end(
    connection: socket.socket,
) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * MIB + b"\r\n\r\n")
    assert_raw_refused(received(connection), 431, "head_too_large")


def test_tiny_chunks_are_no_abuse(connection: socket.socket) -> None:
    connection.sendall(
        b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    connection.sendall(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
    status, _, body = read_answer(received(connection))
    assert (status, body) == (200, b"5\r\n50000\r\n0\r\n\r\n")


@pytest.mark.parametrize("endless", [b"1;" + b"x" * MIB, b"0\r\n" + b"A: b\r\n" * 200_000])
def test_endless_framing_is_cut_off(connection: socket.socket, endless: bytes) -> None:
    connection.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        send_on(connection, endless)


def test_a_client_that_takes_nothing_is_cut_off(app: App, connection: socket.socket) -> None:
    connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(1) == b"H"
    assert app.ended.wait(10)  # the application is told that nobody listens
    assert len(received(connection)) < 32 * MIB


def test_a_client_that_reads_slowly_gets_everything(app: App, connection: socket.socket) -> None:
    connection.sendall(b"GET /big HTTP/1.1\r\nConnection: close\r\n\r\n")
    got = 0
    while block := connection.recv(4 * MIB):
        got += len(block)
        time.sleep(0.01)
    assert got > 64 * MIB
    until(app.ended.is_set)
    assert app.sent == 64
