"""A shard of the log ends and another follows: closing, what was proved before, reading both."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from ledger import heads
from ledger.checkpoints import Checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.demands import demands_text, parse_demands
from ledger.errors import (
    CheckpointAfterEnd,
    DatabaseWithoutKey,
    FinalDiffers,
    KeyMismatch,
    LeafMalformed,
    LogDiverged,
    NotInLog,
    NotYetLogged,
    SequencerBusy,
    ShardEnded,
    ShardNameInvalid,
)
from ledger.high_water import HighWaterFile
from ledger.keys import create_key_file
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from ledger.service import Ledger
from ledger.shard_keys import key_path, open_signers, signer_paths
from ledger.tables import ledger_entries, ledger_heads

pytestmark = pytest.mark.both_engines

COLUMNS = ledger_entries.c


def close(store: Any, shard: str = "2027") -> Any:
    """Close the newest shard and open the log again; the store with the next one."""
    close_shard(store.ledger, prepare_successor(store.ledger, shard), store.now)
    reopened = store.reopen()
    reopened.ledger.sequence(reopened.now)
    return reopened


def policy(store: Any) -> Any:
    return parse_policy(store.ledger.policy_text().encode())


def test_old_entries_keep_their_proofs_and_new_ones_get_theirs(store: Any) -> None:
    old = store.record({"title": "旧"})
    store.sequence()
    before, old_policy = store.receipt(old.entry_id), store.policy
    waiting = store.record_many(3)
    signers = open_signers(store.directory, "2026")
    store = close(store)
    ledger = store.ledger
    try:
        assert ledger.origin == "log.yunjian.example/2027"
        final = ledger.readers.finals()[0]
        assert (final.origin, final.size) == ("log.yunjian.example/2026", 6)
        # The last entry of the old shard names the new one, whose first names its end.
        closing = json.loads(ledger.readers.of("2026").entry(5))
        opening = json.loads(ledger.reader.entry(0))
        assert closing["kind"] == "shard.closed"
        assert closing["body"]["successor"] == {
            "origin": ledger.origin,
            "shard": "2027",
            "vkey": ledger.keys[0].text,
            "mldsa44_vkey": ledger.keys[1].text,
        }
        assert opening["body"]["previous"] == {
            "origin": final.origin,
            "size": 6,
            "root": final.root.hex(),
            "vkey": signers[0].key.text,
            "mldsa44_vkey": signers[1].key.text,
        }
        new = store.record({"title": "新"})
        assert not ledger.wait_for(new.entry_id, 0)
        store.sequence()
        assert ledger.wait_for_all([new.entry_id, *(one.entry_id for one in waiting)], 0)
        pins = parse_demands(demands_text(ledger.readers.finals()).encode())
        for one in (old, *waiting, new):
            for demands in (None, pins):
                outcome = verify_receipt(store.receipt(one.entry_id), policy(store), demands)
                assert isinstance(outcome, Evidence), outcome
                assert outcome.checkpoint.post_quantum
        # A receipt from before the close, with the policy of then, and with that of now.
        for trusted in (old_policy, policy(store)):
            assert isinstance(verify_receipt(before, trusted, pins), Evidence)
        with store.database.read() as tx:
            refreshed = ledger.evidence.refreshed(tx, before)
            record = ledger.records.open(tx, new.entry_id)
            assert ledger.unpublished([record, ledger.records.open(tx, old.entry_id)]) == []
        outcome = verify_receipt(refreshed, old_policy, pins)
        assert isinstance(outcome, Evidence)
        assert outcome.size == 6
        assert store.fsck() == []
        # A head of the old shard that its keys signed after the end: refused by the pins.
        for late in (
            Checkpoint(final.origin, 7, b"\1" * 32),
            Checkpoint(final.origin, 6, b"\2" * 32),
        ):
            with pytest.raises(CheckpointAfterEnd):
                pins.require_within(late)
    finally:
        store.close()


def test_nobody_can_sign_for_the_ended_shard(store: Any) -> None:
    store.record_many(2)
    successor = prepare_successor(store.ledger, "2027")
    assert prepare_successor(store.ledger, "2027") == successor
    close_shard(store.ledger, successor, store.now)
    # The process that closed it, and one that stood by, go no further.
    store.record_many(2)
    with pytest.raises(ShardEnded):
        store.ledger.sequence(store.now)
    assert store.ledger.checkpoint().size == 4
    store = store.reopen()
    try:
        assert key_path(store.directory, "2026").exists()
        store.ledger.sequence(store.now)
        left = [path.exists() for path in signer_paths(store.directory / "keys", "2026")]
        assert left == [False, False]
        assert store.ledger.checkpoint().size == 3
        with store.database.read() as tx:
            last = tx.one(
                select(COLUMNS.kind).where(COLUMNS.shard == "2026", COLUMNS.leaf_index == 3)
            )
            assert heads.newest_shard(tx) == "2027"
        assert last["kind"] == "shard.closed"
        with pytest.raises(NotInLog):
            store.ledger.readers.of("2025")
        with pytest.raises(NotYetLogged):
            store.ledger.readers.of("2028")
        store = close(store, "2028")
        assert [one.origin[-4:] for one in store.ledger.readers.finals()] == ["2026", "2027"]
        assert store.fsck() == []
    finally:
        store.close()


@pytest.mark.parametrize("shard", ["2026", "2025-3", "27", "2027/x", "", "9999-1234"])
def test_a_shard_that_cannot_follow_is_refused(store: Any, shard: str) -> None:
    with pytest.raises(ShardNameInvalid):
        prepare_successor(store.ledger, shard)
    assert sorted(one.name for one in (store.directory / "keys").iterdir()) == [
        "log-2026.key",
        "log-2026.mldsa44.key",
        "vault.json",
    ]


def test_closing_waits_for_no_server(store: Any) -> None:
    store.ledger.start()
    other = Ledger.open(
        store.directory, database=store.database, vault=store.vault, clock=store.clock
    )
    with pytest.raises(SequencerBusy):
        close_shard(other, prepare_successor(other, "2027"), store.now)
    store.ledger.stop()
    with store.database.read() as tx:
        assert heads.shards(tx) == ["2026"]


def test_a_follower_learns_of_the_end(store: Any) -> None:
    follower = Ledger.open(
        store.directory, database=store.database, vault=store.vault, clock=store.clock
    )
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    assert follower.checkpoint().size == 2
    entry = store.record()
    assert not follower.wait_for(entry.entry_id, 0)
    follower.stand_by()
    try:
        deadline = 100
        while follower.sequencer.failure is None and deadline:
            follower.wait_for(entry.entry_id, 0.1)
            deadline -= 1
        assert isinstance(follower.sequencer.failure, ShardEnded)
    finally:
        follower.stop()


def write(store: Any, statement: Any) -> None:
    store.database.write(lambda tx: tx.execute(statement))


def test_a_tampered_ended_shard_is_named_and_not_believed(store: Any) -> None:
    old = store.record()
    store = close(store)
    try:
        checkpoint, bundle = store.directory / "log/2026/checkpoint", None
        whole = checkpoint.read_bytes()
        for path in (store.directory / "log/2026/tile/entries").rglob("*"):
            bundle = path if path.is_file() else bundle
        assert bundle is not None
        flipped = bytearray(bundle.read_bytes())
        flipped[40] ^= 1
        kept = bundle.read_bytes()
        bundle.write_bytes(bytes(flipped))
        assert [one.where.startswith("2026/tile/entries") for one in store.fsck()] == [True]
        bundle.write_bytes(kept)
        write(
            store,
            update(ledger_entries).where(COLUMNS.entry_id == old.entry_id).values(leaf_index=99),
        )
        assert {"leaf_without_record", "row_without_leaf"} <= store.codes()
        write(
            store,
            update(ledger_entries).where(COLUMNS.entry_id == old.entry_id).values(leaf_index=1),
        )
        assert store.fsck() == []
        write(
            store, update(ledger_heads).where(ledger_heads.c.shard == "2026").values(successor=None)
        )
        assert store.codes() == {"head_invalid", "shards_broken"}
        write(
            store,
            update(ledger_heads).where(ledger_heads.c.shard == "2026").values(successor="2027"),
        )
        checkpoint.unlink()
        assert {one.where for one in store.fsck()} == {"2026/checkpoint"}
        checkpoint.write_bytes(whole)
        write(store, delete(ledger_heads).where(ledger_heads.c.shard == "2026"))
        assert "shards_broken" in store.codes()
    finally:
        store.close()


def test_a_checkpoint_that_the_successor_does_not_name_is_refused(store: Any) -> None:
    old = store.record()
    store.sequence()
    early = (store.log / "checkpoint").read_bytes()
    store = close(store)
    try:
        (store.directory / "log/2026/checkpoint").write_bytes(early)
        with pytest.raises(FinalDiffers):
            store.receipt(old.entry_id)
        assert {(one.code, one.where) for one in store.fsck()} == {
            ("checkpoint_invalid", "2026/checkpoint")
        }
    finally:
        store.close()


def test_an_opening_that_lies_about_the_end_is_never_signed(store: Any) -> None:
    """Rows edited between the transaction that closes a shard and what follows."""
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    store = store.reopen()
    try:
        with store.database.read() as tx:
            row = tx.one(select(ledger_entries).where(COLUMNS.shard == "2027"))
        leaf = json.loads(row["leaf"])
        for name, value in (("root", "00" * 32), ("size", 1), ("vkey", store.ledger.vkey)):
            body = {**leaf["body"], "previous": {**leaf["body"]["previous"], name: value}}
            data = json.dumps(
                {**leaf, "body": body}, separators=(",", ":"), sort_keys=True
            ).encode()
            write(store, update(ledger_entries).where(COLUMNS.shard == "2027").values(leaf=data))
            with pytest.raises((LogDiverged, FinalDiffers, LeafMalformed)):
                store.ledger.sequence(store.now)
            store.ledger.sequencer.restart()
            assert store.ledger.tiles.checkpoint() is None
        write(store, update(ledger_entries).where(COLUMNS.shard == "2027").values(leaf=row["leaf"]))
        store.ledger.sequence(store.now)
        assert store.fsck() == []
    finally:
        store.close()


def test_the_remembered_head_goes_over_to_the_next_shard(store: Any, tmp_path: Path) -> None:
    memory = HighWaterFile(tmp_path / "head")
    memory.create(store.ledger.signed_checkpoint().encode())
    parts = {"database": store.database, "vault": store.vault, "clock": store.clock}
    opened = Ledger.open(store.directory, **parts, memory=memory)
    close_shard(opened, prepare_successor(opened, "2027"), store.now)
    assert memory.read().checkpoint.origin.endswith("/2026")
    following = Ledger.open(store.directory, **parts, memory=memory)
    following.sequence(store.now)
    assert memory.read().checkpoint == following.checkpoint()
    # One that was not moved on (a restored disk, say) is of a shard that ended: no harm.
    memory.remember(following.readers.of("2026").published().encode())
    following.sequence(store.now)


def test_erasing_an_entry_of_the_ended_shard(store: Any) -> None:
    entry = store.record()
    store.sequence()
    store = close(store)
    try:
        other = store.record()
        store.sequence()
        for one in (entry, other):
            store.database.write(
                lambda tx, one=one: store.ledger.journal.erase(tx, store.now, one.entity)
            )
        store.sequence()
        assert store.fsck() == []
        write(
            store,
            update(ledger_entries).where(COLUMNS.entry_id == entry.entry_id).values(entity="x"),
        )
        assert store.codes() == {"row_differs"}
    finally:
        store.close()


def test_keys_of_another_or_missing_keys_are_refused(store: Any) -> None:
    create_key_file(key_path(store.directory, "2027"), "another.example/2027")
    with pytest.raises(KeyMismatch):
        prepare_successor(store.ledger, "2027")
    key_path(store.directory, "2027").unlink()
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    saved = key_path(store.directory, "2026").read_bytes()
    key_path(store.directory, "2026").unlink()
    store = store.reopen()
    try:
        with pytest.raises(LogDiverged):
            store.ledger.sequence(store.now)
        key_path(store.directory, "2026").write_bytes(saved)
        key_path(store.directory, "2026").chmod(0o600)
        store.ledger.sequencer.restart()
        store.ledger.sequence(store.now)
        key_path(store.directory, "2027").unlink()
        with pytest.raises(DatabaseWithoutKey):
            store.reopen()
    finally:
        store.database.close()
