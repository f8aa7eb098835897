"""Examples for docs/formats.md, made by the code that makes the real things.

Keys, salt and record are fixed, so the same bytes come out each time. The key is
public: nothing may ever be signed with it.
"""

import json
from datetime import UTC, datetime

from kernel.canonical import Record, canonical_bytes
from kernel.clock import time_text
from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.keys import Ed25519Signer
from ledger.leaves import blinded_leaf, public_leaf
from ledger.merkle import inclusion_proof, leaf_hash, node_hash
from ledger.policy import parse_policy
from ledger.proofs import LogProof
from ledger.receipts import Evidence, build_receipt, verify_receipt

ORIGIN = "example.org/yunjian/2026"
SIGNER = Ed25519Signer(ORIGIN, bytes(range(32)))
SALT = bytes(range(32, 64))
AT = datetime(2026, 11, 24, 4, 20, 21, 123_000, tzinfo=UTC)
RECORD: Record = {
    "v": 1,
    "kind": "party.registered",
    "entity": "pty_3v9q6m0e8t2c5w7x1a4b0d9f6g",
    "at": time_text(AT),
    "type": "001",
    "code": "91310199MA1Y7K2D1G",
    "name": "上海云间禾味餐饮管理有限公司",
    "born": None,
    "status": "registered",
}


def canonical() -> bytes:
    return canonical_bytes(RECORD)


def leaves() -> list[bytes]:
    opened = {"at": time_text(AT), "origin": ORIGIN, "shard": "2026", "vkey": SIGNER.key.text}
    return [public_leaf("shard.opened", opened), blinded_leaf(SALT, canonical())]


def checkpoint() -> SignedCheckpoint:
    root = node_hash(*(leaf_hash(leaf) for leaf in leaves()))
    return sign_checkpoint(Checkpoint(ORIGIN, 2, root), [SIGNER])


def proof() -> LogProof:
    hashes = [leaf_hash(leaf) for leaf in leaves()]
    path = inclusion_proof(lambda level, index: hashes[index], 1, 2)
    return LogProof(1, tuple(path), checkpoint())


def policy() -> str:
    return f"log {SIGNER.key.text}\nquorum none\n"


def receipt() -> bytes:
    """The receipt, which must verify under the policy."""
    made = build_receipt(canonical(), SALT, proof())
    outcome = verify_receipt(made, parse_policy(policy().encode()))
    if not isinstance(outcome, Evidence):
        raise ValueError(f"the example does not verify: {outcome.code}")
    return made


def _text(data: bytes | str, language: str = "text") -> str:
    text = data if isinstance(data, str) else data.decode()
    return f"```{language}\n{text.rstrip()}\n```\n"


def leaves_part() -> str:
    return _text(b"\n".join(leaves()))


def record_part() -> str:
    return _text(canonical())


def checkpoint_part() -> str:
    return _text(checkpoint().encode())


def proof_part() -> str:
    return _text(proof().encode())


def policy_part() -> str:
    return _text(policy())


def receipt_part() -> str:
    """Laid out for reading; the file itself is one line."""
    shown = json.dumps(json.loads(receipt()), ensure_ascii=False, indent=1, sort_keys=True)
    return _text(shown, "json")
