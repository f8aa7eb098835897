"""C2SP tlog-policy: parsing in full, and what a quorum means."""

from itertools import chain, combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.cosignatures import ed25519_message, mldsa44_message
from ledger.errors import (
    LogNotTrusted,
    OriginMismatch,
    PolicyMalformed,
    QuorumNotMet,
    SignatureInvalid,
)
from ledger.keys import Ed25519Signer
from ledger.notes import Note, Signature, SignatureType, VerifierKey, sign_note
from ledger.policy import evaluate, parse_policy

ORIGIN = "log.example/2026"
SIGNER = Ed25519Signer(ORIGIN, b"\x01" * 32)
HEAD = Checkpoint(ORIGIN, 5, b"\x07" * 32)
TIME = 1_800_000_000
WITNESSES = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
PRIVATE = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([10 + number]) * 32)
    for number, name in enumerate(WITNESSES)
}
KEYS = {
    name: VerifierKey(
        f"witness.example/{name}",
        SignatureType.COSIGNATURE_ED25519,
        private.public_key().public_bytes_raw(),
    )
    for name, private in PRIVATE.items()
}
# The example of the specification.
EXAMPLE = (
    f"log {SIGNER.key.text}\n\n"
    + "".join(f"witness {name} {KEYS[name].text}\n" for name in WITNESSES[:3])
    + "group X-witnesses 2 X1 X2 X3\n\n"
    + "".join(f"witness {name} {KEYS[name].text}\n" for name in WITNESSES[3:])
    + "group Y-witnesses any Y1 Y2 Y3\n\n"
    + "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
)


def cosigned(*names: str) -> SignedCheckpoint:
    lines = [
        Signature(
            KEYS[name].name,
            KEYS[name].key_id,
            TIME.to_bytes(8, "big") + PRIVATE[name].sign(ed25519_message(HEAD, TIME)),
        )
        for name in names
    ]
    base = sign_checkpoint(HEAD, [SIGNER])
    return SignedCheckpoint(HEAD, Note(base.note.text, (*base.note.signatures, *lines)))


def test_the_example_of_the_specification_asks_for_two_x_and_one_y() -> None:
    policy = parse_policy(EXAMPLE.encode())
    every = chain.from_iterable(combinations(WITNESSES, count) for count in range(7))
    for names in every:
        enough = sum(name[0] == "X" for name in names) >= 2 and any(n[0] == "Y" for n in names)
        if enough:
            evidence = evaluate(policy, cosigned(*names))
            assert set(evidence.cosignatures) == set(names)
            assert all(one.time == TIME for one in evidence.cosignatures.values())
        else:
            with pytest.raises(QuorumNotMet):
                evaluate(policy, cosigned(*names))


def test_quorum_none_is_operator_only_and_still_reports_cosignatures() -> None:
    text = f"log {SIGNER.key.text}\nwitness w {KEYS['X1'].text}\nquorum none\n"
    policy = parse_policy(text.encode())
    assert policy.operator_only
    assert not parse_policy(EXAMPLE.encode()).operator_only
    assert set(evaluate(policy, cosigned("X1")).cosignatures) == {"w"}
    assert evaluate(policy, cosigned("X2")).unknown_signatures == 1
    assert evaluate(policy, cosigned()).cosignatures == {}


def test_a_log_that_is_not_listed_is_not_trusted() -> None:
    other = Ed25519Signer(ORIGIN, b"\x02" * 32)
    for text in (f"log {other.key.text}\nquorum none\n", "quorum none\n"):
        with pytest.raises(LogNotTrusted):
            evaluate(parse_policy(text.encode()), cosigned())


def test_the_origin_must_be_the_name_of_the_signing_key() -> None:
    other = Ed25519Signer("another.example/2026", b"\x02" * 32)
    policy = parse_policy(f"log {other.key.text}\nquorum none\n".encode())
    note = SignedCheckpoint(HEAD, sign_note(HEAD.text, [other]))
    with pytest.raises(OriginMismatch):
        evaluate(policy, note)


def test_a_bad_signature_of_a_known_witness_is_refused_even_when_not_needed() -> None:
    text = f"log {SIGNER.key.text}\nwitness w {KEYS['X1'].text}\nquorum none\n"
    good = cosigned("X1")
    log, witness = good.note.signatures
    bad = Signature(witness.name, witness.key_id, witness.blob[:-1] + b"\x00")
    with pytest.raises(SignatureInvalid):
        evaluate(parse_policy(text.encode()), SignedCheckpoint(HEAD, Note(HEAD.text, (log, bad))))


