"""C2SP tlog-tiles: paths, Merkle tiles and entry bundles, to the byte."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import TileCorrupt, TilePathInvalid
from ledger.leaves import MAX_LEAF
from ledger.merkle import HASH_SIZE, MAX_SIZE, TILE_HEIGHT, TILE_WIDTH

FULL_TILE_BYTES = TILE_WIDTH * HASH_SIZE
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_LEAF)
MAX_LEVEL = 63
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class TilePath:
    """One blob of the log. `level` None is an entry bundle; `width` 256 is a full tile."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def text(self) -> str:
        """The path under the log's prefix: `tile/0/x001/x234/067.p/8`."""
        parts = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            parts.append(f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level is None else self.level
        suffix = "" if self.full else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(parts))}{suffix}"

    @property
    def full(self) -> bool:
        return self.width == TILE_WIDTH

    @classmethod
    def parse(cls, text: str) -> "TilePath":
        """The inverse of `text`; any other spelling is `TilePathInvalid`."""
        match = _PATH.fullmatch(text)
        if match is None:
            raise TilePathInvalid()
        level = None if match["level"] == "entries" else int(match["level"])
        index = int(match["index"].replace("/", "").replace("x", ""))
        width = int(match["width"] or TILE_WIDTH)
        path = cls(level, index, width)
        if path.text != text or width > TILE_WIDTH or (level or 0) > MAX_LEVEL:
            raise TilePathInvalid()
        if index > MAX_SIZE >> TILE_HEIGHT:
            raise TilePathInvalid()
        return path

    def whole(self) -> "TilePath":
        """The full tile that this one is, or is a prefix of."""
        return TilePath(self.level, self.index)


def tile_width(size: int, level: int, index: int) -> int:
    """How many hashes tile `index` of `level` has in a tree of `size` leaves: 0 to 256."""
    hashes = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def partial_tiles(size: int) -> Iterator[TilePath]:
    """The incomplete tile of every level, lowest first; levels without one are left out."""
    level = 0
    while size >> (TILE_HEIGHT * level):
        hashes = size >> (TILE_HEIGHT * level)
        if hashes % TILE_WIDTH:
            yield TilePath(level, hashes // TILE_WIDTH, hashes % TILE_WIDTH)
        level += 1


def check_tile(path: TilePath, data: bytes) -> bytes:
    """The hashes of a tile read from a store. A truncated one is `TileCorrupt`."""
    if len(data) != path.width * HASH_SIZE:
        raise TileCorrupt(
            path=path.text, reason=f"{len(data)} bytes instead of {path.width * HASH_SIZE}"
        )
    return data


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """uint16 big-endian length and bytes of each entry, 1 to 256 of them."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise ValueError("a bundle has 1 to 256 entries")
    parts = []
    for entry in entries:
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def parse_bundle(path: TilePath, data: bytes) -> list[bytes]:
    """The entries of a bundle read from a store: exactly `path.width` of them."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < path.width:
        length = int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : at + 2 + length]
        if at + 2 > len(data) or len(entry) != length:
            raise TileCorrupt(path=path.text, reason="cut off inside an entry")
        entries.append(entry)
        at += 2 + length
    if len(entries) != path.width:
        raise TileCorrupt(path=path.text, reason=f"{len(entries)} entries instead of {path.width}")
    if at != len(data):
        raise TileCorrupt(path=path.text, reason="bytes after the last entry")
    return entries


def prefix(path: TilePath, data: bytes, width: int) -> bytes:
    """The partial tile or bundle of `width` that the full one begins with."""
    if path.level is not None:
        return check_tile(path, data)[: width * HASH_SIZE]
    return encode_bundle(parse_bundle(path, data)[:width])
