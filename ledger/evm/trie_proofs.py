"""Proofs of inclusion in a Merkle Patricia trie (Ethereum yellow paper, appendix D)."""

from collections.abc import Sequence

from ledger.evm.errors import ChainEvidenceInvalid
from ledger.evm.keccak import keccak
from ledger.evm.rlp_items import Item, decode_list, octets

MAX_NODES = 65  # a nibble each, and the leaf
_HASH = 32


def proved_value(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes:
    """The value under keccak(`key`) in the trie with this 32-byte `root`.

    `nodes` are those on the way, root first, exactly as many as are needed.
    Proofs that a key is absent are not read. `ChainEvidenceMalformed` or
    `ChainEvidenceInvalid`.
    """
    if len(nodes) > MAX_NODES:
        raise ChainEvidenceInvalid(reason="too many nodes")
    path = keccak(key).hex()
    rest = list(nodes)
    reference: Item = root
    while True:
        node = _node(reference, rest)
        if len(node) == 17:
            if not path:
                return _found(node[16], rest)
            reference, path = node[int(path[0], 16)], path[1:]
        elif len(node) == 2:
            nibbles, leaf = _compact(octets(node[0]))
            if leaf:
                if nibbles != path:
                    raise ChainEvidenceInvalid(reason="a leaf of another key")
                return _found(node[1], rest)
            if not nibbles or not path.startswith(nibbles):
                raise ChainEvidenceInvalid(reason="an extension that leads elsewhere")
            reference, path = node[1], path[len(nibbles) :]
        else:
            raise ChainEvidenceInvalid(reason="a node has 2 or 17 items")


def _node(reference: Item, rest: list[bytes]) -> list[Item]:
    """The node that is referred to: by its hash, or, if shorter than one, in place."""
    if isinstance(reference, list):
        return reference
    if len(reference) != _HASH:
        raise ChainEvidenceInvalid(reason="the key is not in the trie")
    if not rest or keccak(rest[0]) != reference:
        raise ChainEvidenceInvalid(reason="a node is missing or has another hash")
    return decode_list(rest.pop(0))


def _found(value: Item, rest: list[bytes]) -> bytes:
    if rest:
        raise ChainEvidenceInvalid(reason="surplus nodes")
    found = octets(value)
    if not found:
        raise ChainEvidenceInvalid(reason="the key is not in the trie")
    return found


def _compact(prefix: bytes) -> tuple[str, bool]:
    """Nibbles in hex, and whether they end at a leaf."""
    text = prefix.hex()
    flag = int(text[0], 16) if text else 4
    if flag > 3 or (flag % 2 == 0 and text[1] != "0"):
        raise ChainEvidenceInvalid(reason="malformed nibbles")
    return text[1 if flag % 2 else 2 :], flag >= 2
