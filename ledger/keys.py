"""Signing keys behind the ports `NoteSigner` and `Cosigner`, and the files they lie in.

A key file holds the private key, or a reference to one in a PKCS#11 token.
"""

import base64
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger.checkpoints import Checkpoint, checkpoint_of
from ledger.cosignatures import ed25519_message, mldsa44_message
from ledger.errors import KeyFileUnsafe, KeyMalformed, LogExists
from ledger.notes import SignatureType, VerifierKey, decode_base64
from ledger.pkcs11.errors import TokenUriInvalid
from ledger.pkcs11.signers import TokenCosigner, Tokens, TokenSigner
from ledger.pkcs11.uris import TokenUri
from storage.objects.durable_file import fsync_folder

_PREFIX = "PRIVATE+KEY"
_REFERENCE = "pkcs11:"
_SEED_SIZE = 32


class Ed25519Signer:
    """Signs note texts with a key in memory (a `NoteSigner`)."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self._key = VerifierKey(name, SignatureType.ED25519, public)

    @property
    def key(self) -> VerifierKey:
        return self._key

    def prepare(self) -> None:
        """The key is in memory."""

    def sign(self, text: str) -> bytes:
        """64 bytes over the UTF-8 note text; the same text gives the same bytes."""
        return self._private.sign(text.encode())


class Cosigner(Protocol):
    """Makes timestamped cosignatures (C2SP tlog-cosignature) under one key.

    `cosign` returns the `blob` of the signature line, `u64be time ‖ signature`; `time`
    in POSIX seconds. Safe to call from many threads; the private key stays inside.
    `prepare` raises now what `cosign` would raise, where the key cannot be reached.
    """

    @property
    def key(self) -> VerifierKey: ...

    def prepare(self) -> None: ...

    def cosign(self, checkpoint: Checkpoint, time: int) -> bytes: ...


class Ed25519Cosigner:
    """Cosigns with an Ed25519 key in memory, type 0x04 (a `Cosigner`)."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self._key = VerifierKey(name, SignatureType.COSIGNATURE_ED25519, public)

    @property
    def key(self) -> VerifierKey:
        return self._key

    def prepare(self) -> None:
        """The key is in memory."""

    def cosign(self, checkpoint: Checkpoint, time: int) -> bytes:
        return time.to_bytes(8, "big") + self._private.sign(ed25519_message(checkpoint, time))


