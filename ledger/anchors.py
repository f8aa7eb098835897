"""Anchors in receipts: evidence from outside, each with the tlog-proof that it belongs to.

`{"type":"mianjiao.chain/v1","proof":…,"chain_id":"…","contract":"0x…","header":base64,
"account":[base64],"storage":[base64],"following":[base64]}` or
`{"type":"mianjiao.stamp/v1","proof":…,"tokens":[base64],"certificates":[base64]}`.

A stamp's first token covers the bytes of the checkpoint in its own proof, text and log
signatures; each further one renews it and covers the token before. A chain covers
origin, size and root of that checkpoint.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kernel.canonical import JsonValue
from ledger.errors import AnchorUnknown, ReceiptMalformed
from ledger.evm.model import ChainEvidence
from ledger.notes import decode_base64
from ledger.proofs import LogProof, parse_proof

CHAIN = "mianjiao.chain/v1"
STAMP = "mianjiao.stamp/v1"
MAX_ANCHORS = 64
MAX_PART = 64 * 1024
MAX_PARTS = 600
MAX_RENEWALS = 64
_CHAIN_KEYS = {"account", "chain_id", "contract", "following", "header", "proof", "storage", "type"}
_STAMP_KEYS = {"certificates", "proof", "tokens", "type"}
_ADDRESS = re.compile(r"0x[0-9a-f]{40}", re.ASCII)
_DECIMAL = re.compile(r"[1-9][0-9]{0,77}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """Parsed, not verified. `chain_id` is what the log's operator says of it."""

    proof: LogProof
    chain_id: str
    evidence: ChainEvidence


@dataclass(frozen=True, slots=True)
class StampAnchor:
    """Parsed, not verified. `tokens`: DER TimeStampResps, the first and its renewals;
    `certificates`: DER, between the authority's own and its root."""

    proof: LogProof
    tokens: tuple[bytes, ...]
    certificates: tuple[bytes, ...]


Anchor: TypeAlias = ChainAnchor | StampAnchor


def chain_fields(chain_id: int, evidence: ChainEvidence) -> dict[str, JsonValue]:
    """A chain anchor without its proof."""
    return {
        "type": CHAIN,
        "chain_id": str(chain_id),
        "contract": "0x" + evidence.contract.hex(),
        "header": _text(evidence.header),
        "account": [_text(one) for one in evidence.account],
        "storage": [_text(one) for one in evidence.storage],
        "following": [_text(one) for one in evidence.following],
    }


def stamp_fields(tokens: Sequence[bytes], certificates: Sequence[bytes]) -> dict[str, JsonValue]:
    """A stamp anchor without its proof."""
    return {
        "type": STAMP,
        "tokens": [_text(one) for one in tokens],
        "certificates": [_text(one) for one in certificates],
    }


def with_proof(fields: Mapping[str, JsonValue], proof: LogProof) -> dict[str, JsonValue]:
    return {**fields, "proof": proof.encode().decode()}


def parse_anchors(
    values: Sequence[JsonValue], known: Mapping[str, LogProof] | None = None
) -> tuple[Anchor, ...]:
    """Read a receipt's list: `ReceiptMalformed`, `AnchorUnknown`, or what the proof raises.

    `known`: proofs by their text that were parsed already; anchors often share one, and each
    carries kilobytes of signatures."""
    if len(values) > MAX_ANCHORS:
        raise ReceiptMalformed(reason="too many anchors")
    parsed = dict(known or {})
    return tuple(_anchor(value, parsed) for value in values)


def _anchor(value: JsonValue, parsed: dict[str, LogProof]) -> Anchor:
    if not isinstance(value, dict):
        raise ReceiptMalformed(reason="an anchor is an object")
    if value.get("type") == CHAIN:
        return ChainAnchor(
            _proof(value, _CHAIN_KEYS, parsed), _chain_id(value), chain_evidence(value)
        )
    if value.get("type") == STAMP:
        return StampAnchor(_proof(value, _STAMP_KEYS, parsed), *stamp_parts(value))
    raise AnchorUnknown()


def anchor_evidence(
    value: JsonValue,
) -> ChainEvidence | tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The evidence of an anchor without its proof: of a chain, or a stamp's tokens and
    certificates. `ReceiptMalformed`, `AnchorUnknown`."""
    if not isinstance(value, dict):
        raise ReceiptMalformed(reason="an anchor is an object")
    keys = {CHAIN: _CHAIN_KEYS, STAMP: _STAMP_KEYS}.get(str(value.get("type")))
    if keys is None:
        raise AnchorUnknown()
    if set(value) != keys - {"proof"}:
        raise ReceiptMalformed(reason="an anchor has other keys")
    return chain_evidence(value) if keys is _CHAIN_KEYS else stamp_parts(value)


def chain_evidence(value: Mapping[str, JsonValue]) -> ChainEvidence:
    """The evidence of a chain anchor's fields; the proof may be absent."""
    contract = value["contract"]
    if not isinstance(contract, str) or not _ADDRESS.fullmatch(contract):
        raise ReceiptMalformed(reason="a contract is 0x and 40 lower hex digits")
    return ChainEvidence(
        contract=bytes.fromhex(contract[2:]),
        header=_binary(value["header"]),
        account=_binaries(value["account"]),
        storage=_binaries(value["storage"]),
        following=_binaries(value["following"]),
    )


def stamp_parts(value: Mapping[str, JsonValue]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Tokens and certificates of a stamp anchor's fields; the proof may be absent."""
    tokens = _binaries(value["tokens"])
    if not 1 <= len(tokens) <= MAX_RENEWALS:
        raise ReceiptMalformed(reason="a stamp has 1 to 64 tokens")
    return tokens, _binaries(value["certificates"])


def _proof(value: Mapping[str, JsonValue], keys: set[str], parsed: dict[str, LogProof]) -> LogProof:
    text = value.get("proof")
    if set(value) != keys or not isinstance(text, str):
        raise ReceiptMalformed(reason="an anchor has other keys")
    proof = parsed.get(text)
    if proof is None:
        proof = parsed[text] = parse_proof(text.encode())
    if proof.extra is not None:
        raise ReceiptMalformed(reason="extra data in the proof is not authenticated")
    return proof


def _chain_id(value: Mapping[str, JsonValue]) -> str:
    text = value["chain_id"]
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise ReceiptMalformed(reason="a chain id is a decimal number")
    return text


def _binaries(value: JsonValue) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_PARTS:
        raise ReceiptMalformed(reason="not a list of at most 600 parts")
    return tuple(_binary(one) for one in value)


def _binary(value: JsonValue) -> bytes:
    raw = decode_base64(value) if isinstance(value, str) else None
    if raw is None or len(raw) > MAX_PART:
        raise ReceiptMalformed(reason="not canonical base64 of at most 64 KiB")
    return raw


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
