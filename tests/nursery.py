"""Processes of the program, without the second or two that a fresh interpreter takes to load it.

A nursery loads everything once, and forks on demand: what runs then is the command
that was asked for, in a process of its own, with its own environment and output, which
ends by its own signals. That the command also starts from nothing is shown where tests
start it as an operator does (`tests/kills/hosts.CommandHost`, `tests/up`, the demo).
"""

import atexit
import gc
import json
import os
import pkgutil
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import runtime.commands

ROOT = Path(__file__).parent.parent
_MOST = 1 << 17  # bytes of one request
_LATE = (
    "alembic",
    "archive.checks",
    "ledger.witness.http",
    "migrations.apply",
    "migrations.schema",
    "psycopg",
    "runtime.demo.tryout",
    "runtime.serving",
    "storage.s3.client",
)


class Child:
    """A running command; the part of `subprocess.Popen` that tests use."""

    def __init__(self, nursery: "Nursery", pid: int, stdout: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.stdout = open(stdout, encoding="utf-8")  # noqa: SIM115 - as long as the child
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"poll": self.pid})["status"]
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing, if it has ended: until `poll` or `wait` saw that, its id is no one else's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Safe from many threads. `close` kills what still runs."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._process = subprocess.Popen([sys.executable, "-m", __name__], cwd=ROOT, stdin=theirs)
        theirs.close()

    def start(self, *arguments: str | Path, errors: IO[Any] | None = None) -> Child:
        """Run `mianjiao ARGUMENTS` in this process's environment. `errors`: its standard
        error, or ours."""
        reading, writing = os.pipe()
        asked = {"start": [str(one) for one in arguments], "environment": dict(os.environ)}
        fds = [writing, (errors or sys.__stderr__).fileno()]  # type: ignore[union-attr]
        try:
            return Child(self, int(self.ask(asked, fds)["pid"]), reading)
        finally:
            os.close(writing)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which comes within a minute."""
        with tempfile.TemporaryFile("w+") as errors:
            child = self.start(*arguments, errors=errors)
            with child.stdout:
                output = child.stdout.read()
            status = child.wait()
            errors.seek(0)
            return subprocess.CompletedProcess(list(arguments), status, output, errors.read())

    def ask(self, asked: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(asked).encode()], fds)
            answer = self._channel.recv(_MOST)
        assert answer, "the nursery ended"
        return dict(json.loads(answer))

    def close(self) -> None:
        self._channel.close()
        self._process.wait(timeout=30)


@cache
def nursery() -> Nursery:
    """The one of this process, started when it is first asked for."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _serve() -> None:
    """The nursery itself. Its standard input is the channel."""
    from runtime.cli import run

    _load()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as channel:
        running: set[int] = set()
        while True:
            data, fds, _, _ = socket.recv_fds(channel, _MOST, 2)
            if not data:
                break
            asked = json.loads(data)
            if "start" in asked:
                pid = os.fork()
                if pid == 0:
                    channel.close()
                    _become(fds, asked["environment"])
                    sys.exit(run(asked["start"]))
                running.add(pid)
                for fd in fds:
                    os.close(fd)
                answer: dict[str, int | None] = {"pid": pid}
            else:
                answer = {"status": None}
                pid, status = os.waitpid(asked["poll"], os.WNOHANG)
                if pid:
                    running.discard(pid)
                    answer = {"status": os.waitstatus_to_exitcode(status)}
            channel.send(json.dumps(answer).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _load() -> None:
    """What the commands import when they run."""
    for module in pkgutil.iter_modules(runtime.commands.__path__, "runtime.commands."):
        import_module(module.name)
    for name in _LATE:
        import_module(name)


def _become(fds: Sequence[int], environment: dict[str, str]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, fd in enumerate([nothing, *fds]):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()


if __name__ == "__main__":
    _serve()
