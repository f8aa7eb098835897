"""One of several processes of `mianjiao serve`, started by `runtime.workers`.

    python -m runtime.commands.worker DATA ROOMS CONFIG DESCRIPTOR

Its standard input is a pipe that nobody writes to: when it closes, the parent is gone,
however it ended, and so this process ends too.
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from kernel.errors import CodedError


def work(data: Path, rooms: str, config: Path | None, descriptor: int) -> None:
    """Serve on the inherited socket until SIGTERM, SIGINT or the parent's end."""
    from runtime.rooms import parse_rooms
    from runtime.serving import serve_on

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with socket.socket(fileno=descriptor) as listener:
        serve_on(listener, data, config, parse_rooms(rooms), _announce)


def _announce(_origin: str, _warnings: list[str]) -> None:
    """The parent has said it."""


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    settings = Path(arguments[2]) if arguments[2] else None
    try:
        work(Path(arguments[0]), arguments[1], settings, int(arguments[3]))
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        sys.exit(1)
