"""Realistic bugs, each planted by replacing one step for the time of a run.

The product has no switch for any of them. A bug is a context manager that puts its
wrong step in place and takes it out again; `tiles` is for bugs of a tile store.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from sqlalchemy import func, select, update

from ledger import heads
from ledger.checkpoints import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import SequencerLost
from ledger.growth import edge, grow, tail_of
from ledger.heads import Head
from ledger.sequencer import Sequencer
from ledger.tables import ledger_entries, ledger_heads
from ledger.tiles import TilePath
from tests.simulation.ports import SimulatedTiles


@dataclass(frozen=True)
class Bug:
    """`within`: after at most so many seeds, counted from 0, the simulation finds it."""

    name: str
    what: str
    within: int
    plant: Callable[[], Any]
    tiles: type[SimulatedTiles] = SimulatedTiles


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _method(owner: Any, name: str, wrong: Any) -> Callable[[], Any]:
    return lambda: mock.patch.object(owner, name, wrong)


# --- The swap ---


def _swap_by(*compared: str) -> Any:
    def swap(tx: Any, expected: Head, step: str, **values: object) -> None:
        columns = ledger_heads.c
        same = [columns[name] == getattr(expected, name) for name in ("shard", *compared)]
        if tx.execute(update(ledger_heads).where(*same).values(**values)).rowcount != 1:
            raise SequencerLost(step=step)

    return swap


def _swap_unchecked(tx: Any, expected: Head, _step: str, **values: object) -> None:
    tx.execute(update(ledger_heads).where(ledger_heads.c.shard == expected.shard).values(**values))


def _take_over_in_name_only(tx: Any, at: Any, head: Head) -> Head:
    heads._swap(tx, head, "take_over", updated_at=at)
    return head


def _guarded_without_memory(self: Any, work: Callable[[], int]) -> int:
    """Every failure is taken for a passing one: the object goes on as if it knew its state."""
    with self._mutex:
        return work()


def _round_that_adopts(usual: Any) -> Any:
    """A lost swap is answered by reading the head again and going on with it."""

    def wrong(self: Any, at: Any) -> int:
        try:
            return usual(self, at)  # type: ignore[no-any-return]
        except SequencerLost:
            with self._database.read() as tx:
                self._head = heads.load(tx, self._shard)
            paths = edge(self._head.size)
            self._tail = tail_of(self._head.size, {path: self._tiles.get(path) for path in paths})
            return usual(self, at)  # type: ignore[no-any-return]

    return wrong


# --- Staging ---


def _stage_above_a_mark(tx: Any, at: Any, head: Head, limit: int) -> Head:
    """Only what stands above the highest position that has an index: late commits are passed."""
    columns = ledger_entries.c
    mark = tx.scalar(select(func.max(columns.position)).where(columns.leaf_index.is_not(None))) or 0
    waiting = (
        select(columns.position)
        .where(columns.leaf_index.is_(None), columns.position > mark)
        .order_by(columns.position)
        .limit(limit)
    )
    positions = list(tx.execute(waiting).scalars())
    if not positions:
        return head
    staged = replace(head, staged_size=head.size + len(positions))
    heads._swap(tx, head, "stage", staged_size=staged.staged_size, updated_at=at)
    for index, position in enumerate(positions, head.size):
        tx.execute(
            update(ledger_entries)
            .where(columns.position == position)
            .values(shard=head.shard, leaf_index=index)
        )
    return staged


def _stage_by_position(tx: Any, at: Any, head: Head, limit: int) -> Head:
    """The index follows from the position alone: a gap in the one is a gap in the other."""
    columns = ledger_entries.c
    runs = heads._waiting_runs(tx, limit)
    if not runs:
        return head
    first = runs[0][0]
    staged = replace(head, staged_size=head.size + runs[-1][1] - first + 1)
    heads._swap(tx, head, "stage", staged_size=staged.staged_size, updated_at=at)
    tx.execute(
        update(ledger_entries)
        .where(columns.position.between(first, runs[-1][1]), columns.leaf_index.is_(None))
        .values(shard=head.shard, leaf_index=columns.position + (head.size - first))
    )
    return staged


# --- Recovery ---


def _recover_with(change: Callable[[Any, Any, Head], Head]) -> Callable[[], Any]:
    """`change` comes before a round that another process began."""
    usual = Sequencer._round

    def wrong(self: Any, at: Any) -> int:
        head = self._head
        if head.staged_size > head.size:
            self._head = self._database.write(lambda tx: change(tx, at, head))
        return usual(self, at)

    return _method(Sequencer, "_round", wrong)


def _restage(tx: Any, at: Any, head: Head) -> Head:
    """What a cut-off round had staged is given back and staged anew, with what came since."""
    columns = ledger_entries.c
    tx.execute(
        update(ledger_entries)
        .where(columns.leaf_index >= head.size)
        .values(shard=None, leaf_index=None)
    )
    back = replace(head, staged_size=head.size)
    heads._swap(tx, head, "restage", staged_size=head.size, updated_at=at)
    return heads.stage(tx, at, back, 8192)


def _forget_staged(tx: Any, at: Any, head: Head) -> Head:
    """Only the signed size is taken over: what was staged is not finished."""
    heads._swap(tx, head, "forget", staged_size=head.size, updated_at=at)
    return replace(head, staged_size=head.size)


# --- A round in another order ---


def _round(order: str) -> Any:
    """The product's round with its steps in another order, or without one."""

    def wrong(self: Any, at: Any) -> int:
        head = self._head
        if head.staged_size == head.size:
            expected = head
            head = self._database.write(lambda tx: heads.stage(tx, at, expected, 8192))
            if head.staged_size == head.size:
                return 0
        with self._database.read() as tx:
            leaves = heads.staged_leaves(tx, head)
        grown = grow(self._tail, leaves)
        new = Checkpoint(head.origin, head.staged_size, grown.tail.root)
        if order == "discard first":
            for path in grown.completed:
                self._tiles.discard_partials(path)
        if order != "tiles last":
            self._tiles.put(grown.blobs)
        if order == "sign first":
            signed = sign_checkpoint(new, self._signers)
        if order not in ("sign first", "no read-back", "tiles last"):
            self._read_back(grown)
        if order != "sign first":
            signed = sign_checkpoint(new, self._signers)
        if order == "sign first":
            self._read_back(grown)
        if order == "publish first":
            self._publish(signed.encode())
        staged = head
        self._head = self._database.write(lambda tx: heads.commit(tx, at, staged, signed))
        self._tail = grown.tail
        if order == "tiles last":
            self._tiles.put(grown.blobs)
        if order != "publish first":
            self._publish(self._head.checkpoint)
        for path in grown.completed:
            self._tiles.discard_partials(path)
        if order == "discard the edge":
            for path in edge(grown.tail.size)[:1]:
                self._tiles.discard_partials(path.whole())
        return len(leaves)

    return wrong


