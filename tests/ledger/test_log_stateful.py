"""The log as a state machine: whatever happens in whatever order, the whole log holds."""

import contextlib
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kernel.ids import IdKind, new_id
from ledger.checkpoints import Checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.errors import ErasurePending, NotYetLogged, RecordErased
from ledger.layout import stops_store
from ledger.leaves import PublicLeaf, parse_leaf
from ledger.lock import FileLock
from ledger.merkle import leaf_hash, verify_consistency
from ledger.receipts import Evidence, verify_receipt
from ledger.service import Ledger
from ledger.shard_keys import open_signers
from ledger.tilestore import FilesystemTiles, FolderShards

pytestmark = pytest.mark.both_engines


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


faults = _load("fault_ports")


class LogMachine(RuleBasedStateMachine):
    """Appends, erases, sequences, crashes at any step, reopens, reads proofs."""

    make_store: Any = None
    rounds = 0
    entities = Bundle("entities")

    @initialize()
    def born(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mianjiao-log-"))
        self.store = type(self).make_store(self.directory / "data")
        self.records: dict[str, dict[str, Any]] = {}
        self.of_entity: dict[str, list[str]] = {}
        self.erased: set[str] = set()
        self.receipts: dict[str, bytes] = {}
        self.heads = [self.store.ledger.checkpoint()]
        self.ends: list[Checkpoint] = []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.directory)

    @rule(
        target=entities,
        count=st.sampled_from([1, 2, 5, 120, 260]),
        sequenced=st.booleans(),
    )
    def record(self, count: int, sequenced: bool) -> str:
        entity = new_id(IdKind.MATERIAL)
        rows = [("material.noted", entity, {"number": number}) for number in range(count)]
        at = self.store.now
        entries = self.store.database.write(
            lambda tx: self.store.ledger.journal.record_many(tx, at, rows)
        )
        for entry, (_, _, body) in zip(entries, rows, strict=True):
            self.records[entry.entry_id] = body
        self.of_entity[entity] = [entry.entry_id for entry in entries]
        if sequenced:
            self.sequence()
        return entity

    @rule(version=st.integers(0, 9))
    def publish(self, version: int) -> None:
        self.store.database.write(
            lambda tx: self.store.ledger.journal.publish(
                tx, self.store.now, "catalogue.changed", {"version": version}
            )
        )

    @rule(entity=consumes(entities))
    def erase(self, entity: str) -> None:
        try:
            self.store.database.write(
                lambda tx: self.store.ledger.journal.erase(tx, self.store.now, entity)
            )
        except ErasurePending:
            return
        self.erased.update(self.of_entity[entity])

    @rule()
    def sequence(self) -> None:
        type(self).rounds += self.store.sequence() > 0
        self.look()

    def look(self) -> None:
        """See the newest head, perhaps of another shard than the last one."""
        head = self.store.ledger.checkpoint()
        if head.origin != self.heads[-1].origin:
            self.ends = self.store.ledger.readers.finals()
            self.heads = [head]
        elif head != self.heads[-1]:
            self.heads.append(head)

    @rule(step=st.sampled_from(faults.STEPS), when=st.sampled_from(list(faults.When)))
    def crash_while_sequencing(self, step: str, when: Any) -> None:
        broken = self.broken(faults.Fault(step, when))
        with contextlib.suppress(faults.Injected):
            broken.sequence(self.store.now)
        self.reopen()

    @precondition(lambda self: len(self.ends) < 2)
    @rule(step=st.sampled_from(("", *faults.STEPS)), when=st.sampled_from(list(faults.When)),
          count=st.integers(1, 3))  # fmt: skip
    def close_the_shard(self, step: str, when: Any, count: int) -> None:
        """To its end, or until something fails on the way; the next start does the rest."""
        log = self.broken(faults.Fault(step, when, count))
        following = str(int(log.shard) + 1)
        with contextlib.suppress(faults.Injected):
            close_shard(log, prepare_successor(log, following), self.store.now)
        self.store = self.store.reopen()
        self.sequence()

    def broken(self, fault: Any) -> Ledger:
        """The newest shard, over ports that fail once."""
        shard = self.store.ledger.shard
        return Ledger(
            database=faults.FaultyDatabase(self.store.database, fault),
            vault=self.store.vault,
            stops=stops_store(self.store.directory),
            tiles=faults.FaultyTiles(FilesystemTiles(self.store.directory / "log" / shard), fault),
            signers=[
                faults.FaultySigner(one, fault) for one in open_signers(self.store.directory, shard)
            ],
            lock=FileLock(self.store.directory / f"sequencer-{shard}.lock"),
            clock=self.store.clock,
            shard=shard,
            directory=self.store.directory,
            shards=FolderShards(self.store.directory / "log"),
        )

    @rule()
    def reopen(self) -> None:
        self.store = self.store.reopen()
        self.look()

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def ask_for_a_receipt(self, data: st.DataObject) -> None:
        # In the order they were made: ordered by random ids a replay would pick another one.
        entry_id = data.draw(st.sampled_from(list(self.records)))
        try:
            receipt = self.store.receipt(entry_id)
        except NotYetLogged:
            return
        except RecordErased:
            assert entry_id in self.erased
            return
        assert entry_id not in self.erased
        self.receipts[entry_id] = receipt

    @invariant()
    def the_whole_log_holds(self) -> None:
        if not hasattr(self, "store"):
            return
        store = self.store
        assert store.fsck() == []
        reader = store.ledger.reader
        head = store.ledger.checkpoint()
        # One history: every head ever seen is a prefix of the newest.
        for older in self.heads:
            proof = reader.consistency(older.size)
            verify_consistency(older.size, head.size, older.root, head.root, proof)
        sizes = [one.size for one in self.heads]
        assert sizes == sorted(set(sizes)), "one size, one head"
        entries = [entry for _, entry in reader.entries(head.size)]
        for index in (0, head.size // 2, head.size - 1):
            assert reader.inclusion(index).proves(leaf_hash(entries[index]))
        for entry_id, receipt in self.receipts.items():
            evidence = verify_receipt(receipt, store.policy)
            assert isinstance(evidence, Evidence)
            body = self.records[entry_id]
            assert {name: evidence.record[name] for name in body} == body
            shard = evidence.origin.rpartition("/")[2]
            assert store.ledger.readers.of(shard).entry(evidence.index) == _entry_of(receipt)
        # An end, once seen, is the same for ever.
        assert store.ledger.readers.finals() == self.ends
        first = parse_leaf(entries[0])
        assert isinstance(first, PublicLeaf)
        assert first.kind == "shard.opened"


def _entry_of(receipt: bytes) -> bytes:
    import base64

    return base64.b64decode(json.loads(receipt)["entry"])


def test_the_log_holds_whatever_happens(store: Any) -> None:
    make, engine = type(store).create, store.engine
    LogMachine.make_store = lambda directory: make(directory, engine)
    run_state_machine_as_test(
        LogMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert LogMachine.rounds > 0, "no round was ever sequenced"
