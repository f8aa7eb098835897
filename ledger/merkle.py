"""RFC 9162 Merkle trees: hashing, roots, inclusion and consistency proofs.

`blockcerts-merkletools` pairs left to right and promotes an odd last node,
which is the shape of RFC 9162 section 2.1.1. `TileTree` gives it the prefixed
node hash and serves inside a 256-wide tile; across tiles the functions below
work on a `NodeReader`, which returns hashes of complete subtrees.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from blockcerts_merkletools import MerkleTools

from ledger.errors import ConsistencyInvalid, InclusionInvalid

if TYPE_CHECKING:
    from hashlib import _Hash

HASH_SIZE = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
EMPTY_ROOT = sha256(b"").digest()
MAX_SIZE = (1 << 63) - 1

# The hash of the complete subtree over leaves [index·2^level, (index+1)·2^level).
NodeReader: TypeAlias = Callable[[int, int], bytes]
# The hash of the leaves [start, size), the incomplete subtree at the right edge.
EdgeReader: TypeAlias = Callable[[int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """`SHA-256(0x00 ‖ entry)`."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 ‖ left ‖ right)`."""
    return sha256(b"\x01" + left + right).digest()


def _prefixed(pair: bytes) -> "_Hash":
    return sha256(b"\x01" + pair)


class TileTree(MerkleTools):  # type: ignore[misc]
    """The tree over the 1 to 256 hashes of one tile.

    The library's own proofs and validation are not used: it checks neither
    sizes nor indexes, and without prefixes takes an inner node for a leaf.
    """

    def __init__(self, hashes: bytes) -> None:
        count, rest = divmod(len(hashes), HASH_SIZE)
        if rest or not 1 <= count <= TILE_WIDTH:
            raise ValueError("a tile has 1 to 256 hashes of 32 bytes")
        super().__init__()
        self.hash_function: Any = _prefixed
        self.leaves = [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
        self.make_tree()

    @property
    def root(self) -> bytes:
        root: bytes = self.levels[0][0]
        return root

    def rows(self) -> tuple[bytes, ...]:
        """The hashes of each height, 0 to 8, each row concatenated (16 KiB in all).

        The last hash of a row may be a promoted, incomplete node: readers ask
        for complete nodes only, which stand before it.
        """
        return tuple(b"".join(level) for level in reversed(self.levels))


def root_from_tails(tails: Sequence[bytes]) -> bytes:
    """The root of a tree from the incomplete tile of each level, lowest first.

    `tails[l]` are the hashes of level l that no full tile of that level holds.
    All leaves to the left of a tail are summed up in the tails above it.
    """
    carry = b""
    for tail in tails:
        if tail or carry:
            carry = TileTree(tail + carry).root
    return carry or EMPTY_ROOT


def range_root(read: NodeReader, start: int, end: int) -> bytes:
    """MTH(D[start:end]), where [start, end) is a subtree in the sense of section 2.1.1."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return read(level, start >> level)
    split = _split(count)
    return node_hash(range_root(read, start, start + split), range_root(read, start + split, end))


def tree_root(read: NodeReader, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return range_root(read, 0, size) if size else EMPTY_ROOT


def inclusion_proof(
    read: NodeReader, index: int, size: int, edge: EdgeReader | None = None, level: int = 0
) -> list[bytes]:
    """PATH(index, D[size]) of section 2.1.3.1: the leaf's sibling first, the leaf left out.

    `edge(start)` may give MTH(D[start:size]) from a cache: a path has at most
    one such incomplete subtree, and all paths of a tree share a few of them. With
    a `level`, the lower part of the path is left out (see `tile_path`).
    Raises `InclusionInvalid` unless 0 ≤ index < size.
    """
    if not 0 <= index < size:
        raise InclusionInvalid(reason="index outside the tree")
    proof = []
    node, last = index >> level, size - 1 >> level
    while last:
        sibling = node ^ 1
        if sibling < last or (sibling == last and (sibling + 1) << level <= size):
            proof.append(read(level, sibling))
        elif sibling == last:
            start = sibling << level
            proof.append(edge(start) if edge else range_root(read, start, size))
        node, last, level = node >> 1, last >> 1, level + 1
    return proof


def tile_path(rows: Sequence[bytes], position: int) -> list[bytes]:
    """The eight hashes of an audit path inside a full tile, from its `TileTree.rows`."""
    return [row[place] for row, place in zip(rows, _SIBLINGS[position], strict=False)]


def consistency_proof(read: NodeReader, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[new]) of section 2.1.4.1. Empty for old = 0 and old = new.

    Raises `ConsistencyInvalid` unless 0 ≤ old ≤ new.
    """
    if not 0 <= old <= new:
        raise ConsistencyInvalid(reason="sizes out of order")
    if old in (0, new):
        return []
    parts: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end - start:
        split = _split(end - start)
        if old <= split:
            parts.append(range_root(read, start + split, end))
            end = start + split
        else:
            parts.append(range_root(read, start, start + split))
            start, old, whole = start + split, old - split, False
    if not whole:
        parts.append(range_root(read, start, end))
    return parts[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Section 2.1.3.2: the leaf with this hash is at `index` of the tree `size`, `root`.

    Returns, or raises `InclusionInvalid`: index outside the tree, a hash that
    has not 32 bytes, surplus or missing hashes, another root.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise InclusionInvalid(reason="index outside the tree")
    _hashes_only(InclusionInvalid, leaf, root, *proof)
    node, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InclusionInvalid(reason="surplus hashes")
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise InclusionInvalid(reason="missing hashes")
    if current != root:
        raise InclusionInvalid(reason="another root")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Section 2.1.4.2: the tree `old`, `old_root` is a prefix of the tree `new`, `new_root`.

    Returns, or raises `ConsistencyInvalid`. The empty tree is a prefix of every
    tree: its root must be the empty root and its proof empty.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ConsistencyInvalid(reason="sizes out of order")
    _hashes_only(ConsistencyInvalid, old_root, new_root, *proof)
    if old in (0, new):
        if proof:
            raise ConsistencyInvalid(reason="surplus hashes")
        if (old == 0 and old_root != EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
            raise ConsistencyInvalid(reason="wrong root of the empty tree")
        if old == new and old_root != new_root:
            raise ConsistencyInvalid(reason="one size, two roots")
        return
    hashes = list(proof)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ConsistencyInvalid(reason="missing hashes")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    older = newer = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ConsistencyInvalid(reason="surplus hashes")
        if node & 1 or node == last:
            older = node_hash(sibling, older)
            newer = node_hash(sibling, newer)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ConsistencyInvalid(reason="missing hashes")
    if older != old_root or newer != new_root:
        raise ConsistencyInvalid(reason="another root")


# Where the sibling on each height stands in its row, for each position in a full tile.
_SIBLINGS = [
    tuple(
        slice(((position >> height) ^ 1) * HASH_SIZE, (((position >> height) ^ 1) + 1) * HASH_SIZE)
        for height in range(TILE_HEIGHT)
    )
    for position in range(TILE_WIDTH)
]


def _split(count: int) -> int:
    """The largest power of two below `count` (2 or more)."""
    return 1 << (count - 1).bit_length() - 1


def _hashes_only(
    refusal: type[InclusionInvalid] | type[ConsistencyInvalid], *values: bytes
) -> None:
    if any(len(value) != HASH_SIZE for value in values):
        raise refusal(reason="a hash has 32 bytes")
