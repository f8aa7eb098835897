"""Bugs of closing a shard, planted as those of `bugs`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from ledger import closing, heads
from ledger.checkpoints import Checkpoint
from ledger.heads import Head
from ledger.retired import Ended
from ledger.succession import Succession
from tests.simulation.bugs import Bug


def _end_without_successor(tx: Any, at: Any, head: Head, successor: str, entry_id: str) -> Head:
    """The row of the old head does not say that it ended."""
    ended = replace(head, staged_size=head.size + 1)
    heads._swap(tx, head, "close", staged_size=ended.staged_size, updated_at=at)
    heads._place(tx, entry_id, head.shard, head.size)
    return replace(ended, successor=successor)


def _prepare_without_finishing(self: Any, at: Any, head: Head, opened: Any) -> None:
    """The new shard is signed, whatever became of the one before."""


def _prepare_that_destroys(usual: Any) -> Any:
    """The keys of the old shard go before its end is published."""

    def wrong(self: Any, at: Any, head: Head, opened: Any) -> None:
        with self._database.read() as tx:
            before = heads.predecessor(tx, self._shard)
        if before is not None and before.size < before.staged_size:
            self._keys.destroy(before.shard)
        usual(self, at, head, opened)

    return wrong


def _pins_the_size_before(final: Checkpoint, keys: Any) -> Ended:
    return Ended(replace(final, size=final.size - 1), keys)


def _of(owner: Any, name: str, wrong: Any) -> Callable[[], Any]:
    return lambda: mock.patch.object(owner, name, wrong)


BUGS = (
    Bug("end-without-successor", "the row of the old head does not say that it ended", 60,
        _of(heads, "end", _end_without_successor)),
    Bug("end-not-finished", "a cut-off close leaves the old shard without its end", 60,
        _of(Succession, "prepare", _prepare_without_finishing)),
    Bug("keys-too-early", "keys are destroyed before the end is published", 60,
        _of(Succession, "prepare", _prepare_that_destroys(Succession.prepare))),
    Bug("another-end-pinned", "the opening pins the checkpoint before the end", 20,
        _of(closing, "Ended", _pins_the_size_before)),
)  # fmt: skip
