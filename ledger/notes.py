"""C2SP signed-note: text signed by one or more keys, and verifier keys (vkeys)."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from ledger.errors import KeyMalformed, NoteMalformed

MAX_NOTE_BYTES = 512 * 1024  # 64 post-quantum signatures of 5 kB fit
MAX_SIGNATURES = 64  # the specification asks for at least 16
KEY_ID_SIZE = 4
_SEPARATOR = "\n\n"
_DASH = "— "
_CONTROL = bytes(set(range(0x20)) - {0x0A})  # in UTF-8 these bytes are nothing else


class SignatureType(IntEnum):
    """Signature type identifier bytes that this product verifies."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_MLDSA44 = 0x06


PUBLIC_KEY_SIZE = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_ED25519: 32,
    SignatureType.COSIGNATURE_MLDSA44: 1312,
}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named public key of one signature type."""

    name: str
    type: SignatureType
    public: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise KeyMalformed(reason="not a key name")
        if len(self.public) != PUBLIC_KEY_SIZE[self.type]:
            raise KeyMalformed(reason="wrong length of the public key")
        seed = self.name.encode() + b"\n" + bytes([self.type]) + self.public
        object.__setattr__(self, "key_id", sha256(seed).digest()[:KEY_ID_SIZE])

    @property
    def text(self) -> str:
        """The vkey: `name+hex(key id)+base64(type ‖ public key)`."""
        material = base64.b64encode(bytes([self.type]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a vkey; another type, spelling or key id is `KeyMalformed`."""
        name, plus, rest = text.partition("+")
        key_id, second, material = rest.partition("+")
        raw = decode_base64(material)
        if not plus or not second or not raw:
            raise KeyMalformed(reason="not of the form name+id+key")
        try:
            key = cls(name, SignatureType(raw[0]), raw[1:])
        except ValueError as error:
            raise KeyMalformed(reason=f"unknown signature type {raw[0]}") from error
        if key.key_id.hex() != key_id:
            raise KeyMalformed(reason="the key id is not that of the key")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line. `blob` is what follows the key id."""

    name: str
    key_id: bytes
    blob: bytes

    @property
    def line(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends in a newline and is what the signatures cover. Nothing is verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        return (self.text + "\n" + "".join(one.line for one in self.signatures)).encode()


class NoteSigner(Protocol):
    """Signs note texts under one key. `sign` returns the `blob` of the signature line.

    The same text may be signed again after a crash. Safe to call from many
    threads. The private key never leaves the implementation. `prepare` raises now what
    `sign` would raise, where the key cannot be reached or is another one.
    """

    @property
    def key(self) -> VerifierKey: ...

    def prepare(self) -> None: ...

    def sign(self, text: str) -> bytes: ...


def sign_note(text: str, signers: Sequence[NoteSigner]) -> Note:
    """Sign `text` with every signer, in order."""
    return Note(
        text,
        tuple(Signature(one.key.name, one.key.key_id, one.sign(text)) for one in signers),
    )


def parse_note(data: bytes) -> Note:
    """Split a note into text and signature lines; verifies nothing.

    Refuses what is not UTF-8, control characters, more than 64 signatures,
    base64 that is not canonical, and lines of another form: `NoteMalformed`.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteMalformed(reason="too long")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteMalformed(reason="not UTF-8") from error
    if len(data.translate(None, _CONTROL)) != len(data):
        raise NoteMalformed(reason="control character")
    at = whole.rfind(_SEPARATOR)
    if at < 0:
        raise NoteMalformed(reason="no blank line before the signatures")
    text, block = whole[: at + 1], whole[at + 2 :]
    if not block.endswith("\n"):
        raise NoteMalformed(reason="no newline at the end")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteMalformed(reason="too many signatures")
    return Note(text, tuple(_parse_signature(line) for line in lines))


@lru_cache(1024)
def is_key_name(text: str) -> bool:
    """Non-empty, no Unicode spaces, no plus, no control characters."""
    return bool(text) and not any(
        char == "+" or char.isspace() or ord(char) < 0x20 or char == "\x7f" for char in text
    )


def decode_base64(text: str) -> bytes | None:
    """Standard base64 with padding, in its one canonical spelling; otherwise None.

    The library alone accepts spare bits in the last character, so that two
    spellings would stand for the same bytes.
    """
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_DASH):
        raise NoteMalformed(reason="a signature line starts with an em dash")
    name, space, encoded = line[len(_DASH) :].partition(" ")
    raw = decode_base64(encoded)
    if not space or not is_key_name(name) or raw is None or len(raw) <= KEY_ID_SIZE:
        raise NoteMalformed(reason="malformed signature line")
    return Signature(name, raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])
