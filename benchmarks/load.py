"""A small load generator: keep-alive connections, one request under way on each.

It runs in a process of its own, so that the server has its interpreter to
itself, and the same client measures both sides of every ratio.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Answers as expected, how many a second, their latency percentiles in milliseconds, and
    how many answers were others."""

    count: int
    rate: float
    p50: float
    p99: float
    failures: int


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> int:
    writer.write(data)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    if length:
        await reader.readexactly(length)
    return status


async def _client(
    port: int,
    make: Callable[[int], bytes],
    seconds: float,
    expect: int,
    pause: float,
    first: float,
    latencies: list[float],
) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    failures = 0
    began = time.perf_counter()
    start = began + first
    number = 0
    while (now := time.perf_counter()) < began + seconds:
        # What is late is sent at once, and its waiting counts: as with people at windows.
        due = start + number * pause if pause else now
        if due > now:
            await asyncio.sleep(due - now)
        status = await _send(reader, writer, make(number))
        if status == expect:
            latencies.append(time.perf_counter() - due)
        else:
            failures += 1
        number += 1
    writer.close()
    return failures


async def _run(
    targets: Sequence[tuple[int, Callable[[int], bytes]]],
    seconds: float,
    expect: int,
    pause: float,
) -> Load:
    latencies: list[float] = []
    began = time.perf_counter()
    failures = await asyncio.gather(
        # Not all at once: clients of one rate take turns.
        *(
            _client(port, make, seconds, expect, pause, pause * at / len(targets), latencies)
            for at, (port, make) in enumerate(targets)
        )
    )
    elapsed = time.perf_counter() - began
    ordered = sorted(latencies) or [0.0]
    return Load(
        len(latencies),
        len(latencies) / elapsed,
        1000 * ordered[len(ordered) // 2],
        1000 * ordered[int(len(ordered) * 0.99)],
        sum(failures),
    )


def run_each(
    targets: Sequence[tuple[int, Callable[[int], bytes]]],
    seconds: float,
    expect: int = 200,
    pause: float = 0.0,
) -> Load:
    """One client per target, `(port, request by number)`, for `seconds`; with a `pause`
    between two requests of a client, or as fast as they are answered."""
    return asyncio.run(_run(targets, seconds, expect, pause))


def run(port: int, clients: list[list[bytes]], seconds: float, expect: int = 200) -> Load:
    """Each client repeats its requests for `seconds`."""
    return run_each([(port, _repeating(requests)) for requests in clients], seconds, expect)


def _repeating(requests: list[bytes]) -> Callable[[int], bytes]:
    return lambda number: requests[number % len(requests)]


def request(
    method: str,
    path: str,
    token: str | None = None,
    body: bytes = b"",
    media_type: str = "application/json",
    **headers: str,
) -> bytes:
    """One HTTP/1.1 request, ready to be sent again and again."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    for name, value in headers.items():
        head += f"{name.replace('_', '-')}: {value}\r\n"
    return head.encode() + b"\r\n" + body


def main() -> None:
    """PORT SPEC CLIENTS SECONDS STATUS; prints the `Load` as JSON."""
    port, spec, clients, seconds, expect = sys.argv[1:]
    what = json.loads(spec)
    one = request(what["method"], what["path"], what.get("token"), what.get("body", "").encode())
    load = run(int(port), [[one]] * int(clients), float(seconds), int(expect))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
