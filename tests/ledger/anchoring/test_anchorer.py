"""Anchoring on a real chain node: what is saved, what comes of it, and that it recovers alone."""

import itertools
from dataclasses import replace

import pytest

from kernel.canonical import parse_record
from ledger.anchoring import rows
from ledger.anchoring.errors import (
    AnchorKeyInvalid,
    ChainDiverged,
    GasPriceTooHigh,
    NodeAnswerInvalid,
    NodeRefused,
    NodeUnavailable,
    NotAppointed,
    WrongChain,
    WrongContract,
)
from ledger.anchoring.signing import AnchorKey
from ledger.anchors import chain_evidence
from ledger.checkpoints import parse_checkpoint
from ledger.evm import contract
from ledger.evm.evidence import verify_chain_evidence
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import ChainTrust, Consensus
from tests.ledger.anchoring.conftest import Anchoring
from tests.servers.anvil import COLD
from tests.servers.fault_proxy import Fault, FaultProxy


def prove(anchoring: Anchoring, kept: rows.KeptAnchor) -> int:
    """The block that the kept evidence proves, which the chain must still have."""
    evidence = chain_evidence(parse_record(kept.evidence))
    hashed = block_hash(parse_header(evidence.header), Consensus.PLAIN)
    trust = ChainTrust(
        "anvil",
        anchoring.plan.contract,
        contract.code_hash(),
        Consensus.PLAIN,
        blocks=frozenset({hashed}),
    )
    head = parse_checkpoint(kept.checkpoint).checkpoint
    assert head.size == kept.size
    origin = contract.origin_id(head.origin)
    found = verify_chain_evidence(evidence, trust, origin, head.size, head.root)
    block = anchoring.chain.rpc("eth_getBlockByNumber", hex(found.block), False)
    assert block["hash"] == "0x" + hashed.hex()
    assert found.time == int(block["timestamp"], 16)
    return found.block


def finish(anchoring: Anchoring, steps: int = 6) -> None:
    """Steps and blocks until everything that was sent is final, and proved."""
    for _ in range(steps):
        anchoring.chain.mine(3)
        anchoring.step(1)
    assert {state for _, state, _ in anchoring.states()} <= {rows.FINAL, rows.LOST}
    for kept in anchoring.kept():
        assert kept.state == rows.FINAL
        prove(anchoring, kept)


@pytest.mark.both_engines
def test_a_checkpoint_is_anchored_mined_and_final(anchoring: Anchoring) -> None:
    size = anchoring.grow()
    anchoring.step()
    assert anchoring.states() == [(size, rows.PENDING, None)]
    assert anchoring.chain_size() == size
    anchoring.step(1)
    assert anchoring.states() == [(size, rows.MINED, None)]
    (kept,) = anchoring.kept()
    assert (kept.size, kept.state) == (size, rows.MINED)
    first = prove(anchoring, kept)
    anchoring.chain.mine(2)
    anchoring.step(1)
    assert anchoring.states() == [(size, rows.FINAL, None)]
    assert [one.state for one in anchoring.kept()] == [rows.FINAL]
    assert prove(anchoring, anchoring.kept()[0]) == first


def test_only_what_is_new_is_anchored_and_not_before_the_interval(anchoring: Anchoring) -> None:
    first = anchoring.grow()
    anchoring.step()
    finish(anchoring)
    anchoring.step(600)
    assert [size for size, _, _ in anchoring.states()] == [first]
    second = anchoring.grow()
    anchoring.anchorer.step(anchoring.later(1), now=True)
    third = anchoring.grow()
    for _ in range(3):
        anchoring.step(5)
    assert [size for size, _, _ in anchoring.states()] == [first, second]
    anchoring.step(60)
    assert [size for size, _, _ in anchoring.states()] == [first, second, third]
    finish(anchoring)
    assert [kept.size for kept in anchoring.kept()] == [first, second, third]


def test_the_chain_itself_says_what_is_final(anchoring: Anchoring) -> None:
    plan = replace(anchoring.plan, finality=None)
    anchorer = anchoring.make(finality=None)
    assert anchorer.plan == plan
    anchoring.grow()
    anchoring.step(anchorer=anchorer)
    for _ in range(3):
        anchoring.step(1, anchorer)
    assert [state for _, state, _ in anchoring.states()] == [rows.MINED]
    anchoring.chain.mine(4)  # of one slot each: two blocks on top are final here
    anchoring.step(1, anchorer)
    assert [state for _, state, _ in anchoring.states()] == [rows.FINAL]
    anchorer.close()


# --- What goes wrong on the way ---


