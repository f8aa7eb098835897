"""1 GiB over HTTP against one plain loop in one thread, and the server's memory."""

import hashlib
import http.client
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.figures import Figure
from benchmarks.plain import keep, pattern
from benchmarks.stores import Served
from kernel.ids import IdKind, new_id

SIZE = 1 << 30


def measure(served: Served, scratch: Path) -> list[Figure]:
    """Three uploads and three plain loops in turn; the medians are compared."""
    token = served.token("window")
    _upload(served.url, token, 64 << 20)  # warm: threads, code, page cache
    before = served.peak_rss()
    uploads, loops = [], []
    for _ in range(3):
        began = time.perf_counter()
        _upload(served.url, token, SIZE)
        uploads.append(time.perf_counter() - began)
        target = scratch / "plain"
        began = time.perf_counter()
        keep(pattern(SIZE), target)
        loops.append(time.perf_counter() - began)
        target.unlink()
    growth = served.peak_rss() - before
    upload, loop = sorted(uploads)[1], sorted(loops)[1]
    return [
        Figure("1 GiB upload over HTTP", SIZE / upload / 1e6, "MB/s"),
        Figure("1 GiB plain loop, one thread", SIZE / loop / 1e6, "MB/s"),
        Figure("upload : plain loop", loop / upload, "ratio", ">=", 0.9),
        Figure("upload: growth of the server's peak RSS", growth / (1 << 20), "MiB", "<", 100),
    ]


def _upload(url: str, token: str, size: int) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=300)
    # Another seed each time: other bytes, other object.
    blocks = pattern(size, seed=hashlib.sha256(new_id(IdKind.REQUEST).encode()).digest())
    connection.request(
        "PUT",
        f"/v1/uploads/{new_id(IdKind.UPLOAD)}",
        body=blocks,
        headers={"Authorization": f"Bearer {token}", "Content-Length": str(size)},
        encode_chunked=False,
    )
    response = connection.getresponse()
    response.read()
    if response.status != 201:
        raise RuntimeError(f"upload answered {response.status}")
    connection.close()
