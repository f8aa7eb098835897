"""Several worker processes behind one listening socket.

The parent opens the store once, to say in its own words what is wrong with it, and
closes it again. Workers are forked from a process that has loaded the program and done nothing
else: no store, connection or thread is shared across a fork, much of what was loaded is in
memory once, and one that ends is replaced in a fraction of a second (ADR 0026). When the first
ends before any has served, or they keep ending, all stop.
"""

import logging
import multiprocessing
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

from runtime.commands.worker import work
from runtime.errors import WorkersFailing
from runtime.logs import configure
from runtime.rooms import Room
from runtime.serving import Announce
from runtime.settings import read_settings
from runtime.shared_metrics import forget, shared_metrics
from runtime.store import open_store

log = logging.getLogger("mianjiao.workers")

PATIENCE = 30.0  # seconds for a worker to finish its requests
_WINDOW = 60.0  # seconds
_ENDS = 5  # in the window, per worker: more is a fault that a restart does not cure
_LOOK = 0.2
_LOADED = "runtime.serving"


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
    with shared_metrics():
        workers = Workers((listener, data, config, rooms), count)
        workers.run(lambda: announce(origin, warnings))


@contextmanager
def _sigterm_held_back() -> Iterator[None]:
    """What is started meanwhile inherits it. The process that forks our workers is to outlive a
    SIGTERM that a supervisor sends to all of us: without it we would not know when they have
    ended. A worker lets the signal come as soon as it runs."""
    resource_tracker.ensure_running()  # its own start would let the signal come again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers:
    """Keeps `count` processes running until a signal says stop."""

    def __init__(self, arguments: Sequence[Any], count: int) -> None:
        """`arguments` of `work`, without the last one, where it says that it serves."""
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([_LOADED])
        self._ready, told = self._context.Pipe(duplex=False)
        self._arguments = (*arguments, told)
        self._told = told
        self._serving = False
        self._count = count
        self._running: list[ForkServerProcess] = []
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
                if not self._serving and self._ready.poll():
                    self._serving = True
                    started()
                self._replace_ended()
        finally:
            self._end_all()
            for sign, handler in before.items():
                signal.signal(sign, handler)
            self._ready.close()
            self._told.close()

    def _stop(self, _sign: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _started(self) -> ForkServerProcess:
        process = self._context.Process(target=work, args=self._arguments)
        with _sigterm_held_back():
            process.start()
        return process

    def _replace_ended(self) -> None:
        for place, process in enumerate(self._running):
            status = process.exitcode
            if status is None or self._stopping:
                continue
            forget(process.pid)
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
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in self._running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                log.warning("worker_killed", extra={"pid": process.pid})
                process.kill()
                process.join()
