"""The contract of signers and cosigners: the same for a key in a file and one in a token."""

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.checkpoints import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignatures import ed25519_message, verify_signatures
from ledger.errors import LogExists
from ledger.keys import (
    Ed25519Cosigner,
    create_key_file,
    create_typed_key_file,
    destroy_key_file,
    open_key_file,
    open_typed_key_file,
)
from ledger.notes import NoteSigner, SignatureType
from ledger.pkcs11.errors import TokenKeyNotFound
from ledger.pkcs11.signers import TokenCosigner, Tokens
from tests.servers.softhsm import SoftHsm

ORIGIN = "log.example/2026"
HEAD = Checkpoint(ORIGIN, 7, bytes(range(32)))


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of place for keys: a folder of files, or with `tokens` a token beside it."""

    folder: Path
    tokens: Tokens | None

    def create(self, name: str = "log") -> NoteSigner:
        return create_key_file(self.path(name), ORIGIN, self.tokens)

    def open(self, name: str = "log") -> NoteSigner:
        return open_key_file(self.path(name), self.tokens)

    def path(self, name: str = "log") -> Path:
        return self.folder / "keys" / f"{name}.key"


@pytest.fixture(params=["file", "token"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        return Place(tmp_path, None)
    softhsm: SoftHsm = request.getfixturevalue("softhsm")
    return Place(tmp_path, softhsm.token().tokens)


def test_what_is_signed_verifies_by_other_software(place: Place) -> None:
    signer = place.create()
    signer.prepare()
    text = "log.example/2026\n7\nAAAA\n"
    signature = signer.sign(text)
    assert len(signature) == 64
    public = Ed25519PublicKey.from_public_bytes(signer.key.public)
    public.verify(signature, text.encode())
    with pytest.raises(InvalidSignature):
        public.verify(signature, text.encode() + b"\n")
    assert signer.sign(text) == signature  # RFC 8032: the same text, the same bytes


def test_a_checkpoint_is_signed_and_verifies(place: Place) -> None:
    signer = place.create()
    signed = parse_checkpoint(sign_checkpoint(HEAD, [signer]).encode())
    assert [one.key for one in verify_signatures(signed, [signer.key])] == [signer.key]


def test_a_key_is_the_same_after_it_was_closed(place: Place) -> None:
    made = place.create()
    first = made.sign("a\n")
    if place.tokens is not None:
        place.tokens.library.close()
    opened = place.open()
    assert opened.key == made.key
    assert opened.sign("a\n") == first == made.sign("a\n")


def test_keys_of_one_name_are_different_keys(place: Place) -> None:
    one, other = place.create("one"), place.create("other")
    assert one.key.public != other.key.public
    assert one.sign("a\n") != other.sign("a\n")
    assert (place.open("one").key, place.open("other").key) == (one.key, other.key)
    place.open("one").prepare()
    place.open("other").prepare()


def test_a_key_is_made_once(place: Place) -> None:
    made = place.create()
    before = place.path().read_bytes()
    with pytest.raises(LogExists):
        place.create()
    assert place.path().read_bytes() == before
    assert place.open().sign("a\n") == made.sign("a\n")


def test_the_file_is_one_line_for_the_owner_alone(place: Place) -> None:
    signer = place.create()
    text = place.path().read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert place.path().stat().st_mode & 0o777 == 0o600
    if place.tokens is not None:
        assert text.startswith("pkcs11:token=mianjiao%20")
        assert text.endswith(f";type=private {signer.key.text}\n")
        assert place.tokens.pin not in text


def test_many_threads_sign_at_once(place: Place) -> None:
    one, other = place.create("one"), place.create("other")
    verified: list[str] = []

    def work(number: int) -> None:
        signer = (one, other)[number % 2]
        public = Ed25519PublicKey.from_public_bytes(signer.key.public)
        for turn in range(25):
            text = f"{number} {turn}\n"
            public.verify(signer.sign(text), text.encode())
            verified.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verified) == 8 * 25


def test_a_cosigner_says_when(place: Place) -> None:
    kind = SignatureType.COSIGNATURE_ED25519
    path = place.path("witness")
    cosigner = create_typed_key_file(path, "witness.example", kind, place.tokens)
    for one in (cosigner, open_typed_key_file(path, place.tokens)):
        assert isinstance(one, Ed25519Cosigner | TokenCosigner)
        one.prepare()
        assert one.key.type is kind
        blob = one.cosign(HEAD, 1_700_000_000)
        assert blob[:8] == (1_700_000_000).to_bytes(8, "big")
        message = ed25519_message(HEAD, 1_700_000_000)
        Ed25519PublicKey.from_public_bytes(one.key.public).verify(blob[8:], message)


def test_a_destroyed_key_is_gone(place: Place) -> None:
    place.create("kept")
    signer = place.create()
    destroy_key_file(place.path(), place.tokens)
    assert not place.path().exists()
    destroy_key_file(place.path(), place.tokens)  # again: nothing to do
    with pytest.raises(FileNotFoundError):
        place.open()
    if place.tokens is not None:
        with pytest.raises(TokenKeyNotFound):
            signer.sign("a\n")
    place.open("kept").prepare()


def test_a_key_that_could_not_be_written_down_is_not_left_behind(
    place: Place,
) -> None:
    place.folder.joinpath("keys").write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError):  # noqa: PT011 - of whichever kind
        place.create()
    if place.tokens is not None:
        assert _private_keys(place.tokens) == 0


def _private_keys(tokens: Tokens) -> int:
    from pkcs11 import Attribute, ObjectClass, lib

    tokens.library.close()
    library = lib(str(tokens.module))
    try:
        with library.get_token(token_label=tokens.label).open(user_pin=tokens.pin) as session:
            return len(list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})))
    finally:
        library.finalize()
