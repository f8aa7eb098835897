"""C2SP tlog-checkpoint: the signed head of a log, `origin\\nsize\\nbase64(root)\\n`."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import CheckpointMalformed, LogNotTrusted
from ledger.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from ledger.notes import Note, NoteSigner, VerifierKey, decode_base64, parse_note, sign_note

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the log `origin`: `size` leaves under the 32-byte `root`.

    `extension`: the whole extension lines of a log of others; ours has none.
    """

    origin: str
    size: int
    root: bytes
    extension: str = ""

    @property
    def text(self) -> str:
        """The note text: three lines, then the extension lines."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\n{self.extension}"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and the note that carries it. The signatures are not verified yet."""

    checkpoint: Checkpoint
    note: Note

    def encode(self) -> bytes:
        return self.note.encode()


def parse_checkpoint(data: bytes) -> SignedCheckpoint:
    """Read a signed checkpoint; verifies no signature.

    Raises `NoteMalformed` or `CheckpointMalformed`; extension lines are refused.
    """
    signed = parse_any_checkpoint(data)
    if signed.checkpoint.extension:
        raise CheckpointMalformed(reason="three lines: origin, size, root")
    if signed.checkpoint.size == 0 and signed.checkpoint.root != EMPTY_ROOT:
        raise CheckpointMalformed(reason="wrong root of the empty tree")
    return signed


def parse_any_checkpoint(data: bytes) -> SignedCheckpoint:
    """Read the checkpoint of any C2SP log, for witnesses and monitors.

    As `parse_checkpoint`, but extension lines are kept (none of them empty), and
    the root of the empty tree is the caller's to check: a witness answers it differently.
    """
    note = parse_note(data)
    return SignedCheckpoint(checkpoint_of(note.text), note)


def checkpoint_of(text: str) -> Checkpoint:
    """The checkpoint that a note text says, extension lines and all: `CheckpointMalformed`."""
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]):
        raise CheckpointMalformed(reason="three lines: origin, size, root")
    origin, size, encoded, *more = lines
    root = decode_base64(encoded)
    if root is None or len(root) != HASH_SIZE:
        raise CheckpointMalformed(reason="the root is not 32 bytes in base64")
    if not is_decimal(size):
        raise CheckpointMalformed(reason="the size is not a decimal number below 2^63")
    return Checkpoint(origin, int(size), root, "\n".join(more))


def is_decimal(text: str) -> bool:
    """ASCII digits without a leading zero, below 2^63."""
    return _DECIMAL.fullmatch(text) is not None and int(text) <= MAX_SIZE


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[NoteSigner]) -> SignedCheckpoint:
    """Sign with every signer of the log; each one's key must be named after the origin."""
    if not signers or any(one.key.name != checkpoint.origin for one in signers):
        raise LogNotTrusted()
    return SignedCheckpoint(checkpoint, sign_note(checkpoint.text, signers))


def signed_by(signed: SignedCheckpoint, key: VerifierKey) -> bool:
    """Whether a line claims to be by this key (name and key id). Verifies nothing."""
    return any(one.name == key.name and one.key_id == key.key_id for one in signed.note.signatures)
