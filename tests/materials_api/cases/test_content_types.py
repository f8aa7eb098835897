"""What content is: office containers told apart, polyglots and hostile ZIPs called nothing."""

import io
import struct
import zipfile
import zlib

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from materials_api.limits import ArchiveLimits
from materials_api.uploads.content_types import OFD, PDF, UNKNOWN, ZIP, sniff
from materials_api.uploads.zip_containers import HostileArchive, find_end, members, read_member

LIMITS = ArchiveLimits()
OFD_XML = '<?xml version="1.0"?><ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016" DocType="OFD"/>'


def look(data: bytes, limits: ArchiveLimits = LIMITS) -> str:
    return sniff(data[: 256 * 1024], len(data), lambda a, b: data[a:b], limits)


def listed(data: bytes, limits: ArchiveLimits = LIMITS) -> list[str]:
    return list(members(len(data), lambda a, b: data[a:b], limits))


def zipped(*entries: tuple[str, str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return buffer.getvalue()


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    return buffer.getvalue()


def pdf() -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1)
    canvas.drawString(72, 72, "text")
    canvas.save()
    return buffer.getvalue()


def sheet() -> bytes:
    buffer = io.BytesIO()
    openpyxl.Workbook().save(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pdf(), PDF),
        (picture("JPEG"), "image/jpeg"),
        (picture("PNG"), "image/png"),
        (picture("TIFF"), "image/tiff"),
        (picture("BMP"), "image/bmp"),
        (zipped(("OFD.xml", OFD_XML), ("Doc_0/Document.xml", "<a/>")), OFD),
        (sheet(), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (
            zipped(("[Content_Types].xml", "<Types/>"), ("word/document.xml", "<w/>")),
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (
            zipped(
                ("[Content_Types].xml", "<Types/>"),
                ("word/document.xml", "<w/>"),
                ("word/vbaProject.bin", "macro"),
            ),
            "application/vnd.ms-word.document.macroEnabled.12",
        ),
        (
            zipped(
                ("mimetype", "application/vnd.oasis.opendocument.text"),
                ("content.xml", "<a/>"),
                method=zipfile.ZIP_STORED,
            ),
            "application/vnd.oasis.opendocument.text",
        ),
        (zipped(("a.txt", "a"), ("目录/乙.txt", "b")), ZIP),
        ("中文说明\n第二行\n".encode(), "text/plain"),
        (b"\xef\xbb\xbf\n" + pdf(), PDF),
    ],
)
def test_content_is_named_by_what_it_is(data: bytes, expected: str) -> None:
    assert look(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        picture("GIF") + pdf(),
        b"GIF89a junk\n" + pdf(),
        picture("JPEG") + zipped(("a.txt", "a")),
        pdf() + zipped(("payload.js", "a")),
        zipped(
            ("OFD.xml", OFD_XML), ("[Content_Types].xml", "<T/>"), ("word/document.xml", "<w/>")
        ),
        zipped(("OFD.xml", "<html/>")),
        zipped(("%PDF-1.4", "x")),
        b"MZ" + zipped(("a.txt", "a")),
    ],
)
def test_content_that_is_two_things_is_nothing(data: bytes) -> None:
    assert look(data) == UNKNOWN


def test_an_office_name_alone_does_not_make_an_office_file() -> None:
    assert look(zipped(("word/document.xml", "<w/>"))) == ZIP


def _entry(name: bytes, body: bytes, size: int) -> tuple[bytes, bytes]:
    """A local entry with deflated `body`, and its central header with the offset left at 0."""
    crc = zlib.crc32(b"")
    local = struct.pack(
        "<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(body), size, len(name), 0
    )
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(body), size, len(name), 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return local + name + body, central + name


def overlapping(count: int) -> bytes:
    """Many directory entries that all point at one kernel of compressed bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(bytes(1 << 16)) + packer.flush()
    local, _ = _entry(b"000", body, 1 << 16)
    directory = b"".join(_entry(b"%03d" % n, body, 1 << 16)[1] for n in range(count))
    end = struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(local), 0
    )
    return local + directory + end


def test_overlapping_members_are_refused() -> None:
    with pytest.raises(HostileArchive, match="members_overlap"):
        listed(overlapping(50))
    assert look(overlapping(50)) == UNKNOWN


def test_a_bomb_is_refused_by_what_it_declares() -> None:
    bomb = zipped(("zeros", "\0" * 5_000_000))
    with pytest.raises(HostileArchive, match="ratio_too_high"):
        listed(bomb, ArchiveLimits(ratio=100))
    with pytest.raises(HostileArchive, match="declares_too_much"):
        listed(bomb, ArchiveLimits(total_bytes=4_000_000))


@pytest.mark.parametrize("name", ["../up.txt", "/etc/x", "a/../../b", "C:\\x", "..\\up"])
def test_names_that_escape_are_refused(name: str) -> None:
    with pytest.raises(HostileArchive, match="name_escapes"):
        listed(zipped((name, "x")))


def test_limits_on_members_and_names_hold() -> None:
    data = zipped(*((f"{n}.txt", "x") for n in range(11)))
    assert len(listed(data, ArchiveLimits(members=11))) == 11
    with pytest.raises(HostileArchive, match="too_many_members"):
        listed(data, ArchiveLimits(members=10))
    with pytest.raises(HostileArchive, match="directory_too_large"):
        listed(data, ArchiveLimits(directory_bytes=100))
    with pytest.raises(HostileArchive, match="name_too_long"):
        listed(data, ArchiveLimits(name_bytes=4))


def test_duplicate_names_and_cut_directories_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped(("a", "1"), ("a", "2"))
    with pytest.raises(HostileArchive, match="duplicate_name"):
        listed(twice)
    whole = zipped(("a", "1"), ("b", "2"))
    with pytest.raises(HostileArchive):
        listed(whole[:-1])


def test_zip64_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Makes Python write the ZIP64 records for few members; the reader is not touched.
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n in range(5):
            archive.writestr(f"{n:x}", b"")
    data = buffer.getvalue()
    assert b"PK\x06\x06" in data
    assert listed(data) == list("01234")
    for cut in (b"PK\x06\x06", b"PK\x06\x07"):
        broken = data.replace(cut, b"PK\x06\x09")
        with pytest.raises(HostileArchive):
            listed(broken)


def test_a_member_is_read_only_as_far_as_asked() -> None:
    data = zipped(("a", "x" * 100_000))
    inside = members(len(data), lambda a, b: data[a:b], ArchiveLimits())
    assert read_member(inside["a"], lambda a, b: data[a:b], 10) == b"x" * 10


def test_an_end_record_counts_only_when_it_reaches_the_end() -> None:
    data = zipped(("a", "1"))
    assert find_end(len(data), lambda a, b: data[a:b]) is not None
    longer = data + b"more"
    assert find_end(len(longer), lambda a, b: longer[a:b]) is None


@given(st.binary(max_size=400), st.integers(0, 300), st.integers(0, 255))
def test_no_bytes_make_it_raise_or_name_a_malformed_type(junk: bytes, at: int, value: int) -> None:
    broken = bytearray(zipped(("OFD.xml", OFD_XML), ("b", "2")))
    broken[at % len(broken)] = value
    for data in (junk, b"PK\x03\x04" + junk, junk + zipped(("a", "1")), bytes(broken)):
        if data:
            assert "/" in look(data)
