"""Evidence from outside, wired from the settings: chain and time stamps, each in a thread.

Nothing here is imported by a store that has none of it: chain libraries are slow to load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.clock import Clock
from ledger.anchoring.publishing import EvidencePublisher, newest_quorum
from ledger.anchoring.rows import CHAIN_KIND, STAMP_KIND, Reached, pending_since, reached
from ledger.anchoring.service import POLL, EvidenceThread, Steps
from ledger.checkpoints import SignedCheckpoint
from ledger.errors import LogMissing, QuorumNotMet
from ledger.named_evidence import QUORUM_KIND
from ledger.outside import Memory
from ledger.reader import LogReader
from ledger.service import Ledger
from ledger.witness.asking import WitnessState
from ledger.witness.cosigning import Cosigning
from runtime.errors import SettingInvalid
from runtime.metrics import Metrics
from runtime.setting_rules import own_rule
from runtime.settings import Settings, variable

if TYPE_CHECKING:
    from ledger.anchoring.anchorer import Anchorer, ChainPlan
    from ledger.anchoring.node import ChainNode
    from ledger.anchoring.signing import AnchorKey
    from ledger.stamps.authorities import Authority
    from ledger.stamps.stamper import Stamper

CHAIN = "chain"
LEAVES = "leaves"
LEAVES_POLL = 60.0  # seconds between looks for complete evidence: each reads all rows of anchors


@dataclass(frozen=True, slots=True)
class Source:
    """Where evidence comes from, as rows name it: kind, source; `name` is for people."""

    name: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """How far one source got, of `size` published entries, and why it is stuck, if it is.
    `pending_since`: when the oldest entry was written that it does not reach; None: none."""

    name: str
    kind: str
    size: int
    reached: Reached
    reason: str | None
    pending_since: datetime | None


class Evidence:
    """The evidence threads of a store: none, unless the settings ask for some."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._authorities = _authorities(settings)
        self._sources = sources(settings, self._authorities)
        self._threads: dict[str, EvidenceThread] = {}
        self._told_of_witnesses = False
        if ledger.cosigning is not None:
            ledger.cosigning.witnesses.observe = metrics.witness_asked

    def start(self) -> None:
        """`SettingInvalid` for what cannot be used; nothing outside is asked here."""
        if self._settings.anchor_url is not None:
            self._add(
                CHAIN,
                make_anchorer(self._settings, self._ledger),
                self._settings.anchor_interval_seconds,
            )
        for authority in self._authorities:
            stamper = _stamper(self._settings, self._ledger, authority)
            self._add(authority.name, stamper, self._settings.stamp_interval_seconds)
        cosigning = self._ledger.cosigning
        if cosigning is not None:
            self._recall(cosigning)
        if self._threads or cosigning is not None:
            seconds = self._settings.evidence_leaf_seconds
            publisher = EvidencePublisher(self._ledger, seconds)
            self._add(LEAVES, publisher, seconds, poll=min(LEAVES_POLL, seconds / 4))
        for thread in self._threads.values():
            thread.start()

    def _recall(self, cosigning: Cosigning) -> None:
        """After a restart receipts stand on what was witnessed before, witnesses or not."""
        with self._ledger.database.read() as tx:
            kept = newest_quorum(tx, self._ledger.shard)
        if kept is None or kept.size > self._ledger.checkpoint().size:
            return
        if self._ledger.reader.root(kept.size) == kept.signed.checkpoint.root:
            cosigning.recall(kept.signed, kept.at)

    def _add(self, name: str, steps: Steps, interval: float, poll: float = POLL) -> None:
        self._threads[name] = EvidenceThread(
            name,
            steps,
            self._clock,
            lambda: self._ledger.leading,
            poll=min(poll, interval / 2),
            observe=self._observe,
        )

    def stop(self) -> None:
        for thread in self._threads.values():
            thread.stop()
        self._threads.clear()

    def states(self) -> list[EvidenceState]:
        """Of every source that is configured, from the rows."""
        try:
            size = self._ledger.checkpoint().size
        except LogMissing:
            size = 0  # a shard that has just begun
        found = []
        for source in self._sources:
            with self._ledger.database.read() as tx:
                far = reached(tx, source.kind, source.source, self._ledger.shard)
            thread = self._threads.get(source.name)
            reason = None if thread is None else thread.last.reason
            found.append(self._state(source, size, far, reason))
        if self._ledger.cosigning is not None:
            found.append(self._quorum(self._ledger.cosigning, size))
        return found

    def witnesses(self) -> list[WitnessState]:
        """Of every witness of the policy, as this process knows it: who writes the log asks."""
        cosigning = self._ledger.cosigning
        return [] if cosigning is None else cosigning.states()

    def tell(self) -> None:
        """Put the present state into the metrics. What the database raises."""
        metrics = self._metrics
        for state in self.states():
            far = state.reached
            for word, size in (("mined", far.mined), ("final", far.final)):
                metrics.evidence_size.labels(state.name, word).set(size)
            if far.at is not None:
                metrics.evidence_at.labels(state.name).set(far.at.timestamp())
            since = state.pending_since
            pending = 0.0 if since is None else since.timestamp()
            metrics.evidence_pending.labels(state.name).set(pending)
        asks, asked = self._ledger.leading, self._told_of_witnesses
        self._told_of_witnesses = asks
        for witness in self.witnesses():
            # Not a number while nothing is known: neither up nor down. Whoever no longer asks
            # says so once: processes share the number, and the newest counts.
            known = witness.reachable if asks else None
            if asks or asked:
                metrics.witness_up.labels(witness.name).set(math.nan if known is None else known)
            if witness.succeeded_at is not None:
                at = witness.succeeded_at.timestamp()
                metrics.witness_success.labels(witness.name).set(at)

    def _quorum(self, cosigning: Cosigning, size: int) -> EvidenceState:
        met = cosigning.met
        covered = 0 if met is None else min(size, met.signed.checkpoint.size)
        far = Reached(covered, covered, 0, None if met is None else met.at)
        reason = None if covered == size else QuorumNotMet.code
        return self._state(Source(QUORUM_KIND, QUORUM_KIND, QUORUM_KIND), size, far, reason)

    def _state(self, source: Source, size: int, far: Reached, reason: str | None) -> EvidenceState:
        with self._ledger.database.read() as tx:
            since = pending_since(tx, self._ledger.shard, far.final, size)
        return EvidenceState(source.name, source.kind, size, far, reason, since)

    def _observe(self, name: str, reason: str | None) -> None:
        if reason is not None:
            self._metrics.evidence_failures.labels(name).inc()
        self.tell()


