"""Receipts with anchors: what holds under which demands, and that a changed byte is noticed."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eth_utils import keccak

from kernel.canonical import canonical_bytes
from ledger.anchor_checks import AnchorState
from ledger.anchors import chain_fields, with_proof
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.demands import Demands
from ledger.evm.model import ChainEvidence, ChainTrust, Consensus
from ledger.evm.origins import origin_id
from ledger.keys import Ed25519Signer
from ledger.policy import parse_policy
from ledger.proofs import LogProof
from ledger.receipts import Evidence, Failure, build_receipt, verify_receipt
from tests.ledger.evm import world
from tests.ledger.test_receipts import CANONICAL, ORIGIN, POLICY, SALT, SIGNER, SIZE, make_proof

PROOF = make_proof()
HEAD = PROOF.checkpoint.checkpoint


def chain_world() -> tuple[ChainEvidence, ChainTrust]:
    """A block in which the contract holds the root of `HEAD`."""
    made = world.World(origin=origin_id(ORIGIN), size=SIZE, root=HEAD.root)
    header = made.plain()
    return made.evidence(header), world.trust(blocks=[keccak(header)])


EVIDENCE, TRUST = chain_world()
AT = datetime.fromtimestamp(1_790_000_007, UTC)
RECEIPT = build_receipt(CANONICAL, SALT, PROOF, [with_proof(chain_fields(20200, EVIDENCE), PROOF)])
DEMANDS = Demands(chains=(TRUST,), required=frozenset({TRUST.name}))


def verified(data: bytes = RECEIPT, demands: Demands | None = DEMANDS) -> Evidence:
    outcome = verify_receipt(data, POLICY, demands)
    assert isinstance(outcome, Evidence), outcome
    return outcome


def code_of(data: bytes = RECEIPT, demands: Demands | None = DEMANDS) -> str:
    outcome = verify_receipt(data, POLICY, demands)
    assert isinstance(outcome, Failure), outcome
    return outcome.code


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    value = json.loads(RECEIPT)
    change(value["anchors"][0])
    return canonical_bytes(value) + b"\n"


def test_a_chain_that_is_known_is_reported_with_block_and_time() -> None:
    evidence = verified()
    (anchor,) = evidence.anchors
    assert (anchor.kind, anchor.state, anchor.name) == ("chain", AnchorState.HOLDS, TRUST.name)
    assert (anchor.size, anchor.block, anchor.time) == (SIZE, 7, AT)
    assert anchor.block_hash == keccak(EVIDENCE.header)
    assert evidence.proved_by == AT


def test_without_demands_it_is_there_and_not_checked() -> None:
    evidence = verified(demands=None)
    (anchor,) = evidence.anchors
    assert (anchor.state, anchor.name, anchor.error) == (AnchorState.UNCHECKED, None, None)
    assert evidence.proved_by is None


def test_a_demand_that_is_not_met_is_a_failure() -> None:
    without = build_receipt(CANONICAL, SALT, PROOF)
    assert code_of(without) == "demand_unmet"
    pinned_elsewhere = replace(TRUST, blocks=frozenset({bytes(32)}))
    assert code_of(demands=replace(DEMANDS, chains=(pinned_elsewhere,))) == "demand_unmet"
    other_contract = replace(TRUST, contract=bytes(20))
    assert code_of(demands=replace(DEMANDS, chains=(other_contract,))) == "demand_unmet"


def test_a_chain_known_but_not_demanded_may_fail() -> None:
    pinned_elsewhere = replace(TRUST, blocks=frozenset({bytes(32)}))
    evidence = verified(demands=Demands(chains=(pinned_elsewhere,)))
    (anchor,) = evidence.anchors
    assert anchor.state is AnchorState.FAILS
    assert anchor.error is not None
    assert anchor.error.code == "chain_not_trusted"
    assert evidence.proved_by is None


@pytest.mark.parametrize(("seconds", "met"), [(-1, False), (0, True), (1, True)])
def test_the_time_must_be_proved_by_then(seconds: int, met: bool) -> None:
    demands = Demands(chains=(TRUST,), not_later_than=AT + timedelta(seconds=seconds))
    if met:
        assert verified(demands=demands).proved_by == AT
    else:
        assert code_of(demands=demands) == "demand_unmet"
    assert code_of(build_receipt(CANONICAL, SALT, PROOF), demands) == "demand_unmet"


def test_every_flipped_bit_of_the_receipt_is_refused_under_its_demands() -> None:
    for at in range(len(RECEIPT)):
        flipped = bytearray(RECEIPT)
        flipped[at] ^= 1 << at % 8
        outcome = verify_receipt(bytes(flipped), POLICY, DEMANDS)
        assert isinstance(outcome, Failure) or _says_the_same(outcome), at


def _says_the_same(outcome: Evidence) -> bool:
    """The chain id is what the operator calls the chain: the verifier's own name counts."""
    return outcome.anchors == verified().anchors and outcome.record == verified().record


