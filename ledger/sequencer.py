"""The sequencer gives entries their place in the log and publishes signed checkpoints.

One round: stage → note stops → bundles and tiles, write-once → read back and recompute the
root → sign → compare-and-swap the head → publish. Recovery is the same path: a
round that was cut off anywhere is simply finished. Whatever goes wrong is
fatal to this object: it stops with the reason, and a new one recovers.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from kernel.errors import CodedError
from ledger import heads
from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import (
    CheckpointMalformed,
    ConsistencyInvalid,
    DatabaseOlderThanLog,
    HeadOlderThanRemembered,
    HighWaterInvalid,
    KeyMismatch,
    LedgerStopped,
    LogDiverged,
    LogNotTrusted,
    NoteMalformed,
    ReadBackFailed,
    SequencerLost,
    ShardEnded,
    SignatureInvalid,
    TilePathInvalid,
)
from ledger.growth import Grown, Tail, edge, grow, recompute, tail_of
from ledger.heads import Head
from ledger.high_water import HeadMemory
from ledger.leaves import OPENED, PublicLeaf, parse_leaf
from ledger.merkle import consistency_proof, tree_root, verify_consistency
from ledger.notes import NoteSigner
from ledger.reader import LogReader
from ledger.stops import Stops, staged_stops
from ledger.succession import Succession
from ledger.tiles import TilePath
from ledger.tilestore import TileStore
from storage.database import Database, WriteTx

MAX_BATCH = 8192  # entries in one round: bounds its memory and its latency


class Sequencer:
    """Writes one shard. One at a time: see `lock` and `heads`.

    `recover` first, then any number of `round`s. After an exception every call
    raises `LedgerStopped` with the reason, until `restart`.
    """

    def __init__(
        self,
        *,
        database: Database,
        tiles: TileStore,
        signers: Sequence[NoteSigner],
        reader: LogReader,
        stops: Stops,
        shard: str,
        memory: HeadMemory | None = None,
        succession: Succession | None = None,
    ) -> None:
        """`succession`: what is owed to the shard before, if this one may have one."""
        self._database = database
        self._tiles = tiles
        self._signers = signers
        self._reader = reader
        self._stops = stops
        self._shard = shard
        self._memory = memory
        self._succession = succession
        self._mutex = threading.Lock()
        self._head: Head | None = None
        self._tail = Tail(0)
        self._failure: BaseException | None = None
        self.vouch: Callable[[SignedCheckpoint | None], None] = _nobody_asked
        """Asked with the database's head before this process signs; what it raises stops it."""

    @property
    def failure(self) -> BaseException | None:
        """Why it stopped, if it did."""
        return self._failure

    def recover(self, at: datetime) -> int:
        """Compare the database with what is published, take over, finish a cut-off round.

        Returns how many entries that round gave a place. Signs nothing before
        the comparison: `DatabaseOlderThanLog`, `HeadOlderThanRemembered`, `LogDiverged`,
        `KeyMismatch`; what `NoteSigner.prepare` raises.
        """
        return self._guarded(lambda: self._recover(at))

    def recover_anew(self, at: datetime) -> int:
        """`recover` after a failure, which stays the `failure` until this has succeeded: what
        is tried every second must not look well in between."""
        with self._mutex:
            self._head = None
            self._tail = Tail(0)
            try:
                count = self._recover(at)
            except BaseException as error:
                self._failure = error
                self._reader.wake()
                raise
            self._failure = None
            return count

    def restart(self) -> None:
        """Forget everything, as a new process would; `recover` comes next."""
        with self._mutex:
            self._failure = None
            self._head = None
            self._tail = Tail(0)

    def round(self, at: datetime) -> int:
        """Sequence and publish what waits, at most `MAX_BATCH` entries; how many.

        `ShardEnded` once the shard has: what waits belongs to its successor.
        """
        return self._guarded(lambda: self._round(at))

    def close(
        self, at: datetime, closing: bytes, end: Callable[[WriteTx, Head, Checkpoint], Head]
    ) -> None:
        """Close the shard with the entry `closing` as its last, and publish that.

        `end(tx, head, final)` gives that entry its index and begins the successor, whose
        first entry names the checkpoint `final`, in one transaction.
        """

        def work() -> int:
            head = self._head
            if head is None or head.staged_size != head.size:
                raise SequencerLost(step="close")
            root = grow(self._tail, [closing]).tail.root
            final = Checkpoint(head.origin, head.size + 1, root)
            self._head = self._database.write(lambda tx: end(tx, head, final))
            return self._round(at)

        self._guarded(work)

    def check(self, held: Callable[[], None]) -> None:
        """Ask `held` whether this process may still write; what it raises is the failure."""

        def ask() -> int:
            held()
            return 0

        self._guarded(ask)

    def _guarded(self, work: Callable[[], int]) -> int:
        with self._mutex:
            if self._failure is not None:
                raise LedgerStopped(reason=reason_of(self._failure)) from self._failure
            try:
                return work()
            except BaseException as error:
                self._failure = error
                self._reader.wake()
                raise

    def republish(self, signed: SignedCheckpoint) -> bool:
        """Publish the head once more, with cosignatures; False if it no longer is the head."""
        with self._mutex:
            head = self._head
            if self._failure is not None or head is None:
                return False
            if signed.checkpoint != Checkpoint(head.origin, head.size, head.root):
                return False
            self._tiles.publish(signed.encode())
            self._reader.advance(signed)
            return True

    # --- Recovery ---

    def _recover(self, at: datetime) -> int:
        with self._database.read() as tx:
            head = heads.load(tx, self._shard)
            opened = heads.opening_leaf(tx, self._shard)
        self._check_keys(head, opened)
        if self._succession is not None:
            self._succession.prepare(at, head, opened)
        behind = self._compare_with_published(head)
        self._compare_with_remembered(head)
        self._tiles.sweep()
        self._tail = tail_of(head.size, self._tiles.get_many(edge(head.size)))
        if self._tail.root != head.root:
            raise LogDiverged(reason="the tiles do not give the database's root")
        for signer in self._signers:
            signer.prepare()  # before another process is told to stop
        self.vouch(self._own_checkpoint(head))
        self._head = self._database.write(lambda tx: heads.take_over(tx, at, head))
        if head.size:
            self._remember(head.checkpoint)
        self._stops.catch_up(self._database)
        if behind:
            self._publish(head.checkpoint)
        given = self._round(at) if head.staged_size > head.size else 0
        if head.size == 0:
            # Of an empty shard witnesses can be asked nothing. Its first checkpoint is always
            # the same, about its opening alone: asked with it, before there is a second one.
            self.vouch(self._own_checkpoint(self._head))
        if self._succession is not None:
            self._succession.settle(self._head)
        return given

    def _check_keys(self, head: Head, opened: bytes | None) -> None:
        """The first leaf of the shard names the keys that may sign it; each is named after it."""
        if any(signer.key.name != head.origin for signer in self._signers):
            raise KeyMismatch()
        leaf = None if opened is None else parse_leaf(opened)
        if not isinstance(leaf, PublicLeaf) or leaf.kind != OPENED:
            raise LogDiverged(reason="the shard's first entry is not its opening")
        named = {leaf.body.get("vkey"), leaf.body.get("mldsa44_vkey")}
        if leaf.body.get("vkey") != self._reader.key.text:
            raise KeyMismatch()
        if any(signer.key.text not in named for signer in self._signers):
            raise KeyMismatch()

    def _compare_with_published(self, head: Head) -> bool:
        """Refuse an older or another database; whether the published checkpoint is behind it."""
        signed = self._own_checkpoint(head)
        if self._tiles.checkpoint() is None:
            size = self._stored_size()
            if size > head.staged_size:
                raise DatabaseOlderThanLog(database=head.size, published=size)
            return signed is not None
        published = self._reader.refresh().checkpoint
        if published.size > head.size:
            raise DatabaseOlderThanLog(database=head.size, published=published.size)
        if signed is None:
            raise LogDiverged(reason="a checkpoint is published for an empty log")
        try:
            verify_consistency(
                published.size,
                head.size,
                published.root,
                head.root,
                consistency_proof(self._reader.nodes(head.size), published.size, head.size),
            )
        except ConsistencyInvalid as error:
            raise LogDiverged(reason="the published tree is no prefix of the database's") from error
        return published.size < head.size

    def _compare_with_remembered(self, head: Head) -> None:
        """Refuse a database and a log that were both put back to an earlier state."""
        if self._memory is None:
            return
        signed = self._memory.read()
        remembered = signed.checkpoint
        reader, size = self._reader, head.size
        if remembered.origin != head.origin and self._succession is not None:
            # The head of a shard that has ended since.
            earlier = self._succession.reader(remembered.origin)
            if earlier is not None and earlier.final is not None:
                reader, size = earlier, earlier.final.size
        try:
            reader.verify(signed)
        except (SignatureInvalid, LogNotTrusted) as error:
            raise HighWaterInvalid(path=self._memory.name) from error
        if remembered.size > size:
            raise HeadOlderThanRemembered(
                database=size, remembered=remembered.size, path=self._memory.name
            )
        if tree_root(reader.nodes(size), remembered.size) != remembered.root:
            raise LogDiverged(reason="the remembered tree is no prefix of the database's")

    def _own_checkpoint(self, head: Head) -> SignedCheckpoint | None:
        """The head row's checkpoint, which must say what the row says."""
        if head.size == 0:
            return None
        try:
            signed = parse_checkpoint(head.checkpoint)
            self._reader.verify(signed)
        except (NoteMalformed, CheckpointMalformed, SignatureInvalid, LogNotTrusted) as error:
            raise LogDiverged(reason="the head row's checkpoint does not verify") from error
        if signed.checkpoint != Checkpoint(head.origin, head.size, head.root):
            raise LogDiverged(reason="the head row and its checkpoint differ")
        return signed

    def _stored_size(self) -> int:
        """The number of leaves that stored tiles speak of, for a log without a checkpoint."""
        size = 0
        for name in self._tiles.names():
            try:
                path = TilePath.parse(name)
            except TilePathInvalid:
                continue
            if path.level == 0:
                size = max(size, path.index * 256 + path.width)
        return size

    # --- One round ---

    def _round(self, at: datetime) -> int:
        head = self._head
        if head is None:
            raise SequencerLost(step="recover")
        if head.staged_size == head.size:
            if head.successor is not None:
                raise ShardEnded(shard=head.shard, successor=head.successor)
            with self._database.read() as tx:
                if not heads.pending(tx):
                    return 0
            expected = head
            head = self._database.write(lambda tx: heads.stage(tx, at, expected, MAX_BATCH))
            if head.staged_size == head.size:
                return 0
        with self._database.read() as tx:
            leaves = heads.staged_leaves(tx, head)
            stops = staged_stops(tx, head)
        if stops:
            self._stops.note(stops)
        grown = grow(self._tail, leaves)
        self._tiles.put(grown.blobs)
        root = self._read_back(grown)
        signed = sign_checkpoint(Checkpoint(head.origin, head.staged_size, root), self._signers)
        staged = head
        self._head = self._database.write(lambda tx: heads.commit(tx, at, staged, signed))
        self._tail = grown.tail
        self._remember(self._head.checkpoint)
        self._publish(self._head.checkpoint)
        for path in grown.completed:
            self._tiles.discard_partials(path)
        return len(leaves)

    def _read_back(self, grown: Grown) -> bytes:
        """The root, computed twice: in memory, and from what the store gives back."""
        paths = {*grown.blobs, *edge(grown.tail.size)}
        stored = self._tiles.get_many(paths)
        for path, data in grown.blobs.items():
            if stored[path] != data:
                raise ReadBackFailed(path=path.text)
        root = recompute(grown.tail.size, stored)
        if root != grown.tail.root:
            raise ReadBackFailed(path="root")
        return root

    def _remember(self, checkpoint: bytes) -> None:
        """Before it is published: what anybody has seen is then remembered."""
        if self._memory is not None:
            self._memory.remember(checkpoint)

    def _publish(self, checkpoint: bytes) -> None:
        self._tiles.publish(checkpoint)
        self._reader.advance(parse_checkpoint(checkpoint))


def _nobody_asked(signed: SignedCheckpoint | None) -> None:
    """Nobody outside is known who remembers the log."""


def reason_of(error: BaseException) -> str:
    """A stable word for a failure: its code, or its type."""
    return error.code if isinstance(error, CodedError) else type(error).__name__
