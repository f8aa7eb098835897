"""Faults of a token, each named; nothing that was signed by another key is ever used."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pkcs11 import Attribute, KeyType, ObjectClass, Session, lib
from pkcs11.exceptions import AttributeSensitive, PKCS11Error

from kernel.errors import CodedError
from ledger.errors import KeyFileUnsafe
from ledger.keys import create_key_file, open_key_file
from ledger.notes import NoteSigner
from ledger.pkcs11.errors import (
    TokenKeyNotFound,
    TokenKeyWrong,
    TokenModuleUnusable,
    TokenNotConfigured,
    TokenNotFound,
    TokenPinRefused,
)
from ledger.pkcs11.library import Library, lacking
from ledger.pkcs11.signers import Tokens
from ledger.pkcs11.uris import TokenUri
from tests.conftest import ROOT
from tests.servers.softhsm import PIN, SoftHsm, Token

ORIGIN = "log.example/2026"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "log-2026.key"


@pytest.fixture
def signer(path: Path, token: Token) -> NoteSigner:
    return create_key_file(path, ORIGIN, token.tokens)


def refused(signer: NoteSigner, kind: type[CodedError]) -> CodedError:
    """By `prepare` and by `sign` alike, in one line and without the PIN."""
    with pytest.raises(kind) as caught:
        signer.prepare()
    with pytest.raises(kind):
        signer.sign("a\n")
    assert "\n" not in str(caught.value)
    assert PIN not in str(caught.value)
    assert PIN not in repr(caught.value)
    return caught.value


def test_a_token_taken_out_is_named_and_signs_again_when_it_is_back(
    signer: NoteSigner, token: Token
) -> None:
    before = signer.sign("a\n")
    token.take_out()
    refused(signer, TokenNotFound)
    token.put_back()
    assert signer.sign("a\n") == before


def test_a_session_that_was_lost_is_opened_anew_without_a_word(
    signer: NoteSigner, token: Token
) -> None:
    before = signer.sign("a\n")
    library = token.tokens.library
    (session,) = library._sessions.values()
    session.close()  # as a token does that was reset, or after an idle time
    assert signer.sign("a\n") == before


def test_a_token_that_is_not_there(signer: NoteSigner, path: Path, token: Token) -> None:
    path.write_text(path.read_text().replace("token=mianjiao", "token=elsewhere"))
    assert refused(open_key_file(path, token.tokens), TokenNotFound).details["found"] == 0
    with pytest.raises(TokenNotFound):
        create_key_file(path.with_name("new.key"), ORIGIN, replace(token.tokens, label="none"))
    assert not path.with_name("new.key").exists()


class Faulty(Library):
    """A token whose signatures are no signatures."""

    def sign(self, uri: TokenUri, pin: str, message: bytes) -> bytes:
        return bytes(64)


class FaultyTokens(Tokens):
    @property
    def library(self) -> Library:
        return Faulty(str(self.module.resolve()))


def test_a_key_that_cannot_sign_is_not_left_in_the_token(path: Path, token: Token) -> None:
    tokens = token.tokens
    with pytest.raises(TokenKeyWrong):
        create_key_file(path, ORIGIN, FaultyTokens(tokens.module, tokens.pin, tokens.label))
    assert not path.exists()
    with pytest.raises(TokenKeyNotFound) as caught:
        tokens.library.sign(TokenUri(token=token.label, object=ORIGIN), PIN, b"x")
    assert caught.value.details["found"] == 0


def test_no_reference_is_left_to_a_key_that_was_destroyed(
    path: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails after the file has its name."""

    def failing(_folder: str) -> None:
        assert path.exists()
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr("ledger.keys.fsync_folder", failing)
    with pytest.raises(OSError, match="I/O error"):
        create_key_file(path, ORIGIN, token.tokens)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(TokenKeyNotFound):
        token.tokens.library.sign(TokenUri(token=token.label, object=ORIGIN), PIN, b"x")


def test_a_key_that_is_not_there(signer: NoteSigner, path: Path, token: Token) -> None:
    path.write_text(path.read_text().replace("object=log.", "object=another."))
    assert refused(open_key_file(path, token.tokens), TokenKeyNotFound).details["found"] == 0


def test_two_keys_under_one_label_are_told_apart_by_id_or_refused(
    signer: NoteSigner, path: Path, token: Token
) -> None:
    create_key_file(path.with_name("other.key"), ORIGIN, token.tokens)
    signer.prepare()
    uri, _, vkey = path.read_text().partition(" ")
    vague = ";".join(one for one in uri.split(";") if not one.startswith("id="))
    path.write_text(f"{vague} {vkey}")
    assert refused(open_key_file(path, token.tokens), TokenKeyNotFound).details["found"] == 2


