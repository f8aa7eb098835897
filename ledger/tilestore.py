"""Where the log's bytes lie: a port, and the filesystem as it is served."""

import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from ledger.checkpoints import parse_checkpoint
from ledger.errors import CheckpointNotMonotone, LogExists, LogMissing, TileCorrupt, TileMissing
from ledger.tiles import FULL_TILE_BYTES, MAX_BUNDLE_BYTES, TilePath
from storage.errors import ImmutableConflict
from storage.objects.durable_file import device_errors

CHECKPOINT = "checkpoint"
_SYNCERS = 8


class TileStore(Protocol):
    """The blobs of one shard of the log.

    Tiles and bundles are immutable: `put` returns only when all blobs would
    survive a power cut. Putting the same bytes again succeeds and makes them
    durable; other bytes under a known path raise `ImmutableConflict` and change
    nothing at that path. A `put` that raises may have stored some blobs.

    The checkpoint is the one mutable blob. Replacing it is atomic and durable,
    and never goes back: a smaller size, or the same size with another root, is
    `CheckpointNotMonotone`. Reading is safe from many threads; only the
    sequencer writes. Devices fail as `StorageFull` and `StorageFailed`.
    """

    def put(self, blobs: Mapping[TilePath, bytes]) -> None: ...

    def get(self, path: TilePath) -> bytes:
        """The stored bytes, unchecked. `TileMissing` if there are none."""
        ...

    def get_many(self, paths: Iterable[TilePath]) -> dict[TilePath, bytes]:
        """`get` for each; where every one is a wait for a server, many at a time."""
        ...

    def publish(self, checkpoint: bytes) -> None: ...

    def checkpoint(self) -> bytes | None:
        """The published checkpoint, or None before the first one."""
        ...

    def names(self) -> Iterator[str]:
        """Every stored name but the checkpoint's, whether or not it is a path of the log."""
        ...

    def discard_partials(self, path: TilePath) -> None:
        """Remove the partial tiles that the full tile `path` supersedes; best effort."""
        ...

    def discard(self, path: TilePath) -> None:
        """Remove a blob that no checkpoint speaks of, if it is there: other bytes may then take
        its name. Only for a restore, while nobody writes the log."""
        ...

    def sweep(self) -> None:
        """Remove what an interrupted write left outside the names. For the one writer, at start."""
        ...


class OpensShards(Protocol):
    """Whence shards of a log can be read, each a `TileStore`."""

    def open(self, shard: str) -> TileStore:
        """`LogMissing` if there is none."""
        ...


class Shards(OpensShards, Protocol):
    """Where the shards of one store's log lie."""

    def create(self, shard: str) -> TileStore:
        """Bring the place of a shard into being, durably. `LogExists` if it is, or was, there."""
        ...

    def strangers(self, shards: Collection[str]) -> Iterator[str]:
        """Names beside the shards named, which nothing accounts for. For a check."""
        ...


