"""The server's HTTP/1.1 protocol with the bounds that uvicorn leaves out.

Before a request's head is complete no application is asked, so these stand
here: how long the head may take, how large it and other framing may be, and
how long a client may refuse to read what it asked for.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.problems import FRAMEWORK, framework_problem

HEAD_BYTES = 64 * 1024
# A chunk of one byte is framed by up to seven.
_FRAMING_PER_BYTE = 8
READ_SECONDS = 120.0
LINGER_SECONDS = 2.0
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class HeadTooLarge(Exception):
    """Raised into the parser, which gives up and asks for `send_400_response`."""


def bounded_protocol(
    head_seconds: float,
    *,
    read_seconds: float = READ_SECONDS,
    refused: Callable[[str], None] = lambda code: None,
) -> type[HttpToolsProtocol]:
    """The protocol class for `uvicorn.Config(http=…)`.

    `head_seconds`: from the connection, or the first byte of a later request,
    to the end of its head; then 408. Heads over 64 KiB get 431. A connection
    whose client takes nothing for `read_seconds` is aborted. `refused` is told the
    code of each refusal.
    """

    class Bounded(_BoundedProtocol):
        _head_seconds = head_seconds
        _read_seconds = read_seconds
        _tell = staticmethod(refused)

    return Bounded


class _BoundedProtocol(HttpToolsProtocol):
    _head_seconds: float
    _read_seconds: float
    _tell: Callable[[str], None]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._body_bytes = 0
        self._framing_bytes = 0
        self._refusal = 400
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return  # read and forgotten, so that the answer is not lost under a reset
        before = self._body_bytes
        super().data_received(data)
        # Also counts what the parser holds back: one endless header, trailers.
        self._framing_bytes += len(data) - max(0, self._body_bytes - before)
        if self._framing_bytes > HEAD_BYTES + _FRAMING_PER_BYTE * self._body_bytes:
            self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        head = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if head > HEAD_BYTES:
            self._refusal = 431
            raise HeadTooLarge
        self._stop_head_timer()
        self._framing_bytes = 0
        self._body_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(self._read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def send_400_response(self, msg: str) -> None:
        """What the parser could not read: the same problem document as elsewhere."""
        self._refuse(self._refusal)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_seconds, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        if self._answering():
            self._expect_head()  # a second request was begun meanwhile
        elif self._framing_bytes == 0:
            self.transport.close()  # not a word was said
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        self._stop_head_timer()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self._answering():
            # Whatever is written now would end up inside another answer.
            self.transport.abort()
            return
        self._tell(FRAMEWORK[status][0])
        answer = framework_problem(status, None)
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS[status])]
        lines += [b"%s: %s" % pair for pair in answer.raw_headers]
        lines += [b"connection: close", b"", bytes(answer.body)]
        self.transport.write(b"\r\n".join(lines))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # By then the client has read the answer and closed, or never will.
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
