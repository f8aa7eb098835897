"""Reads a package, folder or stored ZIP, into what the pure checks take.

Nothing in a package is trusted: every bound is counted before it is believed,
links are never followed, and what cannot be read becomes a finding.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from archive.digests import BLOCK, Digester
from archive.findings import Finding, finding
from archive.rfc8493 import MAX_DEPTH, PAYLOAD, REQUIRED, Member
from archive.stored_zip import ZipRefused, read_zip

MAX_MEMBERS: Final = 50_000
MAX_TEXT: Final = 16 << 20  # one tag file, bytes: the manifest of 50,000 files is 10 MB
MAX_TEXTS: Final = 256 << 20  # all tag files together


@dataclass(slots=True)
class Package:
    """A package as read. `texts` holds the bytes of the tag files (all but `data/`)."""

    members: dict[str, Member] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class PackageReader:
    """Collects files into a `Package` and keeps the limits. Shared by folder and ZIP."""

    def __init__(self, limit: int) -> None:
        self.package = Package()
        self.limit = limit
        self._texts_total = 0

    def full(self) -> bool:
        return len(self.package.members) >= self.limit

    def note(self, code: str, path: str | None = None, detail: str | int | None = None) -> None:
        self.package.findings.append(finding(code, path, detail))

    def add(self, digester: Digester, path: str, blocks: Iterator[bytes]) -> None:
        """Hash one file; keep its bytes when it is a tag file. Raises what `blocks` raises."""
        keep = not path.startswith(PAYLOAD)
        kept: list[bytes] = []
        size = 0
        for block in blocks:
            digester.update(block)
            if keep:
                size += len(block)
                if size > MAX_TEXT or self._texts_total + size > MAX_TEXTS:
                    self.note("text_too_large", path, MAX_TEXT)
                    keep = False
                    kept.clear()
                else:
                    kept.append(block)
        self.package.members[path] = digester.member()
        if keep:
            self._texts_total += size
            self.package.texts[path] = b"".join(kept)


def read_folder(root: Path, limit: int = MAX_MEMBERS) -> Package:
    """Read every file below `root`, at most `limit`. Never follows a link out of it."""
    reader = PackageReader(limit)
    with Digester() as digester:
        _walk(reader, digester, root, "", 1)
    return reader.package


def _walk(reader: PackageReader, digester: Digester, folder: Path, prefix: str, depth: int) -> None:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError:
        reader.note("unreadable", prefix or ".")
        return
    if not entries and prefix not in ("", PAYLOAD):
        reader.note("file_stray", prefix)
    for entry in entries:
        path = prefix + entry.name
        if reader.full():
            reader.note("too_many_files", None, reader.limit)
            return
        if entry.is_symlink():
            reader.note("symlink", path)
        elif entry.is_dir(follow_symlinks=False):
            if depth >= MAX_DEPTH:
                reader.note("too_deep", path)
            else:
                _walk(reader, digester, Path(entry.path), path + "/", depth + 1)
        elif not entry.is_file(follow_symlinks=False):
            reader.note("not_a_file", path)
        else:
            try:
                reader.add(digester, path, file_blocks(Path(entry.path)))
            except OSError:
                digester.discard()
                reader.note("unreadable", path)


def file_blocks(path: Path, *, follow: bool = False) -> Iterator[bytes]:
    """The bytes of a regular file in blocks; a pipe, or a link unless `follow`, is an `OSError`."""
    # Non-blocking, so that a pipe put there meanwhile cannot hold us.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        while block := stream.read(BLOCK):
            yield block


def read_packed(path: Path, limit: int = MAX_MEMBERS) -> Package:
    """Read a package that was packed by `archive.stored_zip`, below one top folder."""
    reader = PackageReader(limit)
    with Digester() as digester, path.open("rb") as stream:

        def take(name: str, blocks: Iterator[bytes]) -> None:
            _, _, inner = name.partition("/")
            if inner in reader.package.members:
                reader.note("name_collision", inner)
            reader.add(digester, inner, blocks)

        try:
            read_zip(stream, limit, take)
        except ZipRefused as error:
            reader.note("zip_invalid", None, str(error))
    return reader.package


def looks_like_package(root: Path) -> bool:
    """Whether a folder claims to be one of ours: some file of a bag lies in it."""
    return any((root / name).is_file() for name in REQUIRED)
