"""Byte ranges of a request (RFC 9110 section 14), for one range. Pure."""

import re
from dataclasses import dataclass

from materials_api.grants.errors import RangeUnsatisfiable

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """The headers `Range` and `If-Range`, as they came."""

    range: str | None = None
    if_range: str | None = None

    def resumes(self, etag: str) -> bool:
        """Whether this goes on with a download that began earlier: a range, under the
        condition that the content is the same (section 13.1.5, strong comparison)."""
        return self.range is not None and self.if_range == etag


@dataclass(frozen=True, slots=True)
class ByteRange:
    """[start, stop) of the content; `partial` tells a 206 from a 200."""

    start: int
    stop: int
    partial: bool


def requested_range(wanted: RangeRequest, size: int, etag: str) -> ByteRange:
    """What to send of `size` bytes. `RangeUnsatisfiable` when nothing of it exists.

    A condition that fails, several ranges, and what does not parse are answered
    with the whole, as section 14.2 allows.
    """
    whole = ByteRange(0, size, partial=False)
    if wanted.range is None or (wanted.if_range is not None and wanted.if_range != etag):
        return whole
    found = _RANGE.fullmatch(wanted.range.strip())
    if found is None or found.group(1, 2) == ("", ""):
        return whole
    first, last = found[1], found[2]
    if first == "":
        length = min(int(last), size)
        if length == 0:
            raise RangeUnsatisfiable(size=size)
        return ByteRange(size - length, size, partial=True)
    start = int(first)
    if last != "" and int(last) < start:
        return whole  # not a valid range at all
    if start >= size:
        raise RangeUnsatisfiable(size=size)
    stop = size if last == "" else min(int(last) + 1, size)
    return ByteRange(start, stop, partial=True)
