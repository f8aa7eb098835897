"""A proof that a log named evidence which does not hold: a file for whoever pins the same.

Canonical JSON and a newline: `{"document":base64,"entry":base64,"proof":tlog-proof text,
"type":"mianjiao.refused-evidence/v1"}`. `proof` shows that `entry` stands in the log; `entry`
names `document` by its digest. Whether that holds is for the reader's own demands. Pure.
"""

import base64
from dataclasses import dataclass, replace
from hashlib import sha256

from kernel.canonical import JsonValue, NotCanonical, canonical_bytes, parse_record
from ledger.anchor_checks import AnchorOutcome, AnchorState
from ledger.demands import Demands
from ledger.errors import RefusedEvidenceInvalid
from ledger.merkle import leaf_hash
from ledger.named_evidence import Named, check_document, named_in, parse_document
from ledger.notes import decode_base64
from ledger.policy import NONE, Policy, evaluate
from ledger.proofs import LogProof, parse_proof

TYPE = "mianjiao.refused-evidence/v1"
_KEYS = {"document", "entry", "proof", "type"}


@dataclass(frozen=True, slots=True)
class RefusedEvidence:
    """Parsed, not verified."""

    document: bytes
    entry: bytes
    proof: LogProof

    def encode(self) -> bytes:
        value: dict[str, JsonValue] = {
            "type": TYPE,
            "document": base64.b64encode(self.document).decode(),
            "entry": base64.b64encode(self.entry).decode(),
            "proof": self.proof.encode().decode(),
        }
        return canonical_bytes(value) + b"\n"

    def verify(self, policy: Policy, demands: Demands) -> tuple[Named, AnchorOutcome]:
        """A log of the policy named this evidence, and under `demands` it fails, as told;
        otherwise a coded error: what the proof raises, or `RefusedEvidenceInvalid`.
        """
        evaluate(replace(policy, quorum=NONE), self.proof.checkpoint)
        self.proof.verify_leaf(leaf_hash(self.entry))
        digest = sha256(self.document).hexdigest()
        named = next((one for one in named_in(self.entry) if one.digest == digest), None)
        if named is None:
            raise RefusedEvidenceInvalid(reason="the entry does not name it")
        document = parse_document(self.document)
        if not document.is_about(named):
            raise RefusedEvidenceInvalid(reason="it is about something else")
        outcome = check_document(document, demands)
        if outcome is None or outcome.state is AnchorState.UNCHECKED:
            raise RefusedEvidenceInvalid(reason="the demands know nobody who vouches for it")
        if outcome.state is AnchorState.HOLDS:
            raise RefusedEvidenceInvalid(reason="it holds")
        return named, outcome


def parse_refused_evidence(data: bytes) -> RefusedEvidence:
    """Read a proof strictly: `RefusedEvidenceInvalid`, or what its tlog-proof raises."""
    if not data.endswith(b"\n"):
        raise RefusedEvidenceInvalid(reason="no newline at the end")
    try:
        value = parse_record(data[:-1])
    except NotCanonical as error:
        raise RefusedEvidenceInvalid(reason=str(error)) from error
    if set(value) != _KEYS or value["type"] != TYPE:
        raise RefusedEvidenceInvalid(reason="not a proof of this type")
    text = value["proof"]
    if not isinstance(text, str):
        raise RefusedEvidenceInvalid(reason="proof is text")
    return RefusedEvidence(
        _binary(value["document"]), _binary(value["entry"]), parse_proof(text.encode())
    )


def _binary(value: JsonValue) -> bytes:
    raw = decode_base64(value) if isinstance(value, str) else None
    if raw is None:
        raise RefusedEvidenceInvalid(reason="not canonical base64")
    return raw
