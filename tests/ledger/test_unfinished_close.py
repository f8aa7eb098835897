"""Between a close and its successor's first checkpoint what was logged before is still proved."""

import contextlib
import json
from typing import Any

import pytest
from sqlalchemy import ColumnElement, select, update

from kernel.errors import CodedError
from ledger.closing import close_shard, prepare_successor
from ledger.errors import NotInLog, NotYetLogged, OutsideUnreachable
from ledger.layout import stops_store
from ledger.lock import lock_of
from ledger.reader import Inclusion
from ledger.receipts import Evidence, verify_receipt
from ledger.service import Ledger
from ledger.shard_keys import key_path, open_signers, signer_paths
from ledger.tables import ledger_entries
from ledger.tilestore import FolderShards
from tests.ledger import fault_ports as faults
from tests.ledger.conftest import Store

pytestmark = pytest.mark.both_engines

COLUMNS = ledger_entries.c


def end(store: Store, shard: str = "2027") -> Store:
    """Closed, and opened again; the new shard has signed nothing."""
    close_shard(store.ledger, prepare_successor(store.ledger, shard), store.now)
    return store.reopen()


def proved(store: Store, entry_id: str) -> Inclusion:
    with store.database.read() as tx:
        return store.ledger.records.prove(store.ledger.records.open(tx, entry_id))


def holds(store: Store, receipt: bytes, policy: Any) -> None:
    assert isinstance(verify_receipt(receipt, policy), Evidence)


def test_old_records_are_proved_before_the_successor_has_published_anything(store: Store) -> None:
    first = store.record({"title": "甲"})
    store.sequence()
    policy = store.policy
    before = store.receipt(first.entry_id)
    store = end(store)
    store.ledger.sequence(store.now)
    second = store.record({"title": "乙"})
    store.sequence()
    policies = [policy, store.policy]
    store = end(store, "2028")
    try:
        waiting = store.record({"title": "丙"})
        assert store.ledger.tiles.checkpoint() is None
        for entry, trusted in zip((first, second), policies, strict=True):
            assert proved(store, entry.entry_id)
            holds(store, store.receipt(entry.entry_id), trusted)
            holds(store, store.receipt(entry.entry_id), store.policy)
            assert store.ledger.wait_for(entry.entry_id, 0)
        with store.database.read() as tx:
            records = [store.ledger.records.open(tx, one.entry_id) for one in (first, waiting)]
            holds(store, store.ledger.evidence.refreshed(tx, before), policy)
        assert store.ledger.unpublished(records) == [waiting.entry_id]
        for shard in ("2025", "2026-2"):
            with pytest.raises(NotInLog):
                store.ledger.readers.of(shard)
        with pytest.raises(NotYetLogged):
            proved(store, waiting.entry_id)
        # The same process goes on, and then the log itself tells of the end.
        assert store.ledger.readers.of("2027").final is None
        store.ledger.sequence(store.now)
        assert store.ledger.readers.of("2027").final is not None
        assert not key_path(store.directory, "2027").exists()
        for entry in (first, second, waiting):
            assert proved(store, entry.entry_id)
        assert store.fsck() == []
    finally:
        store.close()


