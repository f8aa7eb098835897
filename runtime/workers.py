"""Several worker processes behind one listening socket.

The parent opens the store once, to say in its own words what is wrong with it, and
closes it again before it starts anything: a database must not be shared across a fork.
Each worker is a fresh interpreter that inherits the socket. One that ends is started
again; when the first ends before any has served, or they keep ending, all stop.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import FrameType

from runtime.errors import WorkersFailing
from runtime.logs import configure
from runtime.rooms import Room, rooms_text
from runtime.serving import Announce
from runtime.settings import read_settings
from runtime.shared_metrics import forget, shared_metrics
from runtime.store import open_store

log = logging.getLogger("mianjiao.workers")

PATIENCE = 30.0  # seconds for a worker to finish its requests
_WINDOW = 60.0  # seconds
_ENDS = 5  # in the window, per worker: more is a fault that a restart does not cure
_LOOK = 0.2


def serve_workers(
    listener: socket.socket,
    data: Path,
    config: Path | None,
    rooms: Collection[Room],
    count: int,
    announce: Announce,
) -> None:
    """Serve the store with `count` workers until SIGTERM or SIGINT.

    Raises what opening the store raises, before any worker is started;
    `WorkersFailing` when they do not stay.
    """
    settings = read_settings(config)
    configure(settings.log_level)
    with open_store(data, settings) as store:
        store.require_clock()
        origin, warnings = store.ledger_origin, store.warnings()
    with shared_metrics() as environment:
        workers = Workers(_command(data, config, rooms), listener, count, environment)
        workers.run(lambda: announce(origin, warnings))


def _command(data: Path, config: Path | None, rooms: Collection[Room]) -> list[str]:
    """The command of one worker; two descriptors follow: its socket, and where it says
    that it serves."""
    module = "runtime.commands.worker"
    where = "" if config is None else str(config)
    return [sys.executable, "-m", module, str(data), rooms_text(rooms), where]


class Workers:
    """Keeps `count` processes of one command running until a signal says stop."""

    def __init__(
        self,
        command: Sequence[str],
        listener: socket.socket,
        count: int,
        environment: dict[str, str],
    ) -> None:
        """`command` without the two descriptors, which are added at its end. `environment`:
        what the workers have beside ours, the folder of their metrics."""
        self._ready, told = os.pipe()
        os.set_blocking(self._ready, False)
        self._descriptors = (listener.fileno(), told)
        self._command = [*command, *map(str, self._descriptors)]
        self._serving = False
        self._count = count
        self._environment = environment
        self._running: list[subprocess.Popen[bytes]] = []
        self._ended: deque[float] = deque()
        self._stopping = False

    def run(self, started: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT, when all have ended. `started` is told once the first
        serves. `WorkersFailing`."""
        before = {sign: signal.signal(sign, self._stop) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._running = [self._started() for _ in range(self._count)]
            while not self._stopping:
                time.sleep(_LOOK)
                if not self._serving and self._first_serves():
                    self._serving = True
                    started()
                self._replace_ended()
        finally:
            self._end_all()
            for sign, handler in before.items():
                signal.signal(sign, handler)
            for descriptor in (self._ready, self._descriptors[1]):
                os.close(descriptor)

    def _first_serves(self) -> bool:
        try:
            return bool(os.read(self._ready, 1))
        except BlockingIOError:
            return False

    def _stop(self, _sign: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            self._command,
            pass_fds=self._descriptors,
            env={**os.environ, **self._environment},
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
            forget(process.pid, self._environment)
            now = time.monotonic()
            self._ended.append(now)
            while self._ended and self._ended[0] < now - _WINDOW:
                self._ended.popleft()
            if not self._serving or len(self._ended) > _ENDS * self._count:
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
