"""`mianjiao serve` and `mianjiao sequencer`: the store behind HTTP, in one process or several."""

import sys
from collections.abc import Collection
from pathlib import Path

from kernel.canonical import canonical_bytes
from runtime.listening import shown, take_address
from runtime.rooms import ALL, Room, rooms_text


def serve_store(
    data: Path,
    host: str,
    port: int,
    *,
    config: Path | None = None,
    rooms: Collection[Room] = ALL,
    workers: int = 1,
    announce_json: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT; 0 when the ledger closed cleanly.

    `config`: the file of settings. `rooms`: what these processes do. `workers`: how many
    share the port; one is this process itself. With `announce_json` the first line of
    output is `{"url": …}`, for a parent process; otherwise a person is told where to look.
    """
    # Taken at once, so that a wrong port is told first; whoever serves begins to listen.
    with take_address(host, port) as listener:
        url = f"http://{shown(host, listener.getsockname()[1])}"

        def announce(origin: str, warnings: list[str]) -> None:
            if announce_json:
                print(canonical_bytes({"url": url}).decode(), flush=True)
            else:
                _tell(data, url, origin, rooms, workers, warnings)

        if workers == 1:
            from runtime.serving import serve_on

            serve_on(listener, data, config, rooms, announce)
        else:
            from runtime.workers import serve_workers

            serve_workers(listener, data, config, rooms, workers, announce)
    return 0


def _tell(
    data: Path,
    url: str,
    origin: str,
    rooms: Collection[Room],
    workers: int,
    warnings: list[str],
) -> None:
    from runtime.demo.tryout import guide
    from runtime.settings import data_path

    print(f"免交 Mianjiao · {origin}")
    if Room.MATERIALS in rooms:
        print(f"  首页 page       {url}/")
        print(f"  接口 API        {url}/docs")
    else:
        print(f"  地址 address    {url}")
    if frozenset(rooms) != ALL:
        print(f"  房间 rooms      {rooms_text(rooms)}")
    if workers > 1:
        print(f"  进程 processes  {workers}")
    print("  停止 stop       Ctrl-C")
    if Room.MATERIALS in rooms:
        for line in guide(data_path(data), url):
            print(line)
    for warning in warnings:
        print(f"  注意 warning    {warning}", file=sys.stderr)
    sys.stdout.flush()
