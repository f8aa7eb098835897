"""Chain evidence: what it proves under which trust, and that no changed byte passes."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import rlp
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie
from trie.exceptions import BadTrieProof

from kernel.errors import CodedError
from ledger.evm.errors import ChainEvidenceInvalid, ChainEvidenceMalformed, ChainNotTrusted
from ledger.evm.evidence import storage_key, verify_chain_evidence
from ledger.evm.headers import block_hash, parse_header
from ledger.evm.model import Anchored, ChainEvidence, ChainTrust, Consensus
from ledger.evm.rlp_items import MAX_BYTES, MAX_DEPTH, decode_list, encode
from ledger.evm.trie_proofs import proved_value
from tests.ledger.evm.world import ADDRESSES, CODE, ORIGIN, ROOT, SIZE, World, proof, slot_of, trust

WORLD = World()


def verify(evidence: ChainEvidence, trusted: ChainTrust) -> Anchored:
    return verify_chain_evidence(evidence, trusted, ORIGIN, SIZE, ROOT)


def cases() -> Iterator[tuple[str, ChainEvidence, ChainTrust]]:
    """One of each kind of trust, all good."""
    plain = WORLD.plain()
    yield "pinned", WORLD.evidence(plain), trust(blocks=[keccak(plain)])
    four = ADDRESSES[:4]
    row = WORLD.clique_row(0, 1, 2)
    yield "clique", WORLD.evidence(*row), trust(Consensus.CLIQUE, validators=four)
    qbft = WORLD.qbft(0, 2, 3)
    yield "qbft", WORLD.evidence(qbft), trust(Consensus.QBFT, validators=four)
    ibft2 = WORLD.ibft2(3, 1, 0)
    yield "ibft2", WORLD.evidence(ibft2), trust(Consensus.IBFT2, validators=four)


CASES = {name: (evidence, trusted) for name, evidence, trusted in cases()}
each_case = pytest.mark.parametrize("name", CASES)


@each_case
def test_good_evidence_says_block_and_time(name: str) -> None:
    evidence, trusted = CASES[name]
    found = verify(evidence, trusted)
    assert (found.chain, found.block, found.time) == ("test chain", 7, 1_790_000_007)
    assert found.block_hash == block_hash(parse_header(evidence.header), trusted.consensus)


def mutations(evidence: ChainEvidence) -> Iterator[tuple[str, ChainEvidence]]:
    """Every byte of every part changed, and every list one shorter, longer or turned."""
    for name in ("contract", "header"):
        for at, changed in flipped(getattr(evidence, name)):
            yield f"{name} {at}", replace(evidence, **{name: changed})
    for name in ("account", "storage", "following"):
        parts: tuple[bytes, ...] = getattr(evidence, name)
        for number, part in enumerate(parts):
            for at, changed in flipped(part):
                new = (*parts[:number], changed, *parts[number + 1 :])
                yield f"{name} {number} {at}", replace(evidence, **{name: new})
            yield (
                f"{name} less {number}",
                replace(evidence, **{name: (*parts[:number], *parts[number + 1 :])}),
            )
        yield f"{name} more", replace(evidence, **{name: (*parts, evidence.header)})
        if len(parts) > 1:
            yield f"{name} turned", replace(evidence, **{name: parts[::-1]})


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(len(data)):
        yield at, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        yield at, data[:at] + data[at + 1 :]


@each_case
def test_every_changed_byte_is_refused(name: str) -> None:
    evidence, trusted = CASES[name]
    count = 0
    for what, mutated in mutations(evidence):
        if mutated == evidence:
            continue  # one of two equal neighbours was removed
        with pytest.raises(CodedError) as caught:
            found = verify(mutated, trusted)
            raise AssertionError((what, found))
        assert caught.value.code.startswith("chain_")
        count += 1
    assert count > 3000


@each_case
@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        (bytes(32), SIZE, ROOT),
        (ORIGIN, SIZE + 1, ROOT),
        (ORIGIN, SIZE, bytes(31) + b"\1"),
        (ORIGIN, SIZE, bytes(32)),
        (ORIGIN, SIZE, ROOT[::-1]),
    ],
)
def test_another_log_size_or_root_is_refused(
    name: str, origin: bytes, size: int, root: bytes
) -> None:
    evidence, trusted = CASES[name]
    with pytest.raises(ChainEvidenceInvalid):
        verify_chain_evidence(evidence, trusted, origin, size, root)


@each_case
def test_other_code_is_refused(name: str) -> None:
    evidence, trusted = CASES[name]
    with pytest.raises(ChainEvidenceInvalid, match="chain_evidence_invalid"):
        verify(evidence, replace(trusted, code_hash=keccak(CODE)))


def test_py_trie_agrees() -> None:
    evidence = WORLD.evidence(WORLD.plain())
    nodes = [rlp.decode(node) for node in evidence.account]
    account = HexaryTrie.get_from_proof(WORLD.state.root_hash, keccak(evidence.contract), nodes)
    assert account == proved_value(WORLD.state.root_hash, evidence.contract, evidence.account)
    slot = slot_of(ORIGIN, SIZE)
    assert slot == storage_key(ORIGIN, SIZE)
    nodes = [rlp.decode(node) for node in evidence.storage]
    value = HexaryTrie.get_from_proof(WORLD.storage.root_hash, keccak(slot), nodes)
    assert value == proved_value(WORLD.storage.root_hash, slot, evidence.storage)


@given(
    st.dictionaries(st.binary(max_size=3), st.binary(min_size=1, max_size=40), min_size=1),
    st.binary(max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_any_trie_reads_as_py_trie_reads_it(values: dict[bytes, bytes], asked: bytes) -> None:
    made = HexaryTrie({})
    for key, value in values.items():
        made[keccak(key)] = value
    for key in {*values, asked}:
        nodes = proof(made, keccak(key))
        if key in values:
            assert proved_value(made.root_hash, key, _separate(nodes)) == values[key]
        else:
            with pytest.raises((ChainEvidenceInvalid, ChainEvidenceMalformed)):
                proved_value(made.root_hash, key, _separate(nodes))
    with pytest.raises((BadTrieProof, KeyError)):
        HexaryTrie.get_from_proof(keccak(b"another"), keccak(asked), [])


def _separate(nodes: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Nodes shorter than a hash stand inside their parents; py-trie lists them once more."""
    return tuple(node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32)


