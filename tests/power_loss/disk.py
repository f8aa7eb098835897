"""Records what code does to files, and rebuilds what a power cut may leave of it.

POSIX promises little: bytes of a file are safe after an fsync of the file, a name
after an fsync of its folder, each apart from the other. So a state after a cut is:
any of the name changes since the last fsync of their folder, each file with its
synced bytes or later ones.
"""

import linecache
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]
_HELPERS = {"_sync_folder", "fsync_folder", "_sync_file", "_sync_all"}
Files = dict[str, bytes | None]  # what lies at a path; None is a folder
DIRECTORY = -1  # in place of a file's number


@dataclass(frozen=True)
class Operation:
    """`kind` is name, data, sync, sync folder, or mark. `node` None removes a name."""

    kind: str
    path: str = ""
    node: int | None = None
    data: bytes = b""
    site: str = ""
    moved: str = ""  # the name that a rename takes away in the same folder
    mark: Any = None


@dataclass
class Recorder:
    """The operations below `root`, in order. `fail` may raise before an fsync.

    Other threads of the test process, left by other tests, may work elsewhere meanwhile:
    that is neither recorded nor made to fail.
    """

    root: Path
    log: list[Operation] = field(default_factory=list)
    fail: Callable[[str], None] = lambda _: None
    _numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    _count: int = 0
    _mutex: Any = field(default_factory=threading.RLock)

    def mark(self, what: Any) -> None:
        """Something was acknowledged, or a database committed."""
        with self._mutex:
            self.log.append(Operation("mark", mark=what))

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        real = {name: getattr(os, name) for name in _PATCHED}
        patches = {name: self._patched(name, real) for name in _PATCHED}
        with mock.patch.multiple(os, **patches):
            yield self

    def _patched(self, name: str, real: dict[str, Any]) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            with self._mutex:
                return getattr(self, f"_{name}")(real, *given, **more)

        return call

    def _inside(self, path: Any) -> str | None:
        text = os.path.abspath(os.fspath(path)) if not isinstance(path, int) else ""  # noqa: PTH100
        root = f"{self.root}/"
        return text[len(root) :] if text.startswith(root) else None

    def _number(self, facts: os.stat_result, *, new: bool = False) -> int:
        key = (facts.st_dev, facts.st_ino)
        if new or key not in self._numbers:
            self._count += 1
            self._numbers[key] = self._count
        return self._numbers[key]

    def _open(self, real: Any, path: Any, flags: int, *more: Any, **named: Any) -> int:
        inside = self._inside(path)
        fresh = inside is not None and flags & os.O_CREAT and not os.path.lexists(path)
        descriptor: int = real["open"](path, flags, *more, **named)
        if fresh:
            node = self._number(os.fstat(descriptor), new=True)
            self.log.append(Operation("name", str(inside), node))
        return descriptor

    def _write(self, real: Any, descriptor: int, data: Any) -> int:
        count: int = real["write"](descriptor, data)
        node = self._known(descriptor)
        if node is not None:
            self.log.append(Operation("data", node=node, data=self._content(real, descriptor)))
        return count

    def _known(self, descriptor: int) -> int | None:
        # By its place first: elsewhere an inode of ours may be in use again.
        if self._inside(os.readlink(f"/proc/self/fd/{descriptor}")) is None:  # noqa: PTH115
            return None
        facts = os.fstat(descriptor)
        return self._numbers.get((facts.st_dev, facts.st_ino))

    def _content(self, real: Any, descriptor: int) -> bytes:
        again = real["open"](f"/proc/self/fd/{descriptor}", os.O_RDONLY)
        with os.fdopen(again, "rb") as file:
            return file.read()

    def _fsync(self, real: Any, descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        inside = "" if target == str(self.root) else self._inside(target)
        if inside is None:
            real["fsync"](descriptor)
            return
        site = _site()
        self.fail(site)
        node = self._known(descriptor)
        if node is not None:
            data = self._content(real, descriptor)
            self.log.append(Operation("sync", node=node, data=data, site=site))
        else:
            self.log.append(Operation("sync folder", inside, site=site))

    def _fdatasync(self, real: Any, descriptor: int) -> None:
        self._fsync(real, descriptor)

    def _link(self, real: Any, source: Any, target: Any, **more: Any) -> None:
        real["link"](source, target, **more)
        inside = self._inside(target)
        if inside is not None:
            node = self._number(os.stat(target))  # noqa: PTH116
            self.log.append(Operation("name", inside, node))

    def _rename(self, real: Any, source: Any, target: Any, **more: Any) -> None:
        real["rename"](source, target, **more)
        old, new = self._inside(source), self._inside(target)
        if old is None and new is None:
            return
        assert old is not None
        assert new is not None
        node = self._number(os.stat(target))  # noqa: PTH116
        same = os.path.dirname(old) == os.path.dirname(new)  # noqa: PTH120
        self.log.append(Operation("name", new, node, moved=old if same else ""))
        if not same:
            self.log.append(Operation("name", old))

    _replace = _rename

    def _unlink(self, real: Any, path: Any, **more: Any) -> None:
        real["unlink"](path, **more)
        inside = self._inside(path)
        if inside is not None:
            self.log.append(Operation("name", inside))

    _remove = _unlink

    def _mkdir(self, real: Any, path: Any, *more: Any, **named: Any) -> None:
        real["mkdir"](path, *more, **named)
        inside = self._inside(path)
        if inside is not None:
            self.log.append(Operation("name", inside, DIRECTORY))

    def _rmdir(self, real: Any, path: Any, **more: Any) -> None:
        real["rmdir"](path, **more)
        inside = self._inside(path)
        if inside is not None:
            self.log.append(Operation("name", inside))


_PATCHED = ("open", "write", "fsync", "fdatasync", "link", "rename", "replace", "unlink",
            "remove", "mkdir", "rmdir")  # fmt: skip


def _site() -> str:
    """Which line of the product asked for this fsync."""
    frame: Any = sys._getframe(2)
    last = "a thread of the product"
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and "tests" not in path.parts and ".venv" not in path.parts:
            line = linecache.getline(str(path), frame.f_lineno).strip()
            last = f"{path.relative_to(ROOT)} {frame.f_code.co_qualname}: {line}"
            if frame.f_code.co_name not in _HELPERS:
                return last
        frame = frame.f_back
    return last


@dataclass
class Disk:
    """The files after some operations: what is certain, and what is only in memory."""

    names: dict[str, int] = field(default_factory=dict)  # durable
    waiting: dict[str, list[Operation]] = field(default_factory=dict)  # by folder, in order
    synced: dict[int, bytes] = field(default_factory=dict)
    written: dict[int, bytes] = field(default_factory=dict)

    def apply(self, operation: Operation, without: str | None) -> None:
        if operation.kind == "name":
            folder = os.path.dirname(operation.path)  # noqa: PTH120
            self.waiting.setdefault(folder, []).append(operation)
        elif operation.node is not None and operation.kind in ("data", "sync"):
            self.written[operation.node] = operation.data
            if operation.kind == "sync" and operation.site != without:
                self.synced[operation.node] = operation.data
        elif operation.kind == "sync folder" and operation.site != without:
            for one in self.waiting.pop(operation.path, []):
                _rename_in(self.names, one)

    def state(
        self, keeps: Callable[[], bool], newer: Callable[[], bool]
    ) -> dict[str, bytes | None]:
        """One state after a cut: paths with their bytes, None for folders."""
        names = dict(self.names)
        for folder in sorted(self.waiting):
            for one in self.waiting[folder]:
                if keeps():
                    _rename_in(names, one)
        files: Files = {}
        for path, node in names.items():
            above = [str(one) for one in Path(path).parents][:-1]
            if all(names.get(one) == DIRECTORY for one in above):
                older, later = self.synced.get(node, b""), self.written.get(node, b"")
                files[path] = None if node == DIRECTORY else later if newer() else older
        return files

    def states(self, rng: random.Random, several: int) -> Iterator[Files]:
        """All is kept; nothing is; names without bytes; bytes without names; random ones."""
        yield self.state(lambda: True, lambda: True)
        yield self.state(lambda: False, lambda: False)
        yield self.state(lambda: True, lambda: False)
        for _ in range(several):
            share = rng.random()
            yield self.state(lambda share=share: rng.random() < share, lambda: rng.random() < 0.5)


def _rename_in(names: dict[str, int], operation: Operation) -> None:
    if operation.node is None:
        names.pop(operation.path, None)
    else:
        names[operation.path] = operation.node
    if operation.moved:
        names.pop(operation.moved, None)


def write_state(files: Files, folder: Path) -> None:
    """Make `folder` hold just this; what is there already and right is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    there = current(folder)
    for path in sorted(there, reverse=True):
        if path not in files or files[path] != there[path]:
            (folder / path).rmdir() if there[path] is None else (folder / path).unlink()
            del there[path]
    for path in sorted(files.keys() - there.keys()):
        data = files[path]
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
            (folder / path).chmod(0o600)


def current(root: Path) -> Files:
    """What lies there: paths with their bytes, None for folders."""
    found: Files = {}
    for above, folders, files in os.walk(root):
        inside = above[len(str(root)) + 1 :]
        for name in folders:
            found[os.path.join(inside, name)] = None  # noqa: PTH118
        for name in files:
            with open(os.path.join(above, name), "rb") as file:  # noqa: PTH118, PTH123
                found[os.path.join(inside, name)] = file.read()  # noqa: PTH118
    return found
