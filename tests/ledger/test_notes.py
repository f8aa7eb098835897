"""C2SP signed-note, tlog-checkpoint and tlog-cosignature."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import CodedError
from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignatures import ed25519_message, mldsa44_message, verify_signatures
from ledger.errors import (
    CheckpointMalformed,
    KeyMalformed,
    LogNotTrusted,
    NoteMalformed,
    SignatureInvalid,
)
from ledger.keys import Ed25519Signer
from ledger.merkle import EMPTY_ROOT
from ledger.notes import Note, Signature, SignatureType, VerifierKey, decode_base64, parse_note

# The example of Go's golang.org/x/mod/sumdb/note, from which the format comes.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"  # noqa: E501
)
ORIGIN = "log.example/2026"
SIGNER = Ed25519Signer(ORIGIN, b"\x01" * 32)
HEAD = Checkpoint(ORIGIN, 20852163, b"\x07" * 32)


def signed() -> SignedCheckpoint:
    return sign_checkpoint(HEAD, [SIGNER])


def cosigned(key: VerifierKey, blob: bytes) -> SignedCheckpoint:
    base = signed()
    line = Signature(key.name, key.key_id, blob)
    return SignedCheckpoint(HEAD, Note(base.note.text, (*base.note.signatures, line)))


def test_the_note_of_the_go_package_verifies() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = VerifierKey.parse(GO_KEY)
    note = parse_note(GO_NOTE.encode())
    (line,) = note.signatures
    assert (line.name, line.key_id) == (key.name, key.key_id)
    Ed25519PublicKey.from_public_bytes(key.public).verify(line.blob, note.text.encode())
    assert key.text == GO_KEY
    assert note.encode() == GO_NOTE.encode()


def test_a_note_text_may_hold_blank_lines() -> None:
    note = parse_note("a\n\nb\n\n— k AAAAAAA=\n".encode())
    assert note.text == "a\n\nb\n"
    assert len(note.signatures) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        "text\n\n— k AAAAAAA=".encode(),
        "text\n\n— k AAAAAAA=\n\n".encode(),
        b"text\n\n- k AAAAAAA=\n",
        "text\n\n—  k AAAAAAA=\n".encode(),
        "text\n\n— k  AAAAAAA=\n".encode(),
        "text\n\n— k AAAAAAA= \n".encode(),
        "text\n\n— k AAAA\n".encode(),
        "text\n\n— k AAAAAA==\n".encode(),
        "text\n\n— k AAAAAAB=\n".encode(),
        "text\n\n— k AAAAAAA\n".encode(),
        "text\n\n— a+b AAAAAAA=\n".encode(),
        "text\n\n— a\u00a0b AAAAAAA=\n".encode(),
        "te\txt\n\n— k AAAAAAA=\n".encode(),
        "te\rxt\n\n— k AAAAAAA=\n".encode(),
        b"te\xff\n\n\xe2\x80\x94 k AAAAAAA=\n",
        ("text\n\n" + "— k AAAAAAA=\n" * 65).encode(),
        ("x" * 600_000 + "\n\n— k AAAAAAA=\n").encode(),
    ],
)
def test_a_malformed_note_is_refused(data: bytes) -> None:
    with pytest.raises(NoteMalformed):
        parse_note(data)


def test_at_least_16_signatures_are_accepted_also_post_quantum_ones() -> None:
    line = Signature("w", b"1234", b"x" * 5000).line
    note = parse_note(("text\n\n" + line * 16).encode())
    assert len(note.signatures) == 16


@given(st.binary(min_size=1, max_size=40))
def test_base64_has_one_spelling(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    assert decode_base64(text) == raw
    assert decode_base64(text.rstrip("=") + "=" * (3 - (len(raw) + 2) % 3)) is None
    assert decode_base64(text + "\n") is None
    assert decode_base64(" " + text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+",
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY[:-1],
        GO_KEY + "+x",
        "Peter Neumann" + GO_KEY.removeprefix("PeterNeumann"),
        "w+00000000+" + base64.b64encode(b"\x02" + b"k" * 32).decode(),
        "w+00000000+" + base64.b64encode(b"\x01" + b"k" * 31).decode(),
        "w+00000000+" + base64.b64encode(b"\x06" + b"k" * 32).decode(),
    ],
)
def test_a_malformed_vkey_is_refused(text: str) -> None:
    with pytest.raises(KeyMalformed):
        VerifierKey.parse(text)


def test_one_public_key_has_another_id_under_another_type_or_name() -> None:
    ids = {
        VerifierKey(name, kind, b"k" * 32).key_id
        for name in ("a", "b")
        for kind in (SignatureType.ED25519, SignatureType.COSIGNATURE_ED25519)
    }
    assert len(ids) == 4


def test_a_checkpoint_is_three_lines() -> None:
    data = signed().encode()
    root = base64.b64encode(b"\x07" * 32).decode()
    assert data.startswith(f"{ORIGIN}\n20852163\n{root}\n\n— {ORIGIN} ".encode())
    assert parse_checkpoint(data) == signed()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n1\n{root}\n",
        "o\n01\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n+1\n{root}\n",
        "o\n١\n{root}\n",
        "o\n9223372036854775808\n{root}\n",
        "o\n1\n{root}\nextension\n",
        "o\n1\n",
        "o\n1\nAAAA\n",
        "o\n1\n{root}x\n",
        "o\n0\n{root}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    root = base64.b64encode(b"\x07" * 32).decode()
    note = Note(text.format(root=root), (Signature("k", b"1234", b"x"),))
    with pytest.raises((CheckpointMalformed, NoteMalformed)):
        parse_checkpoint(note.encode())


def test_the_empty_tree_has_the_empty_root() -> None:
    head = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(sign_checkpoint(head, [SIGNER]).encode()).checkpoint == head


def test_a_log_signs_under_its_origin_only() -> None:
    for signers in ([], [Ed25519Signer("another.example", b"\x01" * 32)]):
        with pytest.raises(LogNotTrusted):
            sign_checkpoint(HEAD, signers)


def test_every_flipped_byte_of_a_checkpoint_is_refused_or_makes_the_signer_unknown() -> None:
    data = signed().encode()
    for at in range(len(data)):
        for bit in (0x01, 0x20, 0x80):
            flipped = bytearray(data)
            flipped[at] ^= bit
            try:
                assert verify_signatures(parse_checkpoint(bytes(flipped)), [SIGNER.key]) == []
            except CodedError:
                continue


def test_unknown_keys_are_ignored_and_a_known_bad_signature_refuses_the_note() -> None:
    stranger = Ed25519Signer("stranger.example", b"\x02" * 32)
    note = cosigned(stranger.key, b"x" * 64)
    assert [one.key for one in verify_signatures(note, [SIGNER.key])] == [SIGNER.key]
    with pytest.raises(SignatureInvalid):
        verify_signatures(note, [SIGNER.key, stranger.key])


def test_a_known_key_that_signs_twice_is_refused() -> None:
    note = cosigned(SIGNER.key, SIGNER.sign(HEAD.text))
    with pytest.raises(SignatureInvalid):
        verify_signatures(note, [SIGNER.key])
    assert verify_signatures(note, []) == []


def test_an_ed25519_cosignature_verifies_with_its_time() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
    public = private.public_key().public_bytes_raw()
    key = VerifierKey("witness.example/w1", SignatureType.COSIGNATURE_ED25519, public)
    time = 1679315147
    message = ed25519_message(HEAD, time)
    assert message == f"cosignature/v1\ntime 1679315147\n{HEAD.text}".encode()
    blob = time.to_bytes(8, "big") + private.sign(message)
    verified = verify_signatures(cosigned(key, blob), [SIGNER.key, key])
    assert [(one.key, one.time) for one in verified] == [(SIGNER.key, None), (key, time)]
    for wrong in (
        (time + 1).to_bytes(8, "big") + blob[8:],
        blob + b"x",
        blob[:-1],
        blob[:8],
        (1 << 63).to_bytes(8, "big") + private.sign(ed25519_message(HEAD, 1 << 63)),
        time.to_bytes(8, "big") + private.sign(HEAD.text.encode()),
    ):
        with pytest.raises(SignatureInvalid):
            verify_signatures(cosigned(key, wrong), [key])


def test_a_post_quantum_cosignature_verifies_and_binds_name_time_origin_size_and_root() -> None:
    private = MLDSA44PrivateKey.from_seed_bytes(b"\x04" * 32)
    public = private.public_key().public_bytes_raw()
    key = VerifierKey(ORIGIN, SignatureType.COSIGNATURE_MLDSA44, public)
    time = 1679315147
    message = mldsa44_message(ORIGIN, HEAD, time)
    assert message == (
        b"subtree/v1\n\0"
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + time.to_bytes(8, "big")
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + bytes(8)
        + (20852163).to_bytes(8, "big")
        + b"\x07" * 32
    )
    blob = time.to_bytes(8, "big") + private.sign(message)
    (verified,) = verify_signatures(cosigned(key, blob), [key])
    assert verified.time == time
    assert parse_checkpoint(cosigned(key, blob).encode()) == cosigned(key, blob)
    for name, head, moment in [
        ("another", HEAD, time),
        (ORIGIN, Checkpoint("another", HEAD.size, HEAD.root), time),
        (ORIGIN, Checkpoint(ORIGIN, HEAD.size + 1, HEAD.root), time),
        (ORIGIN, Checkpoint(ORIGIN, HEAD.size, b"\x08" * 32), time),
        (ORIGIN, HEAD, time + 1),
    ]:
        wrong = time.to_bytes(8, "big") + private.sign(mldsa44_message(name, head, moment))
        with pytest.raises(SignatureInvalid):
            verify_signatures(cosigned(key, wrong), [key])
    with pytest.raises(SignatureInvalid):
        verify_signatures(cosigned(key, blob[:-1]), [key])
