"""The way of requests to the server and of small answers back.

Stands where the `minio` package expects urllib3's pool. urllib3 with the parser of
Python's own library spends 0.4 ms on an answer without a body, twenty times what the
connection costs; a verification asks seven times. So answers that are wanted whole are
read here, with the parser that serves our own requests; streams go the pool's way.
Errors and answers are urllib3's.
"""

import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from io import BytesIO
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser
from urllib3 import BaseHTTPResponse, HTTPHeaderDict, HTTPResponse, PoolManager
from urllib3.exceptions import (
    ConnectTimeoutError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Timeout

from storage.s3.settings import S3Settings

_READ_BYTES = 256 * 1024


class Transport(PoolManager):
    """Connections that are kept open, to one server. Safe from many threads.

    At most `connections` of the settings are kept; more are opened when more threads
    ask at once, and closed afterwards, as by the pool.
    """

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._tls = ssl.create_default_context(cafile=settings.ca_file)
        super().__init__(
            num_pools=2,
            maxsize=settings.connections,
            timeout=Timeout(connect=settings.connect_seconds, read=settings.read_seconds),
            retries=False,  # `Requests` does that
            ssl_context=self._tls,
        )
        self._idle: deque[socket.socket] = deque()  # the last one used is used next
        self._gate = threading.Lock()

    def urlopen(  # type: ignore[override] # what the package gives
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        preload_content: bool,
    ) -> BaseHTTPResponse:
        """One request, sent once; urllib3's errors. Without `preload_content` the body of
        the answer is still to be read."""
        if not preload_content:
            return super().urlopen(method, url, body=body, headers=headers, preload_content=False)
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = [f"{method} {target} HTTP/1.1", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not body and method in ("POST", "PUT"):
            lines.append("Content-Length: 0")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        connection = self._take() or self._open(host, port, secure=parts.scheme == "https")
        answer = _Answer(headless=method == "HEAD")
        try:
            _send(connection, head, body or b"")
            answer.read(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise ReadTimeoutError(None, url, "no answer in time") from error  # type: ignore[arg-type]
            if isinstance(error, ssl.SSLError):
                raise SSLError(error) from error
            if isinstance(error, OSError | HttpParserError):
                raise ProtocolError(type(error).__name__, error) from error
            raise
        if answer.reusable:
            self._give_back(connection)
        else:
            connection.close()
        return HTTPResponse(
            bytes(answer.body) or BytesIO(),  # of no bytes at all it would make no body
            HTTPHeaderDict(answer.headers),
            answer.status,
            request_method=method,
            request_url=url,
            decode_content=False,
        )

    def clear(self) -> None:
        """Close all connections that nobody uses."""
        while (connection := self._pop()) is not None:
            connection.close()
        super().clear()

    def _open(self, host: str, port: int, *, secure: bool) -> socket.socket:
        try:
            connection = socket.create_connection((host, port), self._settings.connect_seconds)
        except TimeoutError as error:
            raise ConnectTimeoutError("no connection in time") from error
        except OSError as error:
            raise NewConnectionError(None, type(error).__name__) from error  # type: ignore[arg-type]
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                connection = self._tls.wrap_socket(connection, server_hostname=host)
        except TimeoutError as error:
            connection.close()
            raise ConnectTimeoutError("no connection in time") from error
        except (OSError, ValueError) as error:
            connection.close()
            if isinstance(error, ssl.SSLError):
                raise SSLError(error) from error
            raise ProtocolError("no connection", error) from error
        connection.settimeout(self._settings.read_seconds)
        return connection

    def _take(self) -> socket.socket | None:
        """One that the server has not closed meanwhile."""
        while (connection := self._pop()) is not None:
            if not _readable(connection):
                return connection
            connection.close()
        return None

    def _pop(self) -> socket.socket | None:
        with self._gate:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: socket.socket) -> None:
        with self._gate:
            if len(self._idle) < self._settings.connections:
                self._idle.append(connection)
                return
        connection.close()


class _Answer:
    """One answer as it arrives: call-backs of the parser."""

    def __init__(self, *, headless: bool) -> None:
        """`headless`: to a HEAD, whose answer has no body whatever its head says."""
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.reusable = False
        self._headless = headless
        self._done = False
        self._parser = HttpResponseParser(self)

    def read(self, connection: socket.socket) -> None:
        """Take bytes until it is whole; `ConnectionError` if they end before."""
        while not self._done:
            data = connection.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the connection ended within an answer")
            self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        # A second one belongs to no request.
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._done:
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self._headless and self.status >= 200:
            self._end()

    def on_body(self, body: bytes) -> None:
        if self._done:
            self.reusable = False
        else:
            self.body += body

    def on_message_complete(self) -> None:
        if self.status >= 200 and not self._done:
            self._end()
        elif self.status < 200:
            self.headers.clear()  # an interim answer: the one that counts follows

    def _end(self) -> None:
        self._done = True
        self.reusable = bool(self._parser.should_keep_alive())


def _send(connection: socket.socket, head: bytes, body: bytes) -> None:
    try:
        if len(body) <= _READ_BYTES:
            connection.sendall(head + body)
        else:
            connection.sendall(head)
            connection.sendall(body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server may have answered before the body was in: reading tells


def _readable(connection: socket.socket) -> bool:
    """Whether an idle connection has something to say: its end, or what nobody asked for."""
    looking = select.poll()
    looking.register(connection, select.POLLIN)
    return bool(looking.poll(0))