def test_also_while_its_last_checkpoint_is_not_signed(store: Store) -> None:
    old = store.record()
    store.sequence()
    fault = faults.Fault("sign", faults.When.BEFORE)
    log = FolderShards(store.directory / "log")
    broken = Ledger(
        database=store.database,
        vault=store.vault,
        stops=stops_store(store.directory),
        tiles=log.open("2026"),
        signers=[faults.FaultySigner(one, fault) for one in open_signers(store.directory, "2026")],
        lock=lock_of(store.database, store.directory / "sequencer-2026.lock", "2026"),
        clock=store.clock,
        shard="2026",
        directory=store.directory,
        shards=log,
    )
    with contextlib.suppress(faults.Injected):
        close_shard(broken, prepare_successor(broken, "2027"), store.now)
    store = store.reopen()
    try:
        with store.database.read() as tx:
            query = select(COLUMNS.entry_id).where(COLUMNS.kind == "shard.closed")
            last = str(tx.scalar(query))
        assert proved(store, old.entry_id).size == 2
        assert not store.ledger.wait_for(last, 0)

        def away(_signed: object) -> None:
            raise OutsideUnreachable

        # Another process signs the end and comes no further: what is read here keeps up.
        other = Ledger.open(
            store.directory, database=store.database, vault=store.vault, clock=store.clock
        )
        other.sequencer.vouch = away
        with pytest.raises(OutsideUnreachable):
            other.sequence(store.now)
        assert store.ledger.tiles.checkpoint() is None
        assert proved(store, old.entry_id).size == 3
        assert store.ledger.wait_for(last, 0)
    finally:
        store.close()


def refused(store: Store, entry_id: str) -> str:
    """The code with which a process that opens the log now refuses to prove the entry."""
    ledger = Ledger.open(
        store.directory, database=store.database, vault=store.vault, clock=store.clock
    )
    with store.database.read() as tx, pytest.raises(CodedError) as error:
        ledger.records.prove(ledger.records.open(tx, entry_id))
    with store.database.read() as tx, pytest.raises(CodedError) as again:
        ledger.records.prove(ledger.records.open(tx, entry_id))
    assert error.value.code == again.value.code
    return error.value.code


def test_nothing_is_believed_that_those_keys_did_not_sign(store: Store) -> None:
    old = store.record()
    store.sequence()
    store = end(store)
    try:
        checkpoint = store.log / "checkpoint"
        whole = checkpoint.read_bytes()
        checkpoint.write_bytes(whole.replace(b"/2026\n3\n", b"/2026\n4\n"))
        assert checkpoint.read_bytes() != whole
        assert refused(store, old.entry_id) == "signature_invalid"
        checkpoint.write_bytes(whole)
        with store.database.read() as tx:
            row = tx.one(select(COLUMNS.leaf).where(COLUMNS.shard == "2027"))
        assert row is not None
        leaf = json.loads(row["leaf"])
        # Rows that name another end, other keys or another shard: refused, not believed.
        for name, value, code in (
            ("root", "00" * 32, "final_checkpoint_differs"),
            ("size", 1, "final_checkpoint_differs"),
            ("vkey", "log.yunjian.example/2026+00000000+AAAA", "leaf_malformed"),
            ("vkey", leaf["body"]["previous"]["mldsa44_vkey"], "log_diverged"),
            ("origin", "log.yunjian.example/2025", "leaf_malformed"),
        ):
            body = {**leaf["body"], "previous": {**leaf["body"]["previous"], name: value}}
            data = json.dumps({**leaf, "body": body}, separators=(",", ":"), sort_keys=True)
            _write(store, COLUMNS.shard == "2027", leaf=data.encode())
            assert refused(store, old.entry_id) == code
        _write(store, COLUMNS.shard == "2027", leaf=row["leaf"])
        # A row that points elsewhere in the old shard proves nothing.
        _write(store, COLUMNS.leaf_index == 2, leaf_index=99)
        _write(store, COLUMNS.entry_id == old.entry_id, leaf_index=2)
        assert refused(store, old.entry_id) == "not_in_log"
        _write(store, COLUMNS.entry_id == old.entry_id, leaf_index=1)
        assert proved(store, old.entry_id)
    finally:
        store.close()


def test_without_the_old_keys_there_is_no_proof_yet(store: Store) -> None:
    old = store.record()
    store.sequence()
    store = end(store)
    try:
        for path in signer_paths(store.directory / "keys", "2026"):
            path.unlink()
        with pytest.raises(NotYetLogged):
            proved(store, old.entry_id)
    finally:
        store.close()


def _write(store: Store, which: ColumnElement[bool], **values: object) -> None:
    store.database.write(lambda tx: tx.execute(update(ledger_entries).where(which).values(values)))
