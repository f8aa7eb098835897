"""One seed: a log, the processes that write it, their clients, and what goes wrong."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import create_engine, select
from sqlalchemy.pool import StaticPool

import ledger.sequencer
from kernel.errors import CodedError
from kernel.ids import IdKind, new_id
from ledger import heads
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.journal import Journal, SealedRecords
from ledger.keys import Ed25519Signer
from ledger.leaves import OPENED, public_leaf
from ledger.merkle import verify_consistency
from ledger.reader import LogReader
from ledger.sequencer import Sequencer
from ledger.stops import COMPLETE, Stops, placed_stops
from ledger.tables import ledger_entries, ledger_heads
from storage.database import WriteTx
from storage.keyvault import FileKeyVault
from tests.simulation.oracle import Oracle, Tree, hash_leaf, needed
from tests.simulation.ports import (
    SHARD,
    Blobs,
    MemoryDatabase,
    MemoryObjects,
    SimulatedDatabase,
    SimulatedSigner,
    SimulatedTiles,
    flip,
)
from tests.simulation.schedule import Crash, Fault, Injected, Process, Schedule, Violation

ORIGIN = f"log.example/{SHARD}"
NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
BASES = (0, 1, 1, 200, 250, 255, 256, 257, 511)
HIGH = 65_530  # from here the third level of tiles is near; dear, so one seed in 25
POOL = 700  # entries that one seed can record
STEPS = 240
# The step at which most faults of a seed happen, if at any.
FOCUS = ("", "", "take_over", "stage", "put", "put", "sign", "commit", "publish", "publish")


@lru_cache(1)
def signer() -> Ed25519Signer:
    return Ed25519Signer(ORIGIN, bytes(range(32)))


@lru_cache(1)
def vault() -> FileKeyVault:
    return FileKeyVault({1: bytes(32)}, 1, bytes(32))


@lru_cache(1)
def journal() -> tuple[Journal, SealedRecords]:
    """A journal, and sealed records for any seed to write; one in five stops something."""
    made = Journal(vault())
    rows = [
        ("case.noted" if number % 5 else "capacity.ended", new_id(IdKind.CASE), {"n": number})
        for number in range(POOL)
    ]
    return made, made.seal(NOON, rows)


@dataclass(frozen=True)
class Base:
    """A log of some size, from which seeds start: its rows, tree, tiles and checkpoint."""

    rows: bytes
    tree: Tree
    blobs: dict[Any, bytes]
    checkpoint: bytes | None


def open_memory() -> MemoryDatabase:
    # Whatever thread collects it may close it.
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    connection = engine.connect()
    database = MemoryDatabase(connection)
    database.driver.isolation_level = None  # transactions are begun where they are meant
    return database


@lru_cache(1)
def memory() -> MemoryDatabase:
    """One connection for all seeds: its content is replaced, which takes no time."""
    return open_memory()


@lru_cache(len(BASES) + 1)
def base(size: int) -> Base:
    database = open_memory()
    for table in (ledger_entries, ledger_heads):
        table.create(database.connection)
    opening = public_leaf(
        OPENED,
        {"at": "2026-11-24T04:00:00.000Z", "origin": ORIGIN, "shard": SHARD,
         "vkey": signer().key.text},
    )  # fmt: skip
    leaves = [opening] + [b"leaf %d" % number for number in range(1, size)]
    tree = Tree.of(leaves[:size])
    tx = WriteTx(database.connection)
    heads.create(tx, NOON, SHARD, ORIGIN)
    database.driver.execute(
        "INSERT INTO ledger_entries (position, entry_id, entity, kind, public, leaf, at, shard,"
        " leaf_index) VALUES (1, 'opening', 'log', ?, 1, ?, '2026-11-24 04:00:00.000000', ?, ?)",
        (OPENED, opening, SHARD if size else None, 0 if size else None),
    )
    checkpoint = None
    if size:
        head = Checkpoint(ORIGIN, size, tree.root(size))
        checkpoint = sign_checkpoint(head, [signer()]).encode()
        database.driver.execute(
            "UPDATE ledger_heads SET staged_size = ?, size = ?, root = ?, checkpoint = ?",
            (size, size, head.root, checkpoint),
        )
    blobs = {path: tree.blob(path) for path in needed(size)}
    return Base(database.driver.serialize(), tree, blobs, checkpoint)


@dataclass
class Program:
    """A sequencer process as it runs: the product's own objects over simulated ports."""

    process: Process
    sequencer: Sequencer
    reader: LogReader
    database: SimulatedDatabase


