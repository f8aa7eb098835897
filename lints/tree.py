"""The files that lints look at, read and parsed once."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOMS = (
    "kernel",
    "storage",
    "ledger",
    "parties",
    "license_service",
    "materials_api",
    "archive",
    "portal",
    "runtime",
    "migrations",
)
_SKIPPED = {".git", ".venv", ".uv", "build", "dist", "node_modules"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: where, which lint, and what to do."""

    path: str
    line: int
    lint: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.lint}] {self.message}"


@dataclass(frozen=True)
class Source:
    """One file. `path` is relative to the root, with forward slashes."""

    path: str
    data: bytes

    @cached_property
    def text(self) -> str | None:
        """The text, or None for what is not text."""
        if b"\0" in self.data:
            return None
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError:
            return None

    @cached_property
    def lines(self) -> list[str]:
        return (self.text or "").splitlines()

    @cached_property
    def module(self) -> ast.Module:
        """The syntax tree of a Python file; a syntax error is the caller's `SyntaxError`."""
        return ast.parse(self.text or "", filename=self.path)

    @property
    def room(self) -> str:
        """The first folder, or the empty string for a file at the root."""
        first, _, rest = self.path.partition("/")
        return first if rest else ""

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


class Tree:
    """What git tracks or would track below `root`; everything, where there is no git."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = [Source(path, (root / path).read_bytes()) for path in sorted(_listed(root))]

    def python(self, *rooms: str) -> Iterator[Source]:
        """Python files, of these rooms only when any is named."""
        for source in self.files:
            if source.path.endswith(".py") and (not rooms or source.room in rooms):
                yield source


def _listed(root: Path) -> Iterator[str]:
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        found = subprocess.run(command, cwd=root, check=True, capture_output=True)  # noqa: S603
        names = found.stdout.decode("utf-8").split("\0")
    else:
        names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    for name in set(names) - {""}:
        path = root / name
        if path.is_file() and not path.is_symlink() and not _SKIPPED & set(Path(name).parts):
            yield name
