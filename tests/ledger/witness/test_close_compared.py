"""A close that was cut off is finished by a start that first compares, with a real witness."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from ledger import heads
from ledger.checkpoints import parse_checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.errors import DatabaseOlderThanLog, LogDiverged, OutsideUnreachable
from ledger.fsck import fsck
from ledger.layout import stops_store
from ledger.lock import lock_of
from ledger.service import Ledger
from ledger.shard_keys import key_path, open_signers
from ledger.tilestore import FolderShards
from tests.ledger import fault_ports as faults
from tests.ledger.conftest import Store

from .conftest import StartWitness, Tree
from .test_cosigning import forger, use

OLD, NEW = "2026", "2027"
pytestmark = pytest.mark.both_engines


@pytest.fixture
def cut_off(store: Store) -> Iterator[Store]:
    """A store whose close was cut off: the transaction is there, its last checkpoint is not."""
    store.record_many(3)
    store.sequence()
    fault = faults.Fault("sign", faults.When.BEFORE)
    log = FolderShards(store.directory / "log")
    broken = Ledger(
        database=store.database,
        vault=store.vault,
        stops=stops_store(store.directory),
        tiles=log.open(OLD),
        signers=[faults.FaultySigner(one, fault) for one in open_signers(store.directory, OLD)],
        lock=lock_of(store.database, store.directory / "sequencer-2026.lock", OLD),
        clock=store.clock,
        shard=OLD,
        directory=store.directory,
        shards=log,
    )
    with contextlib.suppress(faults.Injected):
        close_shard(broken, prepare_successor(broken, NEW), store.now)
    reopened = store.reopen()
    yield reopened
    reopened.close()


def vkeys(store: Store) -> list[str]:
    return [open_signers(store.directory, shard)[0].key.text for shard in (OLD, NEW)]


def ask(store: Store, witness: Any) -> None:
    logs = "".join(f"log {vkey}\n" for vkey in vkeys(store))
    use(store, f"{logs}{witness.policy_lines('w1')}quorum w1\n")


def sizes(store: Store) -> tuple[int, int]:
    """Entries that are signed, of the old and of the new shard, by rows and as published."""
    with store.database.read() as tx:
        rows = [heads.load(tx, shard).size for shard in (OLD, NEW)]
    published = []
    for shard in (OLD, NEW):
        path = store.directory / "log" / shard / "checkpoint"
        published.append(
            parse_checkpoint(path.read_bytes()).checkpoint.size if path.exists() else 0
        )
    assert rows == published
    return rows[0], rows[1]


def test_a_witness_that_knows_another_end_stops_it_before_the_end_is_signed(
    cut_off: Store, start_witness: StartWitness
) -> None:
    """As after a snapshot of the whole machine was put back, and something else was signed."""
    witness = start_witness("w1", vkeys(cut_off))
    ask(cut_off, witness)
    other = Tree([b"x"] * 6, forger(cut_off, OLD))
    errors = {4: LogDiverged, 5: DatabaseOlderThanLog, 6: DatabaseOlderThanLog}
    for known, (size, error) in zip((0, 4, 5), errors.items(), strict=True):
        assert witness.add(other.request(known, size)).status_code == 200
        assert sizes(cut_off) == (4, 0)
        with pytest.raises(error):
            cut_off.ledger.sequence(cut_off.now)
        assert sizes(cut_off) == (4, 0)
        assert key_path(cut_off.directory, OLD).exists()
        cut_off.ledger.sequencer.restart()


def test_a_witness_that_knows_more_of_the_new_shard_stops_it_at_its_opening(
    cut_off: Store, start_witness: StartWitness
) -> None:
    """The same, after the close was finished the first time."""
    witness = start_witness("w1", vkeys(cut_off))
    further = Tree([b"x"] * 9, forger(cut_off, NEW))
    assert witness.add(further.request(0, 9)).status_code == 200
    ask(cut_off, witness)
    cut_off.record()
    for _ in range(2):
        with pytest.raises(DatabaseOlderThanLog):
            cut_off.ledger.sequence(cut_off.now)
        # The opening alone was signed: it says what it said the first time.
        assert sizes(cut_off) == (5, 1)
        cut_off.ledger.sequencer.restart()


def test_without_any_witness_nothing_is_signed_until_one_is_back(
    cut_off: Store, start_witness: StartWitness
) -> None:
    witness = start_witness("w1", vkeys(cut_off))
    witness.kill()
    ask(cut_off, witness)
    with pytest.raises(OutsideUnreachable):
        cut_off.ledger.sequence(cut_off.now)
    assert sizes(cut_off) == (4, 0)
    start_witness("w1", vkeys(cut_off), witness.port)
    cut_off.ledger.sequencer.restart()
    cut_off.record()
    cut_off.ledger.sequence(cut_off.now)
    assert sizes(cut_off) == (5, 2)
    assert not key_path(cut_off.directory, OLD).exists()
    assert cut_off.ledger.cosign_ended() == []
    assert fsck(cut_off.ledger) == []