class World:
    """Runs one seed. `Violation` says what did not hold."""

    def __init__(
        self, seed: int, *, tiles: type[SimulatedTiles] = SimulatedTiles, trace: bool = False
    ) -> None:
        rng = self.rng = random.Random(seed)
        size = HIGH if rng.random() < 0.04 else rng.choice(BASES)
        start = base(size)
        self.memory = memory()
        self.memory.driver.deserialize(start.rows)
        # A call that waits is what two writers get in each other's way by.
        kinds = (*Fault, Fault.HANG, Fault.HANG)
        if rng.random() < 0.4:
            kinds = tuple(rng.sample(kinds, 3))
        rate = rng.choice((0.0, 0.01, 0.03, 0.06, 0.12))
        self.schedule = Schedule(rng, rate, kinds, rng.choice(FOCUS), [] if trace else None)
        self.oracle = Oracle(start.tree.copy(), size, dict(start.blobs))
        if start.checkpoint is not None:
            self.oracle.signed[size] = start.tree.root(size)
            self.oracle.published.append((size, start.tree.root(size)))
        self.oracles = {SHARD: self.oracle}
        self.blobs = Blobs(self.oracle, self.memory, start.checkpoint)
        self.stops = Stops(MemoryObjects(), vault())
        self.stops.note([COMPLETE])
        self.batch = rng.choice((12, 40, 8192, 8192))
        self.tiles = tiles
        self.programs: list[Program] = []
        self.committed: set[str] = set() if size else {"opening"}
        self.old_rows = [start.rows]
        self.positions = self.used = 0
        self.starts = 0
        self.edited: bytes | None = None  # the root that stood in the head row

    def run(self) -> None:
        """The seed from its first step to the recovery after its last."""
        usual, ledger.sequencer.MAX_BATCH = ledger.sequencer.MAX_BATCH, self.batch
        try:
            for number in range(self.rng.choice((1, 2, 2, 2, 3))):
                self.schedule.spawn(f"host {number}", lambda number=number: self.host(number))
            for number in range(2):
                self.schedule.spawn(f"client {number}", lambda number=number: self.client(number))
            self.schedule.spawn("chaos", self.chaos)
            self.schedule.run(STEPS)
            self.finish()
        finally:
            ledger.sequencer.MAX_BATCH = usual

    # --- Processes ---

    def program(self, name: str) -> Program:
        process = Process(name)
        store = self.tiles(self.blobs, process, self.schedule)
        database: Any = SimulatedDatabase(self.memory, process, self.schedule, self.oracles)
        reader = LogReader(store, SHARD, signer().key)
        hand = SimulatedSigner(signer(), process, self.schedule, self.oracle)
        sequencer = Sequencer(
            database=database,
            tiles=store,
            signers=[hand],
            reader=reader,
            stops=self.stops,
            shard=SHARD,
        )
        return Program(process, sequencer, reader, database)

    def host(self, number: int) -> None:
        """Where one process after the other believes that it is the only one."""
        while True:
            self.starts += 1
            program = self.program(f"sequencer {number}.{self.starts}")
            self.programs.append(program)
            try:
                program.sequencer.recover(self.now)
                for _ in range(self.rng.choice((3, 10, 100))):
                    self.schedule.pause()
                    program.sequencer.round(self.now)
            except Crash:
                if self.schedule.direct:
                    raise
            except (CodedError, Injected):
                self.stopped(program)
            program.process.dead = True
            self.schedule.sleep(self.rng.choice((0, 10, 40, 80)))

    def stopped(self, program: Program) -> None:
        """A stopped sequencer says why, and does nothing more."""
        reason = program.sequencer.failure
        self.schedule.say(f"{program.process.name} stopped: {reason!r}")
        self.oracle.require(isinstance(reason, CodedError | Injected), f"stopped by {reason!r}")
        try:
            program.sequencer.round(self.now)
        except CodedError:
            return
        raise Violation("a stopped sequencer went on")

    # --- Clients ---

    def client(self, number: int) -> None:
        """Records entries, sometimes late ones, and asks whether they are published."""
        process = Process(f"client {number}")
        database = SimulatedDatabase(self.memory, process, self.schedule, self.oracles)
        mine: list[str] = []
        while True:
            if self.rng.random() < 0.45:
                mine += self.record(database)
            elif mine and self.programs:
                self.ask(self.rng.choice(self.programs[-3:]), self.rng.choice(mine))
            self.schedule.sleep(self.rng.choice((2, 6, 15, 30)))
            process.dead = False  # the next client

    def record(self, database: SimulatedDatabase) -> list[str]:
        made, pool = journal()
        count = self.rng.choice((1, 1, 1, 2, 2, 5, 12, 70))
        entries = pool.entries[self.used : self.used + count]
        values = pool.values[self.used : self.used + count]
        self.used += count
        sealed = SealedRecords(NOON, entries, values)
        first = max(self.positions, self._last_position()) + 1
        self.positions = first + count - 1
        # The positions are taken, as a sequence gives them; the commit may come late.
        self.schedule.sleep(self.rng.choice((0, 0, 0, 4, 15, 40)))
        ids = [entry.entry_id for entry in entries]

        def work(tx: WriteTx) -> None:
            made.write(tx, sealed)
            self._move(ids, first)

        def noted(tx: WriteTx) -> None:
            work(tx)
            self.committed.update(ids)

        try:
            database.write(noted)
        except (Injected, Crash):
            if self.schedule.direct:
                raise
            return []
        return ids

    def _last_position(self) -> int:
        (last,) = self.memory.driver.execute("SELECT max(position) FROM ledger_entries").fetchone()
        return int(last)

    def _move(self, ids: list[str], first: int) -> None:
        """Give the rows just written the positions that were taken for them."""
        driver = self.memory.driver
        last = self._last_position()
        if ids and last != first + len(ids) - 1:
            given = "position BETWEEN ? AND ?"
            edges = (last - len(ids) + 1, last)
            driver.execute(f"UPDATE ledger_entries SET position = -position WHERE {given}", edges)  # noqa: S608
            driver.execute(
                "UPDATE ledger_entries SET position = ? - position WHERE position < 0",
                (first - edges[0],),
            )

    def ask(self, program: Program, entry_id: str) -> None:
        """A receipt, as this process would give it."""
        try:
            running = program.sequencer.failure is None and not program.process.dead
            process = program.process if running else Process("reader")
            tiles = SimulatedTiles(self.blobs, process, self.schedule)
            reader = program.reader if running else LogReader(tiles, SHARD, signer().key)
            database = SimulatedDatabase(self.memory, process, self.schedule, self.oracles)
            columns = ledger_entries.c
            with database.read() as tx:
                index = tx.scalar(select(columns.leaf_index).where(columns.entry_id == entry_id))
            head = reader.published().checkpoint
        except (CodedError, Injected, Crash):
            if self.schedule.direct:
                raise
            return
        if index is not None and index < head.size:
            self.oracle.acknowledges(entry_id, index, head.size, head.root)

    # --- What goes wrong beside the calls ---

    def chaos(self) -> None:
        """Bits rot and are put right; an old copy of the database comes back for a while."""
        while True:
            self.schedule.sleep(self.rng.choice((10, 30, 60)))
            choice = self.rng.random()
            if choice < 0.25 and self.schedule.rate:
                self.rot()
            elif choice < 0.35 and self.edited is None:
                self.edit()
            elif choice < 0.6:
                self.heal()
            elif choice < 0.8:
                self.old_rows.append(self.memory.driver.serialize())
            else:
                self.roll_back()

    def rot(self) -> None:
        oracle = self.oracle
        path = self.rng.choice(list(oracle.blobs)[-6:] or [None])
        if path is not None:
            self.schedule.say(f"rot: {path.text}")
            oracle.rotten.add(path)
            oracle.blobs[path] = flip(oracle.blobs[path], self.rng.random())

    def edit(self) -> None:
        """Somebody writes another root into the row of the head."""
        root = self.memory.head().root
        self.schedule.say("the head row is edited")
        self.edited = root
        driver = self.memory.driver
        edited = (flip(root, self.rng.random()), SHARD)
        driver.execute("UPDATE ledger_heads SET root = ? WHERE shard = ?", edited)

    def heal(self) -> None:
        """The operator puts back what was damaged, or removes what nobody signed."""
        if self.edited is not None:
            self.schedule.say("heal: the head row")
            self.memory.driver.execute(
                "UPDATE ledger_heads SET root = ? WHERE shard = ?", (self.edited, SHARD)
            )
            self.edited = None
        for oracle in self.oracles.values():
            for path in sorted(oracle.rotten | oracle.flipped, key=lambda one: one.text):
                self.schedule.say(f"heal: {path.text}")
                right = oracle.tree.blob(path)
                oracle.blobs[path] = right
                if not right:
                    del oracle.blobs[path]
            oracle.rotten.clear()
            oracle.flipped.clear()

    def roll_back(self) -> None:
        """A database older than the published log signs nothing."""
        driver = self.memory.driver
        newest = driver.serialize()
        heads_now = {shard: dict(oracle.heads) for shard, oracle in self.oracles.items()}
        driver.deserialize(self.rng.choice(self.old_rows))
        published = {
            shard: oracle.published[-1][0]
            for shard, oracle in self.oracles.items()
            if oracle.published
        }
        if any(self.memory.head(shard).size < size for shard, size in published.items()):
            self.schedule.say("an old database is back")
            signed, self.schedule.direct = self._signatures(), True
            try:
                program = self.program("restored sequencer")
                program.sequencer.recover(self.now)
                while program.sequencer.round(self.now):
                    pass
            except CodedError:
                pass
            else:
                raise Violation("an old database went on")
            finally:
                self.schedule.direct = False
            self.oracle.require(self._signatures() == signed, "an old database signed")
        driver.deserialize(newest)
        for shard, oracle in self.oracles.items():
            oracle.heads = heads_now[shard]

    def _signatures(self) -> int:
        return sum(len(oracle.signed) for oracle in self.oracles.values())

    @property
    def now(self) -> datetime:
        """Any process's clock, up to a day wrong."""
        return NOON + timedelta(seconds=self.rng.uniform(-86_400, 86_400))

    # --- The end ---

    def finish(self) -> None:
        """Power back, everything put right: a new process recovers, and nothing is missing."""
        schedule, oracle = self.schedule, self.oracle
        while schedule.late:
            number = self.rng.randrange(len(schedule.late))
            if self.rng.random() < 0.5:
                schedule.deliver(number)
            else:
                schedule.late.pop(number)
        self.heal()
        last = self.program("last sequencer")
        schedule.say("the end: recovery")
        try:
            last.sequencer.recover(NOON)
            for _ in range(2 * POOL):
                if not last.sequencer.round(NOON):
                    break
        except CodedError as error:
            raise Violation(f"the log cannot recover: {error!r}") from error
        owners: list[str] = []
        for one in self.oracles.values():
            size = one.published[-1][0] if one.published else 0
            placed = dict(zip(one.owners, range(one.base, size), strict=False))
            owners += placed
            for entry_id, index in one.acknowledged.items():
                oracle.require(placed.get(entry_id) == index, "an acknowledged entry moved")
            oracle.require(len(set(one.owners)) == len(one.owners), "an entry stands twice")
            one.backed(size, 0, flipped=True)
        missing = self.committed - set(owners)
        oracle.require(not missing, f"{len(missing)} committed entries were never published")
        oracle.require(len(set(owners)) == len(owners), "an entry stands in two shards")
        noted = all(
            self.stops.noted(placed.stop)
            for placed in placed_stops(WriteTx(self.memory.connection))
        )
        oracle.require(noted, "a stop was published and is not noted")
        self.prove(last.reader)

    def prove(self, reader: LogReader) -> None:
        """The product's own proofs, from the tiles: of an old head, and of an entry."""
        oracle = self.oracles[reader.shard]
        if not oracle.published:
            return
        size, root = oracle.published[-1]
        old = self.rng.choice(sorted(oracle.signed))
        verify_consistency(old, size, oracle.signed[old], root, reader.consistency(old))
        index = self.rng.randrange(size)
        proved = reader.inclusion(index).proves(hash_leaf(oracle.tree.leaves[index]))
        oracle.require(proved, f"index {index} is not proved")


def run_seed(
    seed: int, *, trace: bool = False, tiles: type[SimulatedTiles] = SimulatedTiles
) -> World:
    """Run one seed to its end. `Violation`, with the trace as a note if one was asked for."""
    world = World(seed, trace=trace, tiles=tiles)
    try:
        world.run()
    except Violation as violation:
        if world.schedule.trace is not None:
            violation.add_note("\n".join(world.schedule.trace))
        raise
    return world