class MLDSA44Cosigner:
    """Signs with an ML-DSA-44 key in memory, type 0x06 (a `Cosigner`, and a `NoteSigner`).

    Signatures are randomised: the same checkpoint gives other bytes each time.
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = MLDSA44PrivateKey.from_seed_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self._key = VerifierKey(name, SignatureType.COSIGNATURE_MLDSA44, public)

    @property
    def key(self) -> VerifierKey:
        return self._key

    def prepare(self) -> None:
        """The key is in memory."""

    def cosign(self, checkpoint: Checkpoint, time: int) -> bytes:
        message = mldsa44_message(self._key.name, checkpoint, time)
        return time.to_bytes(8, "big") + self._private.sign(message)

    def sign(self, text: str) -> bytes:
        """As the log itself, beside Ed25519: time 0, a log says nothing about when.

        `text` is a checkpoint's: this type of key signs nothing else (`CheckpointMalformed`).
        """
        return self.cosign(checkpoint_of(text), 0)


KeyHolder: TypeAlias = (
    Ed25519Signer | Ed25519Cosigner | MLDSA44Cosigner | TokenSigner | TokenCosigner
)
_MAKERS: Mapping[SignatureType, Callable[[str, bytes], KeyHolder]] = {
    SignatureType.ED25519: Ed25519Signer,
    SignatureType.COSIGNATURE_ED25519: Ed25519Cosigner,
    SignatureType.COSIGNATURE_MLDSA44: MLDSA44Cosigner,
}
_IN_TOKENS: Mapping[SignatureType, Callable[[TokenUri, VerifierKey, Tokens | None], KeyHolder]] = {
    SignatureType.ED25519: TokenSigner,
    SignatureType.COSIGNATURE_ED25519: TokenCosigner,
}


def create_key_file(
    path: Path, name: str, tokens: Tokens | None = None
) -> Ed25519Signer | TokenSigner:
    """Make a fresh Ed25519 key of a log: see `create_typed_key_file`."""
    signer = create_typed_key_file(path, name, SignatureType.ED25519, tokens)
    assert isinstance(signer, Ed25519Signer | TokenSigner)  # noqa: S101 - for the type checker
    return signer


def create_mldsa44_key_file(path: Path, name: str) -> MLDSA44Cosigner:
    """Make a fresh ML-DSA-44 key, always in a file: see `create_typed_key_file`."""
    signer = create_typed_key_file(path, name, SignatureType.COSIGNATURE_MLDSA44)
    assert isinstance(signer, MLDSA44Cosigner)  # noqa: S101 - for the type checker
    return signer


def create_typed_key_file(
    path: Path, name: str, kind: SignatureType, tokens: Tokens | None = None
) -> KeyHolder:
    """Make a fresh key in a new file of mode 0600, durable on return.

    The file is one line, `PRIVATE+KEY+name+hex(key id)+base64(type ‖ seed)`,
    the form of Go's `note` package. With a label in `tokens` an Ed25519 key is made in that
    token, and the line is a reference without any secret: a `pkcs11:` URI (RFC 7512), a
    space, and the vkey. `LogExists` if the file is there already; what `Tokens.make` raises.
    """
    if path.exists():
        raise LogExists()
    if tokens is not None and tokens.label is not None and kind in _IN_TOKENS:
        uri, key = tokens.make(tokens.label, name, kind)
        try:
            _write(path, f"{uri.text} {key.text}\n")
        except BaseException:
            tokens.destroy(uri)  # nobody would find it again
            raise
        return _IN_TOKENS[kind](uri, key, tokens)
    seed = os.urandom(_SEED_SIZE)
    signer = _MAKERS[kind](name, seed)
    material = base64.b64encode(bytes([kind]) + seed).decode()
    _write(path, f"{_PREFIX}+{name}+{signer.key.key_id.hex()}+{material}\n")
    return signer


def destroy_key_file(path: Path, tokens: Tokens | None = None) -> None:
    """Destroy a key for good: in its token first, if it is in one; then its file.

    Destroyed already: nothing is done. What `open_typed_key_file` and `Tokens.destroy`
    raise; `TokenNotConfigured`: the key is in a token, and its file is kept.
    """
    try:
        holder = open_typed_key_file(path, tokens)
    except FileNotFoundError:
        return
    if isinstance(holder, TokenSigner | TokenCosigner):
        holder.destroy()
    path.unlink()
    fsync_folder(str(path.parent))


def _write(path: Path, line: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Under its name it is whole or not there: what a crash left half written is in the way
    # of nobody.
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(line.encode())
            file.flush()
            os.fsync(descriptor)
        os.link(temporary, path)
    except FileExistsError:
        raise LogExists() from None
    finally:
        temporary.unlink(missing_ok=True)
    try:
        # The folder above too: this one may be new, and its own name must last as well.
        for above in (path.parent, path.parent.parent):
            fsync_folder(str(above))
    except BaseException:
        path.unlink()  # a reference must not outlive the token's key, which is destroyed now
        raise


def open_key_file(path: Path, tokens: Tokens | None = None) -> Ed25519Signer | TokenSigner:
    """Read the Ed25519 key of a log: see `open_typed_key_file`; another kind is damage."""
    signer = open_typed_key_file(path, tokens)
    if not isinstance(signer, Ed25519Signer | TokenSigner):
        raise KeyFileUnsafe(path=path.name, reason="damaged")
    return signer


def open_mldsa44_key_file(path: Path) -> MLDSA44Cosigner:
    """Read an ML-DSA-44 key: see `open_typed_key_file`; another kind is damage."""
    signer = open_typed_key_file(path)
    if not isinstance(signer, MLDSA44Cosigner):
        raise KeyFileUnsafe(path=path.name, reason="damaged")
    return signer


def open_typed_key_file(path: Path, tokens: Tokens | None = None) -> KeyHolder:
    """Read a key file. `KeyFileUnsafe`: others may read it, or it is damaged.

    A reference to a token opens nothing yet. A missing file is `FileNotFoundError`: the
    caller knows what that means.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileUnsafe(path=path.name, reason="cannot be opened") from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise KeyFileUnsafe(path=path.name, reason="not a plain file")
        if facts.st_mode & 0o077:
            raise KeyFileUnsafe(path=path.name, reason="permissions must be 0600")
        data = file.read(4096)
    try:
        text = data.decode()
        signer = _parse_reference(text, tokens) if text.startswith(_REFERENCE) else _parse(text)
    except TokenUriInvalid as error:
        raise KeyFileUnsafe(path=path.name, reason=error.message_en()) from error
    except (UnicodeDecodeError, KeyMalformed):
        signer = None
    if signer is None:
        raise KeyFileUnsafe(path=path.name, reason="damaged")
    return signer


def _parse_reference(text: str, tokens: Tokens | None) -> KeyHolder | None:
    uri, _, vkey = text.removesuffix("\n").partition(" ")
    key = VerifierKey.parse(vkey)
    if key.type not in _IN_TOKENS:
        return None
    return _IN_TOKENS[key.type](TokenUri.parse(uri), key, tokens)


def _parse(text: str) -> KeyHolder | None:
    parts = text.removesuffix("\n").split("+", 4)
    if len(parts) != 5 or "+".join(parts[:2]) != _PREFIX:
        return None
    raw = decode_base64(parts[4])
    if raw is None or len(raw) != 1 + _SEED_SIZE or raw[0] not in _MAKERS:
        return None
    signer = _MAKERS[SignatureType(raw[0])](parts[2], raw[1:])
    return signer if signer.key.key_id.hex() == parts[3] else None
