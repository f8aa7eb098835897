"""Realistic files for the demo, made on the spot: the same arguments give the same bytes.

Everything in them is fictional. Heavy libraries are imported where they are used,
so that the command line starts without them.
"""

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_ZIP_TIME = (2026, 1, 1, 0, 0, 0)
_CELL = str | int | float | bool | None

# A4 in points and in millimetres.
_A4_POINTS = (595.28, 841.89)
_A4_MM = (210, 297)


def pdf(path: Path, title: str, lines: Sequence[str]) -> None:
    """A PDF with real Chinese text: a title, then `lines`, broken to the width, on A4 pages.

    The text is selectable. The font is one that every PDF reader brings along
    (Adobe's Chinese collection), so that no font file is needed.
    """
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas

    font, size, margin = "STSong-Light", 12, 72.0
    if font not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(font))
    width, height = _A4_POINTS
    # `invariant`: no time and no random id inside.
    canvas = Canvas(str(path), pagesize=_A4_POINTS, invariant=1)
    canvas.setTitle(title)
    canvas.setAuthor("云间区（虚构）")
    canvas.setFont(font, 18)
    canvas.drawCentredString(width / 2, height - margin, title)
    canvas.line(margin, height - margin - 14, width - margin, height - margin - 14)
    y, page = height - margin - 48, 1
    for line in _broken(lines, lambda text: pdfmetrics.stringWidth(text, font, size), width - 144):
        if y < margin:
            _page_number(canvas, font, page, width)
            canvas.showPage()
            y, page = height - margin, page + 1
        canvas.setFont(font, size)
        canvas.drawString(margin, y, line)
        y -= 22
    _page_number(canvas, font, page, width)
    canvas.save()


