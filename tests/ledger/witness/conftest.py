"""Real witness processes, and logs made by hand to be shown to them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.keys import Ed25519Signer
from ledger.merkle import EMPTY_ROOT, TileTree, consistency_proof, leaf_hash, tree_root
from ledger.witness.requests import encode_request
from tests.servers.witness import RunningWitness, run_witness

ORIGIN = "log.yunjian.example/2026"
SIGNER = Ed25519Signer(ORIGIN, b"\x07" * 32)


class Tree:
    """A log in memory: at most 256 leaves, whose root at any size can be signed."""

    def __init__(self, entries: Sequence[bytes], signer: Ed25519Signer = SIGNER) -> None:
        self.hashes = [leaf_hash(entry) for entry in entries]
        self.signer = signer

    def node(self, level: int, index: int) -> bytes:
        width = 1 << level
        return TileTree(b"".join(self.hashes[index * width : (index + 1) * width])).root

    def root(self, size: int) -> bytes:
        return tree_root(self.node, size) if size else EMPTY_ROOT

    def signed(self, size: int) -> SignedCheckpoint:
        head = Checkpoint(self.signer.key.name, size, self.root(size))
        return sign_checkpoint(head, [self.signer])

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(self.node, old, new)

    def request(self, old: int, new: int) -> bytes:
        return encode_request(old, self.proof(old, new), self.signed(new).encode())


StartWitness = Callable[..., RunningWitness]


@pytest.fixture
def start_witness(tmp_path: Path) -> Iterator[StartWitness]:
    """`start_witness(name, vkeys, port=0)`: the same name again restarts on the same state."""
    started: list[RunningWitness] = []

    def start(
        name: str = "w1", vkeys: Sequence[str] = (SIGNER.key.text,), port: int = 0
    ) -> RunningWitness:
        started.append(run_witness(tmp_path / name, vkeys, port))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.process.stdout.close()


@pytest.fixture
def witness(start_witness: StartWitness) -> RunningWitness:
    return start_witness()
