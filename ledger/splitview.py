"""A proof that a log signed two trees: a file that convinces whoever trusts the log's key.

Canonical JSON and a newline: `{"consistency":[base64…],"first":note,"prefix_root":base64,
"second":note,"type":"mianjiao.split-view/v1"}`. Both checkpoints are signed by one log.
`consistency` proves that the tree of `second` has `prefix_root` at the size of `first`, which
is another root than that of `first`. For equal sizes it is empty, and `prefix_root` is the
root of `second`. Pure.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernel.canonical import JsonValue, NotCanonical, canonical_bytes, parse_record
from ledger.checkpoints import SignedCheckpoint, parse_any_checkpoint
from ledger.cosignatures import verify_signatures
from ledger.errors import LogNotTrusted, SplitViewInvalid
from ledger.merkle import verify_consistency
from ledger.notes import VerifierKey, decode_base64

TYPE = "mianjiao.split-view/v1"
_KEYS = {"consistency", "first", "prefix_root", "second", "type"}


@dataclass(frozen=True, slots=True)
class SplitView:
    """Two checkpoints of one log that cannot both be true. Parsed, not verified."""

    first: SignedCheckpoint
    second: SignedCheckpoint
    prefix_root: bytes
    consistency: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        value: dict[str, JsonValue] = {
            "type": TYPE,
            "first": self.first.encode().decode(),
            "second": self.second.encode().decode(),
            "prefix_root": base64.b64encode(self.prefix_root).decode(),
            "consistency": [base64.b64encode(one).decode() for one in self.consistency],
        }
        return canonical_bytes(value) + b"\n"

    def verify(self, keys: Iterable[VerifierKey]) -> None:
        """One of `keys` signed both, and they contradict each other; otherwise a coded error.

        `LogNotTrusted`, `SignatureInvalid`, `ConsistencyInvalid`, `SplitViewInvalid`.
        """
        trusted = tuple(keys)
        first, second = self.first.checkpoint, self.second.checkpoint
        signers = [
            {one.key for one in verify_signatures(signed, trusted)}
            for signed in (self.first, self.second)
        ]
        if not signers[0] or not signers[1]:
            raise LogNotTrusted()
        if first.origin != second.origin:
            raise SplitViewInvalid(reason="two logs, not one")
        verify_consistency(first.size, second.size, self.prefix_root, second.root, self.consistency)
        if self.prefix_root == first.root:
            raise SplitViewInvalid(reason="the two checkpoints agree")


def split_view(
    first: SignedCheckpoint,
    second: SignedCheckpoint,
    prefix_root: bytes | None = None,
    consistency: Sequence[bytes] = (),
) -> SplitView:
    """The proof, the smaller tree first. `prefix_root` and `consistency`: of the larger one."""
    if first.checkpoint.size > second.checkpoint.size:
        first, second = second, first
    root = second.checkpoint.root if prefix_root is None else prefix_root
    return SplitView(first, second, root, tuple(consistency))


def parse_split_view(data: bytes) -> SplitView:
    """Read a proof strictly: `SplitViewInvalid`, `NoteMalformed` or `CheckpointMalformed`."""
    if not data.endswith(b"\n"):
        raise SplitViewInvalid(reason="no newline at the end")
    try:
        value = parse_record(data[:-1])
    except NotCanonical as error:
        raise SplitViewInvalid(reason=str(error)) from error
    if set(value) != _KEYS or value["type"] != TYPE:
        raise SplitViewInvalid(reason="not a proof of this type")
    first, second, hashes = value["first"], value["second"], value["consistency"]
    if not isinstance(first, str) or not isinstance(second, str) or not isinstance(hashes, list):
        raise SplitViewInvalid(reason="two notes and a list of hashes")
    return SplitView(
        parse_any_checkpoint(first.encode()),
        parse_any_checkpoint(second.encode()),
        _binary(value["prefix_root"]),
        tuple(_binary(one) for one in hashes),
    )


def _binary(value: JsonValue) -> bytes:
    raw = decode_base64(value) if isinstance(value, str) else None
    if raw is None:
        raise SplitViewInvalid(reason="not canonical base64")
    return raw
