"""Anchoring across the end of a shard: each is a log of its own to the contract."""

from collections.abc import Callable, Iterator

import pytest

from ledger.anchoring import rows
from ledger.closing import close_shard, prepare_successor
from tests.ledger.anchoring.conftest import Anchoring
from tests.ledger.conftest import Store
from tests.servers.anvil import Anvil


def closed(store: Store) -> Store:
    """Its shard ended; the store with the next one."""
    close_shard(store.ledger, prepare_successor(store.ledger, "2027"), store.now)
    reopened = store.reopen()
    reopened.ledger.sequence(reopened.now)
    return reopened


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