def test_it_is_saved_before_it_is_sent(anchoring: Anchoring) -> None:
    size = anchoring.grow()
    proxy = FaultProxy(anchoring.chain.port)
    anchorer = anchoring.make(f"http://{proxy.endpoint}")
    # The seventh question of a first step is the transaction itself; see the test below.
    counted = itertools.count()
    proxy.plan = lambda _method, _path: Fault.DROPPED if next(counted) >= 5 else None
    with pytest.raises(NodeUnavailable):
        anchoring.step(anchorer=anchorer)
    (saved,) = anchoring.transactions(rows.PENDING)
    assert (saved.size, saved.state) == (size, rows.PENDING)
    assert anchoring.chain_size() == 0
    proxy.plan = lambda _method, _path: None
    anchoring.step(1, anchorer)
    assert anchoring.chain_size() == size
    finish(anchoring)
    assert [one.hash for one in anchoring.transactions(rows.FINAL)] == [saved.hash]
    anchorer.close()
    proxy.close()


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.LOST, Fault.DENIED, Fault.CUT, Fault.TWICE])
def test_a_fault_at_any_question_is_recovered_from(anchoring: Anchoring, fault: Fault) -> None:
    proxy = FaultProxy(anchoring.chain.port)
    anchorer = anchoring.make(f"http://{proxy.endpoint}", interval=0)
    sizes, failed = [], 0
    for at in range(14):
        sizes.append(anchoring.grow(1))
        counted = itertools.count()
        proxy.plan = lambda _method, _path, at=at, counted=counted: (
            fault if next(counted) == at else None
        )
        for _ in range(4):
            try:
                anchoring.step(1, anchorer)
            except (NodeUnavailable, NodeAnswerInvalid):
                failed += 1
            anchoring.chain.mine()
    proxy.plan = lambda _method, _path: None
    for _ in range(6):
        anchoring.chain.mine(3)
        anchoring.step(1, anchorer)
    assert proxy.seen[fault] == 14
    assert failed == (0 if fault is Fault.TWICE else 14)
    assert [size for size, _, _ in anchoring.states()] == sizes
    finish(anchoring)
    assert [kept.size for kept in anchoring.kept()] == sizes
    assert all(state == rows.FINAL for _, state, _ in anchoring.states())
    anchorer.close()
    proxy.close()


def test_a_dropped_transaction_is_sent_again(not_mining: Anchoring) -> None:
    size = not_mining.grow()
    not_mining.step()
    (waiting,) = not_mining.transactions(rows.PENDING)
    not_mining.chain.rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    assert not_mining.chain.rpc("eth_getTransactionByHash", "0x" + waiting.hash.hex()) is None
    not_mining.step(1)
    assert not_mining.chain.rpc("eth_getTransactionByHash", "0x" + waiting.hash.hex()) is not None
    finish(not_mining)
    assert not_mining.states() == [(size, rows.FINAL, None)]


def test_one_that_waits_too_long_is_offered_a_better_price(not_mining: Anchoring) -> None:
    size = not_mining.grow()
    not_mining.step()
    not_mining.grow()
    not_mining.step(30)
    assert len(not_mining.transactions(rows.PENDING)) == 1
    not_mining.step(121)
    cheap, dear = not_mining.transactions(rows.PENDING)
    assert (cheap.nonce, cheap.size, cheap.root) == (dear.nonce, dear.size, dear.root)
    assert dear.price > cheap.price * 11 // 10
    finish(not_mining)
    assert not_mining.states()[:2] == [(size, rows.LOST, rows.REPLACED), (size, rows.FINAL, None)]


def test_one_whose_nonce_somebody_else_used_is_signed_anew(not_mining: Anchoring) -> None:
    size = not_mining.grow()
    not_mining.step()
    (waiting,) = not_mining.transactions(rows.PENDING)
    other = not_mining.key.sign(
        chain_id=not_mining.plan.chain_id,
        nonce=waiting.nonce,
        price=waiting.price * 2,
        gas=50_000,
        to=COLD,
        data=b"",
    )
    not_mining.chain.rpc("eth_sendRawTransaction", "0x" + other.raw.hex())
    not_mining.chain.mine()
    not_mining.step(1)
    assert not_mining.states()[0] == (size, rows.LOST, rows.REPLACED)
    not_mining.step(61)
    finish(not_mining)
    assert not_mining.states() == [(size, rows.LOST, rows.REPLACED), (size, rows.FINAL, None)]
    assert not_mining.chain_size() == size


def test_a_reorganised_block_is_noticed_and_the_transaction_mined_again(
    not_mining: Anchoring,
) -> None:
    size = not_mining.grow()
    not_mining.step()
    before = not_mining.chain.rpc("evm_snapshot")
    not_mining.chain.mine()
    not_mining.step(1)
    assert not_mining.states() == [(size, rows.MINED, None)]
    gone = prove(not_mining, not_mining.kept()[0])
    assert not_mining.chain.rpc("evm_revert", before)
    # Another branch, without the transaction, as long as the one that is gone.
    (mined,) = not_mining.transactions(rows.MINED)
    not_mining.chain.rpc("anvil_dropTransaction", "0x" + mined.hash.hex())
    not_mining.chain.rpc("evm_increaseTime", hex(100))
    not_mining.chain.mine(gone)
    assert not_mining.chain_size() == 0
    not_mining.step(1)
    assert not_mining.states() == [(size, rows.PENDING, rows.REORGANISED)]
    finish(not_mining)
    assert not_mining.states() == [(size, rows.FINAL, None)]
    assert prove(not_mining, not_mining.kept()[0]) > gone


