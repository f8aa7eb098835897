"""How the processes of a store are started, killed and checked: a parameter of the loop.

A host of another kind (several processes, another database) needs these
methods; the loop, its clients and its checks stay as they are.
"""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psycopg

from runtime.demo.server import SERVE
from tests.nursery import Child, nursery
from tests.postgres_server import PostgresServer

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60
DATABASE = "kills"
SETTING = "MIANJIAO_DATABASE_URL"


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

    def ids(self, query: str) -> set[str]:
        """The first column of a query, asked of the rows while the store is served."""
        ...

    def close(self) -> None: ...


class ForkingHost:
    """`mianjiao serve`, forked from a process that has loaded the program already."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self._log = log.open("ab")
        self._child: Child | None = None

    def start(self) -> None:
        self._child = nursery().start(
            "serve", "--data", self.data, "--port", "0", "--json", errors=self._log
        )

    def url(self) -> str:
        assert self._child is not None
        with _limit(self._child):
            line = self._child.stdout.readline()
        assert line, "the server ended by itself: see its log"
        return str(json.loads(line)["url"])

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        assert self._child.wait() == -signal.SIGKILL, "the server ended by itself: see its log"
        self._child.stdout.close()

    def problems(self) -> list[str]:
        return _problems(self.data)

    def ids(self, query: str) -> set[str]:
        return _ids_on_sqlite(self.data, query)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._log.close()


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
        return _problems(self.data)

    def ids(self, query: str) -> set[str]:
        return _ids_on_sqlite(self.data, query)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=30)
        self._log.close()


class PostgresHost(ForkingHost):
    """An API process over a PostgreSQL server of its own; either may be what is killed.

    A kill strikes the API alone (1 in 3), the server whole, its first process, or one of its
    sessions while the API lives on, or both at once. `start` brings back what is missing.
    The environment must name `server`: see `postgres_store`.
    """

    def __init__(self, data: Path, log: Path, server: PostgresServer, seed: int) -> None:
        super().__init__(data, log)
        self._server = server
        self._rng = random.Random(seed)
        self._url = ""  # of the API that lives
        self._server_lives = True
        self.struck: Counter[str] = Counter()

    def start(self) -> None:
        self._start_server()
        if not self._url:
            # It may be starting its sessions anew, as one was killed: no error of the API's.
            self._server.wait()
            super().start()

    def url(self) -> str:
        self._url = self._url or super().url()
        return self._url

    def kill(self) -> None:
        strikes = ("api", "api", "server", "postmaster", "session", "both")
        # A server that is gone while the API starts is an error of its start.
        what = self._rng.choice(strikes) if self._url else "api"
        self.struck[what] += 1
        if what in ("server", "both"):
            self._server.kill()
        elif what == "postmaster":
            self._server.kill_postmaster()
        elif what == "session":
            self._server.kill_session(self._rng)
        self._server_lives = what in ("api", "session")
        if what in ("api", "both"):
            self._url = ""
            super().kill()

    def problems(self) -> list[str]:
        self._start_server()
        self._server.wait()
        return super().problems()

    def ids(self, query: str) -> set[str]:
        with psycopg.connect(self._server.plain_url(DATABASE)) as connection:
            return {str(row[0]) for row in connection.execute(query.encode())}

    def close(self) -> None:
        if self._url:
            super().kill()
        super().close()

    def _start_server(self) -> None:
        if not self._server_lives:
            self._server.start()
            self._server_lives = True


@contextlib.contextmanager
def postgres_store(data: Path) -> Iterator[tuple[PostgresServer, dict[str, str]]]:
    """A fresh store on a server of its own, which the environment names meanwhile, with
    everybody's tokens."""
    from tests.kills.loop import make_store

    server = PostgresServer()
    server.admin(f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    before = os.environ.get(SETTING)
    os.environ[SETTING] = server.url(DATABASE).render_as_string(hide_password=False)
    try:
        yield server, make_store(data)
    finally:
        if before is None:
            del os.environ[SETTING]
        else:
            os.environ[SETTING] = before
        server.close()


def _problems(data: Path) -> list[str]:
    done = nursery().run("fsck", "--data", data, "--json")
    assert done.returncode in (0, 1), done.stderr
    return [f"{one['code']} {one['where']}" for one in json.loads(done.stdout)["problems"]]


def _ids_on_sqlite(data: Path, query: str) -> set[str]:
    path = data / "mianjiao.sqlite3"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as rows:
        return {row[0] for row in rows.execute(query)}


@contextlib.contextmanager
def _limit(process: "subprocess.Popen[str] | Child") -> Iterator[None]:
    """A server that never answers must not hold the loop for ever."""
    timer = threading.Timer(READY_SECONDS, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
