"""What some content is, whatever its sender calls it.

libmagic decides (python-magic; pylibmagic brings a pinned library and its
data). Two things it gets wrong are decided here: OFD (GB/T 33190) and the
office formats are ZIPs that their members tell apart, and content that two
readers would take for two things (a polyglot) is nothing at all:
`application/octet-stream`, which only types that take anything accept.
"""

from functools import cache
from typing import Final, Protocol, cast

from materials_api.limits import ArchiveLimits
from materials_api.uploads.zip_containers import (
    HostileArchive,
    Member,
    ReadRange,
    find_end,
    members,
    read_member,
)

HEAD_BYTES: Final = 256 * 1024
"""How much of the beginning `sniff` wants to see; less only if the content is shorter."""

UNKNOWN: Final = "application/octet-stream"
ZIP: Final = "application/zip"
PDF: Final = "application/pdf"
OFD: Final = "application/ofd"

_OFD_NAMESPACE = b"http://www.ofdspec.org/"
_PEEK = 64 * 1024

# The member that makes the container what it is -> plain type, type with macros.
_OFFICE: Final = {
    "word/document.xml": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.ms-word.document.macroEnabled.12",
        "word/vbaProject.bin",
    ),
    "xl/workbook.xml": (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
        "xl/vbaProject.bin",
    ),
    "ppt/presentation.xml": (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
        "ppt/vbaProject.bin",
    ),
}
# libmagic's older or vaguer names -> the registered ones.
_SAME: Final = {
    "text/xml": "application/xml",
    "image/x-ms-bmp": "image/bmp",
    "application/x-pdf": PDF,
    "application/x-zip-compressed": ZIP,
    "application/CDFV2": "application/x-ole-storage",
}
# Extensions for files we name ourselves; what is not listed is `.bin`.
EXTENSIONS: Final = {
    PDF: ".pdf",
    OFD: ".ofd",
    ZIP: ".zip",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/tiff": ".tif",
    "image/bmp": ".bmp",
    "image/webp": ".webp",
    "image/heic": ".heic",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "text/html": ".html",
    "application/xml": ".xml",
    "application/json": ".json",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    "video/mp4": ".mp4",
    **{
        plain: extension
        for (plain, _, _), extension in zip(
            _OFFICE.values(), (".docx", ".xlsx", ".pptx"), strict=True
        )
    },
}


class _Magic(Protocol):
    def from_buffer(self, buf: bytes) -> str: ...


def sniff(head: bytes, size: int, read: ReadRange, limits: ArchiveLimits) -> str:
    """The media type of `size` bytes that begin with `head` (`HEAD_BYTES` or all).

    `read` is asked for the tail and, for ZIPs, the directory and a few KiB of
    one member. Never raises over content: what cannot be told is `UNKNOWN`.
    """
    found = _SAME.get(guess := _libmagic().from_buffer(head[:HEAD_BYTES]), guess)
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        if b"%PDF-" in head[:1024]:
            return UNKNOWN
        try:
            return _container(size, read, limits)
        except HostileArchive:
            return UNKNOWN
    if found == PDF:
        # Some writers put a byte order mark or blank lines first; anything else before
        # the header is another format's beginning.
        if not head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-"):
            return UNKNOWN
    elif b"%PDF-" in head[:1024] and not found.startswith("text/"):
        return UNKNOWN
    if find_end(size, read) is not None:
        return UNKNOWN
    return found if _well_formed(found) else UNKNOWN


def _container(size: int, read: ReadRange, limits: ArchiveLimits) -> str:
    inside = members(size, read, limits)
    ofd = inside.get("OFD.xml")
    office = [kind for name, kind in _OFFICE.items() if name in inside]
    typed = "[Content_Types].xml" in inside
    declared = _declared(next(iter(inside.values()), None), read)
    claims = [bool(ofd), bool(office) and typed, declared is not None]
    if sum(claims) > 1 or len(office) > 1:
        return UNKNOWN
    if ofd is not None:
        return OFD if _OFD_NAMESPACE in read_member(ofd, read, _PEEK) else UNKNOWN
    if office and typed:
        plain, with_macros, macros = office[0]
        return with_macros if macros in inside else plain
    return declared or ZIP


def _declared(first: Member | None, read: ReadRange) -> str | None:
    """OpenDocument and EPUB name their type in a first member `mimetype`, stored plainly."""
    if first is None or first.name != "mimetype" or first.method != 0 or first.size > 127:
        return None
    text = read_member(first, read, 127).strip().decode("ascii", "replace")
    return text if text.startswith("application/") and _well_formed(text) else None


def _well_formed(media_type: str) -> bool:
    kind, slash, name = media_type.partition("/")
    allowed = "+-._"
    return bool(
        slash
        and kind.isalpha()
        and name
        and len(media_type) <= 127
        and all(char.isascii() and (char.isalnum() or char in allowed) for char in name)
    )


@cache
def _libmagic() -> _Magic:
    # Imported here: loading the library and its data takes 20 ms that most commands
    # do not need. pylibmagic first, so that everyone has the same library and data.
    import pylibmagic  # noqa: F401
    from magic import Magic

    # One handle behind python-magic's own lock.
    return cast(_Magic, Magic(mime=True))
