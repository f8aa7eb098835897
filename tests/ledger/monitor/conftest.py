"""A log in a folder behind a real web server, and a monitor that looks at it."""

import functools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.growth import Tail, grow
from ledger.keys import Ed25519Signer
from runtime.cli import run

ORIGIN = "log.other.example/7"
SIGNER = Ed25519Signer(ORIGIN, b"\x0a" * 32)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: the tests read the monitor's output."""


class Served:
    """A folder with a log in it, and its address. `publish` writes what a log of others would."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.tail = Tail(0)

    def publish(self, entries: list[bytes], signer: Ed25519Signer = SIGNER) -> None:
        grown = grow(self.tail, entries)
        for path, data in grown.blobs.items():
            target = self.folder / path.text
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        self.tail = grown.tail
        head = Checkpoint(ORIGIN, self.tail.size, self.tail.root)
        (self.folder / "checkpoint").write_bytes(sign_checkpoint(head, [signer]).encode())

    def restart(self) -> None:
        """Another history under the same key."""
        shutil.rmtree(self.folder / "tile")
        self.tail = Tail(0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "log"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Served(folder, f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()


Watch = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def watch(log: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Watch:
    """`watch(*more)`: one look; its exit code and its facts."""
    policy = tmp_path / "policy.txt"
    policy.write_text(f"log {SIGNER.key.text}\nquorum none\n")

    def once(*more: str) -> tuple[int, dict[str, Any]]:
        state = str(tmp_path / "state")
        code = run(["monitor", log.url, "--policy", str(policy), "--state", state, "--json", *more])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return once
