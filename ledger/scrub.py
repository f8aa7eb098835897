"""The ledger's part of `scrub`: bundle by bundle, in any order, by any number of processes.

Of each bundle: its entries, its lowest tile and its rows agree, every record opens
to what was committed to, and the tile hangs under the signed root. What concerns
the log as a whole (names, order, erasures, rows without a leaf) is `fsck`'s.
"""

from collections.abc import Iterable
from dataclasses import replace

from kernel.errors import CodedError
from ledger import heads
from ledger.errors import TileMissing
from ledger.fsck_rows import RowCheck
from ledger.fsck_tree import TreeCheck
from ledger.merkle import HASH_SIZE, TILE_WIDTH
from ledger.problems import Problem
from ledger.reader import LogReader
from ledger.service import Ledger
from ledger.tiles import TilePath, tile_width


def bundle_count(size: int) -> int:
    """How many bundles hold `size` entries."""
    return (size + TILE_WIDTH - 1) // TILE_WIDTH


def scrub_bundles(ledger: Ledger, shard: str, size: int, numbers: Iterable[int]) -> list[Problem]:
    """Check these bundles of a shard's published tree of `size` leaves.

    Raises what reading the head or the checkpoint raises, when they are no longer
    what they were when `size` was read.
    """
    reader = ledger.readers.of(shard)
    if reader.published().checkpoint.size < size:
        reader.refresh()
    with ledger.database.read() as tx:
        head = heads.load(tx, shard)
    rows = RowCheck(ledger.database, ledger.vault, replace(head, size=size))
    tiles = ledger.tiles if shard == ledger.shard else ledger.shards.open(shard)
    tree = TreeCheck(tiles, size, None)
    hanging: list[Problem] = []
    for number in numbers:
        before = len(tree.problems)
        leaves = rows.leaves(number)
        entries, hashes = tree.compare(number, leaves)
        rows.compare(number, leaves, entries)
        if len(tree.problems) == before:
            hanging += _hangs(reader, size, number, hashes)
    found = tree.problems + hanging
    if shard != ledger.shard:
        found = [replace(one, where=f"{shard}/{one.where}") for one in found]
    return found + rows.problems


def _hangs(reader: LogReader, size: int, number: int, hashes: bytes) -> list[Problem]:
    """Whether the tile is part of the signed tree.

    The path of its first leaf runs over the roots of all its other parts, so it
    holds for every hash of the tile or for none.
    """
    where = TilePath(0, number, tile_width(size, 0, number)).text
    try:
        inclusion = reader.inclusion(number * TILE_WIDTH)
    except TileMissing as error:
        return [Problem.of("tile_missing", str(error.details.get("path", where)))]
    except CodedError as error:
        return [Problem.of("tile_corrupt", where, error.code)]
    if inclusion.proves(hashes[:HASH_SIZE]):
        return []
    return [Problem.of("tile_corrupt", where, "not under the signed root")]
