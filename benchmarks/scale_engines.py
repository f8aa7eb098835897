"""Where the rows of the measured stores lie: a SQLite file each, or a PostgreSQL database each.

The PostgreSQL is the one of the wheel, with its data in the measured folder, the defaults of
the server, and no network: whoever measures needs nothing installed. Its database of a size
is called `scale_<size>`.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg
from pydantic import SecretStr

from runtime.settings import Settings
from runtime.store import DATABASE
from scripts.up import programs

ENGINES = ("sqlite", "postgresql")
USER = "postgres"
LARGE = 1_000  # rows: reading more of a table from end to end for one window would show
_START_SECONDS = 60.0
_STATISTICS_SECONDS = 2.0  # sessions tell theirs a second late at most
_TICK = os.sysconf("SC_CLK_TCK")


class Engine(Protocol):
    """`name`: of a store's folder, its size or `growing`."""

    def settings(self, name: str) -> Settings: ...

    def environment(self, name: str) -> Mapping[str, str]:
        """The same for another process."""

    def copy(self, name: str, target: str) -> None:
        """Copy the rows of a closed store, where they do not lie in its folder."""

    def rename(self, name: str, target: str) -> None:
        """Likewise."""

    def size(self, data: Path) -> int:
        """Bytes of the rows with their indexes, and of SQLite's write-ahead log."""

    def cpu(self) -> float:
        """Seconds of processor that the server used so far; 0 where there is none."""

    def scanned(self, name: str) -> dict[str, int]:
        """Rows that were read by going through large tables from end to end, by table."""


class Sqlite:
    def settings(self, _name: str) -> Settings:
        return Settings()

    def environment(self, _name: str) -> Mapping[str, str]:
        return {}

    def copy(self, name: str, target: str) -> None:
        """The file is in the folder."""

    def rename(self, name: str, target: str) -> None:
        """The file is in the folder."""

    def size(self, data: Path) -> int:
        return sum(one.stat().st_size for one in data.glob(f"{DATABASE}*"))

    def cpu(self) -> float:
        return 0.0

    def scanned(self, _name: str) -> dict[str, int]:
        return {}  # `tests/runtime/fsck/test_query_plans.py` asks SQLite for its plans


class Postgresql:
    """One server for all stores, while it runs."""

    def __init__(self, process: int, socket: Path) -> None:
        self._process = process
        self._socket = socket

    def settings(self, name: str) -> Settings:
        return Settings(database_url=SecretStr(self._url(name)))

    def environment(self, name: str) -> Mapping[str, str]:
        return {"MIANJIAO_DATABASE_URL": self._url(name)}

    def create(self, name: str) -> None:
        self._admin(
            f"CREATE DATABASE {_database(name)} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
        )

    def copy(self, name: str, target: str) -> None:
        self._admin(f"CREATE DATABASE {_database(target)} TEMPLATE {_database(name)}")

    def rename(self, name: str, target: str) -> None:
        self._admin(f"ALTER DATABASE {_database(name)} RENAME TO {_database(target)}")

    def size(self, data: Path) -> int:
        (row,) = self._admin(f"SELECT pg_database_size('{_database(data.name)}')")
        return int(row[0])

    def analyze(self, name: str) -> None:
        """What autovacuum does some time after a store was filled."""
        self._admin("VACUUM ANALYZE", name)

    def cpu(self) -> float:
        ended = Path(f"/proc/{self._process}/stat").read_text().rpartition(")")[2].split()
        total = sum(int(one) for one in ended[11:15]) / _TICK  # of itself and its dead
        children = Path(f"/proc/{self._process}/task/{self._process}/children").read_text()
        for child in children.split():
            with suppress(FileNotFoundError, ProcessLookupError):
                total += int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) / 1e9
        return total

    def scanned(self, name: str) -> dict[str, int]:
        time.sleep(_STATISTICS_SECONDS)
        query = "SELECT relname, seq_tup_read, n_live_tup FROM pg_stat_user_tables ORDER BY relname"
        return {table: read for table, read, rows in self._admin(query, name) if rows > LARGE}

    def _url(self, name: str) -> str:
        return f"postgresql://{USER}@/{_database(name)}?host={self._socket}"

    def _admin(self, sql: str, name: str | None = None) -> list[tuple[Any, ...]]:
        database = "postgres" if name is None else _database(name)
        with psycopg.connect(
            dbname=database, user=USER, host=str(self._socket), autocommit=True
        ) as connection:
            done = connection.execute(sql.encode())
            return done.fetchall() if done.description is not None else []


def _database(name: str) -> str:
    return f"scale_{name}"


@contextmanager
def engine(name: str, folder: Path) -> Iterator[Sqlite | Postgresql]:
    """`sqlite`; or `postgresql`, running until the block ends on its data in `folder`."""
    if name == "sqlite":
        yield Sqlite()
        return
    folder.mkdir(exist_ok=True)
    # Short, as the path of a Unix socket has at most 107 bytes.
    socket = Path(tempfile.mkdtemp(prefix="mj-scale-"))
    try:
        process = _started(folder.resolve() / "postgresql", socket)
        try:
            yield Postgresql(process.pid, socket)
        finally:
            process.terminate()  # waits for its sessions, which are closed
            process.wait()
    finally:
        shutil.rmtree(socket, ignore_errors=True)


def _started(folder: Path, socket: Path) -> "subprocess.Popen[bytes]":
    user = programs.unprivileged()
    folder.mkdir(exist_ok=True)
    for one in (folder, socket):
        if user is not None:
            os.chown(one, user, -1)
    bin_folder, rows = programs.postgres(folder), folder / "rows"
    if not rows.exists():
        subprocess.run(
            [
                str(bin_folder / "initdb"), "-D", str(rows), "-U", USER, "--auth=trust",
                "--encoding=UTF8", "--locale=C",
            ],
            check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [
                str(bin_folder / "postgres"), "-D", str(rows), "-k", str(socket),
                "-c", "listen_addresses=",
            ],
            stdout=log, stderr=log, user=user, cwd=folder,
        )  # fmt: skip
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(psycopg.OperationalError):
            psycopg.connect(dbname="postgres", user=USER, host=str(socket)).close()
            return process
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"PostgreSQL did not start: see {folder / 'server.log'}")
        time.sleep(0.05)
