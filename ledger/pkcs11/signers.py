"""Ed25519 signers whose private key is in a token, behind the ports of key files."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.checkpoints import Checkpoint
from ledger.cosignatures import ed25519_message
from ledger.notes import SignatureType, VerifierKey
from ledger.pkcs11.errors import TokenKeyWrong, TokenNotConfigured
from ledger.pkcs11.library import Library, library_at
from ledger.pkcs11.uris import TokenUri

# What `prepare` has signed: no checkpoint, cosignature or record looks like it.
_PROBE = b"mianjiao.token-probe.v1\x00"


@dataclass(frozen=True, slots=True)
class Tokens:
    """How tokens are reached: the library file, the user's PIN, and the label of the token
    in which new keys are made, if they are to be made in one."""

    module: Path
    pin: str = field(repr=False)
    label: str | None = None

    @property
    def library(self) -> Library:
        return library_at(self.module)

    def make(self, token: str, name: str, kind: SignatureType) -> tuple[TokenUri, VerifierKey]:
        """Make an Ed25519 key in the token of that label; where it is, and its public key.

        Its id is random: other keys of the same label do not stand in the way. It has
        signed once, and that was verified. Raises what `Library.generate` raises.
        """
        key_id = secrets.token_bytes(16)
        public = self.library.generate(TokenUri(token=token), name, key_id, self.pin)
        uri = TokenUri(token=token, object=name, id=key_id)
        key = VerifierKey(name, kind, public)
        try:
            TokenKey(uri, key, self).prepare()
        except BaseException:
            self.destroy(uri)  # nobody would find it again
            raise
        return uri, key

    def destroy(self, uri: TokenUri) -> None:
        """Destroy a key for good; nothing is done where it is gone already."""
        self.library.destroy(uri, self.pin)


class TokenKey:
    """A private key in a token, and the public key that it must belong to.

    Nothing is opened until it signs. Without `tokens` it knows its public key and
    refuses to sign (`TokenNotConfigured`).
    """

    def __init__(self, uri: TokenUri, key: VerifierKey, tokens: Tokens | None) -> None:
        self._uri = uri
        self._key = key
        self._public = Ed25519PublicKey.from_public_bytes(key.public)
        self._tokens = tokens

    @property
    def key(self) -> VerifierKey:
        return self._key

    def prepare(self) -> None:
        """See `NoteSigner.prepare`: has the token sign something that means nothing."""
        self._signature(_PROBE)

    def destroy(self) -> None:
        """Destroy the key in its token for good; nothing is done where it is gone already."""
        if self._tokens is None:
            raise TokenNotConfigured(uri=self._uri.text)
        self._tokens.destroy(self._uri)

    def _signature(self, message: bytes) -> bytes:
        """Verified before it is used: a faulty token, or another key, is `TokenKeyWrong`."""
        if self._tokens is None:
            raise TokenNotConfigured(uri=self._uri.text)
        library = self._tokens.library
        signature = library.sign(self._uri, self._tokens.pin, message)
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            library.close()
            raise TokenKeyWrong(name=self._key.name) from None
        return signature


class TokenSigner(TokenKey):
    """Signs note texts (a `NoteSigner`), type 0x01."""

    def sign(self, text: str) -> bytes:
        """64 bytes over the UTF-8 note text. Raises what `Library.sign` raises, and
        `TokenKeyWrong`, `TokenNotConfigured`."""
        return self._signature(text.encode())


class TokenCosigner(TokenKey):
    """Cosigns checkpoints (a `Cosigner`), type 0x04; raises what `TokenSigner` raises."""

    def cosign(self, checkpoint: Checkpoint, time: int) -> bytes:
        return time.to_bytes(8, "big") + self._signature(ed25519_message(checkpoint, time))
