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
def shared_metrics() -> Iterator[dict[str, str]]:
    """What to add to the environment of the processes; the folder goes away at the end.

    Nothing where the environment names a folder already: whoever did so empties it.
    """
    if os.environ.get(SHARED):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mianjiao-metrics-") as folder:
        yield {SHARED: folder}


def forget(pid: int, environment: dict[str, str]) -> None:
    """A process has ended: what it last said of its state no longer counts. Its counters
    stay, so that sums do not go back."""
    folder = environment.get(SHARED) or os.environ[SHARED]
    mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
