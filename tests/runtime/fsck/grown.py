"""A small store made as large as wanted: each of its rows again and again.

The copies differ as the rows of a city do. Ids and what else is unique differ, the same id
in the same way in every table, so that rows still belong together; times go on; and what a
city has few of (bodies, states, kinds) stays as it was.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from storage.database.metadata import Id, UtcDateTime, metadata

# Few rows, whatever the size of the city: one each shard, catalogue, request to erase,
# package that waits, principal that guessed.
FEW = {
    "alembic_version",
    "catalogue_versions",
    "code_tries",
    "erasures",
    "exports",
    "ledger_heads",
}
# Texts that name one thing; the others say of which kind it is.
_NAMES = {"object_key", "number", "scope", "project", "identifier", "key"}
_NUMBERS = {"leaf_index", "nonce", "anchor", "size"}
_BODIES = {"principal"}  # a counter's system has one credential for years
# What waits for something is little, however large the city is.
_DONE = {
    "ledger_entries": "leaf_index IS NOT NULL",
    "objects": "claimed_by IS NOT NULL AND erased_at IS NULL",
    "uploads": "used_at IS NOT NULL",
}
_STATES = {"chain_transactions": "'final'"}


class City:
    """The rows of a store, and as many copies of them as are asked for."""

    def __init__(self, execute: Callable[[str], Any], dialect: str) -> None:
        """`execute`: of a connection that checks no foreign keys, and is kept."""
        self._execute = execute
        self._lite = dialect == "sqlite"
        self._tables: dict[Table, int] = {}
        for table in metadata.sorted_tables:
            if table.name in FEW:
                continue
            done = _DONE.get(table.name, "1 = 1")
            execute(f"CREATE TEMP TABLE own_{table} AS SELECT * FROM {table} WHERE {done}")  # noqa: S608
            if self._own(table):
                self._tables[table] = 0

    def grow(self, rows: int) -> None:
        """Until each table that grows has at least so many copies."""
        for table, copies in self._tables.items():
            last = -(-rows // self._own(table))
            if last > copies:
                self._copy(table, copies + 1, last)
                self._tables[table] = last

    def _own(self, table: Table) -> int:
        return int(self._execute(f"SELECT count(*) FROM own_{table}").fetchone()[0])  # noqa: S608

    def _copy(self, table: Table, first: int, last: int) -> None:
        columns = [one for one in table.columns if not _numbered(one)]
        names = ", ".join(one.name for one in columns)
        values = ", ".join(self._copied(one) for one in columns)
        self._execute(
            f"WITH RECURSIVE n(i) AS"  # noqa: S608 - our own tables
            f" (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
            f" INSERT INTO {table} ({names}) SELECT {values} FROM n CROSS JOIN own_{table} AS own"
        )

    def _copied(self, column: Column[Any]) -> str:
        """This column of copy `i`."""
        name = f"own.{column.name}"
        if column.name in _BODIES:
            return name
        if column.name == "state" and column.table.name in _STATES:
            return _STATES[column.table.name]
        if column.type is Id or column.name == "entity":
            # As long as before: the last six of their random letters.
            start = (
                f"substr({name}, 1, {'max' if self._lite else 'greatest'}(length({name}) - 6, 0))"
            )
            number = "printf('%06d', i)" if self._lite else "lpad(i::text, 6, '0')"
            return f"{start} || {number}"
        if column.name in _NAMES:
            return f"{name} || '-' || i"
        if column.name in _NUMBERS:
            return f"{name} + i * 1000"
        if isinstance(column.type, LargeBinary) and _unique(column):
            return f"CAST({name} || '-' || i AS BLOB)" if self._lite else f"{name} || int4send(i)"
        if isinstance(column.type, UtcDateTime):
            later = f"strftime('%Y-%m-%d %H:%M:%f000', {name}, i || ' minutes')"
            return later if self._lite else f"{name} + i * interval '1 minute'"
        return name


def _numbered(column: Column[Any]) -> bool:
    """Whether the database numbers the rows by it."""
    return _alone(column) and isinstance(column.type, BigInteger | Integer)


def _unique(column: Column[Any]) -> bool:
    return bool(column.unique) or _alone(column)


def _alone(column: Column[Any]) -> bool:
    return column.primary_key and len(column.table.primary_key.columns) == 1
