"""Digests of evidence from outside become public leaves; the evidence is served by digest.

Whoever reads the log then knows which evidence there was, and when at the latest: what the
operator later keeps back is missed. One leaf a round names all that became complete since
the last. A leaf of this kind wants no evidence itself (`pending_since`), or each would bring
forth the next: see docs/adr/0018.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import and_, exists, func, insert, select

from kernel.canonical import JsonValue, canonical_bytes, parse_record
from ledger.anchoring.errors import EvidenceDamaged, EvidenceUnknown
from ledger.anchoring.rows import FINAL, pending_since
from ledger.checkpoints import SignedCheckpoint, parse_checkpoint
from ledger.leaves import EVIDENCE
from ledger.named_evidence import QUORUM_KIND, TYPE
from ledger.service import Ledger
from ledger.tables import anchors, evidence_in_log
from storage.database import ReadTx, WriteTx

MOST = 128  # digests in one leaf: 50 kB at most, under the longest origin


@dataclass(frozen=True, slots=True)
class Document:
    """Evidence as it is served. `anchor`, `expires_at`: the row that it was made from."""

    kind: str
    source: str
    origin: str
    shard: str
    size: int
    data: bytes
    anchor: int | None = None
    expires_at: datetime | None = None

    @property
    def digest(self) -> bytes:
        return sha256(self.data).digest()

    @property
    def told(self) -> dict[str, JsonValue]:
        """What the leaf says of it."""
        return {
            "kind": self.kind,
            "origin": self.origin,
            "size": self.size,
            "sha256": self.digest.hex(),
        }


class EvidencePublisher:
    """Puts digests of complete evidence into one log. One step at a time; other processes
    may run one too: a digest has one row."""

    def __init__(self, ledger: Ledger, interval: float) -> None:
        """`interval`: least seconds between two leaves."""
        self._ledger = ledger
        self._interval = timedelta(seconds=interval)

    def step(self, at: datetime, *, now: bool = False) -> None:
        """One leaf with all that is complete, if the time has come and there is some."""
        with self._ledger.database.read() as tx:
            last: datetime | None = tx.scalar(select(func.max(evidence_in_log.c.at)))
            if last is not None and not now and at < last + self._interval:
                return
            found = self._complete(tx)
        if found:
            self._ledger.database.write(lambda tx: self._publish(tx, at, found))

    def close(self) -> None:
        """Nothing is held."""

    def _complete(self, tx: ReadTx) -> list[Document]:
        """Final evidence that no leaf names yet, oldest first; the newest quorum last."""
        columns, named = anchors.c, evidence_in_log.c
        told = exists().where(
            and_(
                named.anchor == columns.position,
                named.expires_at.is_not_distinct_from(columns.expires_at),
            )
        )
        rows = tx.all(
            select(anchors)
            .where(columns.state == FINAL, ~told)
            .order_by(columns.position)
            .limit(MOST - 1)
        )
        found = [
            _document(
                row["kind"],
                row["source"],
                row["shard"],
                parse_checkpoint(row["checkpoint"]),
                parse_record(row["evidence"]),
                row["position"],
                row["expires_at"],
            )
            for row in rows
        ]
        return [*found, *self._quorum(tx)]

    def _quorum(self, tx: ReadTx) -> list[Document]:
        """The newest checkpoint that met the quorum, if it covers what the last did not."""
        cosigning, shard = self._ledger.cosigning, self._ledger.shard
        met = None if cosigning is None else cosigning.met
        if met is None:
            return []
        last = newest_quorum(tx, shard)
        covered = 0 if last is None else last.size
        if pending_since(tx, shard, covered, met.signed.checkpoint.size) is None:
            return []
        return [_document(QUORUM_KIND, QUORUM_KIND, shard, met.signed, None)]

    def _publish(self, tx: WriteTx, at: datetime, found: list[Document]) -> None:
        known = set(
            tx.execute(
                select(evidence_in_log.c.digest).where(
                    evidence_in_log.c.digest.in_([one.digest for one in found])
                )
            ).scalars()
        )
        new = [one for one in found if one.digest not in known]
        if not new:
            return
        body: dict[str, JsonValue] = {"evidence": [one.told for one in new]}
        entry = self._ledger.journal.publish(tx, at, EVIDENCE, body)
        tx.execute(insert(evidence_in_log), [_values(one, entry.entry_id, at) for one in new])


def _values(one: Document, entry_id: str, at: datetime) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "kind": one.kind,
        "source": one.source,
        "shard": one.shard,
        "size": one.size,
        "document": one.data,
        "entry_id": entry_id,
        "at": at,
        "anchor": one.anchor,
        "expires_at": one.expires_at,
    }


def _document(
    kind: str,
    source: str,
    shard: str,
    signed: SignedCheckpoint,
    evidence: dict[str, JsonValue] | None,
    anchor: int | None = None,
    expires_at: datetime | None = None,
) -> Document:
    fields: dict[str, JsonValue] = {
        "type": TYPE,
        "kind": kind,
        "source": source,
        "checkpoint": signed.encode().decode(),
        "evidence": evidence,
    }
    head = signed.checkpoint
    return Document(
        kind, source, head.origin, shard, head.size, canonical_bytes(fields), anchor, expires_at
    )


@dataclass(frozen=True, slots=True)
class KeptQuorum:
    """The newest cosigned checkpoint whose digest is in the log."""

    size: int
    signed: SignedCheckpoint
    at: datetime


def newest_quorum(tx: ReadTx, shard: str) -> KeptQuorum | None:
    columns = evidence_in_log.c
    row = tx.one(
        select(columns.size, columns.document, columns.at)
        .where(columns.shard == shard, columns.kind == QUORUM_KIND)
        .order_by(columns.size.desc())
        .limit(1)
    )
    if row is None:
        return None
    text = parse_record(row["document"])["checkpoint"]
    if not isinstance(text, str):
        raise EvidenceDamaged()
    return KeptQuorum(row["size"], parse_checkpoint(text.encode()), row["at"])


def document(tx: ReadTx, digest: bytes) -> bytes:
    """The evidence with this SHA-256. `EvidenceUnknown`, `EvidenceDamaged`."""
    found: bytes | None = tx.scalar(
        select(evidence_in_log.c.document).where(evidence_in_log.c.digest == digest)
    )
    if found is None:
        raise EvidenceUnknown()
    if sha256(found).digest() != digest:
        raise EvidenceDamaged()
    return found
