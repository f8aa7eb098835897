"""Receipts: one canonical JSON file that proves a record, offline and for ever.

`{"anchors":[…],"entry":base64,"proof":tlog-proof text,"record":{…},
"salt":base64,"type":"mianjiao.receipt/v1"}` and a newline. The trust policy is
the verifier's own and never part of a receipt. A receipt says "logged then",
not "valid now".
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from kernel.canonical import JsonValue, NotCanonical, canonical_bytes, parse_record
from kernel.errors import CodedError
from ledger.anchor_checks import AnchorOutcome, check_anchors, earliest, require
from ledger.anchors import Anchor, parse_anchors
from ledger.demands import Demands
from ledger.errors import (
    CommitmentMismatch,
    FileNotInRecord,
    ReceiptMalformed,
)
from ledger.leaves import SALT_SIZE, blinded_leaf
from ledger.merkle import leaf_hash
from ledger.notes import decode_base64
from ledger.policy import CheckpointEvidence, Policy, evaluate
from ledger.proofs import LogProof, parse_proof

TYPE = "mianjiao.receipt/v1"
_KEYS = {"anchors", "entry", "proof", "record", "salt", "type"}


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed receipt. Nothing is verified yet."""

    record: dict[str, JsonValue]
    salt: bytes
    entry: bytes
    proof: LogProof
    anchors: tuple[Anchor, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What holds: the record stood at `index` of log `origin` when it had `size` entries.

    `anchors`: which evidence from outside holds, fails, or could not be checked for want
    of knowing whom to trust; `proved_by`: it stood there at this time at the latest, by the
    anchors that hold."""

    record: Mapping[str, JsonValue]
    origin: str
    index: int
    size: int
    root: bytes
    checkpoint: CheckpointEvidence
    operator_only: bool  # quorum none: the operator's word, no witness asked
    anchors: tuple[AnchorOutcome, ...] = ()
    proved_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it is not valid: a stable code and a sentence in both languages."""

    code: str
    zh: str
    en: str

    @classmethod
    def of(cls, error: CodedError) -> "Failure":
        return cls(error.code, error.message_zh(), error.message_en())


Outcome: TypeAlias = Evidence | Failure


def build_receipt(
    canonical_record: bytes,
    salt: bytes,
    proof: LogProof,
    anchors: Sequence[Mapping[str, JsonValue]] = (),
) -> bytes:
    """The receipt of a record with these canonical bytes; `anchors`: see `ledger.anchors`."""
    return (
        canonical_bytes(
            {
                "type": TYPE,
                "record": parse_record(canonical_record),
                "salt": base64.b64encode(salt).decode(),
                "entry": base64.b64encode(blinded_leaf(salt, canonical_record)).decode(),
                "proof": proof.encode().decode(),
                "anchors": list(anchors),
            }
        )
        + b"\n"
    )


def parse_receipt(data: bytes) -> Receipt:
    """Read a receipt strictly; unknown or duplicate keys, spaces and other spellings
    of the same bytes are refused with a coded error."""
    if not data.endswith(b"\n"):
        raise ReceiptMalformed(reason="no newline at the end")
    try:
        value = parse_record(data[:-1])
    except NotCanonical as error:
        raise ReceiptMalformed(reason=str(error)) from error
    if set(value) != _KEYS:
        raise ReceiptMalformed(reason="keys are anchors, entry, proof, record, salt, type")
    if value["type"] != TYPE:
        raise ReceiptMalformed(reason="unknown type")
    record, anchors, proof_text = value["record"], value["anchors"], value["proof"]
    if not isinstance(record, dict) or not isinstance(anchors, list):
        raise ReceiptMalformed(reason="record is an object, anchors a list")
    if not isinstance(proof_text, str):
        raise ReceiptMalformed(reason="proof is text")
    salt = _binary(value["salt"], "salt")
    if len(salt) != SALT_SIZE:
        raise ReceiptMalformed(reason="the salt has 32 bytes")
    proof = parse_proof(proof_text.encode())
    if proof.extra is not None:
        raise ReceiptMalformed(reason="extra data in the proof is not authenticated")
    entry = _binary(value["entry"], "entry")
    return Receipt(record, salt, entry, proof, parse_anchors(anchors, {proof_text: proof}))


def verify_receipt(data: bytes, policy: Policy, demands: Demands | None = None) -> Outcome:
    """Verify a receipt under the verifier's own policy: evidence, or a named failure.

    Checks the commitment, the leaf, the inclusion, the log's signature under
    its origin, and the quorum; then the anchors, as far as `demands` says whom to
    trust, and that what it demands is there.
    """
    try:
        receipt = parse_receipt(data)
        if blinded_leaf(receipt.salt, canonical_bytes(receipt.record)) != receipt.entry:
            raise CommitmentMismatch()
        checkpoint = evaluate(policy, receipt.proof.checkpoint)
        leaf = leaf_hash(receipt.entry)
        receipt.proof.verify_leaf(leaf)
        head = receipt.proof.checkpoint.checkpoint
        if demands is not None:
            demands.require_within(head)
        evaluated = (receipt.proof.checkpoint, checkpoint)
        anchors = check_anchors(receipt.anchors, leaf, evaluated, policy, demands or Demands())
        if demands is not None:
            require(demands, anchors)
    except CodedError as error:
        return Failure.of(error)
    return Evidence(
        record=receipt.record,
        origin=head.origin,
        index=receipt.proof.index,
        size=head.size,
        root=head.root,
        checkpoint=checkpoint,
        operator_only=policy.operator_only,
        anchors=anchors,
        proved_by=earliest(anchors),
    )


def file_position(evidence: Evidence, sha256: bytes, size: int) -> int | Failure:
    """At which position of the record's files a file with this digest and size stands."""
    files = evidence.record.get("files")
    for position, file in enumerate(files if isinstance(files, list) else []):
        if not isinstance(file, dict) or file.get("size") != size:
            continue
        digests = file.get("digests")
        if isinstance(digests, dict) and digests.get("sha256") == sha256.hex():
            return position
    return Failure.of(FileNotInRecord())


def _binary(value: JsonValue, name: str) -> bytes:
    raw = decode_base64(value) if isinstance(value, str) else None
    if raw is None:
        raise ReceiptMalformed(reason=f"{name} is not canonical base64")
    return raw
