"""Reads the published log: checkpoint, tiles and bundles, with the proofs made from them."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ledger.checkpoints import Checkpoint, SignedCheckpoint, parse_checkpoint
from ledger.cosignatures import verify_signatures
from ledger.errors import (
    ConsistencyInvalid,
    FinalDiffers,
    InclusionInvalid,
    LogMissing,
    LogNotTrusted,
    NotYetLogged,
    TileMissing,
)
from ledger.merkle import (
    HASH_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    NodeReader,
    TileTree,
    consistency_proof,
    inclusion_proof,
    range_root,
    tile_path,
    tree_root,
    verify_inclusion,
)
from ledger.notes import VerifierKey
from ledger.proofs import LogProof, hash_lines
from ledger.tiles import TilePath, check_tile, parse_bundle, prefix, tile_width
from ledger.tilestore import TileStore

CACHED_TILES = 4096  # at 16 KiB each: 64 MiB, all tiles of a million leaves

CACHED_EDGES = 256  # of 32 bytes


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An audit path for leaf `index` in the published tree `size`, `root` of `shard`."""

    shard: str
    index: int
    size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: SignedCheckpoint

    def proves(self, leaf: bytes) -> bool:
        """Whether the leaf with this hash stands at `index` under `root`."""
        try:
            verify_inclusion(leaf, self.index, self.size, self.hashes, self.root)
        except InclusionInvalid:
            return False
        return True

    def proof(self) -> LogProof:
        return LogProof(self.index, self.hashes, self.checkpoint)


