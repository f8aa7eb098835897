"""RFC 9162 trees, against the definition and against pymerkle."""

from hashlib import sha256

import pytest
from blockcerts_merkletools import MerkleTools
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from ledger.errors import ConsistencyInvalid, InclusionInvalid
from ledger.growth import Tail, grow
from ledger.merkle import (
    EMPTY_ROOT,
    NodeReader,
    TileTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_tails,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

SIZES = st.integers(1, 700)


def definition(hashes: list[bytes]) -> bytes:
    """MTH of section 2.1.1, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(definition(hashes[:k]), definition(hashes[k:]))


def reader_of(hashes: list[bytes]) -> NodeReader:
    def read(level: int, index: int) -> bytes:
        part = hashes[index << level : (index + 1) << level]
        assert len(part) == 1 << level, "only complete subtrees are asked for"
        return definition(part)

    return read


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"entry %d" % number) for number in range(count)]


def test_leaf_and_node_hashes_are_prefixed() -> None:
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()
    assert sha256(b"").digest() == EMPTY_ROOT


@pytest.mark.parametrize("size", [*range(1, 40), 63, 64, 65, 127, 128, 129, 255, 256])
def test_a_tile_has_the_root_of_the_definition(size: int) -> None:
    hashes = leaves(size)
    assert TileTree(b"".join(hashes)).root == definition(hashes)


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"x" * 33, b"x" * (257 * 32)])
def test_a_tile_has_1_to_256_hashes_of_32_bytes(data: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        TileTree(data)


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_roots_agree_with_pymerkle(size: int) -> None:
    other = InmemoryTree(algorithm="sha256")
    entries = [b"entry %d" % number for number in range(size)]
    for entry in entries:
        other.append_entry(entry)
    tail = grow(Tail(0), entries).tail
    assert tail.root == other.get_root()
    assert tail.root == tree_root(reader_of(leaves(size)), size)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_growing_in_steps_gives_the_root_of_the_whole(steps: list[int]) -> None:
    tail = Tail(0)
    entries: list[bytes] = []
    for step in steps:
        fresh = [b"%d/%d" % (len(entries), number) for number in range(step)]
        entries += fresh
        tail = grow(tail, fresh).tail
        assert tail.root == definition([leaf_hash(entry) for entry in entries])
        assert root_from_tails(tail.levels) == tail.root


def test_inclusion_of_every_leaf_of_every_small_tree() -> None:
    for size in range(1, 66):
        hashes = leaves(size)
        root = definition(hashes)
        for index in range(size):
            proof = inclusion_proof(reader_of(hashes), index, size)
            verify_inclusion(hashes[index], index, size, proof, root)


def test_consistency_of_every_pair_of_small_trees() -> None:
    hashes = leaves(40)
    for new in range(41):
        for old in range(new + 1):
            proof = consistency_proof(reader_of(hashes), old, new)
            verify_consistency(old, new, definition(hashes[:old]), definition(hashes[:new]), proof)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 300))
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    root = definition(hashes)
    proof = inclusion_proof(reader_of(hashes), index, size)
    at = data.draw(st.integers(0, len(proof) - 1))
    wrong: list[tuple[bytes, int, int, list[bytes], bytes]] = [
        (leaf_hash(b"another"), index, size, proof, root),
        (hashes[index], index, size, [*proof, b"x" * 32], root),
        (hashes[index], index, size, proof[:-1], root),
        (hashes[index], index, size, [*proof[:at], b"x" * 32, *proof[at + 1 :]], root),
        (hashes[index], index, size, [*proof[:at], proof[at][:-1], *proof[at + 1 :]], root),
        (hashes[index], index, size, proof, b"x" * 32),
        (hashes[index], index, size, proof, root[:31]),
        (hashes[index][:31], index, size, proof, root),
        (hashes[index], size, size, proof, root),
        (hashes[index], -1, size, proof, root),
        (hashes[index], index, 0, proof, root),
        (root, 0, size, [], root),
        (hashes[index], index, 1 << 63, proof, root),
    ]
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
    wrong.append((hashes[index], other, size, proof, root))
    for case in wrong:
        with pytest.raises(InclusionInvalid):
            verify_inclusion(*case)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new - 1))
    hashes = leaves(new)
    older, newer = definition(hashes[:old]), definition(hashes)
    proof = consistency_proof(reader_of(hashes), old, new)
    at = data.draw(st.integers(0, len(proof) - 1))
    for case in [
        (old, new, older, newer, [*proof, b"x" * 32]),
        (old, new, older, newer, proof[:-1]),
        (old, new, older, newer, [*proof[:at], b"x" * 32, *proof[at + 1 :]]),
        (old, new, older, newer, [*proof[:at], proof[at][:-1], *proof[at + 1 :]]),
        (old, new, b"x" * 32, newer, proof),
        (old, new, older, b"x" * 32, proof),
        (new, old, newer, older, proof),
        (-1, new, older, newer, proof),
        (0, new, older, newer, proof),
        (new, new, older, newer, []),
        (old, new, older, newer, []),
    ]:
        with pytest.raises(ConsistencyInvalid):
            verify_consistency(*case)


def test_the_empty_tree_is_a_prefix_of_every_tree_only_under_the_empty_root() -> None:
    root = definition(leaves(5))
    verify_consistency(0, 5, EMPTY_ROOT, root, [])
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    for older, newer, new in [(root, root, 5), (EMPTY_ROOT, root, 0)]:
        with pytest.raises(ConsistencyInvalid):
            verify_consistency(0, new, older, newer, [])


def test_proofs_are_asked_for_inside_the_tree_only() -> None:
    read = reader_of(leaves(4))
    for index, size in [(4, 4), (-1, 4), (0, 0)]:
        with pytest.raises(InclusionInvalid):
            inclusion_proof(read, index, size)
    for old, new in [(5, 4), (-1, 4)]:
        with pytest.raises(ConsistencyInvalid):
            consistency_proof(read, old, new)


def test_plain_merkletools_takes_an_inner_node_for_a_leaf_and_ours_does_not() -> None:
    plain = MerkleTools()
    plain.add_leaf([one.hex() for one in leaves(4)])
    plain.make_tree()
    inner = plain.levels[1][0].hex()
    proof = [{"right": plain.levels[1][1].hex()}]
    assert plain.validate_proof(proof, inner, plain.get_merkle_root())
    hashes = leaves(4)
    with pytest.raises(InclusionInvalid):
        verify_inclusion(definition(hashes[:2]), 0, 4, [definition(hashes[2:])], definition(hashes))
