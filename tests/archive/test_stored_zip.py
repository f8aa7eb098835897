"""The stored ZIP: other programs read it, and nothing but what was written is accepted."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from archive.stored_zip import ZipMember, ZipRefused, read_zip, zip_blocks, zip_length

AT = datetime(2026, 11, 24, 4, 20, 21, tzinfo=UTC)
FILES = {"case/a.txt": b"hello", "case/data/b.bin": bytes(range(256)) * 700, "case/empty": b""}


def packed(files: dict[str, bytes] = FILES) -> bytes:
    members = [ZipMember(name, len(data), zlib.crc32(data)) for name, data in files.items()]
    blocks = list(zip_blocks(members, AT, lambda item: iter([files[item.name]])))
    data = b"".join(blocks)
    assert len(data) == zip_length(members, AT)
    return data


def unpacked(data: bytes, limit: int = 100) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def take(name: str, blocks: Iterator[bytes]) -> None:
        found[name] = b"".join(blocks)

    read_zip(io.BytesIO(data), limit, take, block=1000)
    return found


def test_python_and_we_read_the_same() -> None:
    with zipfile.ZipFile(io.BytesIO(packed())) as outside:
        assert outside.testzip() is None
        assert {name: outside.read(name) for name in outside.namelist()} == FILES
        info = outside.getinfo("case/a.txt")
        assert (info.compress_type, info.flag_bits) == (zipfile.ZIP_STORED, 0)
        assert info.date_time == (2026, 11, 24, 4, 20, 20)
    assert unpacked(packed()) == FILES


def test_every_changed_byte_is_refused_or_changes_the_content() -> None:
    data = packed({"case/a.txt": b"hello", "case/b": b"world"})
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x04
        with pytest.raises(ZipRefused):
            unpacked(bytes(changed))


@pytest.mark.parametrize("cut", [1, 10, 30, 100])
def test_truncation_and_trailing_bytes_are_refused(cut: int) -> None:
    with pytest.raises(ZipRefused):
        unpacked(packed()[:-cut])
    with pytest.raises(ZipRefused):
        unpacked(packed() + b"x" * cut)


def test_compressed_and_descriptor_zips_are_refused() -> None:
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as outside:
            outside.writestr("case/a.txt", b"hello" * 100)
        with pytest.raises(ZipRefused):
            unpacked(buffer.getvalue())


def test_the_number_of_members_is_limited() -> None:
    with pytest.raises(ZipRefused, match="more than 2"):
        unpacked(packed(), limit=2)


def test_content_that_changes_while_it_is_packed_is_refused() -> None:
    members = [ZipMember("a", 5, zlib.crc32(b"hello"))]
    with pytest.raises(ZipRefused, match="changed"):
        list(zip_blocks(members, AT, lambda _item: iter([b"hellp"])))


def test_sizes_past_four_gibibytes_use_zip64_records() -> None:
    # Only headers: the length of what would be written, and the directory that other
    # programs read. The content is not produced.
    members = [ZipMember("big", 5 << 30, 1), ZipMember("after", 3, zlib.crc32(b"abc"))]
    headers = b"".join(
        block
        for block in zip_blocks(members[1:], AT, lambda _item: iter([b"abc"]))
        if block != b"abc"
    )
    assert zip_length(members, AT) > (5 << 30) + len(headers)


def test_more_than_65535_members_use_zip64_records() -> None:
    files = {f"f{number}": b"" for number in range(65_600)}
    data = packed(files)
    with zipfile.ZipFile(io.BytesIO(data)) as outside:
        assert len(outside.namelist()) == 65_600
    assert len(unpacked(data, limit=70_000)) == 65_600
