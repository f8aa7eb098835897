"""Who does the units: processes of this machine, or a Ray cluster.

Processes and not threads: most of a small object's check is Python (rows, records,
canonical form), which one interpreter does one at a time.
"""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import JobsInvalid, RayMissing, RayUnreachable, ScrubStopped
from runtime.pool.units import Result, Unit
from runtime.pool.work import Job, work

# Each has the program, the keys and sessions of the database of its own. More than this is a
# slip of the finger: it would take the machine before it took the store.
MOST = 64
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pool:
    """`size` workers that share the rate; `submit` gives one of them a unit."""

    job: Job
    size: int
    submit: Callable[[Unit], Future[Result]]


def check_processes(number: int) -> None:
    """`JobsInvalid` unless so many processes can be asked for."""
    if not 1 <= number <= MOST:
        raise JobsInvalid(most=MOST)


@contextmanager
def local_pool(data: Path, rate: float | None, processes: int) -> Iterator[Pool]:
    """Processes of this machine, which end with this one, however that ends."""
    job = Job(data, rate / processes if rate else None)
    with ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_follow
    ) as pool:
        try:
            yield Pool(job, processes, lambda unit: pool.submit(work, job, unit))
        finally:
            pool.shutdown(cancel_futures=True)  # waits for the units that run


def _follow() -> None:
    """In each process: end when the parent is gone (a killed one says nothing), and
    leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def ray_pool(data: Path, rate: float | None, address: str) -> Iterator[Pool]:
    """The processors of the Ray cluster at `address`; `local`: of one that begins and
    ends here.

    A unit whose machine is lost is done again on another. Every machine needs this
    program, the settings, and the data folder at the same path.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError:
        raise RayMissing() from None
    try:
        _answers(address)
        own = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            **(own if address == "local" else {}),
        )
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise RayUnreachable(address=address) from error
    try:
        size = max(1, int(ray.cluster_resources().get("CPU", 1)))
        job = Job(data, rate / size if rate else None)
        remote = ray.remote(work)

        def submit(unit: Unit) -> Future[Result]:
            future: Future[Result] = remote.remote(job, unit).future()
            return future

        yield Pool(job, size, submit)
    except RayError as error:
        raise ScrubStopped(reason=type(error).__name__) from error
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """`OSError` at once where nobody listens: Ray itself would ask for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