class FolderShards:
    """`Shards` in `log/` of the store's folder, exactly as served."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, shard: str) -> "FilesystemTiles":
        return FilesystemTiles.create(self.root / shard)

    def open(self, shard: str) -> "FilesystemTiles":
        return FilesystemTiles(self.root / shard)

    def strangers(self, shards: Collection[str]) -> Iterator[str]:
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if path.name not in shards or path.is_symlink() or not path.is_dir():
                yield path.name


class FilesystemTiles:
    """A `TileStore` in a folder that a plain web server could serve as it is.

    Blobs are written in a folder beside `log/`, fsynced, linked to their name with
    `link(2)` (which never replaces) and the folders fsynced.
    """

    def __init__(self, root: Path) -> None:
        """Open an existing folder; `LogMissing` otherwise."""
        if not root.is_dir():
            raise LogMissing()
        self._root = root
        self._staging = _staging(root)

    @classmethod
    def create(cls, root: Path) -> "FilesystemTiles":
        """Make the folder, durably. `LogExists` if it is there already."""
        root.parent.mkdir(parents=True, exist_ok=True)
        try:
            root.mkdir()
        except FileExistsError:
            raise LogExists() from None
        _staging(root).mkdir(exist_ok=True)
        _sync_folder(root.parent)
        _sync_folder(root.parent.parent)
        return cls(root)

    @device_errors()
    def put(self, blobs: Mapping[TilePath, bytes]) -> None:
        staged: list[tuple[str, int, str, bytes]] = []
        folders: set[Path] = set()
        prefix = f"{self._staging}/{secrets.token_hex(16)}-"
        try:
            for number, (path, data) in enumerate(blobs.items()):
                target = f"{self._root}/{path.text}"
                folder = Path(target).parent
                if folder not in folders:
                    folder.mkdir(parents=True, exist_ok=True)
                    folders |= _folders_down_to(folder, self._root)
                temporary = f"{prefix}{number}"
                staged.append((temporary, _write_new(temporary, data), target, data))
            _sync_all([descriptor for _, descriptor, _, _ in staged])
            for temporary, _, target, data in staged:
                self._link(temporary, target, data)
        finally:
            for temporary, descriptor, _, _ in staged:
                os.close(descriptor)
                Path(temporary).unlink(missing_ok=True)
        for folder in sorted(folders, reverse=True):
            _sync_folder(folder)

    def get(self, path: TilePath) -> bytes:
        limit = MAX_BUNDLE_BYTES if path.level is None else FULL_TILE_BYTES
        return self._read(path.text, limit)

    def get_many(self, paths: Iterable[TilePath]) -> dict[TilePath, bytes]:
        return {path: self.get(path) for path in paths}

    @device_errors()
    def publish(self, checkpoint: bytes) -> None:
        check_monotone(self.checkpoint(), checkpoint)
        temporary = self._staging / secrets.token_hex(16)
        descriptor = _write_new(str(temporary), checkpoint)
        try:
            os.fsync(descriptor)
            temporary.replace(self._root / CHECKPOINT)
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
        _sync_folder(self._root)

    def checkpoint(self) -> bytes | None:
        try:
            return self._read(CHECKPOINT, FULL_TILE_BYTES * 64)
        except TileMissing:
            return None

    def names(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self._root):
            folders.sort()
            for name in sorted(files):
                relative = (Path(folder) / name).relative_to(self._root).as_posix()
                if relative != CHECKPOINT:
                    yield relative

    def discard_partials(self, path: TilePath) -> None:
        folder = self._root / f"{path.whole().text}.p"
        for name in sorted(folder.iterdir()) if folder.is_dir() else ():
            name.unlink(missing_ok=True)
        if folder.is_dir():
            folder.rmdir()

    @device_errors()
    def discard(self, path: TilePath) -> None:
        name = self._root / path.text
        name.unlink(missing_ok=True)
        if name.parent.is_dir():
            _sync_folder(name.parent)

    def sweep(self) -> None:
        self._staging.mkdir(exist_ok=True)
        for leftover in self._staging.iterdir():
            leftover.unlink(missing_ok=True)

    def _link(self, temporary: str, target: str, data: bytes) -> None:
        try:
            os.link(temporary, target)
        except FileExistsError:
            # From an interrupted round, or by a faster writer: the bytes must be
            # ours, and are made durable once more.
            if Path(target).read_bytes() != data:
                raise ImmutableConflict(path=os.path.relpath(target, self._root)) from None
            _sync_file(Path(target))

    def _read(self, name: str, limit: int) -> bytes:
        try:
            descriptor = os.open(f"{self._root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise TileMissing(path=name) from None
        try:
            data = _read_up_to(descriptor, limit + 1)
        except IsADirectoryError:
            raise TileMissing(path=name) from None
        finally:
            os.close(descriptor)
        if len(data) > limit:
            raise TileCorrupt(path=name, reason="longer than any such blob")
        return data


def check_monotone(published: bytes | None, offered: bytes) -> None:
    """`CheckpointNotMonotone` unless `offered` may replace `published`."""
    new = parse_checkpoint(offered).checkpoint
    if published is None:
        return
    current = parse_checkpoint(published).checkpoint
    if current.size > new.size or (current.size == new.size and current.root != new.root):
        raise CheckpointNotMonotone(published=current.size, offered=new.size)


def _staging(root: Path) -> Path:
    """Where blobs are written before they get their name: outside `log/`, which holds
    nothing but what is served, and on the same file system, so that they can be linked."""
    return root.parent.with_name(f".staging-{root.name}")


def _folders_down_to(folder: Path, root: Path) -> set[Path]:
    """`folder` and all above it up to `root`: a crash may have left any of them unsynced,
    and syncing one that did not change costs nothing."""
    folders = {folder}
    while folder != root:
        folder = folder.parent
        folders.add(folder)
    return folders


def _sync_all(descriptors: Sequence[int]) -> None:
    """fsync them, many at a time: the file system commits those that wait together once."""
    if len(descriptors) <= _SYNCERS:
        for descriptor in descriptors:
            os.fsync(descriptor)
        return
    with ThreadPoolExecutor(_SYNCERS) as pool:
        list(pool.map(os.fsync, descriptors))  # raises what a sync raised


def _write_new(path: str, data: bytes) -> int:
    """Write a new file, not yet synced; its open descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:  # broad-except - raised again
        os.close(descriptor)
        Path(path).unlink(missing_ok=True)
        raise
    return descriptor


def _read_up_to(descriptor: int, limit: int) -> bytes:
    """The first `limit` bytes, or all. Plain calls: a tile is read in two of them."""
    parts = []
    while limit > 0 and (part := os.read(descriptor, limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
