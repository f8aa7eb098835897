"""The sequencer's ports, in memory, failing as the schedule says and watched by the oracle.

The database is SQLite in memory under the product's own statements; transactions are
whole, one after the other. What a real database does between the statements of two
transactions is left to the tests of the real one.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from ledger.checkpoints import parse_checkpoint
from ledger.errors import CheckpointNotMonotone, TileMissing
from ledger.keys import Ed25519Signer
from ledger.tiles import TilePath
from storage.database import ReadTx, WriteTx
from storage.errors import ImmutableConflict, ObjectMissing
from tests.simulation.oracle import NO_HEAD, HeadRow, Oracle
from tests.simulation.schedule import Process, Schedule

SHARD = "2026"
_HEAD = (
    "SELECT epoch, staged_size, size, root, checkpoint, successor FROM ledger_heads WHERE shard = ?"
)
_ROWS = (
    "SELECT leaf_index, entry_id, leaf FROM ledger_entries"
    " WHERE shard = ? AND leaf_index >= ? ORDER BY leaf_index"
)
_STEPS = ("take_over", "stage", "commit", "end")


class MemoryDatabase:
    """Rows in memory, shared by all processes: see `SimulatedDatabase`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        driver: Any = connection.connection.driver_connection
        self.driver = driver

    def head(self, shard: str = SHARD) -> HeadRow:
        """Before its shard is begun: an empty one."""
        row = self.driver.execute(_HEAD, (shard,)).fetchone()
        return HeadRow(*row) if row else NO_HEAD

    def transact(
        self, work: Callable[[WriteTx], Any], process: str, oracles: Mapping[str, Oracle]
    ) -> Any:
        before = {shard: self.head(shard) for shard in oracles}
        tx = WriteTx(self.connection)
        self.driver.execute("BEGIN IMMEDIATE")
        try:
            value = work(tx)
        except BaseException:
            self.driver.execute("ROLLBACK")
            raise
        self.driver.execute("COMMIT")
        for shard, oracle in oracles.items():
            after = self.head(shard)
            oracle.swapped(process, before[shard], after)
            if after.staged != before[shard].staged or "sequencer" in process:
                rows = self.driver.execute(_ROWS, (shard, oracle.base)).fetchall()
                oracle.assigned(rows, after.staged)
        return value


class SimulatedDatabase:
    """The `Database` of one process."""

    def __init__(
        self,
        memory: MemoryDatabase,
        process: Process,
        schedule: Schedule,
        oracles: Mapping[str, Oracle],
    ) -> None:
        """`oracles`: one for each shard."""
        self._memory, self._process = memory, process
        self._schedule, self._oracles = schedule, oracles

    @contextmanager
    def read(self) -> Iterator[ReadTx]:
        self._schedule.call(self._process, "read", lambda: None, late=False)
        yield ReadTx(self._memory.connection)

    def write(self, work: Callable[[WriteTx], Any]) -> Any:
        code = getattr(work, "__code__", None)
        names = (*getattr(code, "co_names", ()), *getattr(code, "co_freevars", ()))
        step = next((name for name in names if name in _STEPS), "record")
        memory, name = self._memory, self._process.name
        return self._schedule.call(
            self._process, step, lambda: memory.transact(work, name, self._oracles)
        )


