"""A round of cosignatures by three witnesses on this machine, each a process of its own."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure
from kernel.clock import SystemClock
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.growth import Tail, grow
from ledger.keys import Ed25519Signer, create_typed_key_file
from ledger.notes import SignatureType
from ledger.policy import parse_policy
from ledger.reader import LogReader
from ledger.tilestore import FilesystemTiles
from ledger.witness.cosigning import Cosigning

ROUNDS = 100
WITNESSES = 3
ORIGIN = "benchmark.example/2026"
_KINDS = (SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_MLDSA44)


def measure(scratch: Path) -> list[Figure]:
    """Each round grows the log by ten entries; every witness signs with both of its keys."""
    signer = Ed25519Signer(ORIGIN, b"\x01" * 32)
    started = [_start(scratch / f"w{number}", signer.key.text) for number in range(WITNESSES)]
    try:
        lines = "".join(text for _, text in started)
        names = " ".join(f"w{number}-{kind}" for number in range(WITNESSES) for kind in (0, 1))
        policy = f"log {signer.key.text}\n{lines}group all all {names}\nquorum all\n"
        tiles = FilesystemTiles.create(scratch / "log" / "2026")
        reader = LogReader(tiles, "2026", signer.key)
        cosigning = Cosigning(
            parse_policy(policy.encode()), reader, lambda _: True, SystemClock(), 10.0
        )
        times, tail = [], Tail(0)
        for number in range(ROUNDS + 5):
            grown = grow(tail, [b"%d" % (number * 10 + at) for at in range(10)])
            tail = grown.tail
            tiles.put(grown.blobs)
            signed = sign_checkpoint(Checkpoint(ORIGIN, tail.size, tail.root), [signer])
            tiles.publish(signed.encode())
            reader.advance(signed)
            begun = time.perf_counter()
            done = cosigning.round(signed)
            times.append((time.perf_counter() - begun) * 1000)
            if not done.met:
                raise RuntimeError(f"the quorum is unmet: {done.failures}")
        cosigning.stop()
    finally:
        for process, _ in started:
            process.kill()
            process.wait()
    kept = sorted(times[5:])
    return [
        Figure("cosignatures by 3 witnesses, p50", statistics.median(kept), "ms", "<", 50),
        Figure("cosignatures by 3 witnesses, p95", kept[int(len(kept) * 0.95)], "ms"),
    ]


def _start(folder: Path, vkey: str) -> tuple["subprocess.Popen[str]", str]:
    keys = [
        create_typed_key_file(folder / f"{number}.key", f"{folder.name}.example", kind).key
        for number, kind in enumerate(_KINDS)
    ]
    config = folder / "witness.toml"
    config.write_text(
        f'keys = ["0.key", "1.key"]\nstate = "state"\nport = 0\n'
        f"[[logs]]\nvkeys = {json.dumps([vkey])}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "runtime.cli", "witness", "serve", "--json"]
    command += ["--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    lines = [
        f"witness {folder.name}-{number} {key.text} {url}\n" for number, key in enumerate(keys)
    ]
    return process, "".join(lines)
