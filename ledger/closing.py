"""Closing a shard of the log: it gets a last entry, and another shard goes on after it.

In one transaction the old shard gets its last entry, `shard.closed`, with the origin and
the keys of its successor, and hands out no index any more; the successor gets its head
and its first entry, `shard.opened`, with the last checkpoint of the old one. That
checkpoint is known before it is signed: the tree that it is about is. Entries without a
place by then get theirs in the successor. All that follows is recovery (`succession`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kernel.canonical import JsonValue
from kernel.clock import time_text
from ledger import heads
from ledger.checkpoints import Checkpoint
from ledger.errors import LogMissing, ShardNameInvalid, SuccessorNotTrusted
from ledger.heads import Head
from ledger.journal import Journal
from ledger.layout import SHARD, origin_of
from ledger.leaves import CLOSED, OPENED, public_leaf
from ledger.notes import VerifierKey
from ledger.policy import Policy
from ledger.retired import Ended, opening_body, shard_of
from ledger.service import Ledger
from ledger.shard_keys import key_shards, prepare_signers
from storage.database import WriteTx


@dataclass(frozen=True, slots=True)
class Successor:
    """The shard that is to follow; its keys are made, Ed25519 first."""

    shard: str
    origin: str
    keys: tuple[VerifierKey, ...]

    def body(self) -> dict[str, JsonValue]:
        return {
            "origin": self.origin,
            "shard": self.shard,
            "vkey": self.keys[0].text,
            "mldsa44_vkey": self.keys[1].text,
        }


def prepare_successor(ledger: Ledger, shard: str) -> Successor:
    """Make the keys of the shard that is to follow, or find those that were made before.

    Nothing else changes: witnesses and policies can learn them ahead. `ShardNameInvalid`,
    `OriginInvalid`, `KeyMismatch`, `KeyFileUnsafe`.
    """
    if not SHARD.fullmatch(shard):
        raise ShardNameInvalid(shard=shard, reason="a year, or a year and a number: 2027, 2027-2")
    if shard <= ledger.shard:
        raise ShardNameInvalid(shard=shard, reason=f"it must sort after {ledger.shard}")
    origin = origin_of(ledger.origin.rpartition("/")[0], shard)
    signers = prepare_signers(ledger.directory, shard, origin, ledger.tokens)
    return Successor(shard, origin, tuple(signer.key for signer in signers))


def prepared_places(ledger: Ledger) -> set[str]:
    """Shards that have keys and an empty place and were never begun: what a close leaves that
    was cut off before its transaction, and what the next one takes up. For a check."""
    return {
        shard
        for shard in key_shards(ledger.directory)
        if shard > ledger.shard and _is_empty_place(ledger, shard)
    }


def _is_empty_place(ledger: Ledger, shard: str) -> bool:
    try:
        tiles = ledger.shards.open(shard)
    except LogMissing:
        return False
    return tiles.checkpoint() is None and not any(tiles.names())


def close_shard(ledger: Ledger, successor: Successor, at: datetime) -> None:
    """Publish what waits, close the shard, and publish its last checkpoint.

    The successor is then the newest shard: open the log again, and `sequence`. No process
    may be writing the log (`SequencerBusy`). `SuccessorNotTrusted` while the policy of the
    witnesses does not list its key. Cut off anywhere, the shard is either as it was, or
    closed, and then the next start does the rest.
    """
    require_trusted(None if ledger.cosigning is None else ledger.cosigning.policy, successor)
    try:
        ledger.shards.open(successor.shard)
    except LogMissing:
        ledger.shards.create(successor.shard)
    leaf, end = ending(ledger.journal, at, ledger.keys, successor)
    ledger.sequence(at, lambda: ledger.sequencer.close(at, leaf, end))


def ending(
    journal: Journal, at: datetime, keys: tuple[VerifierKey, ...], successor: Successor
) -> tuple[bytes, Callable[[WriteTx, Head, Checkpoint], Head]]:
    """What `Sequencer.close` needs for the shard with these keys: its last entry, and the
    transaction that ends it and begins the successor."""
    origin = keys[0].name
    closed: dict[str, JsonValue] = {
        "origin": origin,
        "shard": shard_of(origin),
        "successor": successor.body(),
    }

    def end(tx: WriteTx, head: Head, final: Checkpoint) -> Head:
        last = journal.publish(tx, at, CLOSED, closed)
        ended = heads.end(tx, at, head, successor.shard, last.entry_id)
        opened = opening_body(successor.body(), Ended(final, keys))
        first = journal.publish(tx, at, OPENED, opened)
        heads.begin(tx, at, successor.shard, successor.origin, first.entry_id)
        return ended

    return public_leaf(CLOSED, {"at": time_text(at), **closed}), end


def require_trusted(policy: Policy | None, successor: Successor) -> None:
    """`SuccessorNotTrusted` if a policy is in force that does not list the next shard's key."""
    if policy is not None and all(log.key != successor.keys[0] for log in policy.logs):
        raise SuccessorNotTrusted(vkey=successor.keys[0].text)
