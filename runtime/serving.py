"""One process that serves a store on a socket: alone, or beside others on the same one."""

import socket
from collections.abc import Callable, Collection
from pathlib import Path

import uvicorn

from runtime.app import build_app
from runtime.interpreter import settle
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
    """Open and start the store, and serve it until SIGTERM or SIGINT.

    Raises what opening and starting raise, before anything is announced.
    """
    settings = read_settings(config)
    configure(settings.log_level)
    with open_store(data, settings) as store:
        store.start(rooms)
        settle()
        announce(store.ledger_origin, store.warnings())
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
        uvicorn.Server(served).run(sockets=[listener])
