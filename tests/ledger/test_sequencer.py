"""The sequencer under faults: each step fails before, half-way and after its effect."""

import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import update

from ledger import heads
from ledger.checkpoints import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import (
    CheckpointNotMonotone,
    DatabaseOlderThanLog,
    LedgerStopped,
    LogDiverged,
    ReadBackFailed,
    SequencerBusy,
    SequencerLost,
)
from ledger.growth import grow
from ledger.heads import _runs
from ledger.layout import stops_store
from ledger.lock import FileLock
from ledger.merkle import verify_consistency
from ledger.receipts import Evidence, verify_receipt
from ledger.sequencer import Sequencer
from ledger.service import Ledger
from ledger.shard_keys import open_signers
from ledger.tables import ledger_heads
from ledger.tiles import TilePath
from ledger.tilestore import FilesystemTiles, FolderShards
from storage.errors import StorageFailed

pytestmark = pytest.mark.both_engines

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


faults = _load("fault_ports")


def faulty_ledger(store: Any, fault: Any) -> Any:
    """The store's log behind ports that fail once."""
    return Ledger(
        database=faults.FaultyDatabase(store.database, fault),
        vault=store.vault,
        stops=stops_store(store.directory),
        tiles=faults.FaultyTiles(FilesystemTiles(store.log), fault),
        signers=[faults.FaultySigner(one, fault) for one in open_signers(store.directory, "2026")],
        lock=FileLock(store.directory / "sequencer-2026.lock"),
        clock=store.clock,
        shard="2026",
        directory=store.directory,
        shards=FolderShards(store.directory / "log"),
    )


def whole_log_holds(store: Any, acknowledged: dict[str, bytes]) -> None:
    """The one oracle: fsck is clean, every receipt given out still holds and is in the log."""
    assert store.fsck() == []
    for entry_id, receipt in acknowledged.items():
        before = verify_receipt(receipt, store.policy)
        after = verify_receipt(store.receipt(entry_id), store.policy)
        assert isinstance(before, Evidence)
        assert isinstance(after, Evidence)
        assert (before.index, before.record) == (after.index, after.record)
        proof = store.ledger.reader.consistency(before.size)
        head = store.ledger.checkpoint()
        verify_consistency(before.size, head.size, before.root, head.root, proof)


@pytest.mark.parametrize("when", list(faults.When), ids=lambda when: when.name.lower())
@pytest.mark.parametrize("step", faults.STEPS)
def test_the_log_recovers_from_a_fault_at_any_step(store: Any, step: str, when: Any) -> None:
    first = store.record_many(250)
    store.sequence()
    acknowledged = {entry.entry_id: store.receipt(entry.entry_id) for entry in first[::50]}
    waiting = store.record_many(20)  # the lowest tile becomes full: something is discarded
    fault = faults.Fault(step, when)
    broken = faulty_ledger(store, fault)
    with pytest.raises(faults.Injected):
        broken.sequence(store.now)
    assert fault.reached
    assert isinstance(broken.sequencer.failure, faults.Injected)
    with pytest.raises(LedgerStopped):
        broken.sequence(store.now)
    # What is published is whole even before anybody recovers.
    published = store.ledger.reader.refresh().checkpoint
    assert published.size in (251, 271)
    assert store.ledger.reader.root(published.size) == published.root
    assert store.fsck() == []
    recovered = store.reopen()
    recovered.sequence()
    assert recovered.ledger.checkpoint().size == 271
    acknowledged |= {entry.entry_id: recovered.receipt(entry.entry_id) for entry in waiting[::5]}
    whole_log_holds(recovered, acknowledged)
    recovered.close()


def test_every_step_is_reached_by_one_round(store: Any) -> None:
    store.record_many(300)
    for step in faults.STEPS:
        fault = faults.Fault(step, faults.When.BEFORE, count=1_000)
        faulty_ledger(store, fault).sequence(store.now)
        store.record_many(300)
        assert fault.count < 1_000, step


