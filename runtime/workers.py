"""Several worker processes behind one listening socket.

The parent opens the socket and nothing else: a database must not be shared across
a fork. Each worker is a fresh interpreter that inherits the socket. One that ends is
started again; workers that keep ending stop the service with their reason.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from types import FrameType

from runtime.errors import WorkersFailing

log = logging.getLogger("mianjiao.workers")

PATIENCE = 30.0  # seconds for a worker to finish its requests
_WINDOW = 60.0  # seconds
_ENDS = 5  # in the window, per worker: more is a fault that a restart does not cure
_LOOK = 0.2


class Workers:
    """Keeps `count` processes of one command running until a signal says stop."""

    def __init__(self, command: Sequence[str], listener: socket.socket, count: int) -> None:
        """`command` without the descriptor of the socket, which is added at its end."""
        self._command = [*command, str(listener.fileno())]
        self._listener = listener
        self._count = count
        self._running: list[subprocess.Popen[bytes]] = []
        self._ended: deque[float] = deque()
        self._stopping = False

    def run(self) -> int:
        """0 after SIGTERM or SIGINT, when all have ended. `WorkersFailing`."""
        before = {sign: signal.signal(sign, self._stop) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._running = [self._started() for _ in range(self._count)]
            while not self._stopping:
                time.sleep(_LOOK)
                self._replace_ended()
        finally:
            self._end_all()
            for sign, handler in before.items():
                signal.signal(sign, handler)
        return 0

    def _stop(self, _sign: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            self._command,
            pass_fds=[self._listener.fileno()],
            # Closed when we end, however: then the worker ends too.
            stdin=subprocess.PIPE,
            # Ctrl-C reaches the parent alone, which then stops them in order.
            start_new_session=True,
        )

    def _replace_ended(self) -> None:
        for place, process in enumerate(self._running):
            status = process.poll()
            if status is None or self._stopping:
                continue
            now = time.monotonic()
            self._ended.append(now)
            while self._ended and self._ended[0] < now - _WINDOW:
                self._ended.popleft()
            if len(self._ended) > _ENDS * self._count:
                raise WorkersFailing(status=status)
            log.warning("worker_ended", extra={"status": status, "pid": process.pid})
            self._running[place] = self._started()

    def _end_all(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in self._running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker_killed", extra={"pid": process.pid})
                process.kill()
                process.wait()


def worker_command(
    data: os.PathLike[str], rooms: str, config: os.PathLike[str] | None
) -> list[str]:
    """The command of one worker; the descriptor of its socket follows."""
    return [
        sys.executable,
        "-m",
        "runtime.commands.worker",
        os.fspath(data),
        rooms,
        "" if config is None else os.fspath(config),
    ]
