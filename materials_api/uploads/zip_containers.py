"""Looks into a ZIP without unpacking it: which members, and whether it is sane.

Python's `zipfile` accepts overlapping members, by which 33 KB can declare 5 GB.
This reads the central directory alone, checks it against limits before building
anything, and inflates at most a few KiB of one named member. Layout: PKWARE
APPNOTE.TXT 6.3, sections 4.3.6 to 4.3.16. Pure: bytes come through a function
that reads a range.
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from materials_api.limits import ArchiveLimits

ReadRange = Callable[[int, int], bytes]
"""`read(start, stop)`: exactly the bytes of that range of the content."""

_EOCD = struct.Struct("<4sHHHHIIH")
_EOCD64_LOCATOR = struct.Struct("<4sIQI")
_EOCD64 = struct.Struct("<4sQHHIIQQQQ")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_LONGEST_COMMENT = 0xFFFF
TAIL_BYTES = _EOCD.size + _LONGEST_COMMENT  # what is looked at to find the end
# What the end record says where only the ZIP64 one can tell (4.4.1.4).
_MOST = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
_STORED, _DEFLATED = 0, 8


class HostileArchive(ValueError):
    """Malformed, over a limit, or built to fool: `problem` is a code."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Member:
    """One member as the central directory states it. Sizes in bytes."""

    name: str
    offset: int  # of its local header
    packed: int
    size: int
    method: int
    encrypted: bool
    name_bytes: int


@dataclass(frozen=True, slots=True)
class _End:
    at: int  # where the directory must end
    entries: int
    directory_at: int
    directory_bytes: int


def find_end(size: int, read: ReadRange) -> int | None:
    """Offset of an end-of-directory record that reaches exactly to the end, or None.

    Readers find ZIPs from the back, so this also tells a picture or PDF that
    carries an appended ZIP.
    """
    tail_at = max(0, size - TAIL_BYTES)
    tail = read(tail_at, size)
    found = tail.rfind(b"PK\x05\x06")
    while found >= 0:
        if found + _EOCD.size <= len(tail):
            comment = _EOCD.unpack_from(tail, found)[7]
            if tail_at + found + _EOCD.size + comment == size:
                return tail_at + found
        found = tail.rfind(b"PK\x05\x06", 0, found)
    return None


def members(size: int, read: ReadRange, limits: ArchiveLimits) -> Mapping[str, Member]:
    """The members by name, in directory order; raises `HostileArchive`."""
    end = _end(size, read)
    if end.entries > limits.members:
        raise HostileArchive("too_many_members")
    if end.directory_bytes > limits.directory_bytes:
        raise HostileArchive("directory_too_large")
    if end.directory_at + end.directory_bytes != end.at:
        # Also any bytes before the archive: offsets would be off by them.
        raise HostileArchive("directory_misplaced")
    found = _directory(read(end.directory_at, end.at), end.entries, limits)
    _check_totals(found, limits)
    _check_layout(found, end.directory_at)
    return {member.name: member for member in found}


def read_member(member: Member, read: ReadRange, most: int) -> bytes:
    """Up to `most` bytes of a member's content; raises `HostileArchive`."""
    header = read(member.offset, member.offset + _LOCAL.size)
    if len(header) < _LOCAL.size:
        raise HostileArchive("local_header_missing")
    fields = _LOCAL.unpack(header)
    start = member.offset + _LOCAL.size
    name = read(start, start + fields[9])
    if fields[0] != b"PK\x03\x04" or _name(name, fields[2]) != member.name:
        raise HostileArchive("local_header_differs")
    start += fields[9] + fields[10]
    if member.encrypted:
        raise HostileArchive("encrypted")
    packed = read(start, start + min(member.packed, most + 64))
    if member.method == _STORED:
        return packed[:most]
    if member.method != _DEFLATED:
        raise HostileArchive("method_unknown")
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
    except zlib.error as error:
        raise HostileArchive("deflate_broken") from error