def photo(path: Path, seed: int = 0) -> None:
    """A JPEG like one from a telephone: a sheet of paper, a little askew, on a table.

    1,600 × 1,200 pixels, with grain, a soft shadow and uneven light.
    """
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    dice = random.Random(seed)  # noqa: S311 - a picture, not a secret
    size = (1600, 1200)
    wood = Image.new("RGB", size, (dice.randint(96, 140), dice.randint(70, 96), 52))
    grain = Image.frombytes("L", (100, 1200), dice.randbytes(120_000)).resize(size)
    wood = Image.blend(wood, grain.filter(ImageFilter.GaussianBlur(2)).convert("RGB"), 0.12)

    sheet = Image.new("RGB", (760, 1040), (246, 243, 234))
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((250, 70, 510, 98), fill=(40, 40, 46))
    for row in range(160, 880, 34):
        left = 80
        while left < 660:
            right = min(left + dice.randint(18, 90), 680)
            pen.rectangle((left, row, right, row + 14), fill=(58, 58, 64))
            left = right + dice.randint(6, 14)
    pen.ellipse((480, 820, 660, 1000), outline=(196, 36, 30), width=9)
    pen.regular_polygon((570, 910, 34), n_sides=5, rotation=0, fill=(196, 36, 30))

    angle = dice.uniform(-7, 7)
    paper = sheet.rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
    mask = Image.new("L", sheet.size, 255).rotate(angle, expand=True)
    place = (dice.randint(260, 480), dice.randint(-30, 40))
    shadow = Image.new("L", size, 0)
    shadow.paste(mask, (place[0] + 14, place[1] + 18))
    dark = Image.new("RGB", size, (18, 12, 8))
    wood.paste(dark, (0, 0), shadow.filter(ImageFilter.GaussianBlur(14)).point(lambda v: v // 2))
    wood.paste(paper, place, mask)

    light = Image.linear_gradient("L").rotate(dice.choice((0, 90, 180, 270))).resize(size)
    light = light.point(lambda v: 190 + v // 4).convert("RGB")
    noise = Image.frombytes("L", size, dice.randbytes(size[0] * size[1]))
    noise = noise.point(lambda v: 112 + v // 8).convert("RGB")
    picture = ImageChops.multiply(wood.filter(ImageFilter.GaussianBlur(0.8)), light)
    picture = ImageChops.add(picture, noise, scale=1, offset=-128)
    picture.save(path, "JPEG", quality=88, dpi=(72, 72))


def ofd(path: Path, title: str, lines: Sequence[str]) -> None:
    """An OFD document (GB/T 33190) with text, one or more A4 pages.

    A ZIP archive of XML parts; text positions are in millimetres.
    """
    size, leading, margin = 4.2, 8.0, 25.0  # millimetres
    broken = list(_broken(lines, lambda text: _ofd_width(text, size), _A4_MM[0] - 2 * margin))
    per_page = int((_A4_MM[1] - 2 * margin - 20) / leading)
    pages = [broken[start : start + per_page] for start in range(0, len(broken), per_page)] or [[]]
    document_id = sha256("\n".join([title, *lines]).encode()).hexdigest()[:32]

    # Ids are unique in a document: 1 is the font, pages and their parts follow.
    next_id = 2
    contents: list[tuple[int, str]] = []
    for number, page in enumerate(pages):
        page_id, layer_id = next_id, next_id + 1
        next_id += 2
        texts = []
        if number == 0:
            left = (_A4_MM[0] - _ofd_width(title, 6.5)) / 2
            texts.append(_ofd_text(next_id, title, left, margin, 6.5))
            next_id += 1
        for row, line in enumerate(page):
            texts.append(_ofd_text(next_id, line, margin, margin + 20 + row * leading, size))
            next_id += 1
        contents.append((page_id, _OFD_PAGE.format(layer=layer_id, texts="".join(texts))))
    listed = "".join(
        f'<ofd:Page ID="{page_id}" BaseLoc="Pages/Page_{number}/Content.xml"/>'
        for number, (page_id, _) in enumerate(contents)
    )
    parts = {
        "OFD.xml": _OFD_ROOT.format(id=document_id, title=escape(title)),
        "Doc_0/Document.xml": _OFD_DOCUMENT.format(max_id=next_id - 1, pages=listed),
        "Doc_0/PublicRes.xml": _OFD_RESOURCES,
    }
    for number, (_, content) in enumerate(contents):
        parts[f"Doc_0/Pages/Page_{number}/Content.xml"] = content
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(_zip_entry(name), _XML + text)


def sheet(path: Path, title: str, rows: Sequence[Sequence[_CELL]]) -> None:
    """An Excel workbook with one sheet: `title`, then `rows`; the first row is the heading."""
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    book = Workbook()
    page = book.active
    if page is None:  # pragma: no cover - a new workbook always has a sheet
        raise ValueError("a new workbook has no sheet")
    page.title = re.sub(r"[\\*?:/\[\]]", "", title)[:31]
    page.append([title])
    page["A1"].font = Font(bold=True, size=14)
    for row in rows:
        page.append(list(row))
    columns = max((len(row) for row in rows), default=1)
    if columns > 1:
        page.merge_cells(start_row=1, end_row=1, start_column=1, end_column=columns)
        page["A1"].alignment = Alignment(horizontal="center")
    for column in range(1, columns + 1):
        page.cell(row=2, column=column).font = Font(bold=True)
        page.column_dimensions[get_column_letter(column)].width = 22
    saved = io.BytesIO()
    book.save(saved)
    _without_times(saved.getvalue(), path)


def scan(path: Path, size: int, seed: int = 0) -> None:
    """A grey TIFF of one A4 page in exactly `size` bytes, at least 4 KiB.

    The pixels are noise, so that no compression makes it smaller. Written in
    blocks of at most 1 MiB: memory does not grow with `size`.
    """
    if size < 4096:
        raise ValueError("a scan has at least 4096 bytes")
    dice = random.Random(seed)  # noqa: S311 - pixels, not secrets
    # The directory and its arrays need room in front of the pixels.
    room = 1024 + size // 8192
    width = max(16, int(((size - room) / 1.4142) ** 0.5))
    height = (size - room) // width
    rows = max(1, 65536 // width)
    strips = -(-height // rows)
    lengths = [rows * width] * (strips - 1) + [(height - rows * (strips - 1)) * width]
    head = _tiff_head(width, height, rows, lengths)
    if len(head) + width * height > size:
        raise ValueError("the directory does not fit")
    with path.open("wb") as file:
        file.write(head)
        left = size - len(head)
        while left:
            block = min(left, 1 << 20)
            file.write(dice.randbytes(block))
            left -= block


def _tiff_head(width: int, height: int, rows: int, lengths: list[int]) -> bytes:
    """Header, one directory and its arrays; the pixels follow at once (TIFF 6.0, section 2)."""
    short, long, ratio = 3, 4, 5
    dots = round(width / 8.27)  # an A4 page is 8.27 inches wide
    tags = 12
    after = 8 + 2 + 12 * tags + 4
    resolution_at, offsets_at = after, after + 8
    lengths_at = offsets_at + 4 * len(lengths)
    pixels_at = lengths_at + 4 * len(lengths)
    offsets = [pixels_at + lengths[0] * index for index in range(len(lengths))]
    many = len(lengths) > 1
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, 1, 8),  # bits per sample
        (259, short, 1, 1),  # no compression
        (262, short, 1, 1),  # black is zero
        (273, long, len(lengths), offsets_at if many else offsets[0]),
        (277, short, 1, 1),  # samples per pixel
        (278, long, 1, rows),
        (279, long, len(lengths), lengths_at if many else lengths[0]),
        (282, ratio, 1, resolution_at),
        (283, ratio, 1, resolution_at),
        (296, short, 1, 2),  # dots per inch
    ]
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", tags)
    head += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    head += struct.pack("<II", dots, 1)
    return head + struct.pack(f"<{2 * len(lengths)}I", *offsets, *lengths)


def _broken(lines: Sequence[str], measure: Callable[[str], float], limit: float) -> Iterator[str]:
    """Break lines to the width, between any two characters, as Chinese text is."""
    for line in lines:
        current = ""
        for char in line:
            if current and measure(current + char) > limit:
                yield current
                current = ""
            current += char
        yield current


def _page_number(canvas: Any, font: str, page: int, width: float) -> None:
    canvas.setFont(font, 9)
    canvas.drawCentredString(width / 2, 40, f"第 {page} 页")


def _ofd_width(text: str, size: float) -> float:
    return sum(_ofd_advance(char, size) for char in text)


def _ofd_advance(char: str, size: float) -> float:
    return size / 2 if char.isascii() else size


def _ofd_text(object_id: int, text: str, x: float, y: float, size: float) -> str:
    steps = " ".join(f"{_ofd_advance(char, size):g}" for char in text[:-1])
    width = _ofd_width(text, size)
    deltas = f' DeltaX="{steps}"' if steps else ""
    return (
        f'<ofd:TextObject ID="{object_id}" Font="1" Size="{size:g}"'
        f' Boundary="{x:g} {y:g} {width + 1:g} {size * 1.3:g}">'
        f'<ofd:FillColor Value="20 20 20"/>'
        f'<ofd:TextCode X="0" Y="{size:g}"{deltas}>{escape(text)}</ofd:TextCode>'
        f"</ofd:TextObject>"
    )


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _without_times(workbook: bytes, path: Path) -> None:
    """Pack a workbook anew with fixed times: openpyxl writes the present one into it."""
    stamp = b"2026-01-01T00:00:00Z"
    with zipfile.ZipFile(io.BytesIO(workbook)) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            if name == "docProps/core.xml":
                part = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp, part)
            target.writestr(_zip_entry(name), part)


_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_OFD_ROOT = (
    '<ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016" Version="1.0" DocType="OFD">'
    "<ofd:DocBody><ofd:DocInfo><ofd:DocID>{id}</ofd:DocID><ofd:Title>{title}</ofd:Title>"
    "<ofd:CreationDate>2026-01-01</ofd:CreationDate><ofd:Creator>mianjiao</ofd:Creator>"
    "</ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>"
)
_OFD_DOCUMENT = (
    '<ofd:Document xmlns:ofd="http://www.ofdspec.org/2016"><ofd:CommonData>'
    "<ofd:MaxUnitID>{max_id}</ofd:MaxUnitID><ofd:PageArea>"
    "<ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:PageArea>"
    "<ofd:PublicRes>PublicRes.xml</ofd:PublicRes></ofd:CommonData>"
    "<ofd:Pages>{pages}</ofd:Pages></ofd:Document>"
)
_OFD_RESOURCES = (
    '<ofd:Res xmlns:ofd="http://www.ofdspec.org/2016" BaseLoc="Res"><ofd:Fonts>'
    '<ofd:Font ID="1" FontName="宋体" FamilyName="宋体"/></ofd:Fonts></ofd:Res>'
)
_OFD_PAGE = (
    '<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Area>'
    "<ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:Area><ofd:Content>"
    '<ofd:Layer Type="Body" ID="{layer}">{texts}</ofd:Layer></ofd:Content></ofd:Page>'
)