class SimulatedTiles:
    """The `TileStore` of one process. A batch is stored blob by blob, others in between."""

    def __init__(
        self,
        blobs: "Blobs",
        process: Process,
        schedule: Schedule,
    ) -> None:
        self.blobs, self.process, self.schedule = blobs, process, schedule

    def put(self, blobs: Mapping[TilePath, bytes]) -> None:
        items = list(blobs.items())
        middle = self.schedule.rng.randrange(len(items) + 1) if items else 0
        for part in (items[:middle], items[middle:]):
            self.schedule.call(
                self.process,
                "put",
                lambda part=part: self.blobs.put(part),
                half=lambda part=part: self.blobs.put(part[: len(part) // 2]),
                flipped=lambda part=part: self.blobs.put(part, wrong=self.schedule.rng.random()),
                twice=True,
            )

    def get(self, path: TilePath) -> bytes:
        data: bytes = self.schedule.call(
            self.process,
            f"get {path.text}",
            lambda: self.blobs.get(path),
            flipped=lambda: flip(self.blobs.get(path), self.schedule.rng.random()),
            late=False,
        )
        return data

    def get_many(self, paths: Iterable[TilePath]) -> dict[TilePath, bytes]:
        # A set has another order in every process, and a seed would be another run there.
        return {path: self.get(path) for path in sorted(paths, key=lambda one: one.text)}

    def publish(self, checkpoint: bytes) -> None:
        self.schedule.call(
            self.process, "publish", lambda: self.blobs.publish(checkpoint), twice=True
        )

    def checkpoint(self) -> bytes | None:
        found: bytes | None = self.schedule.call(
            self.process, "get checkpoint", lambda: self.blobs.checkpoint, late=False
        )
        return found

    def names(self) -> Iterator[str]:
        yield from [path.text for path in self.blobs.oracle.blobs]

    def discard_partials(self, path: TilePath) -> None:
        self.schedule.call(self.process, "discard", lambda: self.blobs.discard(path), twice=True)

    def discard(self, path: TilePath) -> None:
        raise AssertionError("only a restore takes back what was written")

    def sweep(self) -> None:
        self.schedule.call(self.process, "sweep", lambda: None)


class Blobs:
    """What the tile store holds, as its port promises it."""

    def __init__(
        self,
        oracle: Oracle,
        memory: MemoryDatabase,
        checkpoint: bytes | None,
        shard: str = SHARD,
    ) -> None:
        self.oracle, self.memory = oracle, memory
        self.checkpoint, self.shard = checkpoint, shard

    def put(self, items: list[tuple[TilePath, bytes]], wrong: float | None = None) -> None:
        for number, (path, data) in enumerate(items):
            known = self.oracle.blobs.get(path)
            if known is not None:
                if known != data:
                    raise ImmutableConflict(path=path.text)
                continue
            if wrong is not None and number == int(wrong * len(items)):
                data = flip(data, wrong)
                self.oracle.flipped.add(path)
            self.store(path, data)

    def store(self, path: TilePath, data: bytes) -> None:
        before = self.oracle.blobs.get(path)
        self.oracle.blobs[path] = data
        self.oracle.stored(path, before)

    def get(self, path: TilePath) -> bytes:
        data = self.oracle.blobs.get(path)
        if data is None:
            raise TileMissing(path=path.text)
        return data

    def publish(self, checkpoint: bytes) -> None:
        offered = parse_checkpoint(checkpoint).checkpoint
        if self.checkpoint is not None:
            current = parse_checkpoint(self.checkpoint).checkpoint
            same = current.size == offered.size and current.root == offered.root
            if current.size > offered.size or (current.size == offered.size and not same):
                raise CheckpointNotMonotone(published=current.size, offered=offered.size)
        self.replace(checkpoint)

    def replace(self, checkpoint: bytes) -> None:
        head = parse_checkpoint(checkpoint).checkpoint
        self.checkpoint = checkpoint
        self.oracle.publishes(head.size, head.root, self.memory.head(self.shard))

    def discard(self, path: TilePath) -> None:
        for known in [one for one in self.oracle.blobs if not one.full and one.whole() == path]:
            self.remove(known)

    def remove(self, path: TilePath) -> None:
        del self.oracle.blobs[path]
        self.oracle.rotten.discard(path)
        self.oracle.flipped.discard(path)
        self.oracle.removed(path)


class SimulatedSigner:
    """The signer of one process; every signature is the oracle's to see."""

    def __init__(
        self, inner: Ed25519Signer, process: Process, schedule: Schedule, oracle: Oracle
    ) -> None:
        self._inner, self._process = inner, process
        self._schedule, self._oracle = schedule, oracle
        self.key = inner.key

    def prepare(self) -> None:
        self._inner.prepare()

    def sign(self, text: str) -> bytes:
        _, size, root, _ = text.split("\n")

        def effect() -> bytes:
            self._oracle.signs(int(size), base64.b64decode(root))
            return self._inner.sign(text)

        signature: bytes = self._schedule.call(self._process, "sign", effect, late=False)
        return signature


def flip(data: bytes, where: float) -> bytes:
    """The data with one bit changed; `where` is from 0 to 1."""
    if not data:
        return data
    bit = int(where * len(data) * 8)
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


class MemoryObjects:
    """What the sequencer needs of an object store: small objects, written once."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        for key, data in items:
            assert self._objects.setdefault(key, data) == data

    def size(self, key: str) -> int:
        if key not in self._objects:
            raise ObjectMissing()
        return len(self._objects[key])