@pytest.mark.parametrize("flip", [0, 7, 100, 3000, 8191])
@pytest.mark.parametrize("path", [TilePath(0, 0), TilePath(None, 0), TilePath(1, 0, 1)])
def test_a_bit_flipped_by_the_store_is_found_before_signing(
    store: Any, path: TilePath, flip: int
) -> None:
    store.record_many(300)
    tiles = FilesystemTiles(store.log)
    signed: list[str] = []

    class Flips(faults.FaultyTiles):  # type: ignore[name-defined,misc]
        def get(self, asked: TilePath) -> bytes:
            data = bytearray(tiles.get(asked))
            if asked == path:
                data[flip % len(data)] ^= 4
            return bytes(data)

    class Counts(faults.FaultySigner):  # type: ignore[name-defined,misc]
        def sign(self, text: str) -> bytes:
            signed.append(text)
            return bytes(64)

    no_fault = faults.Fault("none", faults.When.BEFORE)
    sequencer = Sequencer(
        database=store.database,
        tiles=Flips(tiles, no_fault),
        signers=[Counts(one, no_fault) for one in open_signers(store.directory, "2026")],
        reader=store.ledger.reader,
        stops=store.ledger.stops,
        shard="2026",
    )
    sequencer.recover(store.now)
    with pytest.raises(ReadBackFailed):
        sequencer.round(store.now)
    assert signed == []
    assert store.ledger.checkpoint().size == 1


def test_a_wrong_hash_in_memory_is_found_before_signing() -> None:
    from ledger.growth import Tail, recompute

    grown = grow(Tail(0), [b"%d" % number for number in range(300)])
    assert recompute(300, grown.blobs) == grown.tail.root
    for path in grown.blobs:
        data = bytearray(grown.blobs[path])
        data[-1] ^= 1
        try:
            assert recompute(300, {**grown.blobs, path: bytes(data)}) != grown.tail.root
        except (ReadBackFailed, LogDiverged):
            continue


def test_a_second_sequencer_takes_over_and_the_first_stops(store: Any) -> None:
    store.record_many(5)
    signers = open_signers(store.directory, "2026")

    def sequencer() -> Sequencer:
        return Sequencer(
            database=store.database,
            tiles=FilesystemTiles(store.log),
            signers=signers,
            reader=store.ledger.reader,
            stops=store.ledger.stops,
            shard="2026",
        )

    first, second = sequencer(), sequencer()
    first.recover(store.now)
    second.recover(store.now)
    with pytest.raises(SequencerLost):
        first.round(store.now)
    with pytest.raises(LedgerStopped) as stopped:
        first.round(store.now)
    assert stopped.value.details["reason"] == "sequencer_lost"
    assert second.round(store.now) == 5
    whole_log_holds(store, {})


def test_two_sequencers_racing_never_make_two_roots(store: Any) -> None:
    """Without the lock, so that only the compare-and-swap stands between them."""
    signers = open_signers(store.directory, "2026")
    tiles = FilesystemTiles(store.log)
    seen: dict[int, bytes] = {}
    mutex = threading.Lock()

    class Watched(FilesystemTiles):
        def publish(self, checkpoint: bytes) -> None:
            head = parse_checkpoint(checkpoint).checkpoint
            with mutex:
                assert seen.setdefault(head.size, head.root) == head.root
                super().publish(checkpoint)

    def run() -> None:
        for _ in range(12):
            sequencer = Sequencer(
                database=store.database,
                tiles=Watched(store.log),
                signers=signers,
                reader=store.ledger.reader,
                stops=store.ledger.stops,
                shard="2026",
            )
            try:
                sequencer.recover(store.now)
                while sequencer.round(store.now):
                    pass
            except (
                SequencerLost,
                LedgerStopped,
                CheckpointNotMonotone,
                DatabaseOlderThanLog,
                LogDiverged,
                StorageFailed,  # the other one swept our staging: the lock prevents that
            ):
                continue

    entries = []
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        entries += store.record_many(37)
    for thread in threads:
        thread.join()
    store.sequence()
    assert store.ledger.checkpoint().size == 741
    assert store.ledger.reader.root(741) == store.ledger.checkpoint().root
    assert tiles.checkpoint() is not None
    whole_log_holds(store, {entries[0].entry_id: store.receipt(entries[0].entry_id)})


def test_the_lock_keeps_a_second_process_out(store: Any, open_store: Callable[..., Any]) -> None:
    store.ledger.start()
    other = open_store(store.directory)
    try:
        with pytest.raises(SequencerBusy):
            other.ledger.start()
        with pytest.raises(SequencerBusy):
            other.sequence()
        store.ledger.stop()
        other.ledger.start()
        assert other.ledger.running
    finally:
        other.close()


