"""The S3 transport against a server whose every byte is written down here."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from storage.s3.settings import S3Settings
from storage.s3.transport import Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello"


class Scripted:
    """A server that gives the next of `answers` to each request, and closes after one that
    ends in a dot. `connections` counts those that were opened, `bodies` keeps what came."""

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answers = list(answers)
        self._tls = tls
        self.connections = 0
        self.bodies: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self._talk(connection)
            except OSError:
                pass
            finally:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def _talk(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while head := file.readline():
            length = 0
            while (line := file.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            self.bodies.append(file.read(length))
            answer = self._answers.pop(0)
            connection.sendall(answer.removesuffix(b"."))
            if answer.endswith(b".") or not head:
                return


def transport(port: int, **settings: object) -> Transport:
    given = {"read_seconds": 5.0, **settings}
    return Transport(
        S3Settings(f"127.0.0.1:{port}", "bucket", "key", "secret", **given)  # type: ignore[arg-type]
    )


def ask(
    by: Transport, port: int, method: str = "GET", body: bytes | None = None, scheme: str = "http"
) -> BaseHTTPResponse:
    url = f"{scheme}://127.0.0.1:{port}/bucket/name?a=b"
    headers = {"Host": "x", **({"Content-Length": str(len(body))} if body else {})}
    return by.urlopen(method, url, body=body, headers=headers, preload_content=True)


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def make(*answers: bytes, tls: ssl.SSLContext | None = None) -> Scripted:
        made.append(Scripted(*answers, tls=tls))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_one_connection_serves_request_after_request(scripted: Callable[..., Scripted]) -> None:
    server = scripted(OK, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", OK)
    by = transport(server.port)
    first, missing = ask(by, server.port), ask(by, server.port, "HEAD")
    assert (first.status, first.data, first.headers["etag"]) == (200, b"hello", "x")
    assert (missing.status, missing.data) == (404, b"")
    assert ask(by, server.port, "PUT", b"body").status == 200
    assert server.connections == 1
    assert server.bodies == [b"", b"", b"body"]


def test_the_length_in_an_answer_to_head_announces_no_body(
    scripted: Callable[..., Scripted],
) -> None:
    server = scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", OK)
    by = transport(server.port)
    assert ask(by, server.port, "HEAD").headers["content-length"] == "1000"
    assert ask(by, server.port).data == b"hello"
    assert server.connections == 1


def test_interim_and_chunked_answers_are_read(scripted: Callable[..., Scripted]) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    )
    server = scripted(b"HTTP/1.1 100 Continue\r\nX-Not: mine\r\n\r\n" + chunked)
    answer = ask(transport(server.port), server.port)
    assert (answer.status, answer.data) == (200, b"hello")
    assert "x-not" not in answer.headers


@pytest.mark.parametrize(
    "surplus",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nev",
    ],
)
def test_what_nobody_asked_for_answers_no_later_request(
    scripted: Callable[..., Scripted], surplus: bytes
) -> None:
    server = scripted(OK + surplus, OK)
    by = transport(server.port)
    assert ask(by, server.port).data == b"hello"
    assert ask(by, server.port).data == b"hello"
    assert server.connections == 2


def test_a_body_after_an_answer_to_head_answers_no_later_request(
    scripted: Callable[..., Scripted],
) -> None:
    server = scripted(OK, OK)
    by = transport(server.port)
    assert ask(by, server.port, "HEAD").data == b""
    assert ask(by, server.port).data == b"hello"
    assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    scripted: Callable[..., Scripted],
) -> None:
    server = scripted(
        OK + b".", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", OK
    )
    by = transport(server.port)
    assert [ask(by, server.port).status for _ in range(3)] == [200, 200, 200]
    assert server.connections == 3


def test_an_answer_that_ends_early_or_never_comes_is_an_error(
    scripted: Callable[..., Scripted],
) -> None:
    for cut in (OK[:-1] + b".", OK[:20] + b".", b".", b"something else\r\n\r\n."):
        server = scripted(cut)
        with pytest.raises(HTTPError):
            ask(transport(server.port), server.port)
    server = scripted(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ReadTimeoutError):
        ask(transport(server.port, read_seconds=0.1), server.port)


def test_an_answer_before_the_body_is_in_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def refuse() -> None:
            connection, _ = server.accept()
            connection.recv(1024)
            connection.sendall(
                b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):
                pass
            connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        assert ask(transport(port), port, "PUT", bytes(8 << 20)).status == 503


def test_a_certificate_is_checked(scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    pem.write_bytes(_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = scripted(OK, OK, tls=context)
    trusting = transport(server.port, ca_file=pem)
    assert ask(trusting, server.port, scheme="https").data == b"hello"
    assert ask(trusting, server.port, scheme="https").data == b"hello"
    assert server.connections == 1
    trusting.clear()
    with pytest.raises(SSLError):
        ask(transport(server.port), server.port, scheme="https")


def _certificate() -> bytes:
    """A key and a certificate that it signed itself, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
