"""Documents of a case as PDF: one layout, and the same bytes for the same content.

No time of its own, no random file id (`invariant`). reportlab's built-in CID
font STSong-Light needs no font file; characters outside the basic plane, which
its encoding cannot say, are written as `[U+20BB7]`, so that nothing is lost
silently.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

FONT = "STSong-Light"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the head: label in both languages, and the value."""

    zh: str
    en: str
    value: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with a head line. Every row has as many cells as the head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...]  # shares of the page's width


@dataclass(frozen=True, slots=True)
class Sheet:
    """A document as content: what stands on the page, top to bottom."""

    title_zh: str
    title_en: str
    number: str
    fields: tuple[Field, ...]
    paragraphs: tuple[str, ...] = ()
    grid: Grid | None = None
    closing: tuple[str, ...] = ()
    foot: str = ""


def render(sheet: Sheet) -> bytes:
    """The PDF (A4) of a sheet. Equal sheets give equal bytes."""
    # Imported here: reportlab takes 0.1 s that most commands do not need.
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

    styles = _styles()
    width = A4[0] - 40 * mm
    story: list[Any] = [
        Paragraph(_text(sheet.title_zh), styles["title"]),
        Paragraph(_text(sheet.title_en), styles["subtitle"]),
        Paragraph(_text(sheet.number), styles["number"]),
        Spacer(1, 4 * mm),
        _fields(sheet.fields, width),
        Spacer(1, 4 * mm),
    ]
    story += [Paragraph(_text(text), styles["body"]) for text in sheet.paragraphs]
    if sheet.grid is not None:
        story += [Spacer(1, 3 * mm), _grid(sheet.grid, width)]
    story.append(Spacer(1, 8 * mm))
    story += [Paragraph(_text(text), styles["closing"]) for text in sheet.closing]

    def foot(canvas: Any, _document: Any) -> None:
        canvas.setFont(FONT, 8)
        canvas.drawString(20 * mm, 12 * mm, _plain(sheet.foot))
        canvas.drawRightString(A4[0] - 20 * mm, 12 * mm, str(canvas.getPageNumber()))

    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=20 * mm,
        bottomMargin=20 * mm,
        invariant=1,
        title=_plain(sheet.title_zh),
        author="免交 Mianjiao",
        subject=sheet.number,
        lang="zh-CN",
    )
    document.build(story, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _fields(fields: Sequence[Field], width: float) -> Any:
    styles = _styles()
    rows = [
        [
            _paragraph(f"{field.zh}<br/><font size='7'>{_text(field.en)}</font>", styles["label"]),
            _paragraph(_text(field.value), styles["cell"]),
        ]
        for field in fields
    ]
    return _table(rows, [width * 0.24, width * 0.76], head=False)


def _grid(grid: Grid, width: float) -> Any:
    styles = _styles()
    total = sum(grid.widths)
    rows = [[_paragraph(_text(cell), styles["label"]) for cell in grid.head]]
    rows += [[_paragraph(_text(cell), styles["cell"]) for cell in row] for row in grid.rows]
    return _table(rows, [width * share / total for share in grid.widths], head=True)


def _paragraph(markup: str, style: Any) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(markup, style)


def _table(rows: list[list[Any]], widths: list[float], *, head: bool) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table

    line = HexColor("#7f8c8d")
    style: list[tuple[Any, ...]] = [
        ("GRID", (0, 0), (-1, -1), 0.4, line),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    shade = ((0, 0), (-1, 0)) if head else ((0, 0), (0, -1))
    style.append(("BACKGROUND", *shade, HexColor("#f2f4f5")))
    return Table(rows, colWidths=widths, style=style, repeatRows=1 if head else 0)


@cache
def _styles() -> dict[str, Any]:
    from reportlab.lib.enums import TA_CENTER, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.pdfmetrics import registerFont

    registerFont(UnicodeCIDFont(FONT))

    def style(name: str, size: int, **more: Any) -> Any:
        # CJK wrapping breaks anywhere: long ids and numbers stay inside their cell.
        return ParagraphStyle(
            name, fontName=FONT, fontSize=size, leading=size * 1.5, wordWrap="CJK", **more
        )

    return {
        "title": style("title", 18, alignment=TA_CENTER),
        "subtitle": style("subtitle", 10, alignment=TA_CENTER),
        "number": style("number", 9, alignment=TA_CENTER),
        "body": style("body", 11, spaceAfter=6),
        "label": style("label", 9),
        "cell": style("cell", 9),
        "closing": style("closing", 11, alignment=TA_RIGHT),
    }


def _plain(text: str) -> str:
    return "".join(char if ord(char) <= 0xFFFF else f"[U+{ord(char):X}]" for char in text)


def _text(text: str) -> str:
    """For a paragraph: its markup is XML, and the text is not to be read as markup."""
    return escape(_plain(text)).replace("\n", "<br/>")
