"""One process that serves a store on a socket: alone, or beside others on the same one."""

import signal
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType

import uvicorn

from runtime.app import build_app
from runtime.interpreter import settle
from runtime.listening import listen
from runtime.logs import configure
from runtime.protocol import bounded_protocol
from runtime.rooms import Room
from runtime.settings import read_settings
from runtime.store import open_store

Announce = Callable[[str, list[str]], None]
"""Told the log's origin and what an operator should know, once the store is served."""


def serve_on(
    listener: socket.socket,
    data: Path,
    config: Path | None,
    rooms: Collection[Room],
    announce: Announce,
) -> None:
    """Open and start the store, serve it until SIGTERM or SIGINT, close it. `listener` has
    its address; it listens from when the store is served.

    Raises what opening and starting raise, before anything is announced; `SystemExit`
    with status 0 at the end, as the server sends itself the signal that stopped it.
    """
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _end)
    settings = read_settings(config)
    configure(settings.log_level)
    with open_store(data, settings) as store:
        store.start(rooms)
        settle()
        served = uvicorn.Config(
            build_app(store, settings, rooms),
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
        # Not before: a proxy that is refused asks another process at once, while whoever is
        # let in too early waits for as long as the start takes.
        listen(listener)
        announce(store.ledger_origin, store.warnings())
        uvicorn.Server(served).run(sockets=[listener])


def _end(_sign: int, _frame: FrameType | None) -> None:
    """Not at once, as the default would: what is open is closed first."""
    sys.exit(0)