def sources(settings: Settings, authorities: Sequence[Authority]) -> list[Source]:
    """What is configured."""
    found = [Source(one.name, STAMP_KIND, one.name) for one in authorities]
    if settings.anchor_contract is None:
        return found
    place = f"{settings.anchor_chain_id}:{settings.anchor_contract.lower()}"
    return [Source(CHAIN, CHAIN_KIND, place), *found]


def _authorities(settings: Settings) -> list[Authority]:
    if settings.stamp_authorities is None:
        return []
    from ledger.stamps.authorities import load_authorities

    return load_authorities(Path(settings.stamp_authorities).expanduser())


def _stamper(settings: Settings, ledger: Ledger, authority: Authority) -> Stamper:
    from ledger.stamps.stamper import Stamper

    return Stamper(
        ledger,
        authority,
        interval=settings.stamp_interval_seconds,
        renew_before=timedelta(days=settings.stamp_renew_days),
        seconds=settings.stamp_timeout_seconds,
    )


def make_anchorer(settings: Settings, ledger: Ledger) -> Anchorer:
    """`SettingInvalid` names what is missing or wrong."""
    from ledger.anchoring.anchorer import Anchorer

    if settings.anchor_contract is None:
        raise _wrong("anchor_contract", "deploy")
    key = make_key(settings)
    return Anchorer(ledger, make_node(settings), key, _plan(settings))


def chain_memory(settings: Settings) -> Memory:
    """Compares a head with what the chain of the settings remembers."""

    def compare(reader: LogReader, signed: SignedCheckpoint | None) -> bool:
        from ledger.anchoring.comparing import ChainMemory

        plan = _plan(settings)
        node = make_node(settings)
        try:
            memory = ChainMemory(node, chain_id=plan.chain_id, contract=plan.contract)
            return memory.compare(reader, signed)
        finally:
            node.close()

    return compare


def make_node(settings: Settings) -> ChainNode:
    from ledger.anchoring.node import ChainNode
    from ledger.anchoring.rpc import JsonRpc

    if settings.anchor_url is None:
        raise _wrong("anchor_url", "address")
    url = settings.anchor_url.get_secret_value()
    if not url.startswith(("http://", "https://")):
        raise _wrong("anchor_url", "address")
    return ChainNode(JsonRpc(url, settings.anchor_timeout_seconds))


def make_key(settings: Settings) -> AnchorKey:
    from ledger.anchoring.errors import AnchorKeyInvalid
    from ledger.anchoring.signing import AnchorKey

    if settings.anchor_key is None:
        raise _wrong("anchor_key", "key")
    try:
        return AnchorKey(settings.anchor_key.get_secret_value())
    except AnchorKeyInvalid:
        raise _wrong("anchor_key", "key") from None


def chain_id(settings: Settings) -> int:
    if settings.anchor_chain_id is None:
        zh, en = "必须设置", "it is needed"
        raise SettingInvalid(name=variable("anchor_chain_id"), rule=zh, rule_en=en)
    return settings.anchor_chain_id


def _plan(settings: Settings) -> ChainPlan:
    from ledger.anchoring.anchorer import ChainPlan
    from ledger.evm.model import Consensus

    contract = settings.anchor_contract or ""
    finality = settings.anchor_finality
    return ChainPlan(
        chain_id=chain_id(settings),
        contract=bytes.fromhex(contract[2:]),
        consensus=Consensus(settings.anchor_consensus),
        finality=None if finality == "finalized" else int(finality),
        interval=settings.anchor_interval_seconds,
        price=settings.anchor_gas_price_wei,
        price_limit=settings.anchor_gas_price_limit_wei,
    )


def _wrong(name: str, what: str) -> SettingInvalid:
    zh, en = own_rule(what)
    return SettingInvalid(name=variable(name), rule=zh, rule_en=en)
