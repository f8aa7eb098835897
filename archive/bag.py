"""Writes a BagIt 1.0 bag (RFC 8493), each byte once: hashed while it is written.

`bagit.make_bag` moves files about, changes the process's working directory and
reads everything again; it serves as an outside checker in the tests instead.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from archive.digests import BLOCK, Digester, digest_bytes
from archive.errors import PackagePathRefused
from archive.rfc8493 import (
    ALGORITHMS,
    DECLARATION,
    MANIFESTS,
    PAYLOAD,
    TAGMANIFESTS,
    Member,
    oxum,
    path_problem,
    write_info,
    write_manifest,
)


@dataclass(frozen=True, slots=True)
class BagSummary:
    """A finished bag. `tagmanifest` (of `tagmanifest-sha256.txt`) fixes every file of it."""

    tagmanifest: Member
    payload_files: int
    payload_bytes: int


class BagWriter:
    """Writes into a new folder. One thread; `finish` or `close` ends it.

    `add` returns when the file's bytes are on disk (fsync), `finish` when the
    folders are too. A file is written once: the same path again, also in other
    case, is refused.
    """

    def __init__(self, root: Path) -> None:
        """Make `root`, which must not exist (`FileExistsError`), readable by its owner alone."""
        root.mkdir(mode=0o700)
        self.root = root
        # The manifests need no SM3; the check of the finished package computes it.
        self._digester = Digester(sm3=False)
        self._members: dict[str, Member] = {}
        self._folded: set[str] = set()
        self._folders: set[Path] = {root}

    def add(self, path: str, blocks: Iterable[bytes]) -> Member:
        """Write one file below `data/` (payload) or beside it (tag file)."""
        problem = path_problem(path)
        if problem is not None or path.casefold() in self._folded:
            raise PackagePathRefused(rule=problem or "collision")
        target = self.root / path
        self._make_folder(target.parent)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._digester.discard()
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            for block in blocks:
                self._digester.update(block)
                _write_all(stream.fileno(), block)
            os.fsync(stream.fileno())
        member = self._digester.member()
        self._members[path] = member
        self._folded.add(path.casefold())
        return member

    def add_bytes(self, path: str, data: bytes) -> Member:
        """`add` for what is in memory anyway."""
        blocks = (data[start : start + BLOCK] for start in range(0, len(data), BLOCK))
        return self.add(path, blocks)

    def payload_size(self) -> int:
        """Bytes below `data/` so far."""
        return sum(member.size for member in self._payload().values())

    def finish(self, info: Sequence[tuple[str, str]]) -> BagSummary:
        """Write declaration, `bag-info.txt` (with `Payload-Oxum`) and all manifests."""
        payload = self._payload()
        self._make_folder(self.root / PAYLOAD)  # a bag has a payload folder, even an empty one
        self.add_bytes("bagit.txt", DECLARATION)
        sizes = [member.size for member in payload.values()]
        self.add_bytes("bag-info.txt", write_info([*info, ("Payload-Oxum", oxum(sizes))]))
        for name, algorithm in zip(MANIFESTS, ALGORITHMS, strict=True):
            self.add_bytes(name, _manifest(payload, algorithm))
        tags = {path: item for path, item in self._members.items() if path not in payload}
        lists = [_manifest(tags, algorithm) for algorithm in ALGORITHMS]
        for name, data in zip(TAGMANIFESTS, lists, strict=True):
            self.add_bytes(name, data)
        for folder in sorted(self._folders, reverse=True):
            sync_folder(folder)
        self.close()
        return BagSummary(digest_bytes(lists[0]), len(payload), sum(sizes))

    def close(self) -> None:
        """Give back the threads. The folder stays as it is."""
        self._digester.__exit__(None, None, None)

    def _payload(self) -> dict[str, Member]:
        return {path: item for path, item in self._members.items() if path.startswith(PAYLOAD)}

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while folder not in self._folders:
            missing.append(folder)
            folder = folder.parent
        for item in reversed(missing):
            item.mkdir(mode=0o700)
            self._folders.add(item)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(members: dict[str, Member], algorithm: str) -> bytes:
    return write_manifest({path: item.digest(algorithm) for path, item in members.items()})


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]