def test_a_policy_can_demand_the_logs_post_quantum_signature() -> None:
    private = MLDSA44PrivateKey.from_seed_bytes(b"\x04" * 32)
    key = VerifierKey(
        ORIGIN, SignatureType.COSIGNATURE_MLDSA44, private.public_key().public_bytes_raw()
    )
    text = (
        f"log {SIGNER.key.text}\nwitness log-pq {key.text}\nwitness w {KEYS['X1'].text}\n"
        "group demanded all log-pq w\nquorum demanded\n"
    )
    policy = parse_policy(text.encode())
    with pytest.raises(QuorumNotMet):
        evaluate(policy, cosigned("X1"))
    blob = TIME.to_bytes(8, "big") + private.sign(mldsa44_message(ORIGIN, HEAD, TIME))
    base = cosigned("X1")
    both = SignedCheckpoint(
        HEAD,
        Note(HEAD.text, (*base.note.signatures, Signature(key.name, key.key_id, blob))),
    )
    assert set(evaluate(policy, both).cosignatures) == {"log-pq", "w"}


def test_white_space_comments_urls_and_opaque_names_are_allowed() -> None:
    text = (
        "# 注释\n \t# more\n\n"
        f"\tlog  {SIGNER.key.text}\thttps://log.example/2026/ \n"
        f"witness 见证人 {KEYS['X1'].text} https://w.example/\n"
        "quorum 见证人\n"
    )
    policy = parse_policy(text.encode())
    assert policy.logs[0].url == "https://log.example/2026/"
    (witness,) = policy.witnesses.values()
    assert witness.url == "https://w.example/"
    with pytest.raises(QuorumNotMet) as refused:
        evaluate(policy, cosigned())
    assert refused.value.details["quorum"] == "见证人"
    evaluate(policy, cosigned("X1"))


W = f"witness w {KEYS['X1'].text}\n"
V = f"witness v {KEYS['X2'].text}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 0),
        ("# nothing\n", 0),
        ("quorum none", 1),
        ("quorum none\nquorum none\n", 2),
        ("quorum\n", 1),
        ("quorum a b\n", 1),
        ("quorum w\n" + W, 1),
        ("trust me\n", 1),
        ("Quorum none\n", 1),
        (f"log {SIGNER.key.text} url more\nquorum none\n", 1),
        (f"log {SIGNER.key.text}\nlog {SIGNER.key.text}\nquorum none\n", 2),
        (f"log {KEYS['X1'].text}\nquorum none\n", 1),
        (f"log {SIGNER.key.text[:-1]}\nquorum none\n", 1),
        (f"witness w {SIGNER.key.text}\nquorum w\n", 1),
        (W + W + "quorum none\n", 2),
        (W + f"witness v {KEYS['X1'].text}\nquorum none\n", 2),
        (f"witness none {KEYS['X1'].text}\nquorum none\n", 1),
        (W + "group w any w\nquorum none\n", 2),
        (W + "group none any w\nquorum none\n", 2),
        (W + "group g any\nquorum none\n", 2),
        (W + "group g 0 w\nquorum none\n", 2),
        (W + "group g 2 w\nquorum none\n", 2),
        (W + "group g 01 w\nquorum none\n", 2),
        (W + "group g -1 w\nquorum none\n", 2),
        (W + "group g some w\nquorum none\n", 2),
        (W + "group g any w w\nquorum none\n", 2),
        (W + "group g any x\nquorum none\n", 2),
        (W + "group g any g\nquorum none\n", 2),
        (W + "group g any none\nquorum none\n", 2),
        (W + V + "group g any w\ngroup h any w v\nquorum none\n", 4),
        ("quorum none\r\n", 0),
        ("quorum none\n\x00", 0),
        ("quorum none\n\x7f\n", 0),
        ("\n" * 5000 + "quorum none\n", 0),
        ("#" * (1 << 20) + "\nquorum none\n", 0),
    ],
)
def test_a_malformed_policy_names_its_line(text: str, line: int) -> None:
    with pytest.raises(PolicyMalformed) as refused:
        parse_policy(text.encode())
    assert refused.value.details["line"] == line


@given(st.binary(max_size=60))
@settings(max_examples=80)
def test_any_bytes_are_a_policy_or_refused(junk: bytes) -> None:
    try:
        policy = parse_policy(junk + b"\nquorum none\n")
    except PolicyMalformed as refused:
        assert isinstance(refused.details["reason"], str)  # noqa: PT017
    else:
        assert policy.operator_only


def test_32_logs_witnesses_and_groups_are_supported() -> None:
    lines = []
    for number in range(32):
        seed = bytes([number + 100]) * 32
        lines.append(f"log {Ed25519Signer(f'log{number}.example', seed).key.text}")
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        key = VerifierKey(f"w{number}", SignatureType.COSIGNATURE_ED25519, public)
        lines += [f"witness w{number} {key.text}", f"group g{number} any w{number}"]
    policy = parse_policy(("\n".join(lines) + "\nquorum g31\n").encode())
    assert len(policy.logs) == len(policy.witnesses) == len(policy.groups) == 32
