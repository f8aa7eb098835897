"""`mianjiao serve`: the store behind HTTP, in one process."""

import socket
import sys
from pathlib import Path

from kernel.canonical import canonical_bytes
from kernel.errors import CodedError
from runtime.errors import AddressInUse


def serve_store(
    data: Path,
    host: str,
    port: int,
    *,
    config: Path | None = None,
    announce_json: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT; 0 when the ledger closed cleanly.

    With `announce_json` the first line of output is `{"url": …}`, for a parent
    process; otherwise a person is told where to look. `config`: the file of settings.
    """
    import uvicorn

    from runtime.app import build_app
    from runtime.interpreter import settle
    from runtime.logs import configure
    from runtime.protocol import bounded_protocol
    from runtime.settings import read_settings
    from runtime.store import open_store

    settings = read_settings(config)
    configure(settings.log_level)
    try:
        listener = socket.create_server((host, port), backlog=1024)
    except OSError:
        raise AddressInUse(address=f"{host}:{port}") from None
    with listener, open_store(data, settings) as store:
        store.start()
        settle()
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        if announce_json:
            print(canonical_bytes({"url": url}).decode(), flush=True)
        else:
            _tell(data, url, store.ledger_origin, store.warnings())
        served = uvicorn.Config(
            build_app(store, settings),
            log_config=None,  # ours is in force
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=20,
            http=bounded_protocol(
                settings.receive_idle_seconds, refused=store.observing.metrics.refused
            ),
            ws="none",
        )
        uvicorn.Server(served).run(sockets=[listener])
    return 0


def _tell(data: Path, url: str, origin: str, warnings: list[str]) -> None:
    from runtime.demo.tryout import guide
    from runtime.settings import data_path

    print(f"免交 Mianjiao · {origin}")
    print(f"  首页 page       {url}/")
    print(f"  接口 API        {url}/docs")
    print("  停止 stop       Ctrl-C")
    for line in guide(data_path(data), url):
        print(line)
    for warning in warnings:
        print(f"  注意 warning    {warning}", file=sys.stderr)
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(serve_store(Path(sys.argv[1]), "127.0.0.1", 0, announce_json=True))
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        sys.exit(1)
