"""Receipts: what they prove, and that no change of any byte goes unnoticed."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.canonical import canonical_bytes
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.errors import FileNotInRecord
from ledger.growth import Tail, grow
from ledger.keys import Ed25519Signer
from ledger.leaves import blinded_leaf
from ledger.merkle import inclusion_proof, leaf_hash, node_hash
from ledger.policy import parse_policy
from ledger.proofs import LogProof, parse_proof
from ledger.receipts import Evidence, Failure, build_receipt, file_position, verify_receipt

ORIGIN = "log.example/2026"
SIGNER = Ed25519Signer(ORIGIN, b"\x01" * 32)
POLICY = parse_policy(f"log {SIGNER.key.text}\nquorum none\n".encode())
RECORD: dict[str, Any] = {
    "v": 1,
    "kind": "material.registered",
    "entity": "mat_00000000000000000000000000",
    "at": "2026-11-24T04:00:00.000Z",
    "title": "租赁合同",
    "files": [
        {"name": "合同.pdf", "size": 20480, "digests": {"sha256": "ab" * 32, "sm3": "cd" * 32}},
        {"name": "附件.pdf", "size": 1, "digests": {"sha256": "ef" * 32, "sm3": "01" * 32}},
    ],
}
CANONICAL = canonical_bytes(RECORD)
SALT = bytes(range(32))
SIZE, INDEX = 11, 6


def make_proof(index: int = INDEX) -> LogProof:
    entries = [b"other %d" % number for number in range(SIZE)]
    entries[INDEX] = blinded_leaf(SALT, CANONICAL)
    hashes = [leaf_hash(entry) for entry in entries]

    def read(level: int, number: int) -> bytes:
        if level == 0:
            return hashes[number]
        return node_hash(read(level - 1, 2 * number), read(level - 1, 2 * number + 1))

    root = grow(Tail(0), entries).tail.root
    signed = sign_checkpoint(Checkpoint(ORIGIN, SIZE, root), [SIGNER])
    return LogProof(index, tuple(inclusion_proof(read, index, SIZE)), signed)


RECEIPT = build_receipt(CANONICAL, SALT, make_proof())


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    value = json.loads(RECEIPT)
    change(value)
    return canonical_bytes(value) + b"\n"


def code_of(data: bytes) -> str:
    outcome = verify_receipt(data, POLICY)
    assert isinstance(outcome, Failure), outcome
    assert outcome.zh
    assert outcome.en
    return outcome.code


def test_a_receipt_proves_the_record_and_its_place() -> None:
    evidence = verify_receipt(RECEIPT, POLICY)
    assert isinstance(evidence, Evidence)
    assert evidence.record == RECORD
    assert (evidence.origin, evidence.index, evidence.size) == (ORIGIN, INDEX, SIZE)
    assert evidence.checkpoint.log_keys == (SIGNER.key,)
    assert evidence.operator_only


def test_a_receipt_is_canonical_json_and_a_newline() -> None:
    assert RECEIPT.endswith(b"\n")
    assert canonical_bytes(json.loads(RECEIPT)) + b"\n" == RECEIPT
    assert json.loads(RECEIPT)["type"] == "mianjiao.receipt/v1"


def test_every_flipped_bit_of_every_byte_is_refused() -> None:
    for at in range(len(RECEIPT)):
        for bit in range(8):
            flipped = bytearray(RECEIPT)
            flipped[at] ^= 1 << bit
            assert isinstance(verify_receipt(bytes(flipped), POLICY), Failure), (at, bit)


def test_every_removed_byte_is_refused() -> None:
    for at in range(len(RECEIPT)):
        assert isinstance(verify_receipt(RECEIPT[:at] + RECEIPT[at + 1 :], POLICY), Failure)


@given(st.integers(0, len(RECEIPT)), st.integers(0, len(RECEIPT)), st.binary(max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_replaced_stretch_is_refused(first: int, second: int, junk: bytes) -> None:
    start, end = sorted((first, second))
    mutated = RECEIPT[:start] + junk + RECEIPT[end:]
    if mutated != RECEIPT:
        assert isinstance(verify_receipt(mutated, POLICY), Failure)


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_junk_is_refused(junk: bytes) -> None:
    assert isinstance(verify_receipt(junk, POLICY), Failure)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: value.update(extra=1), "receipt_malformed"),
        (lambda value: value.pop("anchors"), "receipt_malformed"),
        (lambda value: value.update(anchors=[{"type": "x"}]), "anchor_unknown"),
        (lambda value: value.update(anchors={}), "receipt_malformed"),
        (lambda value: value.update(type="mianjiao.receipt/v2"), "receipt_malformed"),
        (lambda value: value.update(record=[]), "receipt_malformed"),
        (lambda value: value.update(proof=1), "receipt_malformed"),
        (lambda value: value.update(salt=value["salt"][:-4]), "receipt_malformed"),
        (lambda value: value.update(salt="A" * 44), "receipt_malformed"),
        (lambda value: value.update(salt=None), "receipt_malformed"),
        (lambda value: value["record"].update(title="假"), "commitment_mismatch"),
        (lambda value: value["record"].update(more=1), "commitment_mismatch"),
        (lambda value: value["record"].pop("v"), "commitment_mismatch"),
        (
            lambda value: value.update(salt=base64.b64encode(bytes(32)).decode()),
            "commitment_mismatch",
        ),
        (
            lambda value: value.update(entry=base64.b64encode(b"other 6").decode()),
            "commitment_mismatch",
        ),
        (lambda value: value.update(proof=value["proof"] + "\n"), "note_malformed"),
        (lambda value: value.update(proof="x" + value["proof"]), "proof_malformed"),
        (
            lambda value: value.update(proof=value["proof"].replace("index 6", "index 7")),
            "inclusion_invalid",
        ),
        (
            lambda value: value.update(proof=value["proof"].replace("index 6", "index 06")),
            "proof_malformed",
        ),
        (
            lambda value: value.update(
                proof=value["proof"].replace("\nindex", "\nextra AA==\nindex")
            ),
            "receipt_malformed",
        ),
        (
            lambda value: value.update(proof=value["proof"].replace("\n11\n", "\n12\n")),
            "signature_invalid",
        ),
    ],
)
def test_each_kind_of_change_has_its_code(
    change: Callable[[dict[str, Any]], None], code: str
) -> None:
    assert code_of(changed(change)) == code


def test_duplicate_keys_and_white_space_are_refused() -> None:
    assert code_of(RECEIPT.replace(b'{"anchors":[]', b'{"anchors":[],"anchors":[]')) == (
        "receipt_malformed"
    )
    assert code_of(RECEIPT.replace(b'{"anchors":[]', b'{ "anchors":[]')) == "receipt_malformed"
    assert code_of(RECEIPT[:-1]) == "receipt_malformed"
    assert code_of(RECEIPT + b"\n") == "receipt_malformed"
    assert code_of(b"\xef\xbb\xbf" + RECEIPT) == "receipt_malformed"


def test_another_log_is_not_trusted() -> None:
    other = Ed25519Signer(ORIGIN, b"\x02" * 32)
    policy = parse_policy(f"log {other.key.text}\nquorum none\n".encode())
    outcome = verify_receipt(RECEIPT, policy)
    assert isinstance(outcome, Failure)
    assert outcome.code == "log_not_trusted"


def test_a_policy_inside_a_receipt_is_not_believed() -> None:
    def add(value: dict[str, Any]) -> None:
        value["policy"] = "quorum none\n"

    assert code_of(changed(add)) == "receipt_malformed"


def test_a_proof_of_another_leaf_is_refused() -> None:
    assert code_of(build_receipt(CANONICAL, SALT, make_proof(index=5))) == "inclusion_invalid"


def test_a_file_is_found_by_digest_and_size() -> None:
    evidence = verify_receipt(RECEIPT, POLICY)
    assert isinstance(evidence, Evidence)
    assert file_position(evidence, b"\xab" * 32, 20480) == 0
    assert file_position(evidence, b"\xef" * 32, 1) == 1
    for digest, size in [(b"\xab" * 32, 20481), (b"\xac" * 32, 20480)]:
        outcome = file_position(evidence, digest, size)
        assert isinstance(outcome, Failure)
        assert outcome.code == FileNotInRecord.code


def test_a_proof_text_reads_back_also_with_extra_data() -> None:
    proof = make_proof()
    assert parse_proof(proof.encode()) == proof
    extra = LogProof(proof.index, proof.hashes, proof.checkpoint, b"more")
    assert parse_proof(extra.encode()) == extra
    assert b"\nextra bW9yZQ==\nindex 6\n" in extra.encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 6\n", ""),
        lambda text: text.replace("index 6", "Index 6"),
        lambda text: text.replace("index 6", "index -1"),
        lambda text: text.replace("index 6", "index 6\nAAAA"),
        lambda text: text.replace("index 6", "index 6" + "\n" + "A" * 43 + "="),
        lambda text: text.replace("index 6", "extra x\nindex 6"),
        lambda text: text.replace("index 6", "index 6" + ("\n" + "A" * 43 + "=") * 64),
        lambda text: text.partition("\n\n")[0],
        lambda text: text.replace("index", "indеx"),
        lambda text: text + "x" * 700_000,
    ],
)
def test_a_malformed_proof_text_is_refused(change: Callable[[str], str]) -> None:
    wrong = change(make_proof().encode().decode())
    value = json.loads(RECEIPT)
    value["proof"] = wrong
    data = canonical_bytes(value) + b"\n"
    assert code_of(data) in {"proof_malformed", "inclusion_invalid", "note_malformed"}
