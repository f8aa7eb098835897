"""RLP, read strictly and within bounds: what comes here may be hostile."""

from typing import TypeAlias

import rlp
from rlp.codec import encode_raw
from rlp.exceptions import RLPException

from ledger.evm.errors import ChainEvidenceMalformed

Item: TypeAlias = "bytes | list[Item]"
MAX_BYTES = 64 * 1024  # a header with the seals of 600 validators
MAX_DEPTH = 8  # a header has one level, its extraData two, a node with nodes in it some more


def decode_list(data: bytes) -> list[Item]:
    """A list in its one canonical spelling; otherwise `ChainEvidenceMalformed`."""
    if len(data) > MAX_BYTES:
        raise ChainEvidenceMalformed(reason="RLP over 64 KiB")
    # The library recurses, deep enough to end the process where the limit was raised.
    if _depth(data) > MAX_DEPTH:
        raise ChainEvidenceMalformed(reason="RLP nested too deep")
    try:
        item: Item = rlp.decode(data)
        # The library is lenient here and there; one value has one spelling.
        same = encode_raw(item) == data
    except (RLPException, ValueError) as error:
        raise ChainEvidenceMalformed(reason="not RLP") from error
    if not same or not isinstance(item, list):
        raise ChainEvidenceMalformed(reason="not a list in canonical RLP")
    return item


def encode(item: Item) -> bytes:
    return bytes(encode_raw(item))


def octets(item: Item, size: int | None = None) -> bytes:
    """The item as bytes, of this size if one is named."""
    if not isinstance(item, bytes) or (size is not None and len(item) != size):
        raise ChainEvidenceMalformed(reason="another kind or length of item in RLP")
    return item


def number(item: Item, size: int = 8) -> int:
    """The item as a number without leading zeros, at most `size` bytes."""
    raw = octets(item)
    if len(raw) > size or raw[:1] == b"\0":
        raise ChainEvidenceMalformed(reason="not a number in RLP")
    return int.from_bytes(raw, "big")


def _depth(data: bytes) -> int:
    """How deep lists stand in lists, at most; without recursion. Whether the lengths agree
    with each other is for the decoder."""
    at = deepest = 0
    ends: list[int] = []
    while at < len(data):
        while ends and at >= ends[-1]:
            ends.pop()
        kind = data[at]
        at += 1
        if kind < 0x80:
            continue
        is_list = kind >= 0xC0
        length = kind - (0xC0 if is_list else 0x80)
        if length > 55:  # the length of the length
            size = length - 55
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if is_list:
            ends.append(at + length)
            deepest = max(deepest, len(ends))
            if deepest > MAX_DEPTH:
                return deepest
        else:
            at += length
    return deepest
