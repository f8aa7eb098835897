"""The folder in which several processes on one port add up their metrics.

For the process that starts them: each scrape reaches any one of them, and tells of all.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.multiprocess import mark_process_dead

from runtime.metrics import SHARED


@contextmanager
def shared_metrics() -> Iterator[None]:
    """The environment names the folder, for processes started meanwhile; it goes away at the end.

    Where the environment names one already, whoever did so empties it.
    """
    if os.environ.get(SHARED):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mianjiao-metrics-") as folder:
        os.environ[SHARED] = folder
        try:
            yield
        finally:
            del os.environ[SHARED]


def forget(pid: int | None) -> None:
    """A process has ended: what it last said of its state no longer counts. Its counters
    stay, so that sums do not go back."""
    mark_process_dead(pid, os.environ[SHARED])  # type: ignore[no-untyped-call]
