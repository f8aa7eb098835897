"""What others wrote agrees: aics-tlog reads our folder, checkpoint and proofs."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.closing import close_shard, prepare_successor
from ledger.reader import LogReader
from tests.engines import Engine
from tests.ledger.conftest import Store
from tests.servers.softhsm import Token

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "outside-checkers"
PACKAGE = "aics-tlog==0.2.1"


@pytest.fixture(scope="session")
def aics_python() -> Path:
    """A Python with aics-tlog, in an environment of its own: it declares Python 3.12."""
    folder = CACHE / "aics-tlog-0.2.1"
    python = folder / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "aics-tlog.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test processes builds it
        if not (folder / "ready").is_file():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = ["-m", "pip", "install", "--quiet", "--ignore-requires-python", PACKAGE]
            subprocess.run([str(python), *install], check=True)
            (folder / "ready").touch()
    return python


@pytest.fixture
def grown(store: Any) -> Any:
    for count in (3, 252, 1, 700, 45):
        store.record_many(count)
        store.sequence()
    return store


def check(python: Path, question: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), str(HERE / "check_with_aics.py")],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )


def question_of(store: Any, reader: LogReader | None = None) -> dict[str, Any]:
    """About the newest shard, or that of `reader`."""
    reader = reader or store.ledger.reader
    size = reader.published().checkpoint.size
    return {
        "folder": str(store.directory / "log" / reader.shard),
        "vkey": reader.key.text,
        "origin": reader.key.name,
        "checkpoint": reader.checkpoint_text(),
        "inclusion": [
            [
                index,
                reader.entry(index).hex(),
                *(one.hex() for one in reader.inclusion(index).hashes),
            ]
            for index in (0, 1, 255, 256, 511, 767, size - 2, size - 1)
            if index < size
        ],
        "consistency": [
            [old, reader.root(old).hex(), *(one.hex() for one in reader.consistency(old))]
            for old in (1, 4, 256, 257, 957, size)
            if old <= size
        ],
    }


def test_aics_tlog_accepts_our_log(grown: Any, aics_python: Path) -> None:
    answer = check(aics_python, question_of(grown))
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "signed": True,
        "size": 1002,
        "root": grown.ledger.checkpoint().root.hex(),
        "tiles": 5,
        "bundles": 4,
        "inclusion": True,
        "consistency": True,
    }


def test_aics_tlog_accepts_a_log_whose_key_is_in_a_token(
    tmp_path: Path, engine: Engine, token: Token, aics_python: Path
) -> None:
    store = Store.create(tmp_path / "token store", engine, token.tokens)
    store.record_many(1001)
    store.sequence()
    answer = check(aics_python, question_of(store))
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["signed"] is True
    store.close()


def test_aics_tlog_accepts_both_shards_and_how_one_pins_the_other(
    grown: Any, aics_python: Path
) -> None:
    close_shard(grown.ledger, prepare_successor(grown.ledger, "2027"), grown.now)
    grown = grown.reopen()
    grown.record_many(300)
    grown.sequence()
    asked = {reader.shard: question_of(grown, reader) for reader in grown.ledger.readers.all()}
    found = {}
    for shard, question in asked.items():
        answer = check(aics_python, question)
        assert answer.returncode == 0, answer.stderr
        found[shard] = json.loads(answer.stdout)
        good = (found[shard][name] for name in ("signed", "inclusion", "consistency"))
        assert all(good), shard
    assert (found["2026"]["size"], found["2027"]["size"]) == (1003, 301)
    # What the other program read as the end of the one is what the other's first entry says.
    opening = json.loads(bytes.fromhex(asked["2027"]["inclusion"][0][1]))
    pinned = opening["body"]["previous"]
    assert (pinned["size"], pinned["root"]) == (found["2026"]["size"], found["2026"]["root"])
    assert (pinned["origin"], pinned["vkey"]) == (asked["2026"]["origin"], asked["2026"]["vkey"])
    closing = json.loads(bytes.fromhex(asked["2026"]["inclusion"][-1][1]))
    assert closing["body"]["successor"]["vkey"] == asked["2027"]["vkey"]
    # One shard is never taken for the other.
    for shard, other in (("2026", "2027"), ("2027", "2026")):
        for name in ("vkey", "origin", "folder", "checkpoint"):
            mixed = {**asked[shard], name: asked[other][name]}
            answer = check(aics_python, mixed)
            refused = answer.returncode != 0 or not json.loads(answer.stdout)["signed"]
            assert refused, (shard, name)
    grown.close()


@pytest.mark.parametrize("name", ["tile/0/001", "tile/entries/002", "tile/1/000.p/3"])
def test_aics_tlog_refuses_our_log_with_one_byte_flipped(
    grown: Any, aics_python: Path, name: str
) -> None:
    question = question_of(grown)
    path = grown.log / name
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    assert check(aics_python, question).returncode != 0
