"""`fsck` of the tree: bundles, tiles, partial tiles, and names that do not belong."""

from collections.abc import Mapping, Sequence

from kernel.errors import CodedError
from ledger.errors import TileMissing, TilePathInvalid
from ledger.growth import Tail
from ledger.merkle import (
    HASH_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    TileTree,
    leaf_hash,
    root_from_tails,
)
from ledger.problems import Problem
from ledger.tiles import TilePath, check_tile, encode_bundle, parse_bundle, prefix, tile_width
from ledger.tilestore import TileStore


class TreeCheck:
    """Rebuilds the tree of `size` leaves bundle by bundle, then checks all that hangs on it.

    Three witnesses speak for a leaf: the bundle, the lowest tile and the row.
    Where two agree the third is named, and the tree is built from the two, so
    that one flipped byte is one problem.
    """

    def __init__(self, tiles: TileStore, size: int, published: int | None) -> None:
        self.problems: list[Problem] = []
        self._tiles = tiles
        self._size = size
        self._published = published
        self._levels: list[bytearray] = [bytearray()]  # of level 0, only the incomplete tile
        self._published_tail = b""
        self._entries: tuple[bytes, ...] | None = ()

    def bundle(self, number: int, rows: Sequence[bytes | None]) -> list[bytes | None]:
        """Check bundle and lowest tile `number`; the entries that the log holds.

        `rows` are the leaves that the database has for the same indexes.
        """
        entries, hashes = self.compare(number, rows)
        self._grow(number, tile_width(self._size, 0, number), hashes, entries)
        return entries

    def compare(
        self, number: int, rows: Sequence[bytes | None]
    ) -> tuple[list[bytes | None], bytes]:
        """The part of `bundle` that looks at these two alone, in any order: the entries
        and their hashes, as far as two of the three witnesses agree."""
        width = tile_width(self._size, 0, number)
        bundled = self._stored_bundle(TilePath(None, number, width))
        tiled = self._stored_tile(TilePath(0, number, width))
        entries: list[bytes | None] = []
        hashes = bytearray()
        wrong_bundle = wrong_tile = 0
        for at in range(width):
            entry = bundled[at] if bundled is not None else None
            row = rows[at] if at < len(rows) else None
            stood = tiled[at * HASH_SIZE : (at + 1) * HASH_SIZE] if tiled is not None else None
            own = leaf_hash(entry) if entry is not None else None
            from_row = leaf_hash(row) if row is not None else None
            if own is not None and own == stood:
                chosen, value = entry, own
            elif from_row is not None and from_row == stood:
                chosen, value = row, from_row
                wrong_bundle += bundled is not None
            else:
                chosen, value = entry, own or stood or from_row or bytes(HASH_SIZE)
                wrong_tile += tiled is not None and own is not None
                wrong_bundle += bundled is not None and own != from_row
            entries.append(chosen)
            hashes += value
        if wrong_bundle:
            where = TilePath(None, number, width).text
            self._add("bundle_corrupt", where, f"{wrong_bundle} entries differ")
        if wrong_tile:
            where = TilePath(0, number, width).text
            self._add("tile_corrupt", where, f"{wrong_tile} hashes differ")
        return entries, bytes(hashes)

    def upper_tiles(self) -> None:
        """Compare the tiles above the lowest with the rebuilt hashes."""
        for level in range(1, len(self._levels)):
            hashes = self._levels[level]
            for number in range((len(hashes) // HASH_SIZE + TILE_WIDTH - 1) // TILE_WIDTH):
                path = TilePath(level, number, tile_width(self._size, level, number))
                stored = self._stored_tile(path)
                if stored is not None and stored != self._rebuilt(path):
                    self._add("tile_corrupt", path.text, "not the hashes of the tiles below")

    def names(self, staged: Mapping[str, bytes]) -> list[TilePath]:
        """Look at every stored name: partial tiles of earlier sizes, leftovers, strangers.

        `staged` are the blobs of a round that was cut off. Returns the tiles
        that neither the checked size nor that round has: see `strangers`.
        """
        beyond: list[TilePath] = []
        for name in self._tiles.names():
            try:
                path = TilePath.parse(name)
            except TilePathInvalid:
                self._add("unexpected_file", name)
                continue
            current = tile_width(self._size, path.level or 0, path.index)
            if path.width == current:
                continue  # checked above
            if path.width > current:
                if name not in staged:
                    beyond.append(path)
                elif not self._holds(path, staged[name]):
                    self._corrupt(path, "not what was staged")
                continue
            expected = self._prefix(path, current)
            if expected is not None and not self._holds(path, expected):
                self._corrupt(path, "not the beginning of the newer one")
        return beyond

    def strangers(self, beyond: Sequence[TilePath], size: int) -> None:
        """Name those that not even a tree of `size` leaves has: the log may have grown since."""
        for path in beyond:
            if path.width > tile_width(size, path.level or 0, path.index):
                self._add("unexpected_file", path.text)

    def root(self, size: int) -> bytes:
        """The root of the rebuilt tree, of the checked or of the published size."""
        tails = []
        for level in range(len(self._levels)):
            hashes = size >> (TILE_HEIGHT * level)
            first, last = hashes // TILE_WIDTH * TILE_WIDTH, hashes
            tails.append(bytes(self._levels[level][first * HASH_SIZE : last * HASH_SIZE]))
        tails[0] = self._published_tail if size == self._published else bytes(self._levels[0])
        return root_from_tails(tails)

    def tail(self) -> Tail | None:
        """The right edge, for growing further; None if an entry of it is lost."""
        if self._entries is None:
            return None
        levels = [bytes(self._levels[0])]
        for hashes in self._levels[1:]:
            levels.append(bytes(hashes[len(hashes) // (TILE_WIDTH * HASH_SIZE) * 8192 :]))
        return Tail(self._size, self._entries, tuple(levels))

    def _grow(
        self, number: int, width: int, hashes: bytes, entries: Sequence[bytes | None]
    ) -> None:
        published = self._published
        if published is not None and published // TILE_WIDTH == number:
            self._published_tail = hashes[: published % TILE_WIDTH * HASH_SIZE]
        if width < TILE_WIDTH:
            self._levels[0] = bytearray(hashes)
            known = [entry for entry in entries if entry is not None]
            self._entries = tuple(known) if len(known) == width else None
            return
        root = TileTree(hashes).root
        level = 1
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += root
            if len(self._levels[level]) % (TILE_WIDTH * HASH_SIZE):
                return
            root = TileTree(bytes(self._levels[level][-TILE_WIDTH * HASH_SIZE :])).root
            level += 1

    def _rebuilt(self, path: TilePath) -> bytes:
        first = path.index * TILE_WIDTH
        hashes = self._levels[path.level or 0]
        return bytes(hashes[first * HASH_SIZE : (first + path.width) * HASH_SIZE])

    def _prefix(self, path: TilePath, current: int) -> bytes | None:
        """What an older partial blob must hold; None when the newer one cannot be read."""
        if path.level is not None and path.level > 0:
            return self._rebuilt(path)
        newer = TilePath(path.level, path.index, current)
        try:
            if newer.level is None:
                entries = parse_bundle(newer, self._read(newer))
                return encode_bundle(entries[: path.width])
            return check_tile(newer, self._read(newer))[: path.width * HASH_SIZE]
        except CodedError:
            return None  # named already

    def _stored_bundle(self, path: TilePath) -> list[bytes] | None:
        try:
            return parse_bundle(path, self._read(path))
        except TileMissing:
            self._add("bundle_missing", path.text)
        except CodedError as error:
            self._add("bundle_corrupt", path.text, str(error.details.get("reason", error.code)))
        return None

    def _stored_tile(self, path: TilePath) -> bytes | None:
        try:
            return check_tile(path, self._read(path))
        except TileMissing:
            self._add("tile_missing", path.text)
        except CodedError as error:
            self._add("tile_corrupt", path.text, str(error.details.get("reason", error.code)))
        return None

    def _read(self, path: TilePath) -> bytes:
        try:
            return self._tiles.get(path)
        except TileMissing:
            if path.full:
                raise
            whole = path.whole()
            return prefix(whole, self._tiles.get(whole), path.width)

    def _holds(self, path: TilePath, expected: bytes) -> bool:
        try:
            return self._tiles.get(path) == expected
        except TileMissing:
            return not path.full  # superseded and removed while we look
        except CodedError:
            return False

    def _corrupt(self, path: TilePath, detail: str) -> None:
        self._add("bundle_corrupt" if path.level is None else "tile_corrupt", path.text, detail)

    def _add(self, code: str, where: str, detail: str = "") -> None:
        self.problems.append(Problem.of(code, where, detail))
