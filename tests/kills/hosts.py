"""How the processes of a store are started, killed and checked: a parameter of the loop.

A host of another kind (several processes, another database) needs these five
methods; the loop, its clients and its checks stay as they are.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from runtime.demo.server import SERVE

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60


class Host(Protocol):
    """The processes of one store. One life at a time: `start`, `kill`, `start` …"""

    data: Path

    def start(self) -> None:
        """Begin to start whatever serves the store; returns at once."""
        ...

    def url(self) -> str:
        """Where it answers; waits until it does."""
        ...

    def kill(self) -> None:
        """SIGKILL, at any moment after `start`; returns when it is gone."""
        ...

    def problems(self) -> list[str]:
        """What `fsck` finds while nothing is served, a line each."""
        ...

    def close(self) -> None: ...


class ForkingHost:
    """`mianjiao serve`, forked from a process that has loaded the program already.

    A fresh interpreter takes two seconds to load what a fork has at once; what is
    killed is the same command in a process of its own.
    """

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self._log = log.open("ab")
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._pid = 0

    def start(self) -> None:
        self._pid = int(self._ask("serve")["pid"])

    def url(self) -> str:
        answer = self._answer()
        return str(answer["url"])

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        assert self._nursery.stdin is not None
        self._nursery.stdin.write("reap\n")
        self._nursery.stdin.flush()
        while "ended" not in (answer := self._answer()):
            continue  # it was killed just after it said where it listens
        assert answer["ended"] == -signal.SIGKILL, f"the server ended with {answer['ended']}"

    def problems(self) -> list[str]:
        return list(self._ask("check")["problems"])

    def close(self) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        self._nursery.wait(timeout=30)
        self._log.close()

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(f"{what} {self.data}\n")
        self._nursery.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._nursery.stdout is not None
        with _limit(self._nursery):
            line = self._nursery.stdout.readline()
        assert line, "the server ended by itself: see its log"
        return dict(json.loads(line))


class CommandHost:
    """`mianjiao serve` started as an operator starts it, anew for every life."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self._log = log.open("ab")
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [*SERVE, "--data", str(self.data)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def url(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        with _limit(self._process):
            line = self._process.stdout.readline()
        assert line, "the server ended by itself: see its log"
        return str(json.loads(line)["url"])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(timeout=30) == -signal.SIGKILL, "the server ended by itself"

    def problems(self) -> list[str]:
        from tests.kills.nursery import problems

        return problems(self.data)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=30)
        self._log.close()


@contextlib.contextmanager
def _limit(process: "subprocess.Popen[str]") -> Iterator[None]:
    """A server that never answers must not hold the loop for ever."""
    timer = threading.Timer(READY_SECONDS, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
