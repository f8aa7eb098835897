"""What every request passes: an id, security headers, limits on receiving, a last resort.

Plain ASGI, because the framework's own middleware class would buffer streams.
uvicorn sets no limit on how long a request may take to arrive, so this does.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect

from runtime.errors import BodyTooLarge, SenderTooSlow
from runtime.metrics import NO_ROUTE
from runtime.observing import Observing
from runtime.problems import internal_problem
from runtime.request_ids import request_id
from runtime.unexpected import describe

log = logging.getLogger("mianjiao.access")
unexpected = logging.getLogger("mianjiao.http")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Pages set their own, wider policy; everything else needs nothing at all.
DEFAULT_CSP = b"default-src 'none'; frame-ancestors 'none'"

# How much is read, and how long, of a request that is answered already.
LINGER_BYTES = 64 << 20
LINGER_SECONDS = 10.0
LINGER_IDLE = 2.0


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """How slow a sender may be, and how much it may send.

    `idle`: seconds without a byte. After `grace` seconds the average `rate`, in
    bytes per second, must be reached. Only time spent waiting for the sender
    counts: a slow disk of ours is not the sender's fault. `body`: bytes, for
    routes that set no `max_body_size` of their own.
    """

    idle: float = 15.0
    grace: float = 30.0
    rate: float = 16 * 1024
    body: int = 1 << 20


class RequestContext:
    """Gives each request an id, counts and times it, and logs one line without personal data.

    Here too ends what nobody expected: a problem document without details for
    the caller, kind and place for the log. Were it raised on, the server would
    log its text.
    """

    def __init__(self, app: App, observing: Observing) -> None:
        self.app = app
        self.metrics = observing.metrics
        self.tracing = observing.tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = request_id(next((v for k, v in scope["headers"] if k == b"x-request-id"), None))
        state = scope.setdefault("state", {})
        state["request_id"] = known
        span = None if self.tracing is None else self.tracing.begin(scope["headers"])
        began = time.monotonic()
        status = 0
        sent = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers.append((b"x-request-id", known.encode()))
                headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in names)
                if b"content-security-policy" not in names:
                    headers.append((b"content-security-policy", DEFAULT_CSP))
                message["headers"] = headers
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - the last resort: nothing is above it
            if _client_gone(error):
                state["refusal"] = "client_gone"
                return
            state["refusal"] = "internal_error"
            self.metrics.unexpected.inc()
            unexpected.error("unexpected", extra={"request": known, "error": describe(error)})
            if status == 0:
                await internal_problem(known)(scope, receive, send_with_headers)
            # Otherwise the answer stays short of its length, and the server
            # closes the connection: no client takes it for whole.
        finally:
            seconds = time.monotonic() - began
            # The route's template, never the path: a path could carry anything.
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            method, refusal = scope["method"], state.get("refusal")
            received = state.get("received", 0)
            self.metrics.request(route, method, status, seconds, received, sent, refusal)
            if span is not None:
                span.end(method, route, status, refusal)
            if log.isEnabledFor(logging.INFO):
                fields: dict[str, Any] = {
                    "request": known,
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 1),
                    "caller": state.get("caller", "-"),
                    "received": received,
                    "sent": sent,
                }
                if refusal is not None:
                    fields["refusal"] = refusal
                if span is not None:
                    fields["trace"] = span.trace_id
                log.info("request", extra=fields)


def _client_gone(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(ClientDisconnect)[1] is None
    return isinstance(error, ClientDisconnect)


class ReceiveTimeout:
    """Refuses senders that stall or trickle (`SenderTooSlow`) or send too much
    (`BodyTooLarge`), whatever the route.

    The error is raised where the application reads the body, so that the
    upload in hand is given up there. Whoever is answered before the body is in
    has the connection closed, soon after: the rest would be read without end.
    A stream whose client is gone is given up (`ClientDisconnect`), as nothing
    else tells its maker.
    """

    def __init__(self, app: App, limits: ReceiveLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared, whole = _declared(scope)
        got = 0
        waited = 0.0
        lingering = False
        watch: asyncio.Task[None] | None = None

        async def receive_in_time() -> Message:
            nonlocal got, waited, whole
            if whole:
                # The body is in; what follows is a wait for the disconnect.
                return await receive()
            limit = self._body_limit(scope)
            if declared is not None and declared > limit:
                raise BodyTooLarge(limit=limit)
            began = time.monotonic()
            try:
                async with asyncio.timeout(self.limits.idle):
                    message = await receive()
            except TimeoutError:
                raise SenderTooSlow(seconds=int(self.limits.idle)) from None
            waited += time.monotonic() - began
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                whole = not message.get("more_body", False)
            if got > limit:
                raise BodyTooLarge(limit=limit)
            if not whole and waited > self.limits.grace and got < self.limits.rate * waited:
                raise SenderTooSlow(seconds=int(waited))
            return message

        async def send_and_close(message: Message) -> None:
            nonlocal lingering, watch
            if message["type"] == "http.response.start" and not whole:
                # Who was too slow has been waited for long enough.
                lingering = message["status"] != 408 and (declared or 0) <= LINGER_BYTES
                headers = [pair for pair in message.get("headers", ()) if pair[0] != b"connection"]
                message["headers"] = [*headers, (b"connection", b"close")]
            more = message.get("more_body", False)
            last = message["type"] == "http.response.body" and not more
            if more and whole:
                watch = watch or asyncio.create_task(_until_gone(receive))
                if watch.done():
                    raise ClientDisconnect()
            if not (last and lingering):
                await send(message)
                return
            # Many clients look for an answer only when they have sent everything; a
            # connection closed under them loses it. So read on for a while.
            await send({**message, "more_body": True})
            await _discard_rest(receive, min(LINGER_IDLE, self.limits.idle))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await self.app(scope, receive_in_time, send_and_close)
        finally:
            scope.setdefault("state", {})["received"] = got
            if watch is not None:
                watch.cancel()

    def _body_limit(self, scope: Scope) -> int:
        # Set by now: bodies are read by routes.
        own = getattr(scope.get("route"), "max_body_size", None)
        return self.limits.body if own is None else int(own)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard_rest(receive: Receive, idle: float) -> None:
    """Read what is still coming, until it ends, stalls, or goes on for too long."""
    got = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while got < LINGER_BYTES:
                async with asyncio.timeout(idle):
                    message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                got += len(message.get("body", b""))
    except TimeoutError:
        return


def _declared(scope: Scope) -> tuple[int | None, bool]:
    """`Content-Length` if it is given, and whether there is no body at all."""
    length: int | None = None
    chunked = False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
    return length, not chunked and not length
