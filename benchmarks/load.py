"""A small load generator: keep-alive connections, one request under way on each.

It runs in a process of its own, so that the server has its interpreter to
itself, and the same client measures both sides of every ratio.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second, latency percentiles in milliseconds, and failures."""

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
    port: int, requests: Sequence[bytes], seconds: float, expect: int, latencies: list[float]
) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    failures = 0
    end = time.perf_counter() + seconds
    number = 0
    while (began := time.perf_counter()) < end:
        status = await _send(reader, writer, requests[number % len(requests)])
        latencies.append(time.perf_counter() - began)
        failures += status != expect
        number += 1
    writer.close()
    return failures


async def _run(port: int, clients: list[list[bytes]], seconds: float, expect: int) -> Load:
    latencies: list[float] = []
    began = time.perf_counter()
    failures = await asyncio.gather(
        *(_client(port, requests, seconds, expect, latencies) for requests in clients)
    )
    elapsed = time.perf_counter() - began
    ordered = sorted(latencies)
    return Load(
        len(ordered) / elapsed,
        1000 * ordered[len(ordered) // 2],
        1000 * ordered[int(len(ordered) * 0.99)],
        sum(failures),
    )


def run(port: int, clients: list[list[bytes]], seconds: float, expect: int = 200) -> Load:
    """Each client repeats its requests for `seconds`."""
    return asyncio.run(_run(port, clients, seconds, expect))


def request(method: str, path: str, token: str | None = None, body: bytes = b"") -> bytes:
    """One HTTP/1.1 request, ready to be sent again and again."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
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
