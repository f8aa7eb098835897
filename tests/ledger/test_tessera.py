"""What others wrote agrees: Tessera's fsck reads a log over HTTP, hashes every entry again and
compares every tile and the signed root; and it sees whatever was tampered with."""

import functools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from kernel.errors import CodedError, NotFound
from ledger.checkpoints import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.closing import close_shard, prepare_successor
from ledger.growth import Tail, grow
from ledger.http import routes
from ledger.keys import Ed25519Signer
from ledger.merkle import TILE_WIDTH
from ledger.policy import parse_policy
from ledger.service import Ledger
from ledger.tiles import TilePath, encode_bundle, parse_bundle
from tests.servers.tessera import Refused, Whole, find_tessera, fsck
from tests.servers.witness import run_witness

ORIGIN = "log.yunjian.example/2026"
SIGNER = Ed25519Signer(ORIGIN, b"\x07" * 32)
OTHER = Ed25519Signer(ORIGIN, b"\x08" * 32)
SIZE = 3 * TILE_WIDTH + 233


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Many(ThreadingHTTPServer):
    request_queue_size = 128  # for all fetchers at once: with five the others wait for seconds


@contextmanager
def folder_served(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with Many(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def served(ledger: Ledger) -> Iterator[str]:
    """The product's own routes behind a real server; the address of its shards."""
    app = FastAPI()
    app.include_router(routes(ledger))

    @app.exception_handler(CodedError)
    def problem(_request: Request, error: CodedError) -> JSONResponse:
        return JSONResponse({"code": error.code}, 404 if isinstance(error, NotFound) else 503)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/log"
    finally:
        server.should_exit = True
        thread.join()


def write(folder: Path, entries: list[bytes]) -> Tail:
    """A log in a folder, as it is served."""
    grown = grow(Tail(0), entries)
    for path, data in grown.blobs.items():
        target = folder / path.text
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    publish(folder, Checkpoint(ORIGIN, grown.tail.size, grown.tail.root))
    return grown.tail


def publish(folder: Path, head: Checkpoint, signer: Ed25519Signer = SIGNER) -> None:
    (folder / "checkpoint").write_bytes(sign_checkpoint(head, [signer]).encode())


@pytest.fixture(scope="session")
def tessera() -> Path:
    found = find_tessera()
    assert found or os.environ.get("CI") != "true", "CI=true, and `make servers` built no tessera"
    if found is None:
        pytest.skip("no fsck of tessera: make servers")
    return found


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[[str], Path]:
    def write_key(vkey: str) -> Path:
        path = tmp_path / "log.vkey"
        path.write_text(vkey)
        return path

    return write_key


def test_it_accepts_both_shards_as_we_serve_them_cosigned(
    store: Any, tessera: Path, key_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """Ed25519, ML-DSA-44, and two cosignatures in a checkpoint; partial tiles of past sizes."""
    for count in (3, 252, 1, 700, 45):
        store.record_many(count)
        store.sequence()
    before = store.ledger
    with served(before) as url:
        head = before.checkpoint()
        key = key_file(before.vkey)
        assert fsck(tessera, f"{url}/2026", key) == Whole(1002, head.root)
        # Under way: the log grows, and what was asked for in part has become whole.
        store.record_many(300)
        store.sequence()
        head = before.checkpoint()
        assert fsck(tessera, f"{url}/2026", key) == Whole(1302, head.root)
    close_shard(before, prepare_successor(before, "2027"), store.now)
    store = store.reopen()
    store.record_many(299)
    store.sequence()
    witness = run_witness(tmp_path / "w1", [before.vkey])
    try:
        policy = store.ledger.policy_text().replace("quorum none\n", "")
        policy += witness.policy_lines("w1") + "quorum w1\n"
        store.ledger.use_witnesses(parse_policy(policy.encode()), seconds=20.0, hold_back=False)
        assert store.ledger.cosign_ended() == []
        ended = parse_checkpoint((store.directory / "log/2026/checkpoint").read_bytes())
        assert len(ended.note.signatures) == 4
        with served(store.ledger) as url:
            key = key_file(before.vkey)
            assert fsck(tessera, f"{url}/2026", key) == Whole(1303, ended.checkpoint.root)
            assert fsck(tessera, f"{url}/2027", key) == Refused(UNSIGNED)
            key = key_file(store.ledger.vkey)
            now = store.ledger.checkpoint()
            assert fsck(tessera, f"{url}/2027", key) == Whole(300, now.root)
            assert fsck(tessera, f"{url}/2026", key) == Refused(UNSIGNED)
            assert isinstance(fsck(tessera, f"{url}/2028", key), Refused)
    finally:
        store.close()
        witness.kill()
        witness.process.stdout.close()


def test_it_accepts_three_levels_of_tiles_and_names_of_two_parts(
    tmp_path: Path, tessera: Path, key_file: Callable[[str], Path]
) -> None:
    size = 1001 * TILE_WIDTH + 3
    tail = write(tmp_path / "log", [b"%d" % number for number in range(size)])
    for name in ("0/x001/000", "entries/x001/001.p/3", "1/003.p/233", "2/000.p/3"):
        assert (tmp_path / "log/tile" / name).is_file(), name
    with folder_served(tmp_path / "log") as url:
        assert fsck(tessera, url, key_file(SIGNER.key.text)) == Whole(size, tail.root)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "log"
    write(folder, [b"entry %d" % number for number in range(SIZE)])
    return folder


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "log"))


Tamper = Callable[[Path], None]


def flip(name: str, at: int, bit: int = 1) -> Tamper:
    def tamper(log: Path) -> None:
        data = bytearray((log / name).read_bytes())
        data[at] ^= bit
        (log / name).write_bytes(data)

    return tamper


def remove(name: str) -> Tamper:
    return lambda log: (log / name).unlink()


def cut(name: str, size: int) -> Tamper:
    return lambda log: (log / name).write_bytes((log / name).read_bytes()[:-size])


def swap(name: str, other: str) -> Tamper:
    """Right in themselves, in the wrong places."""

    def tamper(log: Path) -> None:
        first, second = (log / name).read_bytes(), (log / other).read_bytes()
        (log / name).write_bytes(second)
        (log / other).write_bytes(first)

    return tamper


def change_entry(log: Path) -> None:
    path = log / "tile/entries/001"
    entries = list(parse_bundle(TilePath(None, 1), path.read_bytes()))
    entries[7] = b"another"
    path.write_bytes(encode_bundle(entries))


def sign_again(signer: Ed25519Signer = SIGNER, **changes: Any) -> Tamper:
    """The log's own key, or one of its name, says something else."""

    def tamper(log: Path) -> None:
        head = parse_checkpoint((log / "checkpoint").read_bytes()).checkpoint
        publish(log, replace(head, **changes), signer)

    return tamper


def say_root(log: Path) -> None:
    """As one who has no key would."""
    path = log / "checkpoint"
    lines = path.read_text().split("\n")
    lines[2] = "A" * 43 + "="
    path.write_text("\n".join(lines))


HEAD = "failed to fetch and verify checkpoint: failed to parse Checkpoint: "
UNSIGNED = f"{HEAD}failed to verify signatures on checkpoint: note has no verifiable signatures"
MISSIGNED = f"{HEAD}failed to verify signatures on checkpoint: invalid signature for key {ORIGIN}"
TAMPERED: dict[str, tuple[Tamper, str]] = {
    "a byte of a full tile": (flip("tile/0/001", 50), "failed: tile/0/001: log has:"),
    "its last bit": (flip("tile/0/002", -1), "failed: tile/0/002: log has:"),
    "a byte of a partial tile": (flip("tile/0/003.p/233", 0), "failed: tile/0/003.p/233: log"),
    "a byte of a tile above": (flip("tile/1/000.p/3", 40), "failed: tile/1/000.p/3: log has:"),
    "a short tile": (cut("tile/0/003.p/233", 32), "failed: tile/0/003.p/233: log has:"),
    "tiles in each other's place": (swap("tile/0/000", "tile/0/002"), "failed: tile/0/00"),
    "a byte of a bundle": (flip("tile/entries/001", 300), "failed: tile/"),
    "a byte of a partial bundle": (flip("tile/entries/003.p/233", 9), "failed: tile/"),
    "a length in a bundle": (flip("tile/entries/002", 1), "failure calling AppendBundle("),
    "a short bundle": (cut("tile/entries/003.p/233", 1), "failure calling AppendBundle("),
    "bundles in each other's place": (swap("tile/entries/000", "tile/entries/001"), "failed: t"),
    "another entry": (change_entry, "failed: tile/"),
    "no full tile": (remove("tile/0/000"), "failed: resource not found: "),
    "no partial tile": (remove("tile/0/003.p/233"), "failed: neither partial nor full"),
    "no tile above": (remove("tile/1/000.p/3"), "failed: neither partial nor full"),
    "no bundle": (remove("tile/entries/001"), "error while streaming bundles: "),
    "no partial bundle": (remove("tile/entries/003.p/233"), "error while streaming bundles: "),
    "no checkpoint": (remove("checkpoint"), "failed to fetch and verify checkpoint: "),
    "another root without the key": (say_root, MISSIGNED),
    "another root under the key": (sign_again(root=b"\0" * 32), "calculated root "),
    "a smaller size under the root": (sign_again(size=3 * TILE_WIDTH), "calculated root "),
    "a larger size": (sign_again(size=SIZE + 1), "error while streaming bundles: "),
    "another key of the name": (sign_again(OTHER), UNSIGNED),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_it_sees_what_was_tampered_with(
    log: Path, tessera: Path, key_file: Callable[[str], Path], name: str
) -> None:
    tamper, reason = TAMPERED[name]
    tamper(log)
    with folder_served(log) as url:
        found = fsck(tessera, url, key_file(SIGNER.key.text))
    assert isinstance(found, Refused)
    assert found.reason.startswith(reason), found.reason


def test_untouched_it_is_accepted_under_its_own_name_only(
    log: Path, tessera: Path, key_file: Callable[[str], Path]
) -> None:
    key = key_file(SIGNER.key.text)
    with folder_served(log) as url:
        found = fsck(tessera, url, key)
        assert isinstance(found, Whole)
        assert fsck(tessera, url + "/", key, ORIGIN) == found
        assert isinstance(fsck(tessera, url, key, "log.yunjian.example/2027"), Refused)
    assert isinstance(fsck(tessera, url, key), Refused), "nobody listens any more"
