"""Real witness processes, and logs made by hand to be shown to them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from ledger.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from ledger.keys import Ed25519Signer, create_typed_key_file
from ledger.merkle import EMPTY_ROOT, TileTree, consistency_proof, leaf_hash, tree_root
from ledger.notes import SignatureType, VerifierKey
from ledger.witness.requests import encode_request

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


@dataclass
class RunningWitness:
    url: str
    folder: Path
    keys: tuple[VerifierKey, ...]
    process: "subprocess.Popen[str]"

    def add(self, body: bytes) -> httpx2.Response:
        return httpx2.post(f"{self.url}/add-checkpoint", content=body, timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def policy_lines(self, name: str) -> str:
        lines = [
            f"witness {name}-{number} {key.text} {self.url}\n"
            for number, key in enumerate(self.keys)
        ]
        members = " ".join(f"{name}-{number}" for number in range(len(self.keys)))
        return "".join(lines) + f"group {name} all {members}\n"


StartWitness = Callable[..., RunningWitness]


@pytest.fixture
def start_witness(tmp_path: Path) -> Iterator[StartWitness]:
    """`start_witness(name, vkeys, port=0)`: the same name again restarts on the same state."""
    started: list[RunningWitness] = []

    def start(
        name: str = "w1", vkeys: Sequence[str] = (SIGNER.key.text,), port: int = 0
    ) -> RunningWitness:
        folder = tmp_path / name
        kinds = (SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_MLDSA44)
        if not folder.exists():
            for number, kind in enumerate(kinds):
                create_typed_key_file(folder / f"{number}.key", f"{name}.example", kind)
        config = folder / "witness.toml"
        logs = "".join(f"[[logs]]\nvkeys = {json.dumps([vkey])}\n" for vkey in vkeys)
        config.write_text(f'keys = ["0.key", "1.key"]\nstate = "state"\nport = {port}\n{logs}')
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.commands.witness", str(config)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the witness did not start"
        from ledger.keys import open_typed_key_file

        keys = tuple(open_typed_key_file(folder / f"{number}.key").key for number in (0, 1))
        started.append(RunningWitness(json.loads(line)["url"], folder, keys, process))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        assert one.process.stdout is not None
        one.process.stdout.close()


@pytest.fixture
def witness(start_witness: StartWitness) -> RunningWitness:
    return start_witness()