def _publish_told_first(self: Any, checkpoint: bytes) -> None:
    """Those who wait are told before the checkpoint is published."""
    self._reader.advance(parse_checkpoint(checkpoint))
    self._tiles.publish(checkpoint)


# --- Tile stores that do not keep their promise ---


class OverwritingTiles(SimulatedTiles):
    """A put that replaces what is there, in two steps like any plain write."""

    def put(self, blobs: Mapping[TilePath, bytes]) -> None:
        def begin(path: TilePath, data: bytes) -> None:
            self.blobs.store(path, data[: len(data) // 2])

        for path, data in blobs.items():
            call = self.schedule.call
            call(self.process, "put, begun", lambda path=path, data=data: begin(path, data))
            call(self.process, "put", lambda path=path, data=data: self._end(path, data))

    def _end(self, path: TilePath, data: bytes) -> None:
        self.blobs.oracle.blobs[path] = data


class RacingTiles(SimulatedTiles):
    """A publication that compares, and replaces a moment later."""

    def publish(self, checkpoint: bytes) -> None:
        known = self.checkpoint()
        offered = parse_checkpoint(checkpoint).checkpoint.size
        if known is None or parse_checkpoint(known).checkpoint.size < offered:
            replace = self.blobs.replace
            self.schedule.call(self.process, "publish", lambda: replace(checkpoint), twice=True)


class EagerTiles(SimulatedTiles):
    """Removes every partial tile of a bundle's number, also where the full one is not there."""

    def put(self, blobs: Mapping[TilePath, bytes]) -> None:
        for path in blobs:
            if not path.full:
                self.discard_partials(path.whole())
        super().put(blobs)


BUGS = (
    Bug("swap-without-epoch", "the swap does not compare the epoch", 60,
        _method(heads, "_swap", _swap_by("staged_size", "size", "root"))),
    Bug("swap-without-root", "the swap does not compare the root", 200,
        _method(heads, "_swap", _swap_by("epoch", "staged_size", "size"))),
    Bug("swap-without-size-and-root", "the swap compares only the epoch, which does not grow", 60,
        lambda: mock.patch.multiple(heads, _swap=_swap_by("epoch"),
                                    take_over=_take_over_in_name_only)),
    Bug("swap-without-comparing", "the head is simply written", 20,
        _method(heads, "_swap", _swap_unchecked)),
    Bug("take-over-without-epoch", "a take-over leaves the epoch as it is", 60,
        _method(heads, "take_over", _take_over_in_name_only)),
    Bug("go-on-after-failure", "a failure is not remembered", 20,
        _method(Sequencer, "_guarded", _guarded_without_memory)),
    Bug("retry-after-lost-swap", "a lost swap is followed by another try", 20,
        _method(Sequencer, "_round", _round_that_adopts(Sequencer._round))),
    Bug("stage-above-a-mark", "late commits are never staged", 20,
        _method(heads, "stage", _stage_above_a_mark)),
    Bug("stage-by-position", "indexes inherit the gaps of positions", 20,
        _method(heads, "stage", _stage_by_position)),
    Bug("recovery-restages", "recovery assigns the indexes of a cut-off round anew", 200,
        _recover_with(_restage)),
    Bug("recovery-forgets-staged", "recovery ignores the staged size", 60,
        _recover_with(_forget_staged)),
    Bug("recovery-without-comparing", "recovery does not look at what is published", 60,
        _method(Sequencer, "_compare_with_published", lambda _, head: head.size > 0)),
    Bug("sign-before-read-back", "the root is signed before the tiles are read back", 400,
        _method(Sequencer, "_round", _round("sign first"))),
    Bug("no-read-back", "the tiles are not read back", 400,
        _method(Sequencer, "_round", _round("no read-back"))),
    Bug("tiles-last", "the head moves before its tiles are stored", 10,
        _method(Sequencer, "_round", _round("tiles last"))),
    Bug("publish-before-commit", "the checkpoint is published before the head moves", 10,
        _method(Sequencer, "_round", _round("publish first"))),
    Bug("told-before-published", "receipts are given before the checkpoint is published", 200,
        _method(Sequencer, "_publish", _publish_told_first)),
    Bug("partial-dropped-too-early", "partial tiles go before the full ones are there", 60,
        _method(Sequencer, "_round", _round("discard first"))),
    Bug("edge-dropped", "the partial tile of the published size is removed", 20,
        _method(Sequencer, "_round", _round("discard the edge"))),
    Bug("tiles-overwritten", "a put overwrites tiles that are there", 60, _nothing,
        OverwritingTiles),
    Bug("publish-not-monotone", "the publication compares first and replaces later", 400,
        _nothing, RacingTiles),
    Bug("old-edge-dropped", "storing a wider partial tile removes the narrower", 20, _nothing,
        EagerTiles),
)  # fmt: skip
