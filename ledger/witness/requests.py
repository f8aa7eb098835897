"""C2SP tlog-witness, `add-checkpoint`: the body of a request, to the byte. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.checkpoints import SignedCheckpoint, is_decimal, parse_any_checkpoint
from ledger.errors import CheckpointMalformed, NoteMalformed
from ledger.merkle import HASH_SIZE
from ledger.notes import MAX_NOTE_BYTES, decode_base64
from ledger.proofs import hash_lines
from ledger.witness.errors import WitnessRequestMalformed

MAX_HASHES = 63
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 64 * 64
SIZE_TYPE = "text/x.tlog.size"  # of the body of a 409: the recorded size and a newline


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """From the size `old` the tree grew to that of `signed`, says `proof`. Nothing is verified."""

    old: int
    proof: tuple[bytes, ...]
    signed: SignedCheckpoint


def encode_request(old: int, proof: Sequence[bytes], checkpoint: bytes) -> bytes:
    """`old N`, a line for each hash, a blank line, the checkpoint as it is."""
    lines = [f"old {old}", *hash_lines(proof)]
    return ("\n".join(lines) + "\n\n").encode() + checkpoint


def parse_request(data: bytes) -> AddCheckpoint:
    """Read a request strictly: `WitnessRequestMalformed` names what is wrong."""
    if len(data) > MAX_REQUEST_BYTES:
        raise WitnessRequestMalformed(reason="too long")
    head, blank, rest = data.partition(b"\n\n")
    if not blank:
        raise WitnessRequestMalformed(reason="no blank line before the checkpoint")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise WitnessRequestMalformed(reason="not ASCII before the checkpoint") from error
    old = first.removeprefix("old ")
    if old == first or not is_decimal(old):
        raise WitnessRequestMalformed(reason="the first line is: old, a space, a decimal number")
    if len(lines) > MAX_HASHES:
        raise WitnessRequestMalformed(reason="more than 63 hashes")
    proof = []
    for line in lines:
        one = decode_base64(line)
        if one is None or len(one) != HASH_SIZE:
            raise WitnessRequestMalformed(reason="a hash is 32 bytes in base64")
        proof.append(one)
    try:
        signed = parse_any_checkpoint(rest)
    except (NoteMalformed, CheckpointMalformed) as error:
        raise WitnessRequestMalformed(reason=str(error.details["reason"])) from error
    return AddCheckpoint(int(old), tuple(proof), signed)