def test_only_the_operators_chain_id_may_change_unseen() -> None:
    unseen = []
    for at in range(len(RECEIPT)):
        flipped = RECEIPT[:at] + bytes([RECEIPT[at] ^ 1]) + RECEIPT[at + 1 :]
        if isinstance(verify_receipt(flipped, POLICY, DEMANDS), Evidence):
            unseen.append(at)
    place = RECEIPT.index(b'"chain_id":"20200"') + len(b'"chain_id":"')
    assert set(unseen) <= set(range(place, place + 5))


def test_a_lost_anchor_is_reported_when_nothing_is_demanded() -> None:
    broken = changed(lambda anchor: anchor.update(header=anchor["header"][:-8] + "AAAAAAAA"))
    evidence = verified(broken, Demands(chains=(TRUST,)))
    assert [one.state for one in evidence.anchors] == [AnchorState.FAILS]
    assert evidence.proved_by is None


@pytest.mark.parametrize(
    "change",
    [
        lambda anchor: anchor.update(more=1),
        lambda anchor: anchor.pop("following"),
        lambda anchor: anchor.update(chain_id=20200),
        lambda anchor: anchor.update(chain_id="020200"),
        lambda anchor: anchor.update(contract="0x" + "C0" * 20),
        lambda anchor: anchor.update(header=None),
        lambda anchor: anchor.update(account="x"),
        lambda anchor: anchor.update(account=["A" * 100_000]),
        lambda anchor: anchor.update(storage=["AAAA"] * 601),
        lambda anchor: anchor.update(following=[1]),
        lambda anchor: anchor.update(proof=1),
    ],
)
def test_a_malformed_anchor_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    assert code_of(changed(change), None) == "receipt_malformed"


def test_anchors_of_an_unknown_kind_or_too_many_are_refused() -> None:
    assert code_of(changed(lambda anchor: anchor.update(type="x")), None) == "anchor_unknown"
    many = build_receipt(
        CANONICAL, SALT, PROOF, [with_proof(chain_fields(1, EVIDENCE), PROOF)] * 65
    )
    assert code_of(many, None) == "receipt_malformed"


# --- The anchor's own proof ---


def with_anchor_proof(proof: LogProof) -> bytes:
    return build_receipt(CANONICAL, SALT, PROOF, [with_proof(chain_fields(20200, EVIDENCE), proof)])


def failing(proof: LogProof, demands: Demands | None = None) -> str:
    (anchor,) = verified(with_anchor_proof(proof), demands or Demands(chains=(TRUST,))).anchors
    assert anchor.state is AnchorState.FAILS
    assert anchor.error is not None
    return anchor.error.code


def test_an_anchor_of_a_checkpoint_that_does_not_hold_the_entry_fails() -> None:
    assert failing(make_proof(index=5)) == "inclusion_invalid"


def test_an_anchor_of_a_checkpoint_that_the_log_did_not_sign_fails() -> None:
    stranger = Ed25519Signer(ORIGIN, b"\x09" * 32)
    signed = sign_checkpoint(HEAD, [stranger])
    assert failing(replace(PROOF, checkpoint=signed)) == "log_not_trusted"


def test_an_anchor_of_another_log_that_is_also_trusted_fails() -> None:
    other = Ed25519Signer("other.example/2026", b"\x09" * 32)
    head = Checkpoint(other.key.name, HEAD.size, HEAD.root)
    both = parse_policy(f"log {SIGNER.key.text}\nlog {other.key.text}\nquorum none\n".encode())
    data = with_anchor_proof(replace(PROOF, checkpoint=sign_checkpoint(head, [other])))
    outcome = verify_receipt(data, both, Demands(chains=(TRUST,)))
    assert isinstance(outcome, Evidence)
    assert outcome.anchors[0].error is not None
    assert outcome.anchors[0].error.code == "anchor_elsewhere"


def test_validators_serve_as_well_as_blocks() -> None:
    made = world.World(origin=origin_id(ORIGIN), size=SIZE, root=HEAD.root)
    evidence = made.evidence(made.qbft(0, 1, 2))
    data = build_receipt(CANONICAL, SALT, PROOF, [with_proof(chain_fields(1, evidence), PROOF)])
    trusted = world.trust(Consensus.QBFT, validators=world.ADDRESSES[:4])
    found = verified(data, Demands(chains=(trusted,), required=frozenset({trusted.name})))
    assert found.anchors[0].block == 7
