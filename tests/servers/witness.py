"""A real witness process, as `mianjiao witness serve` runs it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from ledger.keys import create_typed_key_file, open_typed_key_file
from ledger.notes import SignatureType, VerifierKey
from tests.nursery import Child, nursery


@dataclass
class RunningWitness:
    url: str
    folder: Path
    keys: tuple[VerifierKey, ...]
    process: Child

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

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


def run_witness(folder: Path, vkeys: Sequence[str], port: int = 0) -> RunningWitness:
    """Start it with keys named after the folder; the same folder again keeps keys and state."""
    kinds = (SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_MLDSA44)
    if not folder.exists():
        for number, kind in enumerate(kinds):
            create_typed_key_file(folder / f"{number}.key", f"{folder.name}.example", kind)
    config = folder / "witness.toml"
    logs = "".join(f"[[logs]]\nvkeys = {json.dumps([vkey])}\n" for vkey in vkeys)
    config.write_text(f'keys = ["0.key", "1.key"]\nstate = "state"\nport = {port}\n{logs}')
    process = nursery().start("witness", "serve", "--config", config, "--json")
    line = process.stdout.readline()
    assert line, "the witness did not start"
    keys = tuple(open_typed_key_file(folder / f"{number}.key").key for number in (0, 1))
    return RunningWitness(json.loads(line)["url"], folder, keys, process)