# --- Who is trusted ---


def test_a_block_that_is_not_pinned_is_not_trusted() -> None:
    with pytest.raises(ChainNotTrusted):
        verify(WORLD.evidence(WORLD.plain()), trust(blocks=[bytes(32)]))
    with pytest.raises(ChainNotTrusted):
        verify(WORLD.evidence(WORLD.plain()), trust(validators=ADDRESSES))


@pytest.mark.parametrize("forks", range(7))
def test_headers_of_every_fork_are_read(forks: int) -> None:
    world = World(forks=forks)
    four = ADDRESSES[:4]
    plain = world.plain()
    for evidence, trusted in (
        (world.evidence(plain), trust(blocks=[keccak(plain)])),
        (world.evidence(*world.clique_row(3, 2, 1)), trust(Consensus.CLIQUE, validators=four)),
        (world.evidence(world.qbft(0, 1, 2)), trust(Consensus.QBFT, validators=four)),
        (world.evidence(world.ibft2(0, 1, 2)), trust(Consensus.IBFT2, validators=four)),
    ):
        assert verify(evidence, trusted).block == 7


@pytest.mark.parametrize(("validators", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4)])
@pytest.mark.parametrize("kind", [Consensus.QBFT, Consensus.IBFT2])
def test_two_thirds_must_have_sealed(kind: Consensus, validators: int, needed: int) -> None:
    seal = WORLD.qbft if kind is Consensus.QBFT else WORLD.ibft2
    trusted = trust(kind, validators=ADDRESSES[:validators])
    assert verify(WORLD.evidence(seal(*range(needed))), trusted).block == 7
    for few in (seal(*range(needed - 1)), seal(*range(needed), 0), seal()):
        with pytest.raises(ChainNotTrusted):
            verify(WORLD.evidence(few), trusted)


@pytest.mark.parametrize("kind", [Consensus.QBFT, Consensus.IBFT2])
def test_a_stranger_does_not_count(kind: Consensus) -> None:
    seal = WORLD.qbft if kind is Consensus.QBFT else WORLD.ibft2
    with pytest.raises(ChainNotTrusted):
        verify(WORLD.evidence(seal(0, 1, 4)), trust(kind, validators=ADDRESSES[:4]))


def test_the_two_byzantine_kinds_are_not_taken_for_each_other() -> None:
    for header, kind in ((WORLD.qbft(0, 1, 2), "ibft2"), (WORLD.ibft2(0, 1, 2), "qbft")):
        with pytest.raises(ChainNotTrusted):
            verify(WORLD.evidence(header), trust(Consensus(kind), validators=ADDRESSES[:4]))


def test_the_block_hash_does_not_depend_on_who_sealed_or_on_the_round() -> None:
    for seal, kind in ((WORLD.qbft, Consensus.QBFT), (WORLD.ibft2, Consensus.IBFT2)):
        hashes = {
            block_hash(parse_header(header), kind)
            for header in (seal(0, 1, 2), seal(3), seal(0, round_=b"\x05"))
        }
        assert len(hashes) == 1
        pinned = trust(kind, blocks=list(hashes))
        assert verify(WORLD.evidence(seal(0, 1, 2)), pinned).block_hash in hashes


