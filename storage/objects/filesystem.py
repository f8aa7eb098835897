"""An object store in a folder of the local file system.

`<root>/<first two characters of the key>/<key>`, and `<root>/incoming/` for
what is being written. Objects are plain files, mode 0600, never changed.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from storage.errors import ObjectCorrupt, ObjectMissing, StoreMissing
from storage.objects.durable_file import DurableFile, device_errors, fsync_folder, remove_leftovers
from storage.objects.port import BLOCK_BYTES, check_key, is_key

_INCOMING = "incoming"
# One level of 256: ten million objects are 40,000 a folder, and a put never has
# to make a folder and wait for two more fsyncs.
_FOLDERS = tuple(f"{number:02x}" for number in range(256))
_BATCH_THREADS = 8  # fsyncs in flight: the file system journals them together
_BATCH_WINDOW = 64  # objects of a batch held in memory


class FilesystemStore:
    """`ObjectStore` on a POSIX file system with hard links (ext4, xfs, btrfs, tmpfs).

    A put writes a temporary file, fsyncs it, links it to its name and fsyncs
    the folder: `link` fails when the name is taken, so there is no moment
    between a check and a rename for a second writer to slip through.
    """

    locks = False

    def __init__(self, root: Path, *, create: bool = False) -> None:
        """Open the store at `root`, which must exist unless `create`.

        `StoreMissing`: a folder made by accident would look like a store that
        lost everything. Removes what killed writers left behind; writers that
        are alive, in this process or another, are left alone.
        """
        self.root = root
        # Plain strings from here on: building a `Path` costs more than reading 20 KB.
        self._base = str(root)
        self._incoming = f"{root}/{_INCOMING}"
        if create:
            with device_errors():
                for name in (_INCOMING, *_FOLDERS):
                    (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
                fsync_folder(self._base)
                fsync_folder(str(root.parent))
        elif not all((root / name).is_dir() for name in (_INCOMING, *_FOLDERS)):
            raise StoreMissing(path=str(root))
        with device_errors():
            remove_leftovers(self._incoming)

    def create(self, key: str) -> DurableFile:
        return DurableFile(self._path(key), self._incoming)

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        touched: set[str] = set()

        def store(key: str, data: bytes) -> None:
            writer = self.create(key)
            writer.write(data)
            writer.place()
            touched.add(writer.folder)

        running: deque[Future[None]] = deque()
        with ThreadPoolExecutor(_BATCH_THREADS, thread_name_prefix="object-batch") as pool:
            try:
                for key, data in items:
                    running.append(pool.submit(store, key, data))
                    if len(running) >= _BATCH_WINDOW:
                        running.popleft().result()
                while running:
                    running.popleft().result()
            finally:
                for future in running:
                    future.cancel()
            with device_errors():
                # One wait per folder, not one per object.
                list(pool.map(fsync_folder, touched))

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if start < 0 or (stop is not None and stop < start):
            raise ValueError("a range has 0 <= start <= stop")
        path = self._path(key)
        try:
            file = FileIO(path, opener=_open_plain)
        except FileNotFoundError:
            raise ObjectMissing() from None
        except OSError as error:
            # A link, a folder, a file without permission: not what was stored.
            raise ObjectCorrupt(part="file") from error
        return _blocks(file, start, stop)

    def size(self, key: str) -> int:
        try:
            return os.stat(self._path(key), follow_symlinks=False).st_size  # noqa: PTH116
        except FileNotFoundError:
            raise ObjectMissing() from None

    def delete(self, key: str) -> None:
        path = Path(self._path(key))
        with device_errors(), suppress(FileNotFoundError):
            path.unlink()
            fsync_folder(str(path.parent))

    def retain(self, key: str, until: datetime) -> None:
        # Whoever can write in a folder can delete in it: nothing is promised here.
        self.size(key)

    def retained_until(self, key: str) -> datetime | None:
        self.size(key)
        return None

    def retains(self, key: str, until: datetime) -> bool:
        self.size(key)
        return False

    def keys(self) -> Iterator[tuple[str, datetime]]:
        for name in _FOLDERS:
            with device_errors():
                found = list((self.root / name).iterdir())
            for path in found:
                if not is_key(path.name) or path.name[:2] != name:
                    continue
                with suppress(FileNotFoundError):
                    stored = path.stat(follow_symlinks=False).st_mtime
                    yield path.name, datetime.fromtimestamp(stored, UTC)

    def strangers(self) -> Iterator[str]:
        """Names of another form, objects in another folder than theirs, links, folders."""
        with device_errors():
            folders = sorted(self.root.iterdir())
        for folder in folders:
            if folder.name == _INCOMING:
                continue
            if folder.name not in _FOLDERS or folder.is_symlink() or not folder.is_dir():
                yield folder.name
                continue
            with device_errors():
                found = sorted(folder.iterdir())
            for path in found:
                plain = path.is_file() and not path.is_symlink()
                if not (plain and is_key(path.name) and path.name[:2] == folder.name):
                    yield f"{folder.name}/{path.name}"

    def _path(self, key: str) -> str:
        return f"{self._base}/{check_key(key)[:2]}/{key}"


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _blocks(file: FileIO, start: int, stop: int | None) -> Iterator[bytes]:
    with file, device_errors():
        file.seek(start)
        left = stop - start if stop is not None else None
        while left is None or left > 0:
            block = file.read(BLOCK_BYTES if left is None else min(BLOCK_BYTES, left))
            if not block:
                return
            if left is not None:
                left -= len(block)
            yield block
