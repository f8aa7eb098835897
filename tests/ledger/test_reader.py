"""The reader: proofs from tiles, caching, and the texts of the command line."""

import base64
from typing import Any

import pytest

from ledger.checkpoints import parse_checkpoint
from ledger.errors import (
    ConsistencyInvalid,
    LogMissing,
    LogNotTrusted,
    NotYetLogged,
    SignatureInvalid,
    TileCorrupt,
    TileMissing,
)
from ledger.keys import Ed25519Signer
from ledger.merkle import leaf_hash, verify_consistency
from ledger.proofs import parse_proof
from ledger.reader import LogReader
from ledger.tilestore import FilesystemTiles


@pytest.fixture
def grown(store: Any) -> Any:
    for count in (3, 250, 600, 1):
        store.record_many(count)
        store.sequence()
    return store


def test_every_entry_is_proved_and_read_back(grown: Any) -> None:
    reader = grown.ledger.reader
    head = grown.ledger.checkpoint()
    assert head.size == 855
    for index, entry in reader.entries(head.size):
        assert reader.inclusion(index).proves(leaf_hash(entry))
        assert not reader.inclusion(index).proves(leaf_hash(b"another"))
    assert reader.entry(854) == entry
    for index in (855, -1):
        with pytest.raises(NotYetLogged):
            reader.entry(index)
    with pytest.raises(NotYetLogged):
        reader.inclusion(855)


def test_every_published_size_is_a_prefix_of_the_newest(grown: Any) -> None:
    reader = grown.ledger.reader
    head = grown.ledger.checkpoint()
    for old in (0, 1, 4, 254, 255, 256, 257, 512, 854, 855):
        proof = reader.consistency(old)
        verify_consistency(old, head.size, reader.root(old), head.root, proof)
    with pytest.raises(ConsistencyInvalid):
        reader.consistency(856)


def test_the_texts_of_the_command_line_stand_for_themselves(grown: Any) -> None:
    reader = grown.ledger.reader
    served = (grown.log / "checkpoint").read_text()
    assert reader.checkpoint_text() == served
    proof = parse_proof(reader.proof_text(7).encode())
    proof.verify_leaf(leaf_hash(reader.entry(7)))
    assert proof.checkpoint == parse_checkpoint(served.encode())
    lines, _, checkpoint = reader.consistency_text(254).partition("\n\n")
    assert checkpoint == served
    hashes = [base64.b64decode(line) for line in lines.split("\n")]
    head = proof.checkpoint.checkpoint
    verify_consistency(254, head.size, reader.root(254), head.root, hashes)
    assert reader.consistency_text(855) == "\n" + served


def test_a_truncated_or_missing_tile_is_a_coded_error(grown: Any) -> None:
    reader = LogReader(FilesystemTiles(grown.log), "2026", grown.ledger.key)
    path = grown.log / "tile/0/001"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(TileCorrupt) as refused:
        reader.inclusion(300)
    assert refused.value.details["path"] == "tile/0/001"
    path.write_bytes(data + b"x" * 32)
    with pytest.raises(TileCorrupt):
        reader.inclusion(300)
    path.unlink()
    with pytest.raises(TileMissing):
        reader.inclusion(300)
    path.write_bytes(data)
    assert reader.inclusion(300).proves(leaf_hash(reader.entry(300)))
    assert reader.inclusion(3)  # other tiles were never touched
    bundle = grown.log / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    with pytest.raises(TileCorrupt):
        reader.entry(300)


def test_a_flipped_tile_proves_nothing(grown: Any) -> None:
    path = grown.log / "tile/0/001"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    reader = LogReader(FilesystemTiles(grown.log), "2026", grown.ledger.key)
    assert reader.inclusion(256).proves(leaf_hash(reader.entry(256)))  # its own hash is no part
    assert not reader.inclusion(257).proves(leaf_hash(reader.entry(257)))


def test_a_checkpoint_by_another_key_is_not_read(grown: Any) -> None:
    tiles = FilesystemTiles(grown.log)
    other = Ed25519Signer(grown.ledger.origin, b"\x05" * 32)
    with pytest.raises(LogNotTrusted):
        LogReader(tiles, "2026", other.key).published()
    served = (grown.log / "checkpoint").read_bytes()
    (grown.log / "checkpoint").write_bytes(served.replace(b"\n855\n", b"\n854\n"))
    with pytest.raises(SignatureInvalid):
        LogReader(tiles, "2026", grown.ledger.key).published()
    (grown.log / "checkpoint").unlink()
    with pytest.raises(LogMissing):
        LogReader(tiles, "2026", grown.ledger.key).published()


def test_a_reader_never_goes_back(grown: Any) -> None:
    reader = grown.ledger.reader
    newest = reader.published()
    old = LogReader(FilesystemTiles(grown.log), "2026", grown.ledger.key).published()
    grown.record_many(5)
    grown.sequence()
    assert reader.published() != newest
    reader.advance(old)
    assert reader.published().checkpoint.size == 860
