"""Before the first signature the log is compared with what a real chain remembers."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.anchoring.comparing import ChainMemory
from ledger.anchoring.node import ChainNode
from ledger.anchoring.rpc import JsonRpc
from ledger.anchoring.signing import ANCHOR_GAS
from ledger.errors import DatabaseOlderThanLog, LogDiverged, OutsideUnreachable
from ledger.evm import contract
from ledger.policy import parse_policy
from tests.ledger.anchoring.conftest import Anchoring
from tests.servers.anvil import CHAIN_ID
from tests.servers.witness import run_witness


def remembering(anchoring: Anchoring, seconds: float = 10, **changes: object) -> ChainNode:
    """Have the log compare itself with the chain."""
    plan = replace(anchoring.plan, **changes)  # type: ignore[arg-type]
    node = ChainNode(JsonRpc(anchoring.chain.url, seconds))
    ledger = anchoring.store.ledger
    memory = ChainMemory(node, chain_id=plan.chain_id, contract=plan.contract)
    ledger.outside.add(memory.compare)
    return node


def put(anchoring: Anchoring, size: int, root: bytes) -> None:
    """Have the chain remember this, as an operator with a second history would."""
    node = ChainNode(JsonRpc(anchoring.chain.url, 10))
    origin = anchoring.store.ledger.origin
    previous = node.head_of(anchoring.plan.contract, origin).size
    signed = anchoring.key.sign(
        chain_id=CHAIN_ID,
        nonce=node.nonce(anchoring.key.address),
        price=node.gas_price(),
        gas=ANCHOR_GAS,
        to=anchoring.plan.contract,
        data=contract.anchor_call(origin, previous, size, root),
    )
    node.send(signed.raw)
    deadline = time.monotonic() + 20
    while node.root_of(anchoring.plan.contract, origin, size) != root:  # it is mined after that
        assert time.monotonic() < deadline
        time.sleep(0.02)
    node.close()


def refuses(anchoring: Anchoring, error: type[Exception]) -> None:
    ledger = anchoring.store.ledger
    before = ledger.checkpoint()
    anchoring.store.record()
    with pytest.raises(error):
        ledger.sequence(datetime.now(UTC))
    assert ledger.checkpoint() == before, "nothing was signed"


def test_a_chain_that_remembers_a_prefix_lets_the_log_go_on(anchoring: Anchoring) -> None:
    anchoring.grow()
    anchoring.step()
    anchoring.grow()  # further than the chain
    node = remembering(anchoring)
    size = anchoring.grow()
    assert 0 < anchoring.chain_size() < size
    node.close()


def test_an_empty_contract_contradicts_nothing(anchoring: Anchoring) -> None:
    node = remembering(anchoring)
    assert anchoring.grow() > 3
    node.close()


def test_a_chain_that_knows_more_entries_stops_the_log(anchoring: Anchoring) -> None:
    size = anchoring.grow()
    put(anchoring, size + 1, b"\x05" * 32)
    node = remembering(anchoring)
    refuses(anchoring, DatabaseOlderThanLog)
    node.close()


@pytest.mark.parametrize("behind", [0, 2])
def test_another_root_of_the_same_or_a_smaller_size_stops_the_log(
    anchoring: Anchoring, behind: int
) -> None:
    size = anchoring.grow()
    put(anchoring, size - behind, b"\x05" * 32)
    node = remembering(anchoring)
    refuses(anchoring, LogDiverged)
    node.close()


def test_a_node_without_the_contract_remembers_nothing(anchoring: Anchoring) -> None:
    anchoring.grow()
    node = remembering(anchoring, contract=b"\x01" * 20)
    refuses(anchoring, OutsideUnreachable)
    node.close()


def test_a_node_of_another_chain_remembers_nothing(anchoring: Anchoring) -> None:
    anchoring.grow()
    node = remembering(anchoring, chain_id=CHAIN_ID + 1)
    refuses(anchoring, OutsideUnreachable)
    node.close()


def test_a_chain_that_is_away_has_work_accepted_and_nothing_signed_until_it_is_back(
    anchoring: Anchoring,
) -> None:
    ledger = anchoring.store.ledger
    anchoring.grow()
    anchoring.step()
    node = remembering(anchoring, seconds=0.3)
    anchoring.chain.stop()
    try:
        before = ledger.checkpoint()
        ledger.start()
        entry = anchoring.store.record().entry_id
        assert isinstance(ledger.sequencer.failure, OutsideUnreachable)
        assert not ledger.wait_for(entry, 0.5)
        assert ledger.checkpoint() == before
    finally:
        anchoring.chain.go_on()
    deadline = time.monotonic() + 30
    while not ledger.wait_for(entry, 1):
        assert time.monotonic() < deadline, "the log goes on by itself"
    node.close()


@pytest.mark.parametrize("alive", ["witness", "chain"])
def test_one_memory_that_answers_is_enough(
    anchoring: Anchoring, tmp_path: Path, alive: str, request: pytest.FixtureRequest
) -> None:
    store = anchoring.store
    anchoring.grow()
    witness = run_witness(tmp_path / "w1", [store.ledger.vkey])
    logs = store.ledger.policy_text().replace("quorum none\n", "")
    policy = parse_policy(f"{logs}{witness.policy_lines('w1')}quorum w1\n".encode())
    store.ledger.use_witnesses(policy, seconds=10, hold_back=False)
    node = remembering(anchoring, seconds=0.3)
    finish: Callable[[], None] = anchoring.chain.go_on
    request.addfinalizer(finish)
    try:
        if alive == "witness":
            anchoring.chain.stop()
        else:
            witness.kill()
        before = store.ledger.checkpoint().size
        store.record()
        assert store.sequence() == 1
        assert store.ledger.checkpoint().size == before + 1
    finally:
        witness.kill()
        witness.process.stdout.close()
        node.close()


def test_with_both_a_contradiction_by_either_counts(anchoring: Anchoring, tmp_path: Path) -> None:
    store = anchoring.store
    size = anchoring.grow()
    put(anchoring, size + 4, b"\x05" * 32)
    witness = run_witness(tmp_path / "w1", [store.ledger.vkey])
    logs = store.ledger.policy_text().replace("quorum none\n", "")
    policy = parse_policy(f"{logs}{witness.policy_lines('w1')}quorum w1\n".encode())
    store.ledger.use_witnesses(policy, seconds=10, hold_back=False)
    node = remembering(anchoring)
    refuses(anchoring, DatabaseOlderThanLog)
    witness.kill()
    witness.process.stdout.close()
    node.close()


def test_a_chain_that_is_away_is_logged_when_that_changes(
    anchoring: Anchoring, caplog: pytest.LogCaptureFixture
) -> None:
    reader = anchoring.store.ledger.reader
    away = ChainNode(JsonRpc("http://127.0.0.1:9", 1))
    memory = ChainMemory(away, chain_id=anchoring.plan.chain_id, contract=anchoring.plan.contract)
    for _ in range(3):
        assert not memory.compare(reader, reader.published())
    assert [one.message for one in caplog.records if "compared" in one.message] == [
        "the chain cannot be compared: chain_unavailable"
    ]
    away.close()
