"""A copy of the published log in another place, built anew from its entries.

Nothing of the source is believed: the tiles are grown from the entries, and only a
root that the log's key signed makes the copy a log.
"""

from collections.abc import Callable, Iterator

from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import LogDiverged, ReadBackFailed, TileMissing
from ledger.growth import Tail, edge, grow, tail_of
from ledger.merkle import TILE_WIDTH
from ledger.reader import LogReader
from ledger.tiles import TilePath, prefix
from ledger.tilestore import TileStore

_BUNDLES = 64  # grown and written at once

# (entries done, entries in all)
Tell = Callable[[int, int], None]


def copy_log(
    source: LogReader,
    signed: SignedCheckpoint,
    target: TileStore,
    held: Checkpoint | None,
    tell: Tell,
) -> None:
    """Bring `target` to the tree of `signed`, whose signature the caller has verified.

    `held`: the tree that the target has already, from which it goes on. The checkpoint
    is published last. `LogDiverged`: the source's entries do not give the signed root;
    `TileMissing`, `TileCorrupt`. Cut off, it may be repeated.
    """
    size = signed.checkpoint.size
    tail = Tail(0)
    if held is not None:
        tail = tail_of(held.size, {path: target.get(path) for path in edge(held.size)})
        if tail.root != held.root or held.size > size:
            raise LogDiverged(reason="the copy is not a prefix of the log")
    for entries in _entries(source, tail.size, size):
        grown = grow(tail, entries)
        target.put(grown.blobs)
        for path in grown.completed:
            target.discard_partials(path)
        tail = grown.tail
        tell(tail.size, size)
    if tail.root != signed.checkpoint.root:
        raise LogDiverged(reason="the entries do not give the signed root")
    target.publish(signed.encode())


def check_log(reader: LogReader, tiles: TileStore, tell: Tell) -> SignedCheckpoint:
    """Every entry, tile and signature of a log; its checkpoint. Raises as `copy_log`
    does, and `ReadBackFailed` for a tile that its entries do not give."""
    signed = reader.refresh()
    size = signed.checkpoint.size
    tail = Tail(0)
    for entries in _entries(reader, 0, size):
        grown = grow(tail, entries)
        for path, data in grown.blobs.items():
            last = grown.tail.size == size
            if (path.full or (last and path in edge(size))) and _stored(tiles, path) != data:
                raise ReadBackFailed(path=path.text)
        tail = grown.tail
        tell(tail.size, size)
    if tail.root != signed.checkpoint.root:
        raise LogDiverged(reason="the entries do not give the signed root")
    return signed


def _stored(tiles: TileStore, path: TilePath) -> bytes:
    """As stored; a partial one may have been superseded by the full one meanwhile."""
    try:
        return tiles.get(path)
    except TileMissing:
        if path.full:
            raise
        whole = path.whole()
        return prefix(whole, tiles.get(whole), path.width)


def _entries(reader: LogReader, start: int, size: int) -> Iterator[list[bytes]]:
    """Entries [start, size), some bundles at a time."""
    number = start // TILE_WIDTH
    while number * TILE_WIDTH < size:
        entries: list[bytes] = []
        last = min(number + _BUNDLES, -(-size // TILE_WIDTH))
        for one in range(number, last):
            entries += reader.bundle(one, size)
        yield entries[max(0, start - number * TILE_WIDTH) :]
        number = last
