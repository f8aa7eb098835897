"""Birth, opening and keys of a log; its folder is written once and never goes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.cosignatures import verify_signatures
from ledger.errors import (
    CheckpointNotMonotone,
    DatabaseWithoutKey,
    KeyFileUnsafe,
    KeyMismatch,
    KeyWithoutDatabase,
    LogExists,
    LogMissing,
    OriginInvalid,
    TileMissing,
)
from ledger.fsck import fsck
from ledger.keys import Ed25519Signer, create_key_file, open_key_file
from ledger.sequencer import Sequencer
from ledger.service import Ledger
from ledger.shard_keys import key_path, mldsa44_key_path
from ledger.tables import ledger_heads
from ledger.tiles import TilePath
from ledger.tilestore import FilesystemTiles
from storage.errors import ImmutableConflict


def parts(store: Any) -> dict[str, Any]:
    return {"database": store.database, "vault": store.vault, "clock": store.clock}


def test_a_log_is_born_once(store: Any, tmp_path: Path) -> None:
    with pytest.raises(LogExists):
        Ledger.create(store.directory, **parts(store), name="other", shard="2027")
    leaf = json.loads(store.ledger.reader.entry(0))
    assert leaf["kind"] == "shard.opened"
    assert leaf["body"]["origin"] == "log.yunjian.example/2026" == store.ledger.origin
    assert leaf["body"]["vkey"] == store.ledger.vkey
    assert [leaf["body"]["vkey"], leaf["body"]["mldsa44_vkey"]] == [
        key.text for key in store.ledger.keys
    ]
    signed = store.ledger.signed_checkpoint()
    assert len(verify_signatures(signed, store.ledger.keys)) == 2
    assert store.ledger.checkpoint().size == 1


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        ("", "2026"),
        ("a b", "2026"),
        ("a+b", "2026"),
        ("a/", "2026"),
        ("/a", "2026"),
        ("x" * 256, "2026"),
        ("a", "../x"),
        ("a", "26"),
        ("a", ""),
    ],
)
def test_an_unusable_name_is_refused_and_nothing_is_made(
    tmp_path: Path, store: Any, name: str, shard: str
) -> None:
    with pytest.raises(OriginInvalid):
        Ledger.create(tmp_path / "new", **parts(store), name=name, shard=shard)
    assert not (tmp_path / "new").exists()


def test_opening_makes_nothing_and_names_what_is_missing(
    store: Any, tmp_path: Path, create_store: Callable[[], Any]
) -> None:
    key = key_path(store.directory, "2026")
    store.log.rename(tmp_path / "log")
    with pytest.raises(LogMissing):
        Ledger.open(store.directory, **parts(store))
    (tmp_path / "log").rename(store.log)
    saved = key.read_bytes()
    key.unlink()
    with pytest.raises(DatabaseWithoutKey):
        Ledger.open(store.directory, **parts(store))
    for origin in (store.ledger.origin, "another.example/2026"):
        create_key_file(key, origin)
        stranger = Ledger.open(store.directory, **parts(store))
        with pytest.raises(KeyMismatch):
            stranger.sequence(store.now)
        assert {"checkpoint_invalid", "head_invalid"} <= {one.code for one in fsck(stranger)}
        key.unlink()
    key.write_bytes(saved)
    key.chmod(0o600)
    Ledger.open(store.directory, **parts(store)).sequence(store.now)
    other = create_store()
    other.database.write(
        lambda tx: tx.execute(ledger_heads.delete()).rowcount  # a database without this log
    )
    with pytest.raises(KeyWithoutDatabase):
        Ledger.open(other.directory, **parts(other))
    for path in (key_path(other.directory, "2026"), mldsa44_key_path(other.directory, "2026")):
        path.unlink()
    with pytest.raises(LogMissing):
        Ledger.open(other.directory, **parts(other))


@pytest.mark.parametrize(
    "content", [b"", b"junk\n", b"PRIVATE+KEY+a+00000000+AA==\n", b"\xff" * 40]
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileUnsafe):
        open_key_file(path)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.key"
    signer = create_key_file(path, "log.example/2026")
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_key_file(path).key == signer.key
    with pytest.raises(LogExists):
        create_key_file(path, "log.example/2026")
    path.chmod(0o640)
    with pytest.raises(KeyFileUnsafe):
        open_key_file(path)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(KeyFileUnsafe):
        open_key_file(link)


def test_a_signer_of_another_origin_is_refused(store: Any) -> None:
    sequencer = Sequencer(
        database=store.database,
        tiles=FilesystemTiles(store.log),
        signers=[Ed25519Signer("another.example/2026", b"\x01" * 32)],
        reader=store.ledger.reader,
        stops=store.ledger.stops,
        shard="2026",
    )
    with pytest.raises(KeyMismatch):
        sequencer.recover(store.now)


def test_tiles_are_written_once(store: Any) -> None:
    tiles = FilesystemTiles(store.log)
    path = TilePath(0, 5, 2)
    tiles.put({path: b"a" * 64})
    tiles.put({path: b"a" * 64})
    with pytest.raises(ImmutableConflict):
        tiles.put({path: b"b" * 64})
    assert tiles.get(path) == b"a" * 64
    with pytest.raises(TileMissing):
        tiles.get(TilePath(0, 5, 3))
    with pytest.raises(TileMissing):
        tiles.get(TilePath(0, 5))
    tiles.put({TilePath(0, 5): b"c" * 8192})
    tiles.discard_partials(TilePath(0, 5))
    tiles.discard_partials(TilePath(0, 5))
    assert not (store.log / "tile/0/005.p").exists()


def test_a_published_checkpoint_never_goes_back(store: Any) -> None:
    store.record_many(3)
    store.sequence()
    tiles = FilesystemTiles(store.log)
    published = (store.log / "checkpoint").read_bytes()
    tiles.publish(published)
    key = open_key_file(key_path(store.directory, "2026"))
    for size, root in [(3, b"\x01" * 32), (4, b"\x01" * 32)]:
        with pytest.raises(CheckpointNotMonotone):
            tiles.publish(sign_checkpoint(Checkpoint(key.key.name, size, root), [key]).encode())
    assert (store.log / "checkpoint").read_bytes() == published


def test_an_interrupted_write_leaves_nothing_in_the_served_folder(store: Any) -> None:
    staging = store.log.parent.with_name(f".staging-{store.log.name}")
    (staging / "leftover").write_bytes(b"half")
    store.record_many(1)
    store.sequence()
    assert list(staging.iterdir()) == []
    assert store.fsck() == []
