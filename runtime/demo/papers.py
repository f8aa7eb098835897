"""The papers of the story, made on the spot: text PDFs, photos, an OFD, a spreadsheet, a scan."""

from collections.abc import Callable
from pathlib import Path

from runtime import demo_files

SCAN_BYTES = 64 << 20


class Papers:
    """Makes each paper once, in `folder`. Paths are returned ready for upload."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def pdf(self, title: str, *lines: str) -> Path:
        return self._make(f"{title}.pdf", lambda path: demo_files.pdf(path, title, lines))

    def photo(self, title: str, seed: int) -> Path:
        return self._make(f"{title}.jpg", lambda path: demo_files.photo(path, seed))

    def ofd(self, title: str, *lines: str) -> Path:
        return self._make(f"{title}.ofd", lambda path: demo_files.ofd(path, title, lines))

    def sheet(self, title: str, rows: list[list[str | int]]) -> Path:
        return self._make(f"{title}.xlsx", lambda path: demo_files.sheet(path, title, rows))

    def scan(self, title: str) -> Path:
        """64 MiB of a large-format scan."""
        return self._make(f"{title}.tif", lambda path: demo_files.scan(path, SCAN_BYTES))

    def _make(self, name: str, write: Callable[[Path], None]) -> Path:
        path = self._folder / name
        write(path)
        return path
