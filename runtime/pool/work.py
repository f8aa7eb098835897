"""One unit of a scrub or `fsck`, done in whatever process it landed in, or a cluster.

A process opens the store once and keeps it. It needs what the command itself needs:
the data folder at the same path, and the same settings.
"""

import atexit
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import select

from archive.fsck import check_package
from kernel.errors import CodedError
from kernel.ids import IdKind, is_id
from ledger.merkle import TILE_WIDTH
from ledger.problems import Problem, quiet
from ledger.records import Row
from ledger.scrub import scrub_bundles
from materials_api.fsck.scrub import ContentScrub, Known
from runtime.fsck_checks import check
from runtime.pool.pace import PacedObjects
from runtime.pool.units import Bundles, Checked, Objects, Result, Unit
from runtime.store import Store, open_store
from storage.database import ReadTx
from storage.errors import ObjectMissing
from storage.objects import SealedObjects
from storage.tables import objects

_NO_OBJECT = "0" * 32  # a key that no object has


@dataclass(frozen=True, slots=True)
class Job:
    """What all units share. `bytes_per_second`: this process's share of the rate."""

    data: Path
    bytes_per_second: float | None


def work(job: Job, unit: Unit) -> Result:
    """Do one unit. Whatever refusal ends it is told in the result: exceptions with
    details do not travel between processes."""
    try:
        worker = _worker(job)
        if isinstance(unit, Checked):
            return worker.checked(unit)
        return worker.bundles(unit) if isinstance(unit, Bundles) else worker.objects(unit)
    except CodedError as error:
        return Result(failure=error.code)


@lru_cache(maxsize=1)
def _worker(job: Job) -> "Worker":
    opened = ExitStack()
    atexit.register(opened.close)
    return Worker(opened.enter_context(open_store(job.data)), job.bytes_per_second)


@dataclass(frozen=True, slots=True)
class Package:
    """Content that the archive keeps."""

    export_id: str
    object_key: str


class Worker:
    """Does units in an open store. For one thread."""

    def __init__(self, store: Store, bytes_per_second: float | None = None) -> None:
        self._opened = store
        self._database = store.database
        self._ledger = store.ledger
        self._store = store.object_store
        self._objects = SealedObjects(
            self._store
            if bytes_per_second is None
            else PacedObjects(self._store, bytes_per_second),
            store.vault,
        )
        self._contents = ContentScrub(store.materials, self._objects)

    def checked(self, unit: Checked) -> Result:
        return Result(problems=check(self._opened, unit.check, quiet, unit.share))

    def bundles(self, unit: Bundles) -> Result:
        problems = scrub_bundles(self._ledger, unit.shard, unit.size, range(unit.first, unit.stop))
        entries = min(unit.size, unit.stop * TILE_WIDTH) - unit.first * TILE_WIDTH
        return Result(entries=entries, problems=problems)

    def objects(self, unit: Objects) -> Result:
        query = select(objects).where(
            objects.c.object_key.in_(unit.keys), objects.c.erased_at.is_(None)
        )
        with self._database.read() as tx:
            rows = tx.all(query)
            # All of it at once: to begin a transaction costs more than to read a record.
            known = [self._known(tx, row) for row in rows]
        looked = ((row, self._compare(one)) for row, one in zip(rows, known, strict=True))
        found = [self._again(row["object_key"]) for row, problem in looked if problem is not None]
        return Result(
            objects=len(rows),
            bytes=sum(row["cipher_size"] for row in rows),
            problems=[one for one in found if one is not None],
        )

    def _again(self, object_key: str) -> Problem | None:
        """What is still wrong with an object that a moment ago was not as it should be."""
        # A folder or a bucket that does not answer at all says nothing of one object.
        with suppress(ObjectMissing):
            self._store.size(_NO_OBJECT)
        with self._database.read() as tx:
            row = tx.one(select(objects).where(objects.c.object_key == object_key))
            if row is None or row["erased_at"] is not None:
                return None  # swept or erased meanwhile
            known = self._known(tx, row)
        return self._compare(known)

    def _known(self, tx: ReadTx, row: Row) -> Known | Package | Problem:
        object_key, owner = row["object_key"], row["claimed_by"]
        if is_id(str(owner), IdKind.EXPORT):
            return Package(owner, object_key)
        return self._contents.known(tx, object_key, owner)

    def _compare(self, known: Known | Package | Problem) -> Problem | None:
        if isinstance(known, Problem):
            return known
        if isinstance(known, Package):
            with self._database.read() as tx:
                found = check_package(self._objects, tx, known.export_id, known.object_key)
            return next(iter(found), None)
        return self._contents.compare(known)