def _end(size: int, read: ReadRange) -> _End:
    at = find_end(size, read)
    if at is None:
        raise HostileArchive("no_directory")
    fields = _EOCD.unpack(read(at, at + _EOCD.size))
    _, disk, directory_disk, here, entries, directory_bytes, directory_at, _ = fields
    if disk != directory_disk or here != entries:
        raise HostileArchive("split_archive")
    short = (entries, directory_bytes, directory_at)
    wide = read(at - _EOCD64_LOCATOR.size, at) if at >= _EOCD64_LOCATOR.size else b""
    if not wide.startswith(b"PK\x06\x07"):
        if any(value == most for value, most in zip(short, _MOST, strict=True)):
            raise HostileArchive("zip64_broken")
        return _End(at, entries, directory_at, directory_bytes)
    # Some writers add the ZIP64 records though nothing needs them: then both must agree.
    end = _end64(at, read)
    full = (end.entries, end.directory_bytes, end.directory_at)
    if any(value not in pair for value, *pair in zip(short, full, _MOST, strict=True)):
        raise HostileArchive("zip64_differs")
    return end


def _end64(at: int, read: ReadRange) -> _End:
    locator_at = at - _EOCD64_LOCATOR.size
    if locator_at < 0:
        raise HostileArchive("zip64_broken")
    magic, _, end_at, _ = _EOCD64_LOCATOR.unpack(read(locator_at, at))
    if magic != b"PK\x06\x07" or end_at + _EOCD64.size > locator_at:
        raise HostileArchive("zip64_broken")
    fields = _EOCD64.unpack(read(end_at, end_at + _EOCD64.size))
    if fields[0] != b"PK\x06\x06" or end_at + 12 + fields[1] != locator_at:
        raise HostileArchive("zip64_broken")
    _, _, _, _, _, _, here, entries, directory_bytes, directory_at = fields
    if here != entries:
        raise HostileArchive("split_archive")
    return _End(end_at, entries, directory_at, directory_bytes)


def _directory(data: bytes, entries: int, limits: ArchiveLimits) -> list[Member]:
    found: list[Member] = []
    at = 0
    for _ in range(entries):
        if at + _CENTRAL.size > len(data):
            raise HostileArchive("directory_short")
        fields = _CENTRAL.unpack_from(data, at)
        if fields[0] != b"PK\x01\x02":
            raise HostileArchive("directory_broken")
        flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
        name_size, extra_size, comment_size, offset = fields[10], fields[11], fields[12], fields[16]
        if name_size > limits.name_bytes:
            raise HostileArchive("name_too_long")
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_size
        at = extra_at + extra_size + comment_size
        if at > len(data):
            raise HostileArchive("directory_short")
        size, packed, offset = _wide(data[extra_at : extra_at + extra_size], size, packed, offset)
        name = _name(data[name_at:extra_at], flags)
        _check_name(name)
        found.append(Member(name, offset, packed, size, method, bool(flags & 1), name_size))
    if at != len(data):
        raise HostileArchive("directory_surplus")
    if len({member.name for member in found}) != len(found):
        raise HostileArchive("duplicate_name")
    return found


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Replace the fields that are 0xFFFFFFFF by those of the ZIP64 extra field (4.5.3)."""
    wanted = [value == 0xFFFFFFFF for value in (size, packed, offset)]
    if not any(wanted):
        return size, packed, offset
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind != 0x0001:
            continue
        if len(body) < 8 * sum(wanted):
            break
        values = iter(struct.unpack_from(f"<{sum(wanted)}Q", body))
        return (
            next(values) if wanted[0] else size,
            next(values) if wanted[1] else packed,
            next(values) if wanted[2] else offset,
        )
    raise HostileArchive("zip64_broken")


def _name(raw: bytes, flags: int) -> str:
    # Bit 11: UTF-8. Otherwise the code page is unknown; the names that matter are ASCII.
    try:
        return raw.decode("utf-8" if flags & 0x800 else "cp437")
    except UnicodeDecodeError as error:
        raise HostileArchive("name_unreadable") from error


def _check_name(name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or name[0] in "/\\" or ".." in parts or ":" in parts[0]:
        raise HostileArchive("name_escapes")


def _check_totals(found: list[Member], limits: ArchiveLimits) -> None:
    size = sum(member.size for member in found)
    packed = sum(member.packed for member in found)
    if size > limits.total_bytes:
        raise HostileArchive("declares_too_much")
    if size > limits.ratio * max(packed, 1):
        raise HostileArchive("ratio_too_high")


def _check_layout(found: list[Member], directory_at: int) -> None:
    """Members follow each other without overlap, all before the directory."""
    free = 0
    for member in sorted(found, key=lambda member: member.offset):
        if member.offset < free:
            raise HostileArchive("members_overlap")
        free = member.offset + _LOCAL.size + member.name_bytes + member.packed
    if free > directory_at:
        raise HostileArchive("members_overlap")
