"""The one serialiser of records: canonical JSON (RFC 8785) on restricted values.

Records use ASCII keys, strings, booleans, null, lists, objects and integers
whose magnitude is below 2^53. On these values compact sorted JSON equals
RFC 8785, which a property test proves against the `rfc8785` package: ASCII
keys sort alike by code point and by UTF-16 unit, and there are no floats.

orjson reads and writes; nothing is believed of it but that: values are checked before
they are written, and what was read is written again and compared (ADR 0025).
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Record: TypeAlias = Mapping[str, JsonValue]

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
_MAX_INT = (1 << 53) - 1


class NotCanonical(ValueError):
    """The value or the bytes are outside the restricted canonical form."""


def canonical_bytes(value: JsonValue, depth: int = MAX_DEPTH) -> bytes:
    """The canonical bytes of `value`, at most 1 MiB and `depth` levels; else `NotCanonical`."""
    _check(value, depth)
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise NotCanonical("lone surrogate in a string") from error
    if len(data) > MAX_BYTES:
        raise NotCanonical("record larger than 1 MiB")
    return data


def parse_canonical(data: bytes) -> JsonValue:
    """Read bytes that must be exactly canonical: duplicate or unsorted keys,
    spaces, floats, other escapes and nesting past 16 are `NotCanonical`."""
    if len(data) > MAX_BYTES:
        raise NotCanonical("record larger than 1 MiB")
    try:
        value: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotCanonical("not JSON in UTF-8, or nested far too deep") from error
    if canonical_bytes(value) != data:
        raise NotCanonical("JSON, but not in canonical form")
    return value


def parse_record(data: bytes) -> dict[str, JsonValue]:
    """`parse_canonical`, and the value must be an object."""
    value = parse_canonical(data)
    if not isinstance(value, dict):
        raise NotCanonical("not an object")
    return value


def _check(value: JsonValue, depth: int) -> None:
    # Exact types first: this runs once per record on the ledger's write path.
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if not -_MAX_INT <= value <= _MAX_INT:  # type: ignore[operator]
            raise NotCanonical("integer of 2^53 or more")
        return
    if depth == 0:
        raise NotCanonical("nested too deep")
    if kind is dict:
        for key, item in value.items():  # type: ignore[union-attr]
            if type(key) is not str or not key.isascii():
                raise NotCanonical("keys are ASCII strings")
            if type(item) is not str:  # most are: a call saved for each
                _check(item, depth - 1)
        return
    if kind is list or kind is tuple:
        for item in value:  # type: ignore[union-attr]
            _check(item, depth - 1)
        return
    raise NotCanonical(f"a record holds no {kind.__name__}")
