"""A ZIP file of stored members (APPNOTE 6.3), streamed both ways.

Sizes and CRCs stand in the local headers, no data descriptors: readers that do
not seek (java.util.zip and others) take it, and its length is known beforehand.
The reader accepts exactly what the writer makes, so nothing overlaps, hides
between members or expands.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

_LIMIT32: Final = 0xFFFFFFFF
_LIMIT16: Final = 0xFFFF
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_END: Final = struct.Struct("<4s4H2IH")
_MADE_BY: Final = 3 << 8 | 45  # Unix, version 4.5
_MODE: Final = 0o100644 << 16


class ZipRefused(ValueError):
    """Not a stored ZIP of our form; the message says where, in English."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file: ASCII name, size in bytes, CRC-32."""

    name: str
    size: int
    crc: int


class Source(Protocol):
    """Where `read(n)` takes bytes from: a binary file."""

    def read(self, size: int, /) -> bytes: ...


def zip_length(members: Sequence[ZipMember], at: datetime) -> int:
    """The number of bytes that `zip_blocks` will yield."""
    locals_ = sum(len(_local_header(item, at)) + item.size for item in members)
    return locals_ + len(_directory(members, at))


def zip_blocks(
    members: Sequence[ZipMember], at: datetime, read: Callable[[ZipMember], Iterator[bytes]]
) -> Iterator[bytes]:
    """The ZIP file. `read` gives a member's bytes; others than announced raise `ZipRefused`."""
    for item in members:
        yield _local_header(item, at)
        size = crc = 0
        for block in read(item):
            size += len(block)
            crc = zlib.crc32(block, crc)
            yield block
        if (size, crc) != (item.size, item.crc):
            raise ZipRefused(f"{item.name} changed while it was packed")
    yield _directory(members, at)


def read_zip(source: Source, limit: int, on_member: "OnMember", block: int = 1 << 20) -> None:
    """Read a file made by `zip_blocks`, at most `limit` members.

    `on_member(name, blocks)` must use up `blocks`. Anything that the writer would
    not have written raises `ZipRefused`.
    """
    members: list[ZipMember] = []
    stamp: tuple[int, int] | None = None
    while True:
        head = _exactly(source, 4)
        if head != b"PK\x03\x04":
            break
        if len(members) >= limit:
            raise ZipRefused(f"more than {limit} members")
        raw = head + _exactly(source, _LOCAL.size - 4)
        _, _, _, _, time, date, crc, _, size, name_length, extra_length = _LOCAL.unpack(raw)
        raw += _exactly(source, name_length + extra_length)
        name = raw[_LOCAL.size : _LOCAL.size + name_length].decode("ascii", "backslashreplace")
        extra = raw[_LOCAL.size + name_length :]
        if size == _LIMIT32 and len(extra) == 20:
            size = int.from_bytes(extra[4:12], "little")
        item = ZipMember(name, size, crc)
        stamp = stamp or (time, date)
        if not name.isascii() or raw != _header(item, *stamp):
            raise ZipRefused("a member header")
        members.append(item)
        found = _Counted(source, size, block)
        on_member(name, iter(found))
        if found.left or found.crc != crc:
            raise ZipRefused("the CRC of a member")
    expected = _tail(members, *(stamp or (0, 0)))
    if head + _exactly(source, len(expected) - 4) != expected or source.read(1):
        raise ZipRefused("the directory at its end")


OnMember = Callable[[str, Iterator[bytes]], None]


class _Counted:
    """The bytes of one member, counted and summed while they pass."""

    def __init__(self, source: Source, size: int, block: int) -> None:
        self.left = size
        self.crc = 0
        self._source = source
        self._block = block

    def __iter__(self) -> Iterator[bytes]:
        while self.left:
            data = _exactly(self._source, min(self.left, self._block))
            self.left -= len(data)
            self.crc = zlib.crc32(data, self.crc)
            yield data


def _exactly(source: Source, size: int) -> bytes:
    parts = []
    while size:
        part = source.read(size)
        if not part:
            raise ZipRefused("it ends too early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _local_header(item: ZipMember, at: datetime) -> bytes:
    return _header(item, *_dos_time(at))


def _header(item: ZipMember, time: int, date: int) -> bytes:
    large = item.size >= _LIMIT32
    size = _LIMIT32 if large else item.size
    extra = struct.pack("<2H2Q", 1, 16, item.size, item.size) if large else b""
    name = item.name.encode("ascii", "replace")
    version = 45 if large else 20
    head = _LOCAL.pack(
        b"PK\x03\x04", version, 0, 0, time, date, item.crc, size, size, len(name), len(extra)
    )
    return head + name + extra


def _directory(members: Sequence[ZipMember], at: datetime) -> bytes:
    return _tail(members, *_dos_time(at))


def _tail(members: Sequence[ZipMember], time: int, date: int) -> bytes:
    """Central directory, ZIP64 end where needed, end record."""
    entries = []
    offset = 0
    for item in members:
        extra = b""
        size = where = 0
        if item.size >= _LIMIT32:
            extra += struct.pack("<2Q", item.size, item.size)
            size = _LIMIT32
        else:
            size = item.size
        if offset >= _LIMIT32:
            extra += struct.pack("<Q", offset)
            where = _LIMIT32
        else:
            where = offset
        version = 45 if extra else 20
        if extra:
            extra = struct.pack("<2H", 1, len(extra)) + extra
        name = item.name.encode("ascii", "replace")
        fixed = (len(name), len(extra), 0, 0, 0, _MODE, where)
        entries.append(
            _CENTRAL.pack(
                *(b"PK\x01\x02", _MADE_BY, version, 0, 0, time, date, item.crc, size, size), *fixed
            )
            + name
            + extra
        )
        offset += len(_header(item, time, date)) + item.size
    directory = b"".join(entries)
    count, length = len(members), len(directory)
    end = b""
    if count >= _LIMIT16 or offset >= _LIMIT32 or length >= _LIMIT32:
        end = _END64.pack(b"PK\x06\x06", 44, _MADE_BY, 45, 0, 0, count, count, length, offset)
        end += _LOCATOR64.pack(b"PK\x06\x07", 0, offset + length, 1)
    short = min(count, _LIMIT16)
    end += _END.pack(
        b"PK\x05\x06", 0, 0, short, short, min(length, _LIMIT32), min(offset, _LIMIT32), 0
    )
    return directory + end


def _dos_time(at: datetime) -> tuple[int, int]:
    if not 1980 <= at.year <= 2107:
        raise ValueError("outside the years of a ZIP file")
    time = at.hour << 11 | at.minute << 5 | at.second // 2
    return time, (at.year - 1980) << 9 | at.month << 5 | at.day
