"""A real log and a real chain node with the contract on it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger.anchoring import rows
from ledger.anchoring.anchorer import Anchorer, ChainPlan
from ledger.anchoring.deploying import deploy
from ledger.anchoring.node import ChainNode
from ledger.anchoring.rows import KeptAnchor, Transaction
from ledger.anchoring.rpc import JsonRpc
from ledger.anchoring.signing import AnchorKey
from tests.ledger.conftest import Store
from tests.servers.anvil import CHAIN_ID, COLD, HOT, Anvil


class Anchoring:
    """A log, a chain, and the anchorer between them; short forms of what tests do."""

    def __init__(self, store: Store, chain: Anvil) -> None:
        self.store = store
        self.chain = chain
        self.key = AnchorKey(HOT)
        chain.give(self.key.address)
        node = ChainNode(JsonRpc(chain.url, 10))
        chain.rpc("evm_setAutomine", True)
        made = deploy(
            node,
            self.key,
            chain_id=CHAIN_ID,
            registrar=COLD,
            origin=store.ledger.origin,
            price=None,
            seconds=20,
        )
        node.close()
        assert made.contract is not None
        self.plan = ChainPlan(CHAIN_ID, made.contract, finality=2, interval=60)
        self.anchorer = self.make()

    def make(self, url: str | None = None, seconds: float = 10, **changes: object) -> Anchorer:
        node = ChainNode(JsonRpc(url or self.chain.url, seconds))
        plan = replace(self.plan, **changes)  # type: ignore[arg-type]
        return Anchorer(self.store.ledger, node, self.key, plan)

    @property
    def source(self) -> str:
        return self.plan.source

    def grow(self, entries: int = 3) -> int:
        """More entries in the log; its size."""
        self.store.record_many(entries)
        self.store.sequence()
        return self.store.ledger.checkpoint().size

    def later(self, seconds: float = 61) -> datetime:
        self.store.clock.set(self.store.clock.now() + timedelta(seconds=seconds))
        return self.store.clock.now()

    def step(self, seconds: float = 61, anchorer: Anchorer | None = None) -> None:
        (anchorer or self.anchorer).step(self.later(seconds))

    def states(self) -> list[tuple[int, str, str | None]]:
        """Size, state and reason of every transaction, the oldest first."""
        found = []
        with self.store.database.read() as tx:
            for state in (rows.PENDING, rows.MINED, rows.FINAL, rows.LOST):
                found += rows.open_transactions(tx, self.source, state)
        ordered = sorted(found, key=lambda one: (one.signed_at, one.price))
        return [(one.size, one.state, one.reason) for one in ordered]

    def transactions(self, state: str) -> list[Transaction]:
        with self.store.database.read() as tx:
            return rows.open_transactions(tx, self.source, state)

    def kept(self) -> list[KeptAnchor]:
        with self.store.database.read() as tx:
            return [
                one
                for state in (rows.MINED, rows.FINAL)
                for one in rows.kept_of(tx, rows.CHAIN_KIND, self.source, state)
            ]

    def chain_size(self) -> int:
        node = ChainNode(JsonRpc(self.chain.url, 10))
        head = node.head_of(self.plan.contract, self.store.ledger.origin)
        node.close()
        return head.size

    def close(self) -> None:
        self.anchorer.close()


@pytest.fixture
def anchoring(store: Store, start_anvil: Callable[..., Anvil]) -> Iterator[Anchoring]:
    made = Anchoring(store, start_anvil())
    yield made
    made.close()


@pytest.fixture
def not_mining(store: Store, start_anvil: Callable[..., Anvil]) -> Iterator[Anchoring]:
    """Blocks come when a test mines them."""
    made = Anchoring(store, start_anvil())
    made.chain.rpc("evm_setAutomine", False)
    yield made
    made.close()
