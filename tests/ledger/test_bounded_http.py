"""Servers of others that never end an answer: each client gives up in its time."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpcore2
import httpx2
import pytest

from kernel.errors import CodedError
from ledger.anchoring.rpc import JsonRpc
from ledger.bounded_http import AnswerTooLong, BoundedHttp
from ledger.monitor.remote import RemoteLog
from ledger.notes import SignatureType, VerifierKey
from ledger.witness.client import WitnessClient

SECONDS = 1.0
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@contextmanager
def trickling(start: bytes, unit: bytes, pause: float = 0.2) -> Iterator[str]:
    """A server that sends `start`, and then `unit` again and again; its address."""
    stopped = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65536)
                self.request.sendall(start)
                while not stopped.wait(pause):
                    self.request.sendall(unit)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


def node(url: str) -> object:
    return JsonRpc(url, SECONDS).call("eth_chainId")


def log(url: str) -> object:
    remote = RemoteLog(url, SECONDS)
    return remote._once("checkpoint", 1000, url)


def witness(url: str) -> object:
    client = WitnessClient(url, [VerifierKey("w", SignatureType.ED25519, b"\1" * 32)], SECONDS)
    return client._post(b"old 0\n")


@pytest.mark.parametrize("where", ["headers", "body"])
@pytest.mark.parametrize("ask", [node, log, witness])
def test_an_answer_that_trickles_is_given_up_in_its_time(
    ask: Callable[[str], object], where: str
) -> None:
    start, unit = (HEADERS, b"X-More: 1\r\n") if where == "headers" else (HEADERS + b"\r\n", b" ")
    with trickling(start, unit) as url:
        begun = time.monotonic()
        with pytest.raises(CodedError) as error:
            ask(url)
        # A silence of a second never comes: by silences alone this would go on for ever.
        assert SECONDS * 0.9 <= time.monotonic() - begun < SECONDS * 8
        assert error.value.details["reason"] == "ReadTimeout"


def test_the_next_question_has_its_own_time() -> None:
    closing = HEADERS + b"Connection: close\r\n"
    with trickling(closing + b"Content-Length: 2\r\n\r\nok", b"") as url:
        http = BoundedHttp(SECONDS)
        for _ in range(3):
            assert http.ask("GET", url, limit=2).content == b"ok"
            time.sleep(SECONDS / 2)
        http.close()


def test_an_answer_without_end_is_given_up_in_its_bytes() -> None:
    with trickling(HEADERS + b"\r\n", b"x" * 65536, pause=0.0) as url:
        http = BoundedHttp(60.0)
        with pytest.raises(AnswerTooLong):
            http.ask("GET", url, limit=1 << 20)
        http.close()


def test_who_is_not_there_or_no_address_is_said_by_the_library() -> None:
    http = BoundedHttp(SECONDS)
    with pytest.raises(httpx2.HTTPError):
        http.ask("GET", "http://127.0.0.1:9", limit=1)
    with pytest.raises((httpx2.HTTPError, httpx2.InvalidURL)):
        http.ask("GET", "nowhere", limit=1)
    http.close()


def test_the_library_still_keeps_its_connections_where_ours_are_put() -> None:
    """It has no public way to give it a network: `_Transport` replaces what is made here."""
    with httpx2.HTTPTransport(trust_env=False) as transport:
        assert isinstance(transport._pool, httpcore2.ConnectionPool)
