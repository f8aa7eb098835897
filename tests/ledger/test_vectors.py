"""The golden vectors still hold, and their generator still yields them."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from ledger.cosignatures import verify_signatures
from ledger.leaves import BlindedLeaf, PublicLeaf, parse_leaf
from ledger.merkle import leaf_hash, verify_consistency
from ledger.notes import VerifierKey, decode_base64
from ledger.policy import parse_policy
from ledger.proofs import parse_proof
from ledger.receipts import Evidence, Failure, verify_receipt
from ledger.tiles import TilePath, check_tile, parse_bundle

FOLDER = Path(__file__).parents[1] / "vectors" / "ledger"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = FOLDER / "generate.py"
    spec = importlib.util.spec_from_file_location("generate_ledger_vectors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def test_the_generator_still_yields_every_vector(generator: ModuleType) -> None:
    made = generator.vectors()
    stored = {path.name for path in FOLDER.iterdir() if path.is_file()} - {"generate.py"}
    assert stored == set(made)
    for name, data in made.items():
        assert read(name) == data, name


@pytest.mark.parametrize(
    ("receipt", "policy", "code"),
    [
        ("record", "operator-only", None),
        ("cosigned", "operator-only", None),
        ("cosigned", "witnessed", None),
        ("cosigned", "post-quantum", None),
        ("record", "witnessed", "quorum_not_met"),
        ("record", "post-quantum", "quorum_not_met"),
    ],
)
def test_the_receipts_verify_under_their_policies(
    receipt: str, policy: str, code: str | None
) -> None:
    outcome = verify_receipt(
        read(f"{receipt}.receipt.json"), parse_policy(read(f"{policy}.policy"))
    )
    if code is not None:
        assert isinstance(outcome, Failure)
        assert outcome.code == code
        return
    assert isinstance(outcome, Evidence)
    assert (outcome.index, outcome.size) == (1, 600)
    assert outcome.operator_only is (policy == "operator-only")


def test_every_flipped_byte_of_a_cosigned_receipt_is_refused_or_shows_as_evidence_lost() -> None:
    data = read("cosigned.receipt.json")
    policy = parse_policy(read("post-quantum.policy").replace(b"quorum all-of-it", b"quorum none"))
    whole = verify_receipt(data, policy)
    assert isinstance(whole, Evidence)
    lost = 0
    for at in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        outcome = verify_receipt(bytes(flipped), policy)
        if isinstance(outcome, Evidence):
            assert len(outcome.checkpoint.cosignatures) < len(whole.checkpoint.cosignatures)
            assert outcome.record == whole.record
            lost += 1
    assert lost > 0


def test_the_leaves_read_back() -> None:
    assert isinstance(parse_leaf(read("entry.leaf")), BlindedLeaf)
    opened = parse_leaf(read("opened.leaf"))
    assert isinstance(opened, PublicLeaf)
    assert opened.body["vkey"] == read("log.vkey").decode().strip()


def test_proof_checkpoint_and_tiles_agree() -> None:
    proof = parse_proof(read("record.tlog-proof"))
    proof.verify_leaf(leaf_hash(read("entry.leaf")))
    key = VerifierKey.parse(read("log.vkey").decode().strip())
    assert verify_signatures(proof.checkpoint, [key])
    bundle = parse_bundle(TilePath(None, 2, 88), read("tile-entries-002.p-88"))
    tile = check_tile(TilePath(0, 2, 88), read("tile-0-002.p-88"))
    assert b"".join(leaf_hash(entry) for entry in bundle) == tile
    tree = json.loads(read("tree.json"))
    head = proof.checkpoint.checkpoint
    assert tree["roots"]["600"] == head.root.hex()
    for old, lines in tree["consistency"].items():
        hashes = [decode_base64(line) or b"" for line in lines]
        verify_consistency(
            int(old), head.size, bytes.fromhex(tree["roots"][old]), head.root, hashes
        )