@pytest.mark.parametrize(("validators", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_more_than_half_of_clique_must_follow(validators: int, needed: int) -> None:
    trusted = trust(Consensus.CLIQUE, validators=ADDRESSES[:validators])
    row = WORLD.clique_row(*range(needed))
    assert verify(WORLD.evidence(*row), trusted).block == 7
    if needed > 1:
        with pytest.raises(ChainNotTrusted):
            verify(WORLD.evidence(*row[:-1]), trusted)
        again = WORLD.clique_row(*range(needed - 1), 0)
        with pytest.raises(ChainNotTrusted):
            verify(WORLD.evidence(*again), trusted)


def test_a_clique_row_with_a_stranger_or_a_gap_is_refused() -> None:
    trusted = trust(Consensus.CLIQUE, validators=ADDRESSES[:4])
    with pytest.raises(ChainNotTrusted):
        verify(WORLD.evidence(*WORLD.clique_row(0, 4, 1, 2)), trusted)
    row = WORLD.clique_row(0, 1, 2, 3)
    with pytest.raises(ChainEvidenceInvalid):
        verify(WORLD.evidence(row[0], row[2], row[3]), trusted)


# --- Hostile bytes ---


def nested(depth: int) -> bytes:
    item: bytes = b"\xc0"
    for _ in range(depth):
        length = len(item).to_bytes(2, "big").lstrip(b"\0")
        short = len(item) <= 55
        head = bytes([0xC0 + len(item)]) if short else bytes([0xF7 + len(length)]) + length
        item = head + item
    return item


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\xc0",
        b"\xc1",
        b"\xc2\x81\x01",  # another spelling of 1
        b"\xf8\x01\x01",  # another spelling of a short list
        b"\xff" + b"\xff" * 8,
        b"\xbf" + b"\xff" * 8,
        nested(10_000),
        nested(900),
        bytes([0xFA, 0x01, 0x00, 0x00]) + bytes(65536),
        b"\xc0" * 15,
    ],
    ids=range(12),
)
@pytest.mark.parametrize("where", ["header", "account", "storage"])
def test_hostile_rlp_is_refused(data: bytes, where: str) -> None:
    evidence, trusted = CASES["pinned"]
    value = data if where == "header" else (data,)
    with pytest.raises((ChainEvidenceMalformed, ChainEvidenceInvalid)):
        verify(replace(evidence, **{where: value}), trusted)


def test_nesting_is_refused_before_anything_recurses() -> None:
    """py-evm raises the interpreter's limit for the whole process; others may as well."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for depth in (MAX_DEPTH, 9_000):
            with pytest.raises(ChainEvidenceMalformed) as caught:
                decode_list(nested(depth))
            assert caught.value.details["reason"] == "RLP nested too deep"
    finally:
        sys.setrecursionlimit(before)
    assert decode_list(nested(MAX_DEPTH - 1))


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_junk_is_malformed_or_has_one_spelling(data: bytes) -> None:
    try:
        items = decode_list(data)
    except ChainEvidenceMalformed:
        return
    assert rlp.encode(items) == data


_ITEMS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.binary(max_size=3), st.binary(min_size=50, max_size=60), st.binary(max_size=400)),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=40,
)


@given(st.lists(_ITEMS, max_size=5))
@settings(max_examples=200)
def test_rlp_is_read_and_written_as_the_library_does(items: list[Any]) -> None:
    data = rlp.encode(items)
    assert encode(items) == data
    if len(data) <= MAX_BYTES and _deep(items) <= MAX_DEPTH:
        assert decode_list(data) == items


def _deep(item: Any) -> int:
    return 1 + max(map(_deep, item), default=0) if isinstance(item, list) else 0


@given(st.lists(_ITEMS, max_size=4), st.integers(min_value=0), st.integers(1, 255))
@settings(max_examples=300)
def test_a_changed_byte_is_refused_or_another_value(
    items: list[Any], place: int, change: int
) -> None:
    data = bytearray(rlp.encode(items))
    data[place % len(data)] ^= change
    try:
        read = decode_list(bytes(data))
    except ChainEvidenceMalformed:
        return
    assert read != items
    assert rlp.encode(read) == data


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, storage=one.storage * 100),
        lambda one: replace(one, account=one.account * 100),
        lambda one: replace(one, header=one.header + bytes(MAX_BYTES)),
        lambda one: replace(one, following=(one.header,) * 601),
    ],
)
def test_sizes_are_bounded(change: Callable[[ChainEvidence], ChainEvidence]) -> None:
    evidence, trusted = CASES["pinned"]
    with pytest.raises((ChainEvidenceMalformed, ChainEvidenceInvalid)):
        verify(change(evidence), trusted)


def test_a_root_that_begins_with_zeros_is_found() -> None:
    for root in (b"\0\0" + ROOT[2:], bytes(31) + b"\x05", bytes(31) + b"\x85"):
        world = World(root=root)
        plain = world.plain()
        found = verify_chain_evidence(
            world.evidence(plain), trust(blocks=[keccak(plain)]), ORIGIN, SIZE, root
        )
        assert found.block == 7
