"""One of several processes of `mianjiao serve`, started by `runtime.workers`.

    python -m runtime.commands.worker DATA ROOMS CONFIG SOCKET READY

`SOCKET` and `READY` are descriptors: where it serves, and where it writes a byte once
it does. Its standard input is a pipe that nobody writes to: when it closes, the parent is gone,
however it ended, and so this process ends too.
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from kernel.errors import CodedError


def work(data: Path, rooms: str, config: Path | None, served: int, ready: int) -> None:
    """Serve on the inherited socket until SIGTERM, SIGINT or the parent's end."""
    from runtime.rooms import parse_rooms
    from runtime.serving import serve_on

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with socket.socket(fileno=served) as listener:
        serve_on(listener, data, config, parse_rooms(rooms), lambda _origin, _: _say_ready(ready))


def _say_ready(descriptor: int) -> None:
    os.write(descriptor, b".")
    os.close(descriptor)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    settings = Path(arguments[2]) if arguments[2] else None
    try:
        work(Path(arguments[0]), arguments[1], settings, int(arguments[3]), int(arguments[4]))
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        sys.exit(1)
