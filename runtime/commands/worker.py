"""One of several processes of `mianjiao serve`, forked for `runtime.workers`."""

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Collection
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path

from kernel.errors import CodedError
from runtime.rooms import Room

_LOOK = 1.0  # seconds


def work(
    listener: socket.socket,
    data: Path,
    config: Path | None,
    rooms: Collection[Room],
    ready: Connection,
) -> None:
    """Serve on the socket until SIGTERM, SIGINT or the parent's end; `ready` is told once
    it does. Ends the process with 1 when the store does not open or start."""
    from runtime.serving import serve_on

    # The collector passes over what was loaded before the fork: to mark it would be to copy it.
    gc.freeze()
    # Ctrl-C reaches the parent alone, which then stops all in order.
    os.setsid()
    threading.Thread(target=_end_with_parents, name="parent", daemon=True).start()
    try:
        with listener:
            serve_on(listener, data, config, rooms, lambda _origin, _: ready.send_bytes(b"."))
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        sys.exit(1)


def _end_with_parents() -> None:
    """When the parent is gone, however it ended; or the process that forked us, by which it
    knows how we ended: it would have replaced us."""
    parent, forked_by = parent_process(), os.getppid()
    if parent is None:
        return  # started by nobody
    while os.getppid() == forked_by and not wait([parent.sentinel], _LOOK):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
