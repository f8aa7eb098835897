"""What others wrote agrees: `aics-witness` cosigns our checkpoints, and feeds ours."""

import fcntl
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from ledger.cosignatures import verify_signatures
from ledger.notes import Note, VerifierKey
from ledger.witness.client import WitnessClient
from ledger.witness.errors import WitnessAhead, WitnessSawAnother

from .conftest import ORIGIN, SIGNER, RunningWitness, Tree

CACHE = Path(__file__).parents[3] / ".cache" / "outside-checkers"
PACKAGE = "aics-witness==0.1.0"
TREE = Tree([b"entry %d" % number for number in range(200)])
FORK = Tree([b"entry %d" % number if number < 5 else b"other" for number in range(200)])
# Their client, given: url, origin's request parts and the witness's Ed25519 key.
FEED = """
import json, sys
from aics_witness.feeder import WitnessClient
given = json.load(sys.stdin)
client = WitnessClient(given["url"], given["vkey"])
for step in given["steps"]:
    lines = client.submit(step["checkpoint"], lambda old, new: [
        bytes.fromhex(one) for one in step["proofs"][str(old)]])
    print(json.dumps(lines))
"""


@pytest.fixture(scope="session")
def aics_bin() -> Path:
    """The folder of programs with aics-witness in an environment of its own."""
    folder = CACHE / "aics-witness-0.1.0"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "aics-witness.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test processes builds it
        if not (folder / "ready").is_file():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = ["-m", "pip", "install", "--quiet", "--ignore-requires-python", PACKAGE]
            subprocess.run([str(folder / "bin" / "python"), *install], check=True)
            (folder / "ready").touch()
    return folder / "bin"


@pytest.fixture
def theirs(aics_bin: Path, tmp_path: Path) -> Iterator[tuple[str, VerifierKey]]:
    """A running aics-witness that follows our log: its address and its key."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program, config = str(aics_bin / "aics-witness"), str(tmp_path / "witness.json")
    names = ["--name", "aics.example/w1", "--listen", f"127.0.0.1:{port}"]
    made = subprocess.run(
        [program, "init", "--config", config, *names], check=True, capture_output=True, text=True
    )
    log = ["--origin", ORIGIN, "--vkey", SIGNER.key.text]
    subprocess.run([program, "add-log", "--config", config, *log], check=True)
    process = subprocess.Popen([program, "serve", "--config", config])
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx2.get(f"{url}/healthz")
            break
        except httpx2.HTTPError:
            assert time.monotonic() < deadline, "aics-witness did not start"
            time.sleep(0.1)
    yield url, VerifierKey.parse(made.stdout.split()[-1])
    process.kill()
    process.wait()


def test_their_witness_cosigns_our_log_and_refuses_its_fork(
    theirs: tuple[str, VerifierKey],
) -> None:
    url, key = theirs
    client = WitnessClient(url, [key], 30)
    for size in (0, 7, 7, 130):
        signed = TREE.signed(size)
        lines = client.cosign(signed, lambda old, size=size: TREE.proof(old, size))
        whole = type(signed)(signed.checkpoint, Note(signed.note.text, lines))
        assert [one.key for one in verify_signatures(whole, [key])] == [key]
    # One that remembers nothing learns the size from the 409.
    again = WitnessClient(url, [key], 30)
    assert again.cosign(TREE.signed(150), lambda old: TREE.proof(old, 150))
    with pytest.raises(WitnessSawAnother):
        client.cosign(FORK.signed(150), lambda old: FORK.proof(old, 150))
    with pytest.raises(WitnessSawAnother):
        client.cosign(FORK.signed(160), lambda old: FORK.proof(old, 160))
    with pytest.raises(WitnessAhead):
        client.cosign(TREE.signed(9), lambda old: TREE.proof(old, 9))


def test_their_client_takes_the_answers_of_our_witness(
    aics_bin: Path, witness: RunningWitness
) -> None:
    steps = [
        {
            "checkpoint": TREE.signed(size).encode().decode(),
            "proofs": {
                str(old): [one.hex() for one in TREE.proof(old, size)] for old in (0, 7, size)
            },
        }
        for size in (7, 130)
    ]
    question = {"url": witness.url, "vkey": witness.keys[0].text, "steps": steps}
    answer = subprocess.run(
        [str(aics_bin / "python"), "-c", FEED],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.splitlines()) == 2
