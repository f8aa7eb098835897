"""Writes the golden vectors of the ledger, with fixed keys, salts and times.

`python tests/vectors/ledger/generate.py` writes them beside this file. They are
what outsiders and later versions must still read; `test_vectors.py` checks that
this script still yields them. ML-DSA signatures are randomised: the stored one
is kept if it verifies.
"""

import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from kernel.canonical import canonical_bytes
from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignatures import ed25519_message, mldsa44_message, verify_signatures
from ledger.growth import Tail, grow
from ledger.keys import Ed25519Signer
from ledger.leaves import blinded_leaf, public_leaf
from ledger.merkle import consistency_proof, inclusion_proof, leaf_hash, node_hash
from ledger.notes import Note, Signature, SignatureType, VerifierKey
from ledger.proofs import LogProof, hash_lines
from ledger.receipts import build_receipt

HERE = Path(__file__).parent
ORIGIN = "vectors.mianjiao.example/2026"
TIME = 1_795_492_800
SIZES = (1, 2, 3, 7, 8, 255, 256, 257, 600)
LOG = Ed25519Signer(ORIGIN, b"\x11" * 32)
WITNESS = Ed25519PrivateKey.from_private_bytes(b"\x22" * 32)
POST_QUANTUM = MLDSA44PrivateKey.from_seed_bytes(b"\x33" * 32)
WITNESS_KEY = VerifierKey(
    "witness.mianjiao.example",
    SignatureType.COSIGNATURE_ED25519,
    WITNESS.public_key().public_bytes_raw(),
)
POST_QUANTUM_KEY = VerifierKey(
    ORIGIN, SignatureType.COSIGNATURE_MLDSA44, POST_QUANTUM.public_key().public_bytes_raw()
)
RECORD = {
    "v": 1,
    "kind": "material.registered",
    "entity": "mat_01234567890123456789012345",
    "at": "2026-11-24T04:00:00.000Z",
    "type": "lease_contract",
    "title": "租赁合同（205室）",
    "files": [
        {
            "name": "租赁合同.pdf",
            "media_type": "application/pdf",
            "size": 20480,
            "digests": {"sha256": "ab" * 32, "sm3": "cd" * 32},
        }
    ],
    "status": "pending",
}


def salt(number: int) -> bytes:
    return number.to_bytes(32, "big")


def entries(count: int) -> list[bytes]:
    """Entry 0 is public; entry 1 is the material's record; the rest are small records."""
    opened = {"at": RECORD["at"], "origin": ORIGIN, "shard": "2026", "vkey": LOG.key.text}
    made = [
        public_leaf("shard.opened", opened),
        blinded_leaf(salt(1), canonical_bytes(RECORD)),
    ]
    for number in range(2, count):
        small = {
            "v": 1,
            "kind": "case.noted",
            "entity": f"cas_{number:026d}",
            "at": RECORD["at"],
            "number": number,
        }
        made.append(blinded_leaf(salt(number), canonical_bytes(small)))
    return made[:count]


def node(hashes: list[bytes], level: int, index: int) -> bytes:
    if level == 0:
        return hashes[index]
    return node_hash(node(hashes, level - 1, 2 * index), node(hashes, level - 1, 2 * index + 1))


def head(count: int) -> Checkpoint:
    return Checkpoint(ORIGIN, count, grow(Tail(0), entries(count)).tail.root)


def cosigned(count: int, kept: bytes | None) -> SignedCheckpoint:
    """Signed by the log, its post-quantum key and one witness."""
    checkpoint = head(count)
    base = sign_checkpoint(checkpoint, [LOG])
    moment = TIME.to_bytes(8, "big")
    witness = moment + WITNESS.sign(ed25519_message(checkpoint, TIME))
    blob = _kept_post_quantum(kept, checkpoint) or moment + POST_QUANTUM.sign(
        mldsa44_message(ORIGIN, checkpoint, TIME)
    )
    lines = (
        *base.note.signatures,
        Signature(POST_QUANTUM_KEY.name, POST_QUANTUM_KEY.key_id, blob),
        Signature(WITNESS_KEY.name, WITNESS_KEY.key_id, witness),
    )
    return SignedCheckpoint(checkpoint, Note(base.note.text, lines))


def _kept_post_quantum(kept: bytes | None, checkpoint: Checkpoint) -> bytes | None:
    if kept is None:
        return None
    signed = parse_checkpoint(kept)
    if signed.checkpoint != checkpoint or not verify_signatures(signed, [POST_QUANTUM_KEY]):
        return None
    return next(
        line.blob for line in signed.note.signatures if line.key_id == POST_QUANTUM_KEY.key_id
    )


def vectors(folder: Path = HERE) -> dict[str, bytes]:
    """Every vector by file name; `folder` is asked for a post-quantum signature to keep."""
    count = SIZES[-1]
    made = entries(count)
    hashes = [leaf_hash(entry) for entry in made]

    def read(level: int, index: int) -> bytes:
        return node(hashes, level, index)

    kept = folder / "cosigned.checkpoint"
    signed = cosigned(count, kept.read_bytes() if kept.is_file() else None)
    alone = sign_checkpoint(head(count), [LOG])
    proof = LogProof(1, tuple(inclusion_proof(read, 1, count)), alone)
    with_all = LogProof(1, proof.hashes, signed)
    keys = f"log {LOG.key.text}\nwitness witness {WITNESS_KEY.text}\n"
    tree: dict[str, Any] = {
        "roots": {str(size): grow(Tail(0), made[:size]).tail.root.hex() for size in SIZES},
        "inclusion": {
            str(index): hash_lines(inclusion_proof(read, index, count))
            for index in (0, 255, 256, 511, 512, 599)
        },
        "consistency": {str(old): hash_lines(consistency_proof(read, old, count)) for old in SIZES},
    }
    blobs = grow(Tail(0), made).blobs
    return {
        "record.json": canonical_bytes(RECORD),
        "entry.leaf": made[1],
        "opened.leaf": made[0],
        "log.vkey": f"{LOG.key.text}\n".encode(),
        "log.checkpoint": alone.encode(),
        "cosigned.checkpoint": signed.encode(),
        "record.tlog-proof": proof.encode(),
        "record.receipt.json": build_receipt(canonical_bytes(RECORD), salt(1), proof),
        "cosigned.receipt.json": build_receipt(canonical_bytes(RECORD), salt(1), with_all),
        "operator-only.policy": f"log {LOG.key.text}\nquorum none\n".encode(),
        "witnessed.policy": f"{keys}quorum witness\n".encode(),
        "post-quantum.policy": (
            f"{keys}witness post-quantum {POST_QUANTUM_KEY.text}\n"
            "group all-of-it all witness post-quantum\nquorum all-of-it\n"
        ).encode(),
        "tree.json": json.dumps(tree, indent=1, sort_keys=True).encode() + b"\n",
        "tile-0-002.p-88": next(d for p, d in blobs.items() if p.text == "tile/0/002.p/88"),
        "tile-1-000.p-2": next(d for p, d in blobs.items() if p.text == "tile/1/000.p/2"),
        "tile-entries-002.p-88": next(
            data for path, data in blobs.items() if path.text == "tile/entries/002.p/88"
        ),
    }


def main() -> None:
    for name, data in vectors().items():
        (HERE / name).write_bytes(data)
        sys.stdout.write(f"{name} {len(data)}\n")


if __name__ == "__main__":
    main()
