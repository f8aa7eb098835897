"""DER taken apart into fields, and put together again with one of them changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

CONSTRUCTED = 0x20
OCTETS, BITS = 0x04, 0x03


@dataclass(frozen=True)
class Field:
    """Tag and content: bytes, or fields. `prefix`: what stands before the fields inside of a
    bit string. `spare`: zeros before the length, which DER forbids."""

    tag: int
    content: "bytes | tuple[Field, ...]"
    prefix: bytes = b""
    spare: int = 0

    def encode(self) -> bytes:
        inner = self.content
        raw = inner if isinstance(inner, bytes) else b"".join(one.encode() for one in inner)
        raw = self.prefix + raw
        size = len(raw)
        if size < 0x80 and not self.spare:
            return bytes([self.tag, size]) + raw
        octets = size.to_bytes((size.bit_length() + 7) // 8 + self.spare, "big")
        return bytes([self.tag, 0x80 + len(octets)]) + octets + raw


def fields(data: bytes) -> tuple[Field, ...]:
    """The fields in a row; `ValueError` if these bytes are none."""
    made = []
    while data:
        if len(data) < 2 or data[0] & 0x1F == 0x1F:
            raise ValueError("no field")
        tag, size, at = data[0], data[1], 2
        if size >= 0x80:
            at += size - 0x80
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            raise ValueError("cut off")
        made.append(_field(tag, data[at : at + size]))
        data = data[at + size :]
    return tuple(made)


def _field(tag: int, content: bytes) -> Field:
    if tag & CONSTRUCTED:
        return Field(tag, fields(content))
    prefix = b"\0" if tag == BITS else b""
    inner = content.removeprefix(prefix)
    if tag in (OCTETS, BITS) and inner[:1] == b"\x30":
        try:
            return Field(tag, fields(inner), prefix)
        except ValueError:
            pass  # bytes that only begin like DER
    return Field(tag, content)


def changes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Each field deleted, twice, turned with the next, of another tag, of other content."""
    row = fields(data)
    assert _joined(row) == data
    yield from ((what, _joined(new)) for what, new in _changed(row, ""))


def swaps(data: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """Each field from the same place of `other`."""
    yield from ((what, _joined(new)) for what, new in _swapped(fields(data), fields(other), ""))


def place(data: bytes, other: bytes) -> str:
    """The first field that differs, as deep as both agree on what is around it."""
    row, changed = fields(data), fields(other)
    path = "field "
    while True:
        pairs = enumerate(zip(row, changed, strict=False))
        at = next((at for at, (one, two) in pairs if one != two), min(len(row), len(changed)))
        path += f"/{at}"
        if at >= len(row) or at >= len(changed) or row[at].tag != changed[at].tag:
            return path
        inner, new = row[at].content, changed[at].content
        if not isinstance(inner, tuple) or not isinstance(new, tuple):
            return path
        row, changed = inner, new


def _joined(row: Sequence[Field]) -> bytes:
    return b"".join(one.encode() for one in row)


def _changed(row: tuple[Field, ...], path: str) -> Iterator[tuple[str, tuple[Field, ...]]]:
    for at, one in enumerate(row):
        here = f"field {path}/{at}" if not path else f"{path}/{at}"
        before, after = row[:at], row[at + 1 :]
        yield f"{here} deleted", before + after
        yield f"{here} twice", (*before, one, one, *after)
        if after:
            yield f"{here} turned", (*before, after[0], one, *after[1:])
        yield f"{here} longer spelling", (*before, replace(one, spare=1), *after)
        yield f"{here} tag", (*before, replace(one, tag=one.tag ^ 1), *after)
        for what, content in _contents(one):
            yield f"{here} {what}", (*before, Field(one.tag, content), *after)
        if isinstance(one.content, tuple):
            for what, inner in _changed(one.content, here):
                yield what, (*before, replace(one, content=inner), *after)


def _contents(one: Field) -> Iterator[tuple[str, bytes]]:
    raw = one.content
    if isinstance(raw, tuple):
        yield "emptied", b""
        return
    yield "longer", raw + b"\0"
    if raw:
        yield "emptied", b""
        yield "first changed", bytes([raw[0] ^ 1]) + raw[1:]
        yield "last changed", raw[:-1] + bytes([raw[-1] ^ 1])
        yield "shorter", raw[:-1]


def _swapped(
    row: tuple[Field, ...], other: tuple[Field, ...], path: str
) -> Iterator[tuple[str, tuple[Field, ...]]]:
    for at, (one, new) in enumerate(zip(row, other, strict=False)):
        if one == new:
            continue
        here = f"field {path}/{at}" if not path else f"{path}/{at}"
        before, after = row[:at], row[at + 1 :]
        yield here, (*before, new, *after)
        if isinstance(one.content, tuple) and isinstance(new.content, tuple):
            for what, inner in _swapped(one.content, new.content, here):
                yield what, (*before, replace(one, content=inner), *after)
