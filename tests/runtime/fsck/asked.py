"""What a store asks of its database, and how much more each question costs in a larger city."""

import re
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, event
from sqlalchemy.engine import Engine

from storage.database.statements import Answer, Statements
from storage.database.statements import Asked as Statement
from tests.runtime.fsck.grown import City

# Rows of each table: more than the pages of a list show in all of its states.
_SMALLER, _LARGER = 1_000, 3_000
_GROWS = (_LARGER - _SMALLER) // 2
_EXAMPLES = 3
_TICK = 50  # instructions of SQLite

Examples = Mapping[str, Sequence[tuple[str, Any]]]
"""Statements with their values, by their form."""


class Asked:
    """Statements with their values, by their form, and how often each was asked."""

    def __init__(self) -> None:
        self.examples: dict[str, list[tuple[str, Any]]] = {}
        self.times: Counter[str] = Counter()
        self._listens = True

    def note(self, statement: str, parameters: Any = None) -> None:
        found = re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)\b", statement, re.IGNORECASE)
        if self._listens and found and "INSERT INTO" not in statement:
            form = re.sub(r"(%(\(\w+\))?s|\$\d+)(::\w+)?", "?", statement)
            form = re.sub(r"X?'(?:[^']|'')*'|(?<![\w.])\d+(?![\w.])", "?", form)
            form = re.sub(r"\?(\s*,\s*\?)+", "?, …", re.sub(r"\s+", " ", form)).strip()
            known = self.examples.setdefault(form, [])
            if len(known) < _EXAMPLES:
                known.append((statement, parameters))
            self.times[form] += 1

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """For what only the test asks."""
        self._listens = False
        try:
            yield
        finally:
            self._listens = True


@contextmanager
def listening() -> Iterator[Asked]:
    """What is asked on connections that are opened meanwhile."""
    asked = Asked()

    class Noting(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
            asked.note(query if isinstance(query, str) else bytes(query).decode(), params)
            return super().execute(query, params, **more)

    class NotingStatements(Statements):
        def ask(self, asked_now: Sequence[Statement]) -> list[Answer]:
            for one in asked_now:
                asked.note(one.sql.decode(), list(one.values))
            return super().ask(asked_now)

    def connected(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(asked.note)
        else:
            own = connection.cursor_factory
            connection.cursor_factory = type("NotingCursor", (Noting, own), {})
            connection.statements = NotingStatements(connection)

    event.listen(Engine, "connect", connected)
    try:
        yield asked
    finally:
        event.remove(Engine, "connect", connected)


class Measured(ABC):
    """A closed store's database that grows while statements are asked of it."""

    def __init__(self) -> None:
        self._city = City(self.execute, self.dialect)

    dialect: str

    @abstractmethod
    def execute(self, sql: str) -> Any: ...

    @abstractmethod
    def cost(self, statement: str, parameters: Any) -> int:
        """Of this statement, which changes nothing for good."""

    def growing(self, asked: Examples) -> dict[str, int]:
        """Forms whose cost grows with the rows of the city, and by how much."""
        smaller = self._costs(asked, _SMALLER)
        larger = self._costs(asked, _LARGER)
        more = {form: larger[form] - smaller[form] for form in larger}
        return {form: cost for form, cost in more.items() if cost > _GROWS}

    def _costs(self, asked: Examples, rows: int) -> dict[str, int]:
        self._city.grow(rows)
        self.execute("ANALYZE" if self.dialect == "postgresql" else "SELECT 1")
        return {
            form: max(self.cost(*example) for example in examples)
            for form, examples in asked.items()
        }


class OnSqlite(Measured):
    """Costs are instructions of its machine: three and more for each row that is read. Never
    analysed, as the product's are not."""

    dialect = "sqlite"

    def __init__(self, file: Path) -> None:
        self._driver = sqlite3.connect(file, isolation_level=None)
        self._ticks = 0
        self.execute("PRAGMA synchronous = OFF")
        super().__init__()

    def execute(self, sql: str) -> Any:
        return self._driver.execute(sql)

    def cost(self, statement: str, parameters: Any) -> int:
        assert parameters is None
        self._ticks = 0
        self.execute("BEGIN")
        self._driver.set_progress_handler(self._tick, _TICK)
        try:
            self._driver.execute(statement).fetchall()
        finally:
            self._driver.set_progress_handler(None, 0)
            self.execute("ROLLBACK")
        return self._ticks * _TICK

    def _tick(self) -> int:
        self._ticks += 1
        return 0

    def close(self) -> None:
        self._driver.close()


class OnPostgresql(Measured):
    """Costs are the rows that the plan's scans read, those that a filter threw away too."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._driver = psycopg.connect(plain, autocommit=True)
        self.execute("SET session_replication_role = replica")  # checks no foreign keys
        self.execute("SET synchronous_commit = off")
        # Of so few rows it would read all rather than look for a page of them in an index.
        self.execute("SET enable_seqscan = off")
        super().__init__()

    def execute(self, sql: str) -> Any:
        return self._driver.execute(sql.encode())

    def cost(self, statement: str, parameters: Any) -> int:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        with self._driver.transaction(force_rollback=True):
            # A list goes with `$1`, `$2`, … (`storage.database.statements`).
            raw = isinstance(parameters, list)
            cursor = psycopg.RawCursor(self._driver) if raw else self._driver.cursor()
            row = cursor.execute(explain.encode(), parameters).fetchone()
        assert row is not None
        return _read(row[0][0]["Plan"])

    def close(self) -> None:
        self._driver.close()


def _read(node: dict[str, Any]) -> int:
    below = sum(_read(one) for one in node.get("Plans", ()))
    if "Scan" not in node["Node Type"] or node["Node Type"] == "Subquery Scan":
        return below
    each = sum(
        node.get(name, 0)
        for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    return below + round(each * node["Actual Loops"])
