"""How the tree grows: which tiles and bundles new entries need, and the root that results.

Pure. `grow` works from memory; `recompute` works from the bytes that the store
gave back, so that a flipped bit anywhere in between is found before signing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.errors import LogDiverged, ReadBackFailed
from ledger.merkle import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH, TileTree, leaf_hash, root_from_tails
from ledger.tiles import (
    TilePath,
    check_tile,
    encode_bundle,
    parse_bundle,
    partial_tiles,
    tile_width,
)

_FULL = TILE_WIDTH * HASH_SIZE


@dataclass(frozen=True, slots=True)
class Tail:
    """The incomplete right edge of a tree of `size` leaves: all that growing needs.

    `entries` are those of the incomplete bundle; `levels[l]` the hashes of the
    incomplete tile of level l.
    """

    size: int
    entries: tuple[bytes, ...] = ()
    levels: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        return root_from_tails(self.levels)


@dataclass(frozen=True, slots=True)
class Grown:
    """The new tail, the blobs to store, and the full ones that supersede partial ones."""

    tail: Tail
    blobs: Mapping[TilePath, bytes]
    completed: tuple[TilePath, ...]


def grow(tail: Tail, entries: Sequence[bytes]) -> Grown:
    """Append entries. Full tiles are hashed once; unchanged partial tiles are left out."""
    blobs: dict[TilePath, bytes] = {}
    bundled = (*tail.entries, *entries)
    number = tail.size // TILE_WIDTH
    for at in range(0, len(bundled), TILE_WIDTH):
        chunk = bundled[at : at + TILE_WIDTH]
        blobs[TilePath(None, number, len(chunk))] = encode_bundle(chunk)
        number += 1
    levels = list(tail.levels)
    incoming = b"".join([leaf_hash(entry) for entry in entries])
    level = 0
    while incoming:
        if level == len(levels):
            levels.append(b"")
        number = (tail.size >> (TILE_HEIGHT * level)) // TILE_WIDTH
        hashes = levels[level] + incoming
        roots = []
        for at in range(0, len(hashes) - len(hashes) % _FULL, _FULL):
            tile = hashes[at : at + _FULL]
            blobs[TilePath(level, number)] = tile
            roots.append(TileTree(tile).root)
            number += 1
        levels[level] = hashes[len(roots) * _FULL :]
        if levels[level]:
            blobs[TilePath(level, number, len(levels[level]) // HASH_SIZE)] = levels[level]
        incoming = b"".join(roots)
        level += 1
    size = tail.size + len(entries)
    rest = bundled[len(bundled) - size % TILE_WIDTH :]
    completed = tuple(path.whole() for path in edge(tail.size) if path.whole() in blobs)
    return Grown(Tail(size, rest, tuple(levels)), blobs, completed)


def edge(size: int) -> list[TilePath]:
    """The incomplete bundle and tiles of a tree of `size` leaves: what `tail_of` needs."""
    bundle = bundle_of(size)
    return [*partial_tiles(size), *([] if bundle is None else [bundle])]


def bundle_of(size: int) -> TilePath | None:
    """The incomplete bundle of a tree of `size` leaves; None where all are full."""
    number, width = divmod(size, TILE_WIDTH)
    return TilePath(None, number, width) if width else None


def tail_of(size: int, blobs: Mapping[TilePath, bytes]) -> Tail:
    """The tail from the stored bytes of `edge(size)`.

    `LogDiverged` if the bundle's entries do not hash to the lowest tile.
    """
    levels: list[bytes] = []
    entries: tuple[bytes, ...] = ()
    for path in edge(size):
        if path.level is None:
            entries = tuple(parse_bundle(path, blobs[path]))
        else:
            levels += [b""] * (path.level + 1 - len(levels))
            levels[path.level] = check_tile(path, blobs[path])
    if b"".join(map(leaf_hash, entries)) != (levels[0] if levels else b""):
        raise LogDiverged(reason="the last bundle and the last tile differ")
    return Tail(size, entries, tuple(levels))


def recompute(size: int, blobs: Mapping[TilePath, bytes]) -> bytes:
    """The root of the tree of `size` leaves from stored bytes alone.

    `blobs` holds what was written in one growth, and `edge(size)`. Every bundle
    must hash to its tile and every full tile to its place in the tile above;
    otherwise `ReadBackFailed` (or `TileCorrupt`) names the path.
    """
    for path, data in blobs.items():
        if path.level is None:
            tile = TilePath(0, path.index, path.width)
            hashes = b"".join([leaf_hash(entry) for entry in parse_bundle(path, data)])
            if blobs.get(tile) != hashes:
                raise ReadBackFailed(path=path.text)
        elif check_tile(path, data) and path.full:
            index, position = divmod(path.index, TILE_WIDTH)
            above = TilePath(path.level + 1, index, tile_width(size, path.level + 1, index))
            at = position * HASH_SIZE
            if blobs.get(above, b"")[at : at + HASH_SIZE] != TileTree(data).root:
                raise ReadBackFailed(path=path.text)
    return tail_of(size, blobs).root