class LogReader:
    """Reads one shard. Safe from many threads.

    Tiles never change, so they are cached with their inner nodes; the
    checkpoint is the one last published by this process's sequencer
    (`advance`) or read from the store (`refresh`), its signature verified.
    """

    def __init__(
        self,
        tiles: TileStore,
        shard: str,
        key: VerifierKey,
        *more: VerifierKey,
        final: Checkpoint | None = None,
    ) -> None:
        """`more`: the log's other keys. Each of its keys signs every checkpoint. `final`: the
        last checkpoint of a shard that has ended; no other one is believed."""
        self.shard = shard
        self.key = key
        self.final = final
        self.keys = (key, *more)
        self._keys = {key, *more}
        self._tiles = tiles
        self._head: SignedCheckpoint | None = None
        self._changed = threading.Condition()
        self._rows = lru_cache(CACHED_TILES)(self._load_rows)
        self._edges = lru_cache(CACHED_EDGES)(self._load_edge)

    # --- The published head ---

    def published(self) -> SignedCheckpoint:
        """The newest checkpoint known here. `LogMissing` before the first."""
        head = self._head
        return head if head is not None else self.refresh()

    def refresh(self) -> SignedCheckpoint:
        """Read the checkpoint from the store and verify it.

        Raises what parsing raises, `LogNotTrusted` or `SignatureInvalid`.
        """
        data = self._tiles.checkpoint()
        if data is None:
            raise LogMissing()
        signed = parse_checkpoint(data)
        self.verify(signed)
        if self.final is not None and signed.checkpoint != self.final:
            raise FinalDiffers(shard=self.shard)
        self.advance(signed)
        return signed

    def verify(self, signed: SignedCheckpoint) -> None:
        """Each of the log's keys signed it, under its origin."""
        verified = {one.key for one in verify_signatures(signed, self._keys)}
        if verified != self._keys or signed.checkpoint.origin != self.key.name:
            raise LogNotTrusted()

    def advance(self, signed: SignedCheckpoint) -> None:
        """Take a newer checkpoint, or more signatures of the newest, and wake those who wait.

        Never goes back.
        """
        with self._changed:
            if self._head is None or _standing(self._head) < _standing(signed):
                self._head = signed
                self._changed.notify_all()

    def wait_beyond(self, size: int, seconds: float) -> int:
        """Wait until the published size exceeds `size`, a wake-up, or the time-out; the size."""
        with self._changed:
            if self.size <= size:
                self._changed.wait(seconds)
            return self.size

    def wake(self) -> None:
        """Wake those who wait, so that they look again (at a stop)."""
        with self._changed:
            self._changed.notify_all()

    @property
    def size(self) -> int:
        """Entries under the newest checkpoint known here; 0 before the first. Reads nothing."""
        return 0 if self._head is None else self._head.checkpoint.size

    # --- Nodes ---

    def nodes(self, size: int) -> NodeReader:
        """The complete subtrees of a published tree of `size` leaves."""

        # A path asks for up to eight nodes of one tile in a row: keep the last one.
        last_level = last_tile = -1
        rows: tuple[bytes, ...] = ()

        def read(level: int, index: int) -> bytes:
            nonlocal last_level, last_tile, rows
            tile_level, height = level >> 3, level & 7
            tile = index >> (TILE_HEIGHT - height)
            if tile != last_tile or tile_level != last_level:
                rows = self._rows(tile_level, tile, tile_width(size, tile_level, tile))
                last_level, last_tile = tile_level, tile
            at = (index & (TILE_WIDTH - 1 >> height)) * HASH_SIZE
            return rows[height][at : at + HASH_SIZE]

        return read

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves, from tiles. `NotYetLogged` past the published."""
        published = self.published().checkpoint.size
        if size > published:
            raise NotYetLogged()
        return tree_root(self.nodes(published), size)

    def inclusion(self, index: int, under: SignedCheckpoint | None = None) -> Inclusion:
        """The audit path of `index` under the published checkpoint, or an earlier one.

        `NotYetLogged` at or past its size; `TileMissing` or `TileCorrupt`.
        """
        signed = under or self.published()
        head = signed.checkpoint
        if index >= head.size:
            raise NotYetLogged()
        return Inclusion(
            self.shard, index, head.size, head.root, tuple(self.path(index, head.size)), signed
        )

    def proof_under(self, index: int, signed: SignedCheckpoint) -> LogProof:
        """The proof of `index` under an older checkpoint of this log, which was published."""
        size = signed.checkpoint.size
        if size > self.published().checkpoint.size:
            raise NotYetLogged()
        return LogProof(index, tuple(self.path(index, size)), signed)

    def path(self, index: int, size: int) -> list[bytes]:
        """The audit path of `index` in the first `size` leaves, from tiles.

        Eight hashes from each full tile on the way up, then the rest."""
        if not 0 <= index < size:
            raise InclusionInvalid(reason="index outside the tree")
        path: list[bytes] = []
        level = 0
        while index >> level + TILE_HEIGHT != size - 1 >> level + TILE_HEIGHT:
            tile = index >> level + TILE_HEIGHT
            rows = self._rows(level // TILE_HEIGHT, tile, TILE_WIDTH)
            path += tile_path(rows, index >> level & TILE_WIDTH - 1)
            level += TILE_HEIGHT
        return path + inclusion_proof(
            self.nodes(size), index, size, lambda start: self._edges(start, size), level
        )

    def consistency(self, old: int) -> list[bytes]:
        """The consistency proof from size `old` to the published checkpoint."""
        size = self.published().checkpoint.size
        if old > size:
            raise ConsistencyInvalid(reason="larger than the published tree")
        return consistency_proof(self.nodes(size), old, size)

    def _load_edge(self, start: int, size: int) -> bytes:
        return range_root(self.nodes(size), start, size)

    def _load_rows(self, level: int, index: int, width: int) -> tuple[bytes, ...]:
        path = TilePath(level, index, width)
        return TileTree(check_tile(path, self._blob(path))).rows()

    # --- Entries ---

    def entry(self, index: int) -> bytes:
        """The entry at `index`, from its bundle, unchecked."""
        size = self.published().checkpoint.size
        if not 0 <= index < size:
            raise NotYetLogged()
        return self.bundle(index // TILE_WIDTH, size)[index % TILE_WIDTH]

    def bundle(self, number: int, size: int) -> list[bytes]:
        """The entries of bundle `number` in a tree of `size` leaves, unchecked."""
        path = TilePath(None, number, tile_width(size, 0, number))
        return parse_bundle(path, self._blob(path))

    def entries(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Every index and entry of a tree of `size` leaves, in order."""
        for number in range((size + TILE_WIDTH - 1) // TILE_WIDTH):
            yield from enumerate(self.bundle(number, size), start=number * TILE_WIDTH)

    def published_blob(self, path: TilePath) -> bytes:
        """A tile or bundle as served; `TileMissing` for what no published size has."""
        size = self.published().checkpoint.size
        if path.width > tile_width(size, path.level or 0, path.index):
            size = self.refresh().checkpoint.size
            if path.width > tile_width(size, path.level or 0, path.index):
                raise TileMissing(path=path.text)
        return self._blob(path)

    def _blob(self, path: TilePath) -> bytes:
        """The blob; a partial one may have been superseded by the full one, its extension."""
        try:
            return self._tiles.get(path)
        except TileMissing:
            if path.full:
                raise
            whole = path.whole()
            return prefix(whole, self._tiles.get(whole), path.width)

    # --- Text, for the command line ---

    def checkpoint_text(self) -> str:
        """The published checkpoint, as served."""
        return self.published().encode().decode()

    def proof_text(self, index: int) -> str:
        """The tlog-proof of an entry (C2SP tlog-proof)."""
        return self.inclusion(index).proof().encode().decode()

    def consistency_text(self, old: int) -> str:
        """The consistency proof from `old`: one base64 hash a line, then the checkpoint."""
        lines = hash_lines(self.consistency(old))
        return "".join(f"{line}\n" for line in lines) + "\n" + self.checkpoint_text()


def _standing(signed: SignedCheckpoint) -> tuple[int, int]:
    return signed.checkpoint.size, len(signed.note.signatures)
