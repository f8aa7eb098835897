"""RLP (Ethereum yellow paper, appendix B), read strictly and within bounds: what comes here
may be hostile.

One pass that checks the one canonical spelling as it goes. The library was lenient, so that
everything had to be encoded again to compare; that took a fifth of a receipt's time. A
property test compares with the library.
"""

from typing import TypeAlias

from ledger.evm.errors import ChainEvidenceMalformed

Item: TypeAlias = "bytes | list[Item]"
MAX_BYTES = 64 * 1024  # a header with the seals of 600 validators
MAX_DEPTH = 8  # a header has one level, its extraData two, a node with nodes in it some more
_TEXT, _LIST = 0x80, 0xC0
_SHORT = 55  # up to here the length stands in the first byte


def decode_list(data: bytes) -> list[Item]:
    """A list in its one canonical spelling; otherwise `ChainEvidenceMalformed`."""
    if len(data) > MAX_BYTES:
        raise ChainEvidenceMalformed(reason="RLP over 64 KiB")
    items = _items(data, 0, len(data), 0)
    if len(items) != 1 or not isinstance(items[0], list):
        raise ChainEvidenceMalformed(reason="not a list in canonical RLP")
    return items[0]


def encode(item: Item) -> bytes:
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _TEXT:
            return item
        return _prefix(_TEXT, len(item)) + item
    body = b"".join([encode(one) for one in item])
    return _prefix(_LIST, len(body)) + body


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


def _items(data: bytes, at: int, end: int, depth: int) -> list[Item]:
    """What stands from `at` to `end`, in lists that are `depth` deep already."""
    if depth > MAX_DEPTH:
        raise ChainEvidenceMalformed(reason="RLP nested too deep")
    found: list[Item] = []
    while at < end:
        kind = data[at]
        at += 1
        if kind < _TEXT:
            found.append(data[at - 1 : at])
            continue
        length = kind - (_TEXT if kind < _LIST else _LIST)
        if length > _SHORT:
            start, at = at, at + length - _SHORT
            length = int.from_bytes(data[start:at], "big")
            if at > end or data[start] == 0 or length <= _SHORT:
                raise ChainEvidenceMalformed(reason="not RLP: a length in another spelling")
        start, at = at, at + length
        if at > end:
            raise ChainEvidenceMalformed(reason="not RLP: cut off")
        if kind >= _LIST:
            found.append(_items(data, start, at, depth + 1))
        elif length == 1 and data[start] < _TEXT:
            raise ChainEvidenceMalformed(reason="not RLP: a byte in another spelling")
        else:
            found.append(data[start:at])
    return found


def _prefix(kind: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes([kind + length])
    size = (length.bit_length() + 7) // 8
    return bytes([kind + _SHORT + size]) + length.to_bytes(size, "big")
