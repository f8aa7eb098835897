"""One of several processes of `mianjiao serve`, forked for `runtime.workers`."""

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Collection
from multiprocessing.connection import Connection
from multiprocessing.process import parent_process
from pathlib import Path

from kernel.errors import CodedError
from runtime.rooms import Room


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

    # Held back since before we were forked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # The collector passes over what was loaded before the fork: to mark it would be to copy it.
    gc.freeze()
    # Ctrl-C reaches the parent alone, which then stops all in order.
    os.setsid()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        with listener:
            serve_on(listener, data, config, rooms, lambda _origin, _: ready.send_bytes(b"."))
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        sys.exit(1)


def _end_with_parent() -> None:
    """When the parent is gone, however it ended; or has given us up, as it must if the process
    that forked us is gone, by which it would know how we end."""
    parent = parent_process()
    if parent is None:
        return  # started by nobody
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
