"""A real server process on loopback, for the demo and for whoever tries it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.demo.errors import ServerDidNotStart

SERVE = (sys.executable, "-m", "runtime.cli", "serve", "--port", "0", "--json")
"""The command of a server on a free port that says where it is; `--data DATA` follows."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its base URL and process id."""

    url: str
    pid: int


@contextmanager
def running_server(data: Path) -> Iterator[Server]:
    """Start `mianjiao serve` on a free port; yield where it is; stop it gently.

    The server says on its first line of output where it listens. Stopping
    sends SIGTERM and waits for the ledger to close.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command, no shell
        [*SERVE, "--data", str(data)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - asked for a pipe
        line = process.stdout.readline()
        if not line:
            raise ServerDidNotStart(status=process.wait())
        yield Server(str(json.loads(line)["url"]), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
