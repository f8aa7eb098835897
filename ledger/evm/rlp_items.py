"""RLP, read strictly and within bounds: what comes here may be hostile."""

from collections.abc import Sequence
from typing import TypeAlias

import rlp
from rlp.exceptions import RLPException

from ledger.evm.errors import ChainEvidenceMalformed

Item: TypeAlias = "bytes | list[Item]"
MAX_BYTES = 64 * 1024  # a header with the seals of 600 validators


def decode_list(data: bytes) -> list[Item]:
    """A list in its one canonical spelling; otherwise `ChainEvidenceMalformed`."""
    if len(data) > MAX_BYTES:
        raise ChainEvidenceMalformed(reason="RLP over 64 KiB")
    try:
        item = _plain(rlp.decode(data))
        # The library is lenient here and there; one value has one spelling.
        same = rlp.encode(item) == data
    except (RLPException, RecursionError, ValueError) as error:
        raise ChainEvidenceMalformed(reason="not RLP, or nested too deep") from error
    if not same or not isinstance(item, list):
        raise ChainEvidenceMalformed(reason="not a list in canonical RLP")
    return item


def encode(item: Item) -> bytes:
    return bytes(rlp.encode(item))


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


def _plain(value: bytes | Sequence[object]) -> Item:
    if isinstance(value, bytes):
        return value
    return [_plain(one) for one in value]  # type: ignore[arg-type]
