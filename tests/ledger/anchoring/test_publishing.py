"""Digests of evidence become public leaves, once, and never for the sake of each other."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from kernel.canonical import parse_record
from kernel.clock import time_text
from ledger.anchoring import rows
from ledger.anchoring.errors import EvidenceDamaged, EvidenceUnknown
from ledger.anchoring.fsck import check_anchoring
from ledger.anchoring.publishing import (
    MOST,
    Document,
    EvidencePublisher,
    document,
    newest_quorum,
)
from ledger.anchors import chain_evidence
from ledger.checkpoints import parse_checkpoint
from ledger.evm import contract
from ledger.evm.evidence import verify_chain_evidence
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import ChainTrust, Consensus
from ledger.layout import MAX_ORIGIN_BYTES
from ledger.leaves import EVIDENCE, MAX_LEAF, PublicLeaf, parse_leaf, public_leaf
from ledger.policy import evaluate, parse_policy
from ledger.tables import evidence_in_log
from tests.ledger.anchoring.conftest import Anchoring
from tests.servers.witness import RunningWitness, run_witness


def leaves(anchoring: Anchoring) -> list[PublicLeaf]:
    """The published leaves that name evidence."""
    ledger = anchoring.store.ledger
    parsed = (parse_leaf(leaf) for _, leaf in ledger.reader.entries(ledger.checkpoint().size))
    return [one for one in parsed if isinstance(one, PublicLeaf) and one.kind == EVIDENCE]


def items(anchoring: Anchoring) -> list[dict[str, Any]]:
    return [item for leaf in leaves(anchoring) for item in leaf.body["evidence"]]  # type: ignore[union-attr,misc]


def finish(anchoring: Anchoring) -> None:
    """Anchor the newest checkpoint, and go on until it is final."""
    anchoring.step()
    anchoring.chain.mine(3)
    anchoring.step(1)


def publish(anchoring: Anchoring, seconds: float = 61) -> None:
    publisher = EvidencePublisher(anchoring.store.ledger, 60)
    publisher.step(anchoring.later(seconds))
    anchoring.store.sequence()


def served(anchoring: Anchoring, digest: str) -> bytes:
    with anchoring.store.database.read() as tx:
        return document(tx, bytes.fromhex(digest))


@pytest.fixture
def witness(anchoring: Anchoring, tmp_path: Path) -> Iterator[RunningWitness]:
    """One that the log asks."""
    ledger = anchoring.store.ledger
    made = run_witness(tmp_path / "w1", [ledger.vkey])
    logs = ledger.policy_text().replace("quorum none\n", "")
    policy = parse_policy(f"{logs}{made.policy_lines('w1')}quorum w1\n".encode())
    ledger.use_witnesses(policy, seconds=20, hold_back=False)
    yield made
    made.kill()
    made.process.stdout.close()


def test_final_evidence_is_named_in_the_log_and_served_by_its_digest(anchoring: Anchoring) -> None:
    size = anchoring.grow()
    anchoring.step()
    publish(anchoring)
    assert leaves(anchoring) == [], "not before it is final"
    anchoring.chain.mine(3)
    anchoring.step(1)
    publish(anchoring)
    (item,) = items(anchoring)
    assert (item["kind"], item["size"]) == ("chain", size)
    assert item["origin"] == anchoring.store.ledger.origin
    data = served(anchoring, item["sha256"])
    assert sha256(data).hexdigest() == item["sha256"]
    told = parse_record(data)
    assert isinstance(told["checkpoint"], str)
    head = parse_checkpoint(told["checkpoint"].encode()).checkpoint
    evidence = chain_evidence(told["evidence"])  # type: ignore[arg-type]
    block = block_hash(parse_header(evidence.header), Consensus.PLAIN)
    trust = ChainTrust(
        "x",
        anchoring.plan.contract,
        contract.code_hash(),
        Consensus.PLAIN,
        blocks=frozenset({block}),
    )
    origin = contract.origin_id(head.origin)
    assert verify_chain_evidence(evidence, trust, origin, head.size, head.root).block_hash == block
    assert check_anchoring(anchoring.store.ledger) == []
    assert anchoring.store.fsck() == []


def test_evidence_about_evidence_does_not_go_on_for_ever(
    anchoring: Anchoring, witness: RunningWitness
) -> None:
    ledger = anchoring.store.ledger
    assert ledger.cosigning is not None
    anchoring.grow()
    for _ in range(6):
        ledger.cosigning.round(ledger.signed_checkpoint(), everyone=True)
        finish(anchoring)
        publish(anchoring)
    assert sorted(one["kind"] for one in items(anchoring)) == ["chain", "quorum"]
    size = ledger.checkpoint().size
    assert anchoring.chain_size() < size, "a leaf about evidence alone is not worth an anchor"
    anchoring.grow(1)  # something that wants evidence
    finish(anchoring)
    assert anchoring.chain_size() == size + 1, "and takes the leaf along"
    publish(anchoring)
    assert len(items(anchoring)) == 3


def test_one_leaf_a_round_names_all_that_is_complete(
    anchoring: Anchoring, witness: RunningWitness
) -> None:
    ledger = anchoring.store.ledger
    assert ledger.cosigning is not None
    anchoring.grow()
    finish(anchoring)
    anchoring.grow()
    finish(anchoring)
    ledger.cosigning.round(ledger.signed_checkpoint(), everyone=True)
    publish(anchoring)
    (leaf,) = leaves(anchoring)
    named = leaf.body["evidence"]
    assert isinstance(named, list)
    assert len(named) == 3
    anchoring.grow()
    finish(anchoring)
    publish(anchoring, -70)  # a round too early
    assert len(leaves(anchoring)) == 1
    publish(anchoring, 200)
    assert len(leaves(anchoring)) == 2


def test_what_two_processes_collected_at_once_is_kept_and_named_once(
    anchoring: Anchoring,
) -> None:
    anchoring.grow()
    anchoring.step()
    anchoring.step(1)
    (kept,) = anchoring.kept()
    same = {name: getattr(kept, name) for name in ("kind", "source", "shard", "size", "state")}
    anchoring.store.database.write(
        lambda tx: rows.keep(
            tx, kept.at, checkpoint=kept.checkpoint, evidence=kept.evidence, **same
        )
    )
    anchoring.chain.mine(3)
    anchoring.step(1)
    publish(anchoring)
    assert len(items(anchoring)) == 1


def test_the_longest_origin_leaves_room_for_a_whole_leaf() -> None:
    """After an upgrade a store has years of evidence that no leaf names."""
    origin = "o" * (MAX_ORIGIN_BYTES - 5) + "/2026"
    one = Document("quorum", "", origin, "2026", 1 << 40, b"").told
    at = time_text(datetime(2026, 11, 24, tzinfo=UTC))
    leaf = public_leaf(EVIDENCE, {"at": at, "evidence": [one] * MOST})
    assert len(leaf) <= MAX_LEAF


def test_a_cosigned_checkpoint_is_kept_and_taken_up_by_the_next_process(
    anchoring: Anchoring, witness: RunningWitness
) -> None:
    ledger = anchoring.store.ledger
    cosigning = ledger.cosigning
    assert cosigning is not None
    size = anchoring.grow()
    cosigning.round(ledger.signed_checkpoint(), everyone=True)
    publish(anchoring)
    with anchoring.store.database.read() as tx:
        kept = newest_quorum(tx, ledger.shard)
    assert kept is not None
    assert kept.size == size
    evaluate(cosigning.policy, kept.signed)  # raises unless the quorum is met
    anchoring.grow(1)  # its checkpoint is cosigned by nobody yet
    witness.kill()
    ledger.use_witnesses(cosigning.policy, seconds=1, hold_back=False)
    again = ledger.cosigning
    assert again is not None
    assert again.met is None
    again.recall(kept.signed, kept.at)
    assert ledger.evidence.checkpoint_for(ledger.shard, 0).checkpoint.size == size


def test_an_unmet_quorum_is_not_recalled(anchoring: Anchoring, witness: RunningWitness) -> None:
    ledger = anchoring.store.ledger
    assert ledger.cosigning is not None
    ledger.cosigning.recall(ledger.signed_checkpoint(), anchoring.store.now)
    assert ledger.cosigning.newest is None


@pytest.mark.parametrize("column", ["document", "digest", "size", "kind", "entry_id", "source"])
def test_a_row_that_was_tampered_with_is_named_and_not_served(
    anchoring: Anchoring, column: str
) -> None:
    anchoring.grow()
    finish(anchoring)
    publish(anchoring)
    digest = items(anchoring)[0]["sha256"]
    other: dict[str, Any] = {
        "document": served(anchoring, digest).replace(b"0x", b"0X"),
        "digest": b"\x01" * 32,
        "size": 1,
        "kind": "stamp",
        "entry_id": "ent_" + "0" * 26,
        "source": "x",
    }
    anchoring.store.database.write(
        lambda tx: tx.execute(update(evidence_in_log).values({column: other[column]}))
    )
    codes = {one.code for one in check_anchoring(anchoring.store.ledger)}
    assert "evidence_altered" in codes
    if column == "document":
        with pytest.raises(EvidenceDamaged):
            served(anchoring, digest)
    if column == "digest":
        assert "evidence_lost" in codes
        with pytest.raises(EvidenceUnknown):
            served(anchoring, digest)


def test_kept_evidence_that_is_no_longer_what_was_named_is_found(anchoring: Anchoring) -> None:
    anchoring.grow()
    finish(anchoring)
    publish(anchoring)
    (kept,) = anchoring.kept()
    at = kept.evidence.index(b'"header":"') + 200
    flipped = kept.evidence[:at] + (b"A" if kept.evidence[at : at + 1] != b"A" else b"B")
    flipped += kept.evidence[at + 1 :]
    anchoring.store.database.write(
        lambda tx: rows.replace_evidence(tx, kept.position, flipped, rows.FINAL)
    )
    assert [one.code for one in check_anchoring(anchoring.store.ledger)] == ["anchor_altered"]


def test_a_row_that_is_gone_is_named(anchoring: Anchoring) -> None:
    anchoring.grow()
    finish(anchoring)
    publish(anchoring)
    anchoring.store.database.write(lambda tx: tx.execute(delete(evidence_in_log)))
    assert [one.code for one in check_anchoring(anchoring.store.ledger)] == ["evidence_lost"]


def test_evidence_that_is_renewed_is_named_anew(anchoring: Anchoring) -> None:
    anchoring.grow()
    finish(anchoring)
    publish(anchoring)
    (kept,) = anchoring.kept()
    later = anchoring.later(10)
    anchoring.store.database.write(
        lambda tx: rows.replace_evidence(
            tx,
            kept.position,
            kept.evidence.replace(b'"following":[]', b'"following":["AA=="]'),
            rows.FINAL,
            expires_at=later,
        )
    )
    publish(anchoring)
    first, second = items(anchoring)
    assert first["sha256"] != second["sha256"]
    assert served(anchoring, first["sha256"]) != served(anchoring, second["sha256"])
    with anchoring.store.database.read() as tx:
        assert len(tx.all(select(evidence_in_log.c.digest))) == 2