def test_another_key_under_the_same_label_and_id_signs_nothing(
    signer: NoteSigner, path: Path, token: Token, softhsm: SoftHsm, tmp_path: Path
) -> None:
    uri = path.read_text().partition(" ")[0]
    key_id = uri.split(";id=")[1].split(";")[0].replace("%", "")
    token.tokens.destroy(TokenUri.parse(uri))
    pem = tmp_path / "other.pem"
    pem.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    softhsm.tool(
        "--import", pem, "--token", token.label, "--label", ORIGIN, "--id", key_id, "--pin", PIN
    )  # fmt: skip
    refused(signer, TokenKeyWrong)
    refused(open_key_file(path, token.tokens), TokenKeyWrong)


def test_a_wrong_pin_is_tried_once(signer: NoteSigner, path: Path, token: Token) -> None:
    wrong = replace(token.tokens, pin="8642-wrong")
    token.tokens.library.close()
    refused(open_key_file(path, wrong), TokenPinRefused)
    # It would be right now; but a process that goes on trying locks a real token.
    with opened(token) as session:
        session.set_pin(PIN, "8642-wrong")
    refused(open_key_file(path, wrong), TokenPinRefused)


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF junk"])
def test_a_module_that_is_none(
    signer: NoteSigner, path: Path, token: Token, tmp_path: Path, content: bytes | None
) -> None:
    module = tmp_path / "module.so"
    if content is not None:
        module.write_bytes(content)
    wrong = Tokens(module, PIN, token.label)
    assert str(module) in str(refused(open_key_file(path, wrong), TokenModuleUnusable))
    signer.prepare()


def test_a_library_that_is_no_pkcs11_module(signer: NoteSigner, path: Path, token: Token) -> None:
    import _ssl

    refused(open_key_file(path, Tokens(Path(_ssl.__file__), PIN)), TokenModuleUnusable)


def test_without_settings_the_public_key_is_known_and_nothing_signed(
    signer: NoteSigner, path: Path
) -> None:
    unset = open_key_file(path)
    assert unset.key == signer.key
    assert "MIANJIAO_PKCS11_MODULE" in str(refused(unset, TokenNotConfigured))


def test_a_process_forked_from_one_that_signs_does_not_sign(
    signer: NoteSigner, token: Token
) -> None:
    signer.prepare()
    program = f"""
import os, sys
from pathlib import Path
from ledger.keys import open_key_file
from ledger.pkcs11.errors import TokenFailed
from ledger.pkcs11.library import lacking
from ledger.pkcs11.signers import Tokens
from ledger.pkcs11.uris import TokenUri
signer = open_key_file(Path({str(token.folder.parent.parent / "fork.key")!r}),
                       Tokens(Path({str(token.tokens.module)!r}), {PIN!r}))
early = os.fork()  # before it was opened: each opens it for itself
first = signer.sign("a\\n")
if early == 0:
    os._exit(0)
assert os.waitpid(early, 0)[1] == 0
late = os.fork()
if late == 0:
    try:
        signer.sign("a\\n")
    except TokenFailed:
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(late, 0)[1]) == 7
assert signer.sign("a\\n") == first
print("whole")
"""
    copy = token.folder.parent.parent / "fork.key"
    create_key_file(copy, ORIGIN, token.tokens)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.stdout == "whole\n", done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "pkcs11:token=a;object=b?pin-value=1234 {vkey}",
        "pkcs11:token=a;object=b;pin-value=1234 {vkey}",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a;object=b {vkey} more",
        "pkcs11:token=a {vkey}",
        "pkcs11:token=a;object=b {vkey}\npkcs11:token=a;object=b {vkey}",
        "pkcs11:token=a;object=b log.example+00000000+AQ==",
    ],
)
def test_a_damaged_reference_is_refused(
    signer: NoteSigner, path: Path, token: Token, line: str
) -> None:
    path.write_text(line.format(vkey=signer.key.text) + "\n")
    with pytest.raises(KeyFileUnsafe):
        open_key_file(path, token.tokens)


def test_a_key_that_was_made_never_leaves_its_token(signer: NoteSigner, token: Token) -> None:
    with opened(token) as session:
        (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        assert lacking(key) == []
        with pytest.raises(AttributeSensitive):
            key[Attribute.VALUE]
        for name in (Attribute.EXTRACTABLE, Attribute.SENSITIVE):
            with pytest.raises(PKCS11Error):
                key[name] = not key[name]


def test_a_key_that_may_leave_its_token_is_told_from_one_that_may_not(token: Token) -> None:
    with opened(token) as session:
        curve = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: bytes.fromhex("06032b6570")}, local=True
        )
        template = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
        _, key = curve.generate_keypair(store=True, private_template=template)
        assert lacking(key) == [
            "SENSITIVE", "ALWAYS_SENSITIVE", "EXTRACTABLE", "NEVER_EXTRACTABLE"
        ]  # fmt: skip


@contextmanager
def opened(token: Token) -> Iterator[Session]:
    """The token as another program sees it."""
    token.tokens.library.close()
    library = lib(str(token.tokens.module))
    try:
        with library.get_token(token_label=token.label).open(rw=True, user_pin=PIN) as session:
            yield session
    finally:
        library.finalize()
