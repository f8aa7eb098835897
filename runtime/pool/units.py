"""The work of a scrub or a shared `fsck`, in units that may be done anywhere, in any order.

A unit names what to look at and nothing else; whoever does it opens the store
itself. They are planned in order, so that one mark tells what is done.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import func, select

from ledger.fsck_reading import Share
from ledger.problems import Problem
from ledger.scrub import bundle_count
from storage.database import Database
from storage.tables import objects

BUNDLES_AT_ONCE = 16  # 4,096 entries: about a second
OBJECTS_AT_ONCE = 256
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundles:
    """Bundles [first, stop) of a shard's published tree of `size` leaves. `done`: how many
    bundles are done with these, those of earlier shards included."""

    shard: str
    first: int
    stop: int
    size: int
    done: int


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects by key, at least one, in order."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A check of `fsck`, or a share of its rows."""

    check: str
    share: Share


ScrubUnit: TypeAlias = Bundles | Objects
Unit: TypeAlias = ScrubUnit | Checked


@dataclass(frozen=True, slots=True)
class Result:
    """What one unit looked at and found. `failure`: the code of what kept it from its end."""

    entries: int = 0
    objects: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    failure: str | None = None


def plan_bundles(trees: Iterable[tuple[str, int]], done: int) -> Iterator[Bundles]:
    """All but the first `done` bundles. `trees`: shard and size of each, the oldest first;
    those that have ended do not grow any more, so the number stays good."""
    before = 0
    for shard, size in trees:
        count = bundle_count(size)
        for start in range(max(0, done - before), count, BUNDLES_AT_ONCE):
            stop = min(start + BUNDLES_AT_ONCE, count)
            yield Bundles(shard, start, stop, size, before + stop)
        before += count


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
