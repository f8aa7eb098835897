"""Tests on both engines: where the database of a test lies.

`engine.place(path)` is what `Database` opens: on SQLite the path itself, on PostgreSQL
the URL of a database of its own that holds the whole schema; the same path gives the
same database again. `engine.copy` goes with a copied folder.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
from pydantic import SecretStr
from sqlalchemy import URL, make_url

from migrations.apply import upgrade
from migrations.schema import metadata
from runtime.settings import Settings
from tests.postgres_server import PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"
EMPTY, _TEMPLATE = "template0", "schema"
_KEPT = 40  # databases of past tests; the oldest is dropped when there are more


class GivenServer:
    """The server of `DATABASE_URL`, whose user may create databases."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")

    def url(self, database: str) -> URL:
        return self._url.set(database=database)

    def admin(self, sql: str) -> None:
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql)  # type: ignore[call-overload]

    def copy(self, name: str, template: str) -> None:
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template}")

    def close(self) -> None:
        """It is not ours to stop."""


class Servers:
    """The PostgreSQL of this session and worker: started when it is first needed."""

    def __init__(self, server: PostgresServer | None = None) -> None:
        self._server: PostgresServer | GivenServer | None = server
        self._numbers = itertools.count()
        self._prefix = f"mj{os.getpid()}"
        self._made: list[str] = []
        self._has_template = False

    @property
    def server(self) -> PostgresServer | GivenServer:
        if self._server is None:
            given = os.environ.get("DATABASE_URL")
            self._server = GivenServer(given) if given else PostgresServer()
        return self._server

    def database(self, template: str | None = None) -> str:
        """A new database, a copy of `template`; None: a new one at the program's schema."""
        if template is None:
            template = f"{self._prefix}_{_TEMPLATE}"
            if not self._has_template:
                self._empty(template)
                upgrade(self.server.url(template))
                self._has_template = True
        name = f"{self._prefix}_{next(self._numbers)}"
        if template == EMPTY:
            self._empty(name)
        else:
            self.server.copy(name, template)
        self._made.append(name)
        while len(self._made) > _KEPT:
            self._drop(self._made.pop(0))
        return name

    def keep(self, name: str) -> None:
        """It serves as a template and outlives its test."""
        with suppress(ValueError):
            self._made.remove(name)

    def close(self) -> None:
        if self._server is not None:
            if isinstance(self._server, GivenServer):
                for name in [*self._made, f"{self._prefix}_{_TEMPLATE}"]:
                    self._drop(name)
            self._server.close()

    def _empty(self, name: str) -> None:
        self.server.admin(f"CREATE DATABASE {name} TEMPLATE {EMPTY} ENCODING 'UTF8' LOCALE 'C'")

    def _drop(self, name: str) -> None:
        with suppress(psycopg.Error):  # a test left it open: the server goes with all of them
            self.server.admin(f"DROP DATABASE IF EXISTS {name}")


class Engine:
    """One of the two, for the tests of a session."""

    def __init__(self, name: str, servers: Servers) -> None:
        self.name = name
        self._servers = servers
        self._databases: dict[Path, str] = {}

    @property
    def is_sqlite(self) -> bool:
        return self.name == SQLITE

    def place(self, path: Path, *, empty: bool = False) -> Path | URL:
        """Where the database that would lie at `path` is. `empty`: without the schema."""
        if self.is_sqlite:
            return path
        known = self._databases.get(path)
        if known is None:
            known = self._servers.database(EMPTY if empty else None)
            self._databases[path] = known
        return self._servers.server.url(known)

    def settings(self, path: Path) -> Settings:
        """The settings of a store whose database would lie at `path`."""
        place = self.place(path)
        if isinstance(place, Path):
            return Settings()
        return Settings(database_url=SecretStr(place.render_as_string(hide_password=False)))

    def environment(self, path: Path) -> dict[str, str]:
        """`settings` for commands and other processes."""
        url = self.settings(path).database_url
        return {} if url is None else {"MIANJIAO_DATABASE_URL": url.get_secret_value()}

    def snapshot(self, path: Path) -> Callable[[], None]:
        """Remember what the database at `path` holds; calling the result brings it back.
        Nobody may have it open, either time."""
        if self.is_sqlite:
            data = path.read_bytes()
            return lambda: _put_back(path, data)
        saved = self._servers.database(self._databases[path])

        def restore() -> None:
            self._databases[path] = saved

        return restore

    def content(self, path: Path) -> bytes:
        """All bytes of the rows that a dump would hold; none where the files hold them."""
        place = self.place(path)
        if isinstance(place, Path):
            return b""
        plain = place.set(drivername="postgresql").render_as_string(hide_password=False)
        found = bytearray()
        with psycopg.connect(plain) as connection:
            for table in metadata.tables:
                query = f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT BINARY)"  # noqa: S608
                with connection.cursor().copy(query) as rows:  # type: ignore[call-overload]
                    for part in rows:
                        found += part
        return bytes(found)

    def server_files(self, path: Path) -> dict[str, bytes] | None:
        """Every file of the PostgreSQL server, write-ahead log and all, but those of other
        databases; None where they are not ours to read."""
        server = self._servers.server
        if not isinstance(server, PostgresServer):
            return None
        server.admin("CHECKPOINT")
        with psycopg.connect(server.plain_url(self._databases[path])) as connection:
            query = "SELECT oid FROM pg_database WHERE datname = current_database()"
            (own,) = connection.execute(query).fetchone() or (0,)
        found = {}
        for file in sorted(server.data.rglob("*")):
            name = file.relative_to(server.data)
            other = name.parts[0] == "base" and name.parts[1:2] != (str(own),)
            if file.is_file() and not other:
                found[str(name)] = file.read_bytes()
        return found

    def copy(self, source: Path, target: Path) -> None:
        """The folder of `source` was copied: so is the database. Nobody may have it open."""
        if not self.is_sqlite:
            template = self._databases[source]
            self._servers.keep(template)
            self._databases[target] = self._servers.database(template)

    def copy_folder(self, source: Path, target: Path, file: str) -> Path:
        """`shutil.copytree` of a store whose database is `file` in it."""
        shutil.copytree(source, target)
        self.copy(source / file, target / file)
        return target


def _put_back(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for leftover in path.parent.glob(f"{path.name}-*"):
        leftover.unlink()


def chosen(option: str, marks: Collection[str]) -> Sequence[str]:
    """The engines of a test by `--engine` and its marks. `both`: tests marked
    both_engines run on each, the others on SQLite."""
    if "sqlite_only" in marks:
        return (SQLITE,)
    if "postgresql_only" in marks:
        return (POSTGRESQL,)
    if option == "both":
        return (SQLITE, POSTGRESQL) if "both_engines" in marks else (SQLITE,)
    return (option,)
