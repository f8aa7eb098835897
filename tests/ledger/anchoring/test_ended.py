"""Anchoring across the end of a shard: each is a log of its own to the contract."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from ledger.anchoring import rows
from ledger.anchoring.errors import NotAppointed
from ledger.closing import close_shard, prepare_successor
from ledger.evm import contract
from tests.ledger.anchoring.conftest import Anchoring
from tests.ledger.conftest import Store
from tests.servers.anvil import COLD, Anvil


def closed(store: Store) -> Store:
    """Its shard ended; the store with the next one."""
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    reopened = store.reopen()
    reopened.ledger.sequence(reopened.now)
    return reopened


def appoint(anchoring: Anchoring, origin: str) -> None:
    """As the registrar does, whose key is nowhere near."""
    chain, cold = anchoring.chain, "0x" + COLD.hex()
    chain.give(COLD)
    chain.rpc("anvil_impersonateAccount", cold)
    call = {
        "from": cold,
        "to": "0x" + anchoring.plan.contract.hex(),
        "data": "0x" + contract.appoint_call(origin, anchoring.key.address).hex(),
    }
    chain.rpc("eth_sendTransaction", call)


@pytest.fixture
def begun_later(store: Store, start_anvil: Callable[..., Anvil]) -> Iterator[Anchoring]:
    """Anchoring was set up when the first shard had ended already."""
    store.record_many(3)
    store.sequence()
    reopened = closed(store)
    made = Anchoring(reopened, start_anvil())
    yield made
    made.close()
    reopened.close()


def test_a_shard_that_ended_before_there_was_a_contract_is_in_nobodys_way(
    begun_later: Anchoring,
) -> None:
    size = begun_later.grow()
    begun_later.step()
    begun_later.chain.mine(3)
    begun_later.step(1)
    assert begun_later.states() == [(size, rows.FINAL, None)]
    assert [(one.shard, one.size) for one in begun_later.kept()] == [("2027", size)]


def test_the_end_and_the_next_shard_are_both_anchored(anchoring: Anchoring) -> None:
    anchoring.grow()
    anchoring.step()
    anchoring.chain.mine(3)
    anchoring.step(1)
    anchoring.anchorer.close()
    anchoring.store = closed(anchoring.store)
    anchoring.anchorer = anchoring.make()
    final = anchoring.store.ledger.finals()[0].size
    # What the next shard lacks is said, and the end gets on all the same.
    for _ in range(4):
        with suppress(NotAppointed):
            anchoring.step()
        anchoring.chain.mine(3)
    with pytest.raises(NotAppointed):
        anchoring.step()
    assert anchoring.states()[-1] == (final, rows.FINAL, None)
    appoint(anchoring, anchoring.store.ledger.origin)
    size = anchoring.grow()
    anchoring.step()
    anchoring.chain.mine(3)
    anchoring.step(1)
    assert {(one.shard, one.size) for one in anchoring.kept()} >= {("2026", final), ("2027", size)}
    anchoring.store.close()