def test_a_reorganisation_that_mines_it_elsewhere_moves_the_evidence(
    anchoring: Anchoring,
) -> None:
    size = anchoring.grow()
    anchoring.step()
    anchoring.step(1)
    anchoring.chain.mine(1)
    (mined,) = anchoring.transactions(rows.MINED)
    raw = "0x" + mined.raw.hex()
    anchoring.chain.rpc("anvil_reorg", 2, [[raw, 1]])
    assert anchoring.chain_size() == size
    anchoring.step(1)
    finish(anchoring)
    (final,) = anchoring.transactions(rows.FINAL)
    assert final.hash == mined.hash
    assert final.block_hash != mined.block_hash
    assert [kept.size for kept in anchoring.kept()] == [size]


def test_a_node_that_hangs_is_given_up_and_comes_back(anchoring: Anchoring) -> None:
    size = anchoring.grow()
    anchorer = anchoring.make(seconds=0.3)
    anchoring.chain.stop()
    try:
        with pytest.raises(NodeUnavailable):
            anchoring.step(anchorer=anchorer)
    finally:
        anchoring.chain.go_on()
    anchoring.step()
    assert anchoring.chain_size() == size
    finish(anchoring)
    anchorer.close()


def test_a_restart_goes_on_where_it_was(not_mining: Anchoring) -> None:
    size = not_mining.grow()
    not_mining.step()
    not_mining.anchorer.close()
    not_mining.anchorer = not_mining.make()
    finish(not_mining)
    assert not_mining.states() == [(size, rows.FINAL, None)]


def test_two_processes_anchor_once(anchoring: Anchoring) -> None:
    anchoring.chain.rpc("evm_setAutomine", False)
    size = anchoring.grow()
    other = anchoring.make()
    anchoring.step()
    anchoring.grow()
    anchoring.step(anchorer=other)
    assert anchoring.states() == [(size, rows.PENDING, None)]
    other.close()


def test_a_lost_database_row_is_no_lost_evidence(anchoring: Anchoring) -> None:
    """The chain has the newest checkpoint already, by a transaction that is not in the rows."""
    size = anchoring.grow()
    head = anchoring.store.ledger.checkpoint()
    signed = anchoring.key.sign(
        chain_id=anchoring.plan.chain_id,
        nonce=1,
        price=10**10,
        gas=200_000,
        to=anchoring.plan.contract,
        data=contract.anchor_call(head.origin, 0, size, head.root),
    )
    anchoring.chain.send(signed.raw)
    anchoring.step()
    assert anchoring.states() == []
    finish(anchoring)
    assert [kept.size for kept in anchoring.kept()] == [size]


# --- What is refused ---


def test_a_chain_that_remembers_another_log_is_told(anchoring: Anchoring) -> None:
    head = anchoring.store.ledger.checkpoint()
    for nonce, (before, size) in enumerate([(0, head.size), (head.size, head.size + 1000)], 1):
        signed = anchoring.key.sign(
            chain_id=anchoring.plan.chain_id,
            nonce=nonce,
            price=10**10,
            gas=200_000,
            to=anchoring.plan.contract,
            data=contract.anchor_call(head.origin, before, size, bytes([nonce]) * 32),
        )
        anchoring.chain.send(signed.raw)
        with pytest.raises(ChainDiverged) as caught:
            anchoring.step()
        assert caught.value.details["size"] == size
    assert anchoring.states() == []


def test_another_chain_contract_or_account_is_named(anchoring: Anchoring) -> None:
    anchoring.grow()
    for changes, error in (
        ({"chain_id": 1}, WrongChain),
        ({"contract": COLD}, WrongContract),
        ({"price_limit": 1}, GasPriceTooHigh),
    ):
        anchorer = anchoring.make(**changes)
        with pytest.raises(error):
            anchoring.step(anchorer=anchorer)
        anchorer.close()
    anchoring.anchorer._key = AnchorKey("22" * 32)
    with pytest.raises(NotAppointed):
        anchoring.step()


def test_an_account_without_money_waits_until_it_has_some(anchoring: Anchoring) -> None:
    size = anchoring.grow()
    address = "0x" + anchoring.key.address.hex()
    anchoring.chain.rpc("anvil_setBalance", address, "0x0")
    with pytest.raises(NodeRefused):
        anchoring.step()
    assert anchoring.states() == [(size, rows.PENDING, rows.REFUSED)]
    with pytest.raises(NodeRefused):
        anchoring.step(1)
    anchoring.chain.give(anchoring.key.address)
    anchoring.step(1)
    finish(anchoring)
    assert anchoring.states() == [(size, rows.FINAL, None)]


@pytest.mark.parametrize(
    "secret", ["", "0x", "11" * 31, "11" * 33, "zz" * 32, "00" * 32, "ff" * 32]
)
def test_a_key_that_is_none_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(AnchorKeyInvalid) as caught:
        AnchorKey(secret)
    assert caught.value.details == {}
