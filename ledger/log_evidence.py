"""What the log can show about its entries: receipts, and what is still to be proved."""

from collections.abc import Callable

from kernel.canonical import JsonValue, canonical_bytes, parse_record
from ledger.anchoring.rows import covering, newest_kept
from ledger.anchors import with_proof
from ledger.checkpoints import SignedCheckpoint, parse_checkpoint
from ledger.errors import CommitmentMismatch, NotYetLogged, PublicEntry, ReceiptElsewhere
from ledger.leaves import blinded_leaf
from ledger.merkle import leaf_hash
from ledger.reader import LogReader
from ledger.readers import Readers
from ledger.receipts import build_receipt, parse_receipt
from ledger.records import Records
from ledger.witness.cosigning import Cosigning, quorum_met
from storage.database import Database, ReadTx


class LogEvidence:
    """Evidence for the entries of all shards. Safe from many threads."""

    def __init__(
        self,
        database: Database,
        readers: Readers,
        records: Records,
        published: Callable[[], SignedCheckpoint],
    ) -> None:
        """`published`: the newest published checkpoint of the newest shard, verified."""
        self._database = database
        self._readers = readers
        self._records = records
        self._published = published
        self._cosigning: Cosigning | None = None
        self._hold_back = False

    def use_witnesses(self, cosigning: Cosigning, *, hold_back: bool) -> None:
        """Evidence stands on what the quorum cosigned; with `hold_back` on nothing else."""
        self._cosigning = cosigning
        self._hold_back = hold_back

    def receipt(self, tx: ReadTx, entry_id: str) -> bytes:
        """The receipt of an entry: canonical JSON and a newline.

        `EntryUnknown`, `RecordErased`, `PublicEntry`; `NotYetLogged` until its
        checkpoint is published.
        """
        record = self._records.open(tx, entry_id)
        if not record.salt:
            raise PublicEntry()
        found = self._records.prove(record)
        shard, index = found.shard, found.index
        under = self.checkpoint_for(shard, index)
        proof = self._readers.of(shard).inclusion(index, under).proof()
        anchors = self.anchors_of(tx, shard, index)
        return build_receipt(record.canonical, record.salt, proof, anchors)

    def anchors_of(self, tx: ReadTx, shard: str, index: int) -> list[dict[str, JsonValue]]:
        """Evidence from outside for the entry at `index` of a shard, each with its own proof."""
        reader = self._readers.of(shard)
        return [
            with_proof(
                parse_record(kept.evidence),
                reader.proof_under(index, parse_checkpoint(kept.checkpoint)),
            )
            for kept in covering(tx, shard, index)
        ]

    def refreshed(self, tx: ReadTx, receipt: bytes) -> bytes:
        """A receipt of this log with the newest proof, and all evidence there is by now.

        Record and salt come from the receipt itself: it works for whoever holds one, also
        after the record was erased here. What parsing raises; `CommitmentMismatch`,
        `ReceiptElsewhere` for a receipt of another log, `InclusionInvalid` for one whose
        entry does not stand where it says.
        """
        old = parse_receipt(receipt)
        canonical = canonical_bytes(old.record)
        if blinded_leaf(old.salt, canonical) != old.entry:
            raise CommitmentMismatch()
        origin = old.proof.checkpoint.checkpoint.origin
        reader = next((one for one in self._readers.all() if one.key.name == origin), None)
        if reader is None:
            raise ReceiptElsewhere()
        shard, index = reader.shard, old.proof.index
        proof = reader.inclusion(index, self.checkpoint_for(shard, index)).proof()
        proof.verify_leaf(leaf_hash(old.entry))
        return build_receipt(canonical, old.salt, proof, self.anchors_of(tx, shard, index))

    def checkpoint_for(self, shard: str, index: int) -> SignedCheckpoint:
        """The checkpoint on which evidence about the entries of a shard up to `index` stands.

        The newest that met the quorum of witnesses, if there are any and it covers them;
        otherwise the published one, or `NotYetLogged` when evidence is held back. Of a shard
        that has ended always its last one.
        """
        if shard != self._readers.newest.shard:
            return self._final_of(self._readers.of(shard))
        published = self._published()
        if self._cosigning is None:
            return published
        witnessed = self._cosigning.newest
        if witnessed is not None and index < witnessed.checkpoint.size:
            return witnessed
        if self._hold_back and not quorum_met(self._cosigning.policy, published):
            raise NotYetLogged()
        return published

    def _final_of(self, reader: LogReader) -> SignedCheckpoint:
        final = reader.published()
        if self._cosigning is None or self._cosigning.vouched(final, reader.keys):
            return final
        final = reader.refresh()  # whoever writes the log may have got cosignatures since
        if self._hold_back and not self._cosigning.vouched(final, reader.keys):
            raise NotYetLogged()
        return final

    def unproved(self, kind: str, source: str) -> list[LogReader]:
        """The shards for which evidence from outside is to be got next, the oldest first:
        those that ended before their last checkpoint had it, and the newest."""
        self._published()
        with self._database.read() as tx:
            ended = [
                reader
                for reader in self._readers.retired.readers()
                if reader.final is not None
                and _proved(tx, kind, source, reader.shard) < reader.final.size
            ]
        return [*ended, self._readers.newest]


def _proved(tx: ReadTx, kind: str, source: str, shard: str) -> int:
    newest = newest_kept(tx, kind, source, shard)
    return 0 if newest is None else newest.size
