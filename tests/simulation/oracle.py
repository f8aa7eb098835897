"""What must hold after every step, computed without any code of the product's tree."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from ledger.tiles import TilePath
from tests.simulation.schedule import Violation

WIDTH = 256


def hash_leaf(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf).digest()


class Tree:
    """An append-only RFC 9162 tree: its roots and the bytes that tiles must have."""

    def __init__(self, leaves: list[bytes], nodes: list[list[bytes]]) -> None:
        self.leaves = leaves
        self._nodes = nodes  # [height][index]: complete subtrees
        self._blobs: dict[TilePath, bytes] = {}

    @classmethod
    def of(cls, leaves: list[bytes]) -> "Tree":
        tree = cls([], [[]])
        for leaf in leaves:
            tree.append(leaf)
        return tree

    def copy(self) -> "Tree":
        return Tree(list(self.leaves), [list(row) for row in self._nodes])

    def append(self, leaf: bytes) -> None:
        self.leaves.append(leaf)
        height, node = 0, hash_leaf(leaf)
        while True:
            row = self._nodes[height]
            row.append(node)
            if len(row) % 2:
                return
            node = sha256(b"\1" + row[-2] + node).digest()
            height += 1
            if height == len(self._nodes):
                self._nodes.append([])

    def root(self, size: int) -> bytes:
        if size == 0:
            return sha256().digest()
        root, start, rest = b"", size, size
        for height in range(size.bit_length()):
            if rest >> height & 1:
                start -= 1 << height
                node = self._nodes[height][start >> height]
                root = sha256(b"\1" + node + root).digest() if root else node
        return root

    def blob(self, path: TilePath) -> bytes:
        """What must stand at this path; empty where the tree has less."""
        hashes = len(self.leaves) >> 8 * (path.level or 0)
        if path.index * WIDTH + path.width > hashes:
            return b""
        known = self._blobs.get(path)
        if known is None:
            known = self._blobs[path] = self._blob(path)
        return known

    def _blob(self, path: TilePath) -> bytes:
        first = path.index * WIDTH
        if path.level is None:
            leaves = self.leaves[first : first + path.width]
            return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)
        return b"".join(self._nodes[8 * path.level][first : first + path.width])


def needed(size: int, since: int = 0) -> Iterator[TilePath]:
    """The bundles and tiles of a tree of `size` leaves that a tree of `since` had not whole."""
    for level in (None, 0, 1, 2):
        hashes = size >> 8 * (level or 0)
        for index in range((since >> 8 * (level or 0)) // WIDTH, (hashes + WIDTH - 1) // WIDTH):
            yield TilePath(level, index, min(WIDTH, hashes - index * WIDTH))


@dataclass(frozen=True)
class HeadRow:
    epoch: int
    staged: int
    size: int
    root: bytes
    checkpoint: bytes
    successor: str | None = None


NO_HEAD = HeadRow(0, 0, 0, sha256().digest(), b"")  # of a shard that is not begun


@dataclass
class Oracle:
    """Watches every signature, blob, swap and publication; the first wrong one ends the run."""

    tree: Tree
    base: int  # leaves that were there before the run
    blobs: dict[TilePath, bytes]
    flipped: set[TilePath] = field(default_factory=set)  # when stored
    rotten: set[TilePath] = field(default_factory=set)  # at rest
    owners: list[str] = field(default_factory=list)  # entry ids by index, from `base` on
    signed: dict[int, bytes] = field(default_factory=dict)
    published: list[tuple[int, bytes]] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    heads: dict[str, HeadRow] = field(default_factory=dict)  # as each process left it
    checks: int = 0

    def require(self, holds: bool, what: str) -> None:
        self.checks += 1
        if not holds:
            raise Violation(what)

    # --- The database ---

    def swapped(self, process: str, before: HeadRow, after: HeadRow) -> None:
        """A transaction of `process` committed. A swap starts from the head that it knows."""
        if after == before:
            return
        if before.successor is not None:
            same = (after.successor, after.staged) == (before.successor, before.staged)
            self.require(same, "a shard that ended goes on, or ended once more")
        elif after.successor is not None:
            whole = before.size == before.staged == after.size
            self.require(whole and after.staged == before.staged + 1, "no end of one entry")
        took_over = after == replace(before, epoch=before.epoch + 1)
        if before == NO_HEAD and after == replace(NO_HEAD, staged=1):
            return  # begun
        if not took_over:
            known = self.heads.get(process)
            self.require(known == before, f"{process} moved a head that another had moved")
            self.require(after.epoch == before.epoch, "an epoch changed without a take-over")
            self.require(after.staged >= before.staged, "indexes were taken back")
            self.require(after.size in (before.size, before.staged), "the head skips a round")
        self.heads[process] = after
        if after.size != before.size:
            self.require(self.signed.get(after.size) == after.root, "a head was never signed")

    def assigned(self, rows: list[tuple[int, str, bytes]], staged: int) -> None:
        """All entries with an index, from `base` on, in order: they never change or leave gaps."""
        indexes = [row[0] for row in rows]
        self.require(
            indexes == list(range(self.base, self.base + len(rows))),
            "a gap, or an index given twice",
        )
        self.require(self.base + len(rows) == staged, "indexes and the staged size differ")
        self.require(len(rows) >= len(self.owners), "an entry lost its index")
        for (_, entry_id, leaf), (known, old) in zip(
            rows, zip(self.owners, self.tree.leaves[self.base :], strict=True), strict=False
        ):
            if entry_id != known or leaf != old:
                raise Violation("an entry lost its index to another")
        for _, entry_id, leaf in rows[len(self.owners) :]:
            self.owners.append(entry_id)
            self.tree.append(leaf)

    # --- The store ---

    def stored(self, path: TilePath, before: bytes | None) -> None:
        self.require(
            before is None or before == self.blobs[path] or path in self.rotten | self.flipped,
            f"{path.text} was overwritten",
        )

    def removed(self, path: TilePath) -> None:
        whole = path.whole()
        if self.published and path.whole() not in self.blobs:
            size = self.published[-1][0]
            hashes = size >> 8 * (path.level or 0)
            width = min(WIDTH, hashes - path.index * WIDTH)
            self.require(width != path.width, f"{path.text} is needed, {whole.text} is not there")

    def backed(self, size: int, since: int, *, flipped: bool) -> None:
        """All tiles and bundles of this size are stored, with the right bytes."""
        for path in needed(size, since):
            known = path if path in self.blobs else path.whole()
            data = self.blobs.get(known)
            self.require(data is not None, f"{path.text} of size {size} is not stored")
            if known in self.rotten:
                continue
            if known in self.flipped and flipped:
                raise Violation(f"{known.text} of size {size} was stored wrong")
            expected = self.tree.blob(path)
            if known not in self.flipped and data != expected and known == path:
                raise Violation(f"{path.text} of size {size} has other bytes")
            if known != path and known not in self.flipped and data is not None:
                self.require(data[: len(expected)] == expected, f"{known.text} has other bytes")

    # --- Signing, publishing, telling ---

    def signs(self, size: int, root: bytes) -> None:
        self.require(self.signed.setdefault(size, root) == root, f"two roots for size {size}")
        self.require(size <= len(self.tree.leaves), f"size {size} is more than has an index")
        self.require(self.tree.root(size) == root, f"the root of size {size} is wrong")
        self.backed(size, self.base, flipped=True)

    def publishes(self, size: int, root: bytes, head: HeadRow) -> None:
        last = self.published[-1] if self.published else (0, b"")
        self.require(size >= last[0], f"the published log went back from {last[0]} to {size}")
        self.require(self.signed.get(size) == root, f"size {size} was published, never signed")
        self.require(head.size >= size, f"size {size} was published before the head moved")
        self.published.append((size, root))
        self.backed(size, self.base, flipped=False)

    def acknowledges(self, entry_id: str, index: int, size: int, root: bytes) -> None:
        self.require((size, root) in self.published, f"size {size} was believed, never published")
        self.require(self.acknowledged.setdefault(entry_id, index) == index, "an index changed")
        self.require(self.owners[index - self.base] == entry_id, "the index is another entry's")
