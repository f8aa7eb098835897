"""C2SP tlog-tiles: paths, tiles and bundles to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import TileCorrupt, TilePathInvalid
from ledger.tiles import (
    TilePath,
    check_tile,
    encode_bundle,
    parse_bundle,
    partial_tiles,
    prefix,
    tile_width,
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (TilePath(0, 1234067), "tile/0/x001/x234/067"),
        (TilePath(0, 0), "tile/0/000"),
        (TilePath(1, 999, 1), "tile/1/999.p/1"),
        (TilePath(63, 1000, 255), "tile/63/x001/000.p/255"),
        (TilePath(None, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths_of_the_specification(path: TilePath, text: str) -> None:
    assert path.text == text
    assert TilePath.parse(text) == path


@given(st.none() | st.integers(0, 63), st.integers(0, (1 << 55) - 1), st.integers(1, 256))
def test_every_path_reads_back(level: int | None, index: int, width: int) -> None:
    path = TilePath(level, index, width)
    assert TilePath.parse(path.text) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "checkpoint",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/1",
        "tile/0/0000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/000?x=1",
        "tile/entries/00",
        "tile/Entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_any_other_spelling_is_no_path(text: str) -> None:
    with pytest.raises(TilePathInvalid):
        TilePath.parse(text)


def test_the_tiles_of_a_tree_of_70000_are_those_of_the_specification() -> None:
    assert [path.text for path in partial_tiles(70_000)] == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert tile_width(70_000, 0, 272) == tile_width(70_000, 1, 0) == 256
    assert tile_width(70_000, 0, 274) == 0
    assert [path.text for path in partial_tiles(256)] == ["tile/1/000.p/1"]
    assert list(partial_tiles(0)) == []


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_reads_back(entries: list[bytes]) -> None:
    path = TilePath(None, 0, len(entries))
    assert parse_bundle(path, encode_bundle(entries)) == entries


def test_a_bundle_is_lengths_and_bytes() -> None:
    assert encode_bundle([b"ab", b"", b"x" * 258]) == b"\0\2ab\0\0\1\2" + b"x" * 258


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.data())
def test_a_bundle_cut_short_or_lengthened_is_corrupt(
    entries: list[bytes], data: st.DataObject
) -> None:
    encoded = encode_bundle(entries)
    path = TilePath(None, 0, len(entries))
    cut = data.draw(st.integers(0, len(encoded) - 1))
    for wrong in (encoded[:cut], encoded + b"\0", encoded + b"\0\0"):
        with pytest.raises(TileCorrupt):
            parse_bundle(path, wrong)


@pytest.mark.parametrize("count", [0, 257])
def test_a_bundle_has_1_to_256_entries(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        encode_bundle([b""] * count)


@pytest.mark.parametrize("length", [0, 31, 64, 95, 97])
def test_a_truncated_tile_is_corrupt(length: int) -> None:
    with pytest.raises(TileCorrupt) as refused:
        check_tile(TilePath(0, 5, 3), b"x" * length)
    assert refused.value.details["path"] == "tile/0/005.p/3"
    assert check_tile(TilePath(0, 5, 3), b"x" * 96) == b"x" * 96


def test_a_full_tile_begins_with_its_partial_ones() -> None:
    tile = bytes(range(256)) * 32
    assert prefix(TilePath(0, 0), tile, 3) == tile[:96]
    entries = [b"%d" % number for number in range(256)]
    assert prefix(TilePath(None, 0), encode_bundle(entries), 3) == encode_bundle(entries[:3])
