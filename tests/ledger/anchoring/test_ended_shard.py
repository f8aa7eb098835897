"""A shard that has ended is anchored in a real chain and stamped by a real authority."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from kernel.canonical import parse_record
from ledger.anchor_checks import AnchorState
from ledger.anchoring import rows
from ledger.anchoring.errors import NotAppointed
from ledger.anchoring.fsck import check_anchoring
from ledger.anchors import CHAIN, STAMP, chain_evidence
from ledger.checkpoints import parse_checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.demands import Demands, StampTrust
from ledger.evm import contract
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import ChainTrust, Consensus
from ledger.receipts import Evidence, Failure, verify_receipt
from ledger.stamps.stamper import Stamper
from ledger.tables import ledger_entries
from tests.ledger.anchoring.conftest import Anchoring
from tests.ledger.conftest import Store
from tests.ledger.stamps.test_stamps import known
from tests.servers.anvil import COLD
from tests.servers.stamp_authority import StampAuthority


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[StampAuthority]:
    made = StampAuthority(tmp_path / "authority")
    yield made
    made.close()


@pytest.fixture
def closed(anchoring: Anchoring) -> Iterator[Anchoring]:
    """Anchored once, grown since, closed, and grown in the next shard."""
    anchoring.grow()
    anchoring.step()
    anchoring.chain.mine(3)
    anchoring.step(1)
    anchoring.grow()
    store = anchoring.store
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    anchoring.anchorer.close()
    at = store.clock.now()
    anchoring.store = store.reopen()
    anchoring.store.clock.set(at)
    anchoring.anchorer = anchoring.make()
    anchoring.grow()
    yield anchoring
    anchoring.store.close()


def appoint(anchoring: Anchoring, origin: str, account: bytes) -> None:
    """As the registrar does, whose key is elsewhere."""
    registrar = "0x" + COLD.hex()
    anchoring.chain.give(COLD)
    anchoring.chain.rpc("anvil_impersonateAccount", registrar)
    call = {
        "from": registrar,
        "to": "0x" + anchoring.plan.contract.hex(),
        "data": "0x" + contract.appoint_call(origin, account).hex(),
    }
    anchoring.chain.rpc("eth_sendTransaction", call)


def anchored(anchoring: Anchoring) -> dict[str, int]:
    """The newest size of each shard of which there is final evidence."""
    found: dict[str, int] = {}
    for one in anchoring.kept():
        if one.state == rows.FINAL:
            found[one.shard] = max(one.size, found.get(one.shard, 0))
    return found


@pytest.mark.parametrize("appointed", ["2026", "2027"])
def test_a_shard_without_an_appointment_holds_up_no_other(
    closed: Anchoring, appointed: str
) -> None:
    """The new one is not appointed yet; or the old one is no longer."""
    store, account = closed.store, closed.key.address
    if appointed == "2027":
        appoint(closed, store.ledger.origin, account)
        appoint(closed, store.ledger.readers.origin_of("2026"), COLD)
    for _ in range(4):
        with suppress(NotAppointed):
            closed.step()
        closed.chain.mine(3)
    with pytest.raises(NotAppointed):
        closed.step()
    sizes = anchored(closed)
    if appointed == "2026":
        assert sizes == {"2026": store.ledger.readers.finals()[0].size}
    else:
        assert sizes == {"2026": 4, "2027": store.ledger.checkpoint().size}


def steps(anchoring: Anchoring, stamper: Stamper) -> None:
    """Until nothing more comes of it."""
    for _ in range(4):
        anchoring.step()
        anchoring.chain.mine(3)
        stamper.step(anchoring.later())


def entry_at(store: Store, index: int) -> str:
    """An entry of the shard that ended."""
    with store.database.read() as tx:
        columns = ledger_entries.c
        query = select(columns.entry_id).where(columns.shard == "2026", columns.leaf_index == index)
        return str(tx.scalar(query))


def known_blocks(anchoring: Anchoring, *, of: int) -> ChainTrust:
    """The chain as a verifier who pins the block that anchored this size."""
    (kept,) = [one for one in anchoring.kept() if (one.shard, one.size) == ("2026", of)]
    evidence = chain_evidence(parse_record(kept.evidence))
    pinned = block_hash(parse_header(evidence.header), Consensus.PLAIN)
    return ChainTrust(
        "city",
        anchoring.plan.contract,
        contract.code_hash(),
        Consensus.PLAIN,
        blocks=frozenset({pinned}),
    )


def test_the_end_of_a_shard_is_anchored_and_stamped_and_its_receipts_carry_it(
    closed: Anchoring, authority: StampAuthority, make_stamper: Callable[[Store], Stamper]
) -> None:
    store = closed.store
    (final,) = store.ledger.readers.finals()
    early, late = entry_at(store, 1), entry_at(store, 5)
    bare = store.receipt(late)
    assert json.loads(bare)["anchors"] == []
    appoint(closed, store.ledger.origin, closed.key.address)
    stamper = make_stamper(store)
    steps(closed, stamper)
    sizes = {(one.shard, one.size, one.state) for one in closed.kept()}
    assert ("2026", final.size, rows.FINAL) in sizes
    with store.database.read() as tx:
        stamps = rows.kept_of(tx, rows.STAMP_KIND, "authority", rows.FINAL)
    assert ("2026", final.size) in {(one.shard, one.size) for one in stamps}
    assert {one.shard for one in stamps} == {"2026", "2027"}
    # Both are about the end that the next shard pins, and no later or other one.
    for kept in (*closed.kept(), *stamps):
        head = parse_checkpoint(kept.checkpoint).checkpoint
        assert head.size < final.size or head.origin != final.origin or head == final
    # Whoever pins the block of the end and knows the authority demands both.
    demands = Demands(
        chains=(known_blocks(closed, of=final.size),),
        stamps=(StampTrust("authority", authority.roots),),
        required=frozenset({"city", "authority"}),
        retired={final.origin: final},
    )
    receipt = store.receipt(late)
    assert isinstance(verify_receipt(bare, store.policy, demands), Failure)
    anchors = json.loads(receipt)["anchors"]
    assert [one["type"] for one in anchors] == [CHAIN, STAMP]
    assert all(f"{final.origin}\n{final.size}\n" in one["proof"] for one in anchors)
    outcome = verify_receipt(receipt, store.policy, demands)
    assert isinstance(outcome, Evidence), outcome
    held = [(one.kind, one.size) for one in outcome.anchors if one.state is AnchorState.HOLDS]
    assert sorted(held) == [("chain", final.size), ("stamp", final.size)]
    with store.database.read() as tx:
        refreshed = store.ledger.evidence.refreshed(tx, bare)
    assert isinstance(verify_receipt(refreshed, store.policy, demands), Evidence)
    # What an earlier anchor covers keeps that one, the earlier proof.
    (earlier, _) = json.loads(store.receipt(early))["anchors"]
    assert earlier["type"] == CHAIN
    assert f"{final.origin}\n4\n" in earlier["proof"]
    # Once it has both, the shard is asked for no more.
    for kind, source in ((rows.CHAIN_KIND, closed.source), (rows.STAMP_KIND, "authority")):
        shards = [one.shard for one in store.ledger.evidence.unproved(kind, source)]
        assert shards == ["2027"]
    count = len(closed.kept())
    closed.step()
    assert [one for one in closed.kept()[count:] if one.shard == "2026"] == []
    assert check_anchoring(store.ledger) == []
    assert store.fsck() == []


@pytest.fixture
def make_stamper(authority: StampAuthority) -> Iterator[Callable[[Store], Stamper]]:
    made: list[Stamper] = []

    def make(store: Store) -> Stamper:
        made.append(
            Stamper(
                store.ledger,
                known(authority),
                interval=60,
                renew_before=timedelta(days=30),
                seconds=10,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()
