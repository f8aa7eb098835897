"""The limits on receiving, without a server: idle, trickle, size, and who is to blame."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from runtime.errors import BodyTooLarge, SenderTooSlow
from runtime.middleware import ReceiveLimits, ReceiveTimeout

Message = dict[str, Any]
LIMITS = ReceiveLimits(idle=0.5, grace=0.3, rate=1_000, body=1_000)


def alone(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on a loop of its own, in a thread of its own: in this one the browser
    of the pages' tests may have left its loop running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def part(data: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


def run(
    app: Callable[..., Awaitable[None]],
    messages: Iterable[Message | float],
    *,
    limits: ReceiveLimits = LIMITS,
    headers: Iterable[tuple[bytes, bytes]] = ((b"transfer-encoding", b"chunked"),),
    route: Any = None,
) -> tuple[list[Message], int]:
    """Run `app` behind the limits. `messages` arrive one by one, a number is a pause in
    seconds; after the last one nothing comes any more. What was sent, and how much was read."""
    coming = iter(messages)
    sent: list[Message] = []
    read = 0

    async def receive() -> Message:
        nonlocal read
        for message in coming:
            if isinstance(message, float):
                await asyncio.sleep(message)
                continue
            read += 1
            return message
        await asyncio.sleep(3_600)
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": list(headers), "route": route}
    alone(ReceiveTimeout(app, limits)(scope, receive, send))  # type: ignore[arg-type]
    return sent, read


async def read_all(scope: Message, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body", False):
        pass
    await answer(scope, receive, send)


async def answer(scope: Message, receive: Any, send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def test_a_sender_that_is_silent_for_too_long_is_given_up() -> None:
    with pytest.raises(SenderTooSlow):
        run(read_all, [part(b"x" * 500), 5.0, part(b"", False)])
    sent, _ = run(read_all, [part(b"x" * 500), 0.05, part(b"", False)])
    assert sent[0]["status"] == 200


def test_a_sender_that_trickles_is_given_up_after_the_grace() -> None:
    trickle = [item for _ in range(50) for item in (0.05, part(b"x"))]
    with pytest.raises(SenderTooSlow):
        run(read_all, [*trickle, part(b"", False)])
    fast_enough = [item for _ in range(8) for item in (0.05, part(b"x" * 1_000))]
    roomy = replace(LIMITS, body=100_000)
    sent, _ = run(read_all, [*fast_enough, part(b"", False)], limits=roomy)
    assert sent[0]["status"] == 200


def test_our_own_slowness_is_not_the_senders_fault() -> None:
    async def slow_disk(scope: Message, receive: Any, send: Any) -> None:
        for _ in range(5):
            await receive()
            await asyncio.sleep(0.1)
        await answer(scope, receive, send)

    sent, _ = run(slow_disk, [*[part(b"x")] * 4, part(b"x", False)])
    assert sent[0]["status"] == 200


def test_once_the_body_is_in_nobody_has_to_say_more() -> None:
    async def waits_for_the_end(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.8)  # longer than `idle`
        await answer(scope, receive, send)

    sent, _ = run(waits_for_the_end, [part(b"x", False)])
    assert sent[0]["headers"] == []


def test_a_body_over_the_limit_is_refused_early_or_late() -> None:
    with pytest.raises(BodyTooLarge):
        run(read_all, [part(b"", False)], headers=[(b"content-length", b"1001")])
    with pytest.raises(BodyTooLarge):
        run(read_all, [part(b"x" * 600), part(b"x" * 401, False)])
    sent, _ = run(read_all, [part(b"x" * 600), part(b"x" * 400, False)])
    assert sent[0]["status"] == 200


def test_a_route_may_have_a_limit_of_its_own() -> None:
    upload = SimpleNamespace(max_body_size=5_000)
    big = [part(b"x" * 4_000), part(b"", False)]
    sent, _ = run(read_all, big, route=upload, headers=[(b"content-length", b"4000")])
    assert sent[0]["status"] == 200
    with pytest.raises(BodyTooLarge):
        run(read_all, [part(b"x" * 5_001)], route=upload)


def test_an_early_answer_closes_the_connection_after_reading_on_for_a_while() -> None:
    sent, read = run(answer, [part(b"x")] * 3 + [part(b"", False)])
    assert sent[0]["headers"] == [(b"connection", b"close")]
    assert [(one["body"], one["more_body"]) for one in sent[1:]] == [(b"done", True), (b"", False)]
    assert read == 4


def test_who_stalls_after_an_early_answer_is_not_waited_for() -> None:
    sent, read = run(answer, [part(b"x")])
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert read == 1


def test_who_was_too_slow_or_declares_too_much_is_not_read_on() -> None:
    async def too_slow(scope: Message, receive: Any, send: Any) -> None:
        await answer(scope, receive, send, 408)

    sent, read = run(too_slow, [part(b"x")] * 3)
    assert (sent[0]["headers"], read) == ([(b"connection", b"close")], 0)
    huge = [(b"content-length", str(1 << 40).encode())]
    sent, read = run(answer, [part(b"x")] * 3, headers=huge)
    assert (sent[0]["headers"], read) == ([(b"connection", b"close")], 0)


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")]])
def test_a_request_without_a_body_keeps_its_connection(headers: Any) -> None:
    sent, _ = run(answer, [], headers=headers)
    assert sent[0]["headers"] == []
    assert len(sent) == 2


def test_a_stream_learns_that_its_client_is_gone() -> None:
    blocks = 0

    async def streams(scope: Message, receive: Any, send: Any) -> None:
        nonlocal blocks
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.01)
            blocks += 1

    with pytest.raises(ClientDisconnect):
        run(streams, [part(b"", False), 0.05, {"type": "http.disconnect"}], headers=[])
    assert 1 <= blocks < 50
    blocks = 0
    run(streams, [part(b"", False)], headers=[])
    assert blocks == 100


def test_what_is_no_request_passes_untouched() -> None:
    seen = []

    async def lifespan(scope: Message, receive: Any, send: Any) -> None:
        seen.append((scope["type"], await receive()))

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None: ...

    inside = ReceiveTimeout(lifespan, LIMITS)  # type: ignore[arg-type]
    alone(inside({"type": "lifespan"}, receive, send))
    assert seen == [("lifespan", {"type": "lifespan.startup"})]
