"""One seed in which a shard may be closed, by any of the processes that write the log."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import select

from kernel.errors import CodedError
from ledger import heads
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.closing import Successor, ending
from ledger.errors import DatabaseWithoutKey, LogMissing
from ledger.finishing import finisher
from ledger.heads import Head
from ledger.keys import Ed25519Signer
from ledger.leaves import OPENED, public_leaf
from ledger.outside import Outside
from ledger.reader import LogReader
from ledger.retired import Retired
from ledger.sequencer import Sequencer
from ledger.succession import Succession
from ledger.tables import ledger_entries
from storage.database import WriteTx
from tests.simulation.oracle import Oracle, Tree
from tests.simulation.ports import (
    SHARD,
    Blobs,
    SimulatedDatabase,
    SimulatedSigner,
    SimulatedTiles,
)
from tests.simulation.schedule import Crash, Injected, Process, Violation
from tests.simulation.world import BASES, ORIGIN, Program, World, base, journal

NEXT = "2027"
ORIGINS = {SHARD: ORIGIN, NEXT: f"log.example/{NEXT}"}


@lru_cache(2)
def signers(shard: str) -> tuple[Ed25519Signer, Ed25519Signer]:
    """Two keys, as every shard has; here the second is no other kind, which takes long."""
    first = Ed25519Signer(ORIGINS[shard], bytes([int(shard) % 100]) * 32)
    return first, Ed25519Signer(ORIGINS[shard], bytes([int(shard) % 100 + 100]) * 32)


@dataclass
class YearEndProgram(Program):
    shards: "SimulatedShards"
    retired: Retired


class SimulatedShards:
    """The places of the shards, as one process sees them."""

    def __init__(self, world: "YearEnd", process: Process) -> None:
        self._world, self._process = world, process

    def open(self, shard: str) -> SimulatedTiles:
        if shard not in self._world.places:
            raise LogMissing()
        return SimulatedTiles(self._world.places[shard], self._process, self._world.schedule)

    def make(self, shard: str) -> None:
        """Or find it."""
        self._world.schedule.call(
            self._process, "make place", lambda: self._world.make_place(shard)
        )


class SimulatedKeys:
    """`ShardKeys` of one process."""

    def __init__(self, world: "YearEnd", process: Process) -> None:
        self._world, self._process = world, process

    def open(self, shard: str) -> list[Any]:
        world = self._world
        if shard in world.destroyed:
            raise FileNotFoundError(shard)
        return [
            SimulatedSigner(one, self._process, world.schedule, world.oracles[shard])
            for one in signers(shard)
        ]

    def destroy(self, shard: str) -> bool:
        self._world.schedule.call(self._process, "destroy keys", lambda: self._world.destroy(shard))
        return True


@lru_cache(len(BASES) + 1)
def _tree(opening: bytes, size: int) -> Tree:
    """That of `base`, with another first leaf."""
    return Tree.of([opening, *base(size).tree.leaves[1:]])


class YearEnd(World):
    """Two shards, of which the second may never begin."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        super().__init__(seed, trace=trace)
        self.oracles[NEXT] = Oracle(Tree([], [[]]), 0, {})
        self.places = {SHARD: self.blobs}
        self.destroyed: set[str] = set()
        self._two_keys()
        self.old_rows = [self.memory.driver.serialize()]

    def _two_keys(self) -> None:
        """The log from which the seed starts, under the keys of this world."""
        oracle, driver = self.oracle, self.memory.driver
        opening = public_leaf(
            OPENED,
            {"at": "2026-11-24T04:00:00.000Z", "origin": ORIGIN, "shard": SHARD,
             "vkey": signers(SHARD)[0].key.text, "mldsa44_vkey": signers(SHARD)[1].key.text},
        )  # fmt: skip
        driver.execute("UPDATE ledger_entries SET leaf = ?", (opening,))
        if not oracle.published:
            return
        oracle.tree = _tree(opening, oracle.base).copy()
        oracle.blobs.update({path: oracle.tree.blob(path) for path in oracle.blobs})
        size = oracle.base
        head = Checkpoint(ORIGIN, size, oracle.tree.root(size))
        checkpoint = sign_checkpoint(head, list(signers(SHARD))).encode()
        driver.execute("UPDATE ledger_heads SET root = ?, checkpoint = ?", (head.root, checkpoint))
        oracle.signed = {size: head.root}
        oracle.published = [(size, head.root)]
        self.blobs.checkpoint = checkpoint

    # --- What belongs to no process ---

    def make_place(self, shard: str) -> None:
        if shard not in self.places:
            self.places[shard] = Blobs(self.oracles[shard], self.memory, None, shard)

    def destroy(self, shard: str) -> None:
        head, oracle = self.memory.head(shard), self.oracles[shard]
        end = (head.staged, oracle.tree.root(head.staged))
        ended = head.successor is not None and oracle.published[-1:] == [end]
        self.oracle.require(ended, "keys were destroyed before the end was published")
        following = self.oracles[NEXT].signed
        self.oracle.require(bool(following), "keys were destroyed before the next shard signed")
        self.destroyed.add(shard)

    # --- Processes ---

    def program(self, name: str) -> YearEndProgram:
        process = Process(name)
        database: Any = SimulatedDatabase(self.memory, process, self.schedule, self.oracles)
        with database.read() as tx:
            shard = heads.newest_shard(tx)
        assert shard is not None
        shards, keys = SimulatedShards(self, process), SimulatedKeys(self, process)
        try:
            tiles, hands = shards.open(shard), keys.open(shard)
        except FileNotFoundError:
            raise DatabaseWithoutKey() from None
        reader = LogReader(tiles, shard, *(one.key for one in hands))
        retired = Retired(reader, shards)
        finish = finisher(
            database=database,
            keys=keys,
            shards=shards,
            stops=self.stops,
            memory=None,
            outside=Outside(),
        )
        succession = Succession(
            database=database,
            keys=keys,
            shards=shards,
            retired=retired,
            shard=shard,
            finish=finish,
        )
        sequencer = Sequencer(
            database=database,
            tiles=tiles,
            signers=hands,
            reader=reader,
            stops=self.stops,
            shard=shard,
            succession=succession,
        )
        return YearEndProgram(process, sequencer, reader, database, shards, retired)

    def host(self, number: int) -> None:
        while True:
            self.starts += 1
            program: YearEndProgram | None = None
            try:
                program = self.program(f"sequencer {number}.{self.starts}")
                self.programs.append(program)
                program.sequencer.recover(self.now)
                for _ in range(self.rng.choice((2, 5, 30))):
                    self.schedule.pause()
                    program.sequencer.round(self.now)
                if program.reader.shard == SHARD:
                    self.close(program)
            except Crash:
                if self.schedule.direct:
                    raise
            except (CodedError, Injected):
                if program is not None and program.sequencer.failure is not None:
                    self.stopped(program)
            if program is not None:
                program.process.dead = True
            self.schedule.sleep(self.rng.choice((0, 10, 40)))

    def close(self, program: YearEndProgram) -> None:
        """As `close_shard` does, after all that waits was published."""
        while program.sequencer.round(self.now):
            pass
        program.shards.make(NEXT)
        at = self.now
        keys = tuple(one.key for one in signers(NEXT))
        successor = Successor(NEXT, ORIGINS[NEXT], keys)
        old = tuple(one.key for one in signers(SHARD))
        leaf, end = ending(journal()[0], at, old, successor)
        first = max(self.positions, self._last_position()) + 1
        self.positions = first + 1

        def ended(tx: WriteTx, head: Head, final: Checkpoint) -> Head:
            made = end(tx, head, final)
            self._move(["closed", "opened"], first)
            return made

        program.sequencer.close(at, leaf, ended)

    def ask(self, program: Program, entry_id: str) -> None:
        """A receipt, by a process that only reads, of whichever shard the entry is in."""
        process = Process("reader")
        database = SimulatedDatabase(self.memory, process, self.schedule, self.oracles)
        columns = ledger_entries.c
        query = select(columns.shard, columns.leaf_index).where(columns.entry_id == entry_id)
        try:
            with database.read() as tx:
                row = tx.one(query)
            if row is None or row["leaf_index"] is None or row["shard"] not in self.places:
                return
            tiles = SimulatedTiles(self.places[row["shard"]], process, self.schedule)
            keys = (one.key for one in signers(row["shard"]))
            head = LogReader(tiles, row["shard"], *keys).published().checkpoint
        except (CodedError, Injected, Crash):
            if self.schedule.direct:
                raise
            return
        if row["leaf_index"] < head.size:
            oracle = self.oracles[row["shard"]]
            oracle.acknowledges(entry_id, row["leaf_index"], head.size, head.root)

    # --- The end ---

    @property
    def has_ended(self) -> bool:
        return self.memory.head().successor is not None

    def prove(self, reader: LogReader) -> None:
        """Both shards, and that the one names the other as it is."""
        super().prove(reader)
        oracle, following = self.oracle, self.oracles[NEXT]
        closings = [
            index for index, leaf in enumerate(oracle.tree.leaves) if b'"shard.closed"' in leaf
        ]
        if not self.has_ended:
            oracle.require(closings == [], "an end without a successor")
            oracle.require(not following.signed and not following.owners, "begun without an end")
            return
        size, root = oracle.published[-1]
        oracle.require(reader.shard == NEXT, "the shard that was begun is not the newest")
        oracle.require(closings == [size - 1], "not exactly one end, as the last entry")
        closed = json.loads(oracle.tree.leaves[-1])["body"]
        opened = json.loads(following.tree.leaves[0])["body"]
        oracle.require(closed["successor"]["origin"] == opened["origin"], "another successor")
        pinned = opened["previous"]
        same = (pinned["origin"], pinned["size"], pinned["root"]) == (ORIGIN, size, root.hex())
        oracle.require(same, "the opening pins another end")
        oracle.require(SHARD in self.destroyed, "keys of an ended shard are left")
        oracle.require(max(oracle.signed) == size, "something was signed after the end")
        shards = SimulatedShards(self, Process("auditor"))
        (before,) = Retired(reader, shards).readers()
        oracle.require(before.final == Checkpoint(ORIGIN, size, root), "read back as another")
        super().prove(before)


def run_seed(seed: int, *, trace: bool = False) -> YearEnd:
    """Run one seed to its end. `Violation`, with the trace as a note if one was asked for."""
    world = YearEnd(seed, trace=trace)
    try:
        world.run()
    except Violation as violation:
        if world.schedule.trace is not None:
            violation.add_note("\n".join(world.schedule.trace))
        raise
    return world
