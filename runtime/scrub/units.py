"""The work of a scrub, cut into units that may be done anywhere, in any order.

A unit names what to look at and nothing else; whoever does it opens the store
itself. They are planned in order, so that one mark tells what is done.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import func, select

from ledger.problems import Problem
from ledger.scrub import bundle_count
from storage.database import Database
from storage.tables import objects

BUNDLES_AT_ONCE = 16  # 4,096 entries: about a second
OBJECTS_AT_ONCE = 256
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundles:
    """Bundles [first, stop) of the published tree of `size` leaves."""

    first: int
    stop: int
    size: int


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects by key, at least one, in order."""

    keys: tuple[str, ...]


Unit: TypeAlias = Bundles | Objects


@dataclass(frozen=True, slots=True)
class Result:
    """What one unit looked at and found. `failure`: the code of what kept it from its end."""

    entries: int = 0
    objects: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    failure: str | None = None


def plan_bundles(size: int, first: int) -> Iterator[Bundles]:
    """The bundles from number `first` on."""
    count = bundle_count(size)
    for start in range(first, count, BUNDLES_AT_ONCE):
        yield Bundles(start, min(start + BUNDLES_AT_ONCE, count), size)


def plan_objects(database: Database, after: str, most: int) -> Iterator[Objects]:
    """All objects whose key follows `after`; a unit of several holds at most `most` bytes.

    What is stored meanwhile may be missed: it was just written, and the next scrub has it.
    """
    columns = objects.c
    while True:
        with database.read() as tx:
            rows = tx.all(
                select(columns.object_key, columns.cipher_size)
                .where(columns.object_key > after)
                .order_by(columns.object_key)
                .limit(OBJECTS_AT_ONCE)
            )
        if not rows:
            return
        keys: list[str] = []
        size = 0
        for row in rows:
            if keys and size + row["cipher_size"] > most:
                break
            keys.append(row["object_key"])
            size += row["cipher_size"]
        after = keys[-1]
        yield Objects(tuple(keys))


def count_objects(database: Database) -> int:
    """Those that are not erased."""
    query = select(func.count()).where(objects.c.erased_at.is_(None))
    with database.read() as tx:
        return int(tx.scalar(query))
