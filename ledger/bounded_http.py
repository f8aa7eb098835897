"""HTTP questions to servers of others: the whole answer is bounded in time and in bytes.

The time-outs of the library are about silences: a server that sends a byte now and then, of
headers or body, would hold its asker for as long as it likes. Here every wait on the
connection gets no more than what is left of the time for the answer.
"""

import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore2
import httpx2

_Option = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class AnswerTooLong(Exception):
    """More bytes than any such answer has."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, whatever its status."""

    status: int
    headers: httpx2.Headers
    content: bytes


class BoundedHttp:
    """A client. No proxy or certificate by environment: settings come from one place. Safe
    from many threads."""

    def __init__(
        self, seconds: float, *, silence: float | None = None, follow_redirects: bool = False
    ) -> None:
        """`seconds`: for one answer, from the connection to its last byte, redirections
        included; `silence`: how much of it may pass without a byte, by default all."""
        self._seconds = seconds
        self._deadline = _Deadline()
        self._client = httpx2.Client(
            transport=_Transport(self._deadline),
            timeout=min(seconds, seconds if silence is None else silence),
            follow_redirects=follow_redirects,
            trust_env=False,
        )

    def ask(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer. `httpx2.HTTPError`, `httpx2.InvalidURL`; `AnswerTooLong` beyond `limit`
        bytes."""
        read = bytearray()
        self._deadline.at = time.monotonic() + self._seconds
        with self._client.stream(method, url, content=content, headers=headers) as response:
            for part in response.iter_bytes():
                read += part
                if len(read) > limit:
                    raise AnswerTooLong
        return Answer(response.status_code, response.headers, bytes(read))

    def close(self) -> None:
        self._client.close()


class _Deadline(threading.local):
    """When the answer to this thread's question must be whole (monotonic seconds)."""

    at = 0.0

    def left(self, timeout: float | None, late: type[Exception]) -> float:
        left = self.at - time.monotonic()
        if left <= 0:
            raise late
        return left if timeout is None else min(left, timeout)


class _Transport(httpx2.HTTPTransport):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__(trust_env=False)
        # Private, as nothing public takes a network of one's own: a test says if it goes away.
        self._pool.close()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_authorities(),
            network_backend=_Backend(deadline),
        )


@cache
def _authorities() -> ssl.SSLContext:
    """Reading all certificates takes some 25 ms: once for all clients."""
    return httpx2.create_ssl_context(trust_env=False)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_Option] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._deadline.left(timeout, httpcore2.ConnectTimeout)
        stream = self._sockets.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._deadline.left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
