"""What every request passes: an id, security headers, time and size limits on receiving.

Plain ASGI, because the framework's own middleware class would buffer streams.
uvicorn sets no limit on how long a request may take to arrive, so this does.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from kernel.ids import IdKind, new_id
from runtime.errors import SenderTooSlow

log = logging.getLogger("mianjiao.access")

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


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """How slow a sender may be.

    `idle`: seconds without a byte. After `grace` seconds the average `rate`, in
    bytes per second, must be reached. Only time spent waiting for the sender
    counts: a slow disk of ours is not the sender's fault.
    """

    idle: float = 15.0
    grace: float = 30.0
    rate: float = 16 * 1024


class RequestContext:
    """Gives each request a random id and logs one line without personal data."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id(IdKind.REQUEST)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers.append((b"x-request-id", request_id.encode()))
                headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in names)
                if b"content-security-policy" not in names:
                    headers.append((b"content-security-policy", DEFAULT_CSP))
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            if log.isEnabledFor(logging.INFO):
                # The route's template, never the path: a path could carry anything.
                route = getattr(scope.get("route"), "path", "-")
                log.info(
                    "%s %s %d %.0fms %s %s",
                    scope["method"],
                    route,
                    status,
                    (time.monotonic() - began) * 1000,
                    scope["state"].get("refusal", "-"),
                    request_id,
                )


class ReceiveTimeout:
    """Refuses senders that stall or trickle (`SenderTooSlow`), whatever the route.

    The error is raised where the application reads the body, so that the
    upload in hand is given up there; the connection is closed afterwards.
    """

    def __init__(self, app: App, limits: ReceiveLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        got = 0
        waited = 0.0
        whole = False

        async def receive_in_time() -> Message:
            nonlocal got, waited, whole
            if whole:
                # The body is in; what follows is a wait for the disconnect.
                return await receive()
            began = time.monotonic()
            try:
                async with asyncio.timeout(self.limits.idle):
                    message = await receive()
            except TimeoutError:
                raise SenderTooSlow(seconds=int(self.limits.idle)) from None
            waited += time.monotonic() - began
            if waited > self.limits.grace and got < self.limits.rate * waited:
                raise SenderTooSlow(seconds=int(waited))
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                whole = not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time, send)
