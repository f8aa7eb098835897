"""Files of the demo are real: outside readers open them and find what was put in."""

import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from openpyxl import load_workbook
from PIL import Image
from pypdf import PdfReader

from materials_api.limits import ArchiveLimits
from materials_api.uploads.content_types import sniff
from runtime import demo_files

TITLE = "租赁合同 <副本> & 附件"
LINES = [
    "甲方：顾明远、陆静宜",
    "",
    *(f"第 {n} 条 房屋坐落于云间区（虚构）205 室。" for n in range(60)),
]
OFD = "{http://www.ofdspec.org/2016}"


def test_a_pdf_has_selectable_chinese_text_on_several_pages(tmp_path: Path) -> None:
    demo_files.pdf(tmp_path / "a.pdf", TITLE, LINES)
    reader = PdfReader(tmp_path / "a.pdf")
    assert reader.metadata is not None
    assert reader.metadata.title == TITLE
    text = "".join(page.extract_text() for page in reader.pages).replace("\n", "")
    assert len(reader.pages) > 1
    assert TITLE in text
    for line in LINES:
        assert line in text


def test_a_long_line_is_broken_inside_the_page(tmp_path: Path) -> None:
    line = "云间区虚构街道" * 30
    demo_files.pdf(tmp_path / "a.pdf", TITLE, [line])
    text = PdfReader(tmp_path / "a.pdf").pages[0].extract_text()
    parts = [part for part in text.splitlines() if "云间区" in part]
    assert len(parts) > 3
    assert max(len(part) for part in parts) <= 38  # 451 points at 12 points a character
    assert line in "".join(text.splitlines())


def test_a_photo_is_a_jpeg_with_real_detail(tmp_path: Path) -> None:
    demo_files.photo(tmp_path / "a.jpg", seed=5)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (1600, 1200), "RGB")
        assert len(picture.convert("L").getcolors() or []) > 150
    assert (tmp_path / "a.jpg").stat().st_size > 200_000


def _xml(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(archive.read(name))  # noqa: S314 - our own file


def test_an_ofd_holds_its_text_in_pages_that_its_document_lists(tmp_path: Path) -> None:
    demo_files.ofd(tmp_path / "a.ofd", TITLE, LINES)
    with zipfile.ZipFile(tmp_path / "a.ofd") as archive:
        assert archive.namelist()[0] == "OFD.xml"
        root = _xml(archive, "OFD.xml")
        assert root.get("DocType") == "OFD"
        assert root.findtext(f".//{OFD}Title") == TITLE
        document_path = root.findtext(f".//{OFD}DocRoot") or ""
        document = _xml(archive, document_path)
        locations = [page.get("BaseLoc") or "" for page in document.iter(f"{OFD}Page")]
        pages = [_xml(archive, f"Doc_0/{where}") for where in locations]
    assert len(pages) > 1
    texts = [code for page in pages for code in page.iter(f"{OFD}TextCode")]
    assert [code.text or "" for code in texts] == [TITLE, *LINES]
    for code in texts:
        steps = (code.get("DeltaX") or "").split()
        assert len(steps) == max(len(code.text or "") - 1, 0)
    ids = [element.get("ID") for page in pages for element in page.iter() if element.get("ID")]
    ids += [page.get("ID") for page in document.iter(f"{OFD}Page")] + ["1"]
    assert len(ids) == len(set(ids))
    assert max(int(value or 0) for value in ids) == int(
        document.findtext(f".//{OFD}MaxUnitID") or 0
    )


def test_a_sheet_holds_its_cells(tmp_path: Path) -> None:
    rows = [["设备", "数量", "单价"], ["冰箱", 2, 3999.5], ["灶台", 3, None]]
    demo_files.sheet(tmp_path / "a.xlsx", "设备:清单", rows)
    page = load_workbook(tmp_path / "a.xlsx").worksheets[0]
    found = [list(row) for row in page.iter_rows(values_only=True)]
    assert found == [["设备:清单", None, None], *rows]
    assert page.title == "设备清单"


@pytest.mark.parametrize("size", [4096, 100_001, 3 << 20])
def test_a_scan_is_a_whole_tiff_of_exactly_that_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.tiff"
    demo_files.scan(path, size)
    data = path.read_bytes()
    assert len(data) == size
    with Image.open(path) as picture:
        picture.load()
        assert (picture.format, picture.mode) == ("TIFF", "L")
        width, height = picture.size
        assert 1.2 < height / width < 1.5
        # The last strip is where the directory says: all pixels are in the file, at the end.
        pixels = picture.tobytes()
    assert pixels in data
    assert len(zlib.compress(pixels)) > 0.99 * len(pixels)


def test_a_large_scan_is_written_in_blocks(tmp_path: Path) -> None:
    tracemalloc.start()
    demo_files.scan(tmp_path / "a.tiff", 64 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "a.tiff").stat().st_size == 64 << 20
    assert peak < 6 << 20


def test_a_scan_too_small_for_its_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4096"):
        demo_files.scan(tmp_path / "a.tiff", 4095)
    assert not (tmp_path / "a.tiff").exists()


MAKERS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "pdf": ("application/pdf", lambda path, n: demo_files.pdf(path, TITLE, [f"第 {n} 份"])),
    "jpg": ("image/jpeg", lambda path, n: demo_files.photo(path, n)),
    "ofd": ("application/ofd", lambda path, n: demo_files.ofd(path, TITLE, [f"第 {n} 份"])),
    "xlsx": (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        lambda path, n: demo_files.sheet(path, TITLE, [["份"], [n]]),
    ),
    "tiff": ("image/tiff", lambda path, n: demo_files.scan(path, 50_000, n)),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_is_the_same_each_time_and_known_by_its_content(tmp_path: Path, kind: str) -> None:
    media_type, make = MAKERS[kind]
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        make(tmp_path / name, seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other
    found = sniff(first, len(first), lambda start, stop: first[start:stop], ArchiveLimits())
    assert found == media_type
