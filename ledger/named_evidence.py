"""Evidence that a log names by digest: which entries name it, how it reads, whether it holds.

A document is `{"checkpoint":note,"evidence":{…}|null,"kind":…,"source":…,
"type":"mianjiao.evidence/v1"}`, canonical JSON without a newline; its SHA-256 is the digest.
`evidence` is an anchor of a receipt without its proof; null for a quorum, where the
cosignatures in `checkpoint` are the evidence. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kernel.canonical import JsonValue, NotCanonical, parse_record
from kernel.errors import CodedError
from ledger.anchor_checks import AnchorOutcome, AnchorState, check_chain, check_stamp
from ledger.anchors import anchor_evidence
from ledger.checkpoints import SignedCheckpoint, parse_any_checkpoint
from ledger.demands import Demands
from ledger.errors import EvidenceMalformed, LeafMalformed
from ledger.evm.model import ChainEvidence
from ledger.leaves import EVIDENCE, PublicLeaf, parse_leaf

TYPE = "mianjiao.evidence/v1"
QUORUM_KIND = "quorum"
# It becomes a part of an address: nothing else may be in it.
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Named:
    """What an entry says of one piece of evidence."""

    kind: str
    origin: str
    size: int
    digest: str

    def __str__(self) -> str:
        return f"{self.kind} {self.size} {self.digest}"


@dataclass(frozen=True, slots=True)
class EvidenceDocument:
    """Parsed, not verified. `anchor`: an anchor's fields without its proof; None: a quorum's."""

    kind: str
    source: str
    signed: SignedCheckpoint
    anchor: dict[str, JsonValue] | None

    def is_about(self, named: Named) -> bool:
        head = self.signed.checkpoint
        return (self.kind, head.origin, head.size) == (named.kind, named.origin, named.size)


def named_in(entry: bytes) -> Iterator[Named]:
    """What the entry names. Logs of others have other entries: those name nothing."""
    if b'"kind":"evidence.kept"' not in entry:
        return
    try:
        leaf = parse_leaf(entry)
    except LeafMalformed:
        return
    if not isinstance(leaf, PublicLeaf) or leaf.kind != EVIDENCE:
        return
    items = leaf.body.get("evidence")
    for item in items if isinstance(items, list) else ():
        match item:
            case {
                "kind": str(kind),
                "origin": str(origin),
                "size": int(size),
                "sha256": str(digest),
            } if _DIGEST.fullmatch(digest):
                yield Named(kind, origin, size, digest)


def parse_document(data: bytes) -> EvidenceDocument:
    """Read a document: `EvidenceMalformed`, or what its checkpoint raises."""
    try:
        fields = parse_record(data)
    except NotCanonical as error:
        raise EvidenceMalformed(reason=str(error)) from error
    kind, source, text = fields.get("kind"), fields.get("source"), fields.get("checkpoint")
    anchor = fields.get("evidence")
    if not isinstance(kind, str) or not isinstance(source, str) or not isinstance(text, str):
        raise EvidenceMalformed(reason="kind, source and checkpoint are text")
    if not isinstance(anchor, dict | None):
        raise EvidenceMalformed(reason="evidence is an object or null")
    return EvidenceDocument(kind, source, parse_any_checkpoint(text.encode()), anchor)


def check_document(document: EvidenceDocument, demands: Demands) -> AnchorOutcome | None:
    """Whether a chain or an authority that is known vouches for the document's checkpoint:
    judged as the anchor of a receipt is. None for a quorum: that is the policy's."""
    if document.kind == QUORUM_KIND and document.anchor is None:
        return None
    signed = document.signed
    head = signed.checkpoint
    try:
        demands.require_within(head)
        evidence = anchor_evidence(document.anchor)
    except CodedError as error:
        return AnchorOutcome(document.kind, AnchorState.FAILS, head.size, error=error)
    if isinstance(evidence, ChainEvidence):
        return check_chain(evidence, head, demands)
    return check_stamp(*evidence, signed, demands)
