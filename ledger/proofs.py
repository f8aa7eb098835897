"""C2SP tlog-proof: an offline proof that an entry is in a log, as text."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.checkpoints import SignedCheckpoint, is_decimal, parse_checkpoint
from ledger.errors import ProofMalformed
from ledger.merkle import HASH_SIZE, verify_inclusion
from ledger.notes import MAX_NOTE_BYTES, decode_base64

HEADER = "c2sp.org/tlog-proof@v1"
FILE_SUFFIX = ".tlog-proof"
MAX_HASHES = 63
MAX_EXTRA = 64 * 1024


@dataclass(frozen=True, slots=True)
class LogProof:
    """An inclusion proof and its checkpoint. Parsed, not verified; `extra` is not authenticated."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: SignedCheckpoint
    extra: bytes | None = None

    def encode(self) -> bytes:
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += hash_lines(self.hashes)
        return ("\n".join(lines) + "\n\n").encode() + self.checkpoint.encode()

    def verify_leaf(self, leaf: bytes) -> None:
        """The leaf hash `leaf` is at `index` under the checkpoint's root, or `InclusionInvalid`."""
        head = self.checkpoint.checkpoint
        verify_inclusion(leaf, self.index, head.size, self.hashes, head.root)


def hash_lines(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]


def parse_proof(data: bytes) -> LogProof:
    """Read a proof. Raises `ProofMalformed`, `NoteMalformed` or `CheckpointMalformed`."""
    if len(data) > MAX_NOTE_BYTES + 2 * MAX_EXTRA:
        raise ProofMalformed(reason="too long")
    head, blank, rest = data.partition(b"\n\n")
    if not blank:
        raise ProofMalformed(reason="no blank line before the checkpoint")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise ProofMalformed(reason="not ASCII before the checkpoint") from error
    if lines.pop(0) != HEADER:
        raise ProofMalformed(reason="unknown first line")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
        if extra is None or len(extra) > MAX_EXTRA:
            raise ProofMalformed(reason="extra data is not base64 or too long")
    if not lines or not lines[0].startswith("index "):
        raise ProofMalformed(reason="no index line")
    index = lines.pop(0).removeprefix("index ")
    if not is_decimal(index):
        raise ProofMalformed(reason="the index is not a decimal number below 2^63")
    return LogProof(int(index), _hashes(lines), parse_checkpoint(rest), extra)


def _hashes(lines: list[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_HASHES:
        raise ProofMalformed(reason="too many hashes")
    hashes = []
    for line in lines:
        one = decode_base64(line)
        if one is None or len(one) != HASH_SIZE:
            raise ProofMalformed(reason="a hash is 32 bytes in base64")
        hashes.append(one)
    return tuple(hashes)