def test_a_stopped_log_says_why_and_waiters_are_let_go(store: Any) -> None:
    fault = faults.Fault("sign", faults.When.BEFORE)
    broken = faulty_ledger(store, fault)
    broken.start()
    assert broken.running
    entry = store.database.write(
        lambda tx: broken.journal.record(tx, store.now, "case.opened", "cas_1", {})
    )
    assert broken.wait_for(entry.entry_id, 30) is False
    assert not broken.running
    with pytest.raises(LedgerStopped) as stopped:
        broken.sequencer.round(store.now)
    assert stopped.value.details["reason"] == "Injected"
    broken.stop()
    store.ledger.start()
    assert store.ledger.wait_for(entry.entry_id, 30)


def test_an_older_database_signs_nothing(store: Any, open_store: Callable[..., Any]) -> None:
    store.record_many(3)
    store.sequence()
    store.close()
    bring_back = store.engine.snapshot(store.directory / "mianjiao.sqlite3")
    store = store.reopen()
    store.record_many(4)
    store.sequence()
    published = (store.log / "checkpoint").read_bytes()
    store.close()
    bring_back()
    restored = open_store(store.directory)
    try:
        assert "database_older_than_log" in restored.codes()
        restored.record_many(9)
        for attempt in (restored.sequence, restored.ledger.start):
            with pytest.raises((DatabaseOlderThanLog, LedgerStopped)) as refused:
                attempt()
            assert "database_older_than_log" in str(refused.value)
        assert (store.log / "checkpoint").read_bytes() == published
        # Also when the checkpoint is gone: the tiles speak of more leaves.
        (store.log / "checkpoint").unlink()
        again = restored.reopen()
        with pytest.raises(DatabaseOlderThanLog):
            again.sequence()
        again.close()
    finally:
        restored.close()


def test_another_history_is_not_continued(store: Any, open_store: Callable[..., Any]) -> None:
    """The published tree is no prefix of the database's: someone else wrote it."""
    signers = open_signers(store.directory, "2026")
    store.record_many(3)
    store.sequence()
    for head, error in [
        (Checkpoint(store.ledger.origin, 4, b"\x01" * 32), LogDiverged),
        (Checkpoint(store.ledger.origin, 3, b"\x01" * 32), LogDiverged),
        (Checkpoint(store.ledger.origin, 5, b"\x01" * 32), DatabaseOlderThanLog),
    ]:
        (store.log / "checkpoint").write_bytes(sign_checkpoint(head, signers).encode())
        one = open_store(store.directory)
        try:
            with pytest.raises(error):
                one.sequence()
        finally:
            one.close()


@pytest.mark.parametrize("values", [{"root": b"\x01" * 32}, {"checkpoint": b"junk"}, {"size": 2}])
def test_an_edited_head_row_signs_nothing(store: Any, values: dict[str, Any]) -> None:
    store.record_many(3)
    store.sequence()
    store.database.write(lambda tx: tx.execute(update(ledger_heads).values(**values)).rowcount)
    with pytest.raises((LogDiverged, DatabaseOlderThanLog)):
        store.sequence()
    assert "head_invalid" in store.codes()


def test_damaged_edge_tiles_stop_the_log_before_it_signs(store: Any) -> None:
    store.record_many(3)
    store.sequence()
    path = store.log / "tile/0/000.p/4"
    path.write_bytes(bytes(128))
    store.record_many(3)
    with pytest.raises(LogDiverged):
        store.sequence()


def test_superseded_partial_tiles_are_removed_and_still_read(store: Any) -> None:
    store.record_many(99)
    store.sequence()
    small = store.ledger.checkpoint()
    assert (store.log / "tile/entries/000.p/100").is_file()
    store.record_many(200)
    store.sequence()
    assert not (store.log / "tile/entries/000.p").exists()
    assert not (store.log / "tile/0/000.p").exists()
    assert store.ledger.reader.root(small.size) == small.root
    assert len(store.ledger.reader.bundle(0, small.size)) == 100


def test_neighbouring_positions_become_runs() -> None:
    assert _runs([]) == []
    assert _runs([3, 4, 5, 9]) == [(3, 5), (9, 9)]


def test_positions_with_gaps_still_get_contiguous_indexes(store: Any) -> None:
    entries = store.record_many(10)
    with store.database.read() as tx:
        head = heads.load(tx, "2026")
    assert head.size == 1
    from sqlalchemy import delete

    from ledger.tables import ledger_entries

    for entry in entries[2::3]:
        store.database.write(
            lambda tx, entry=entry: (
                tx.execute(
                    delete(ledger_entries).where(ledger_entries.c.entry_id == entry.entry_id)
                ).rowcount
            )
        )
    assert store.sequence() == 7
    assert store.fsck() == []
