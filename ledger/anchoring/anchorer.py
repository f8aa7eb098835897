"""Brings checkpoints onto a chain, one step at a time. Each step starts from what is saved
and from what the chain says, so that a restart, a lost reply, a dropped, replaced or
reorganised transaction all take the same path.

A step: follow what waits (mined? used up by another? else send it again, dearer after a
while) → look again at what was mined, until it is final → if nothing waits and the time
has come, sign the next, save it, send it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kernel.canonical import canonical_bytes, parse_record
from kernel.errors import CodedError
from ledger.anchoring import rows
from ledger.anchoring.collecting import collect, header_of
from ledger.anchoring.errors import (
    ChainDiverged,
    GasPriceTooHigh,
    NodeRefused,
    NotAppointed,
)
from ledger.anchoring.node import Block, ChainNode, Mined, hex_of
from ledger.anchoring.rows import (
    CHAIN_KIND,
    FINAL,
    LOST,
    MINED,
    PENDING,
    REFUSED,
    REORGANISED,
    REPLACED,
    REVERTED,
    KeptAnchor,
    Transaction,
)
from ledger.anchoring.signing import ANCHOR_GAS, AnchorKey
from ledger.anchors import chain_evidence, chain_fields
from ledger.checkpoints import SignedCheckpoint
from ledger.evm import contract
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import ChainEvidence, Consensus
from ledger.reader import LogReader
from ledger.service import Ledger

_DEARER = 125  # per cent of the price before: nodes ask for ten more


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """Where and how to anchor. `finality`: how many blocks must stand on top, None: the
    chain itself says what is final. `price` None: the node's, never over `price_limit` (wei).
    `dearer_after`: seconds until a transaction that waits is offered a better price."""

    chain_id: int
    contract: bytes
    consensus: Consensus = Consensus.PLAIN
    finality: int | None = None
    interval: float = 600.0
    price: int | None = None
    price_limit: int = 10**12
    dearer_after: float = 120.0

    @property
    def source(self) -> str:
        return f"{self.chain_id}:{hex_of(self.contract)}"


class Anchorer:
    """Anchors one log on one chain. One step at a time; other processes may run one too:
    the contract's compare-and-swap and the rows keep them from doing anything twice."""

    def __init__(self, ledger: Ledger, node: ChainNode, key: AnchorKey, plan: ChainPlan) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._node = node
        self._key = key
        self.plan = plan

    def step(self, at: datetime, *, now: bool = False) -> None:
        """One step. `now`: also before the interval has passed. What it raises says why it
        got no further; everything done until then is saved, and the next step goes on."""
        self._node.require_contract(self.plan.chain_id, self.plan.contract)
        for transaction in self._open(PENDING):
            self._follow(at, transaction)
        self._send_again(at)
        for transaction in self._open(MINED):
            self._settle(at, transaction)
        self._finish_evidence()
        wrong: CodedError | None = None
        for reader in self._ledger.evidence.unproved(CHAIN_KIND, self.plan.source):
            if self._open(PENDING):
                break
            try:
                self._anchor(at, reader, now=now)
            except (ChainDiverged, NotAppointed) as error:
                wrong = wrong or error  # of this log alone: the others go on
        if wrong is not None:
            raise wrong

    def close(self) -> None:
        self._node.close()

    # --- What waits ---

    def _follow(self, at: datetime, waiting: Transaction) -> None:
        mined = self._node.mined(waiting.hash)
        if mined is None and self._node.nonce(self._key.address) > waiting.nonce:
            # Asked again: it may have been mined between the two questions.
            mined = self._node.mined(waiting.hash)
            if mined is None:
                self._change(at, waiting, LOST, reason=REPLACED)
        if mined is not None:
            self._mined(at, waiting, mined)

    def _mined(self, at: datetime, transaction: Transaction, mined: Mined) -> None:
        if mined.succeeded:
            self._change(at, transaction, MINED, block=mined.block, block_hash=mined.block_hash)
        else:
            self._change(at, transaction, LOST, reason=REVERTED, block=mined.block)

    def _send_again(self, at: datetime) -> None:
        """The dearest of each nonce: the node may have dropped it, or never have got it."""
        newest = {one.nonce: one for one in self._open(PENDING)}
        for waiting in newest.values():
            age = (at - waiting.signed_at).total_seconds()
            if self.plan.price is None and age >= self.plan.dearer_after:
                dearer = self._price(waiting.price * _DEARER // 100 + 1)
                if dearer is not None:
                    waiting = self._sign(at, waiting, dearer, replaces=True) or waiting
            self._send(at, waiting)

    def _send(self, at: datetime, waiting: Transaction) -> None:
        try:
            self._node.send(waiting.raw)
        except NodeRefused:
            # It may be mined or replaced by now, or lack money: the next step sees which.
            if waiting.reason != REFUSED:
                self._change(at, waiting, PENDING, reason=REFUSED)
            raise

    # --- What was mined ---

    def _settle(self, at: datetime, transaction: Transaction) -> None:
        assert transaction.block is not None  # noqa: S101 - mined
        block = self._node.block(transaction.block)
        if block is None or block.hash != transaction.block_hash:
            self._reorganised(at, transaction)
            return
        if self._evidence_of(transaction) is None:
            self._collect(at, transaction, block)
        if block.number <= self._final_block():
            self._change(at, transaction, FINAL, block=block.number, block_hash=block.hash)

    def _reorganised(self, at: datetime, transaction: Transaction) -> None:
        mined = self._node.mined(transaction.hash)
        if mined is None:
            self._change(at, transaction, PENDING, reason=REORGANISED)
            self._send_again(at)
        else:
            self._mined(at, transaction, mined)

    def _collect(self, at: datetime, transaction: Transaction, block: Block) -> None:
        """At once: nodes keep the state of few blocks."""
        self._keep(
            at,
            block,
            transaction.shard,
            transaction.size,
            transaction.root,
            transaction.checkpoint,
        )

    def _keep(
        self, at: datetime, block: Block, shard: str, size: int, root: bytes, checkpoint: bytes
    ) -> None:
        """Ask the node for the evidence in this block, and keep it if there is any."""
        collected = self._evidence(block, shard, size, root)
        if collected is None:
            return
        evidence = self._encoded(collected)
        self._database.write(
            lambda tx: rows.keep(
                tx,
                at,
                kind=CHAIN_KIND,
                source=self.plan.source,
                shard=shard,
                size=size,
                checkpoint=checkpoint,
                evidence=evidence,
                state=MINED,
            )
        )

    def _evidence(self, block: Block, shard: str, size: int, root: bytes) -> ChainEvidence | None:
        return collect(
            self._node,
            block,
            address=self.plan.contract,
            origin=self._ledger.readers.origin_of(shard),
            size=size,
            root=root,
            consensus=self.plan.consensus,
        )

    def _finish_evidence(self) -> None:
        """Evidence of a block that became final is final; of one that is gone, collected anew."""
        with self._database.read() as tx:
            unfinished = rows.kept_of(tx, CHAIN_KIND, self.plan.source, MINED)
        for kept in unfinished:
            self._finish(kept)

    def _finish(self, kept: KeptAnchor) -> None:
        evidence = chain_evidence(parse_record(kept.evidence))
        header = parse_header(evidence.header)
        block = self._node.block(header.number)
        if block is None or block.hash != block_hash(header, self.plan.consensus):
            origin = self._ledger.readers.origin_of(kept.shard)
            root = self._node.root_of(self.plan.contract, origin, kept.size)
            newest = self._node.block("latest")
            if root == bytes(32) or newest is None:
                return  # not on this branch yet: its transaction waits again
            anew = self._evidence(newest, kept.shard, kept.size, root)
            if anew is not None:
                self._replace(kept, anew, MINED)
        elif block.number <= self._final_block():
            self._replace(kept, self._with_following(evidence, block), FINAL)

    def _with_following(self, evidence: ChainEvidence, block: Block) -> ChainEvidence:
        """Clique: one seal is one signer's word, so the headers on top are kept too."""
        if self.plan.consensus is not Consensus.CLIQUE or self.plan.finality is None:
            return evidence
        numbers = range(block.number + 1, block.number + 1 + self.plan.finality)
        blocks = [one for number in numbers if (one := self._node.block(number)) is not None]
        return replace(
            evidence, following=tuple(header_of(one, self.plan.consensus) for one in blocks)
        )

    def _final_block(self) -> int:
        if self.plan.finality is None:
            return self._node.finalized()
        newest = self._node.block("latest")
        return -1 if newest is None else newest.number - self.plan.finality

    # --- The next one ---

    def _anchor(self, at: datetime, reader: LogReader, *, now: bool) -> None:
        signed = reader.published()
        size = signed.checkpoint.size
        head = self._node.head_of(self.plan.contract, reader.key.name)
        self._compare(head, reader, size)
        if head.size == size:
            self._adopt(at, reader, signed)
            return
        with self._database.read() as tx:
            if rows.pending_since(tx, reader.shard, head.size, size) is None:
                return  # only digests of evidence came since: they wait for company
        if reader.final is not None and not any(head.anchorer):
            return  # it ended before there was this contract; its successor's first entry tells
        if head.anchorer != self._key.address:
            raise NotAppointed(account=hex_of(self._key.address))
        with self._database.read() as tx:
            last = rows.last_signed(tx, self.plan.source)
        if not now and last is not None and at < last + timedelta(seconds=self.plan.interval):
            return
        price = self._price(0)
        if price is None:
            raise GasPriceTooHigh(price=self._node.gas_price(), limit=self.plan.price_limit)
        first = Transaction(
            hash=b"",
            source=self.plan.source,
            nonce=self._node.nonce(self._key.address),
            price=price,
            raw=b"",
            shard=reader.shard,
            previous_size=head.size,
            size=size,
            root=signed.checkpoint.root,
            checkpoint=signed.encode(),
            state=PENDING,
            reason=None,
            block=None,
            block_hash=None,
            signed_at=at,
        )
        saved = self._sign(at, first, price, replaces=False)
        if saved is not None:
            self._send(at, saved)

    def _compare(self, head: contract.Head, reader: LogReader, size: int) -> None:
        """What the chain remembers must be a prefix of this log: else an older database, or a
        second log under the same name. Nothing is anchored on top of that."""
        if head.size == 0:
            return
        if head.size > size:
            raise ChainDiverged(size=head.size, reason="the chain knows of more entries")
        stored = self._node.root_of(self.plan.contract, reader.key.name, head.size)
        if stored != reader.root(head.size):
            raise ChainDiverged(size=head.size, reason="another root")

    def _adopt(self, at: datetime, reader: LogReader, signed: SignedCheckpoint) -> None:
        """The newest checkpoint is on the chain: see that its evidence is here, too."""
        with self._database.read() as tx:
            kept = rows.newest_kept(tx, CHAIN_KIND, self.plan.source, reader.shard)
        if kept is not None and kept.size == signed.checkpoint.size:
            return
        newest = self._node.block("latest")
        if newest is None:
            return
        head = signed.checkpoint
        self._keep(at, newest, reader.shard, head.size, head.root, signed.encode())

    def _sign(
        self, at: datetime, what: Transaction, price: int, *, replaces: bool
    ) -> Transaction | None:
        """Sign and save, before it is sent; None: another process was faster."""
        signed = self._key.sign(
            chain_id=self.plan.chain_id,
            nonce=what.nonce,
            price=price,
            gas=ANCHOR_GAS,
            to=self.plan.contract,
            data=contract.anchor_call(
                self._ledger.readers.origin_of(what.shard), what.previous_size, what.size, what.root
            ),
        )
        made = replace(
            what, hash=signed.hash, raw=signed.raw, price=price, reason=None, signed_at=at
        )
        saved = self._database.write(lambda tx: rows.save(tx, made, replaces=replaces))
        return made if saved else None

    def _price(self, least: int) -> int | None:
        """What to offer for gas, in wei; None: it would be over the limit."""
        price = self.plan.price
        if price is None:
            price = max(least, self._node.gas_price())
        return None if price > self.plan.price_limit else price

    # --- Small ones ---

    def _open(self, state: str) -> list[Transaction]:
        with self._database.read() as tx:
            return rows.open_transactions(tx, self.plan.source, state)

    def _change(self, at: datetime, one: Transaction, state: str, **values: object) -> None:
        self._database.write(lambda tx: rows.change(tx, at, one, state, **values))

    def _evidence_of(self, transaction: Transaction) -> KeptAnchor | None:
        with self._database.read() as tx:
            kept = rows.newest_kept(tx, CHAIN_KIND, self.plan.source, transaction.shard)
        return kept if kept is not None and kept.size >= transaction.size else None

    def _replace(self, kept: KeptAnchor, evidence: ChainEvidence, state: str) -> None:
        encoded = self._encoded(evidence)
        self._database.write(lambda tx: rows.replace_evidence(tx, kept.position, encoded, state))

    def _encoded(self, evidence: ChainEvidence) -> bytes:
        return canonical_bytes(chain_fields(self.plan.chain_id, evidence))
