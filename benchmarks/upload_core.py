"""What sealing costs apart from HTTP and rows: one large object, and many small ones."""

import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.plain import keep, keep_files, pattern
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects

SIZE = 1 << 30
FILES = 2_000
FILE_BYTES = 20_000
_BATCH = 500


def measure(scratch: Path, *, size: int = SIZE, files: int = FILES) -> list[Figure]:
    """Each against the plain loop that does the same work in one thread."""
    sealed = SealedObjects(
        FilesystemStore(scratch / "objects", create=True),
        FileKeyVault.create(scratch / "vault.json"),
    )
    return [*_large(sealed, scratch, size), *_small(sealed, scratch, files)]


def _large(sealed: SealedObjects, scratch: Path, size: int) -> list[Figure]:
    target = scratch / "plain"
    began = time.perf_counter()
    keep(pattern(size), target)
    loop = time.perf_counter() - began
    target.unlink()

    before = _new_peak()
    began = time.perf_counter()
    stored = sealed.put(pattern(size), limit=size)
    put = time.perf_counter() - began
    growth = _status_bytes("VmHWM") - before

    began = time.perf_counter()
    sealed.rehash(stored.ref())
    rehash = time.perf_counter() - began
    sealed.store.delete(stored.object_key)
    return [
        Figure("sealing one large object", size / put / 1e6, "MB/s"),
        Figure("sealing : plain loop", loop / put, "ratio", ">=", 1.0),
        Figure("sealing: growth of peak RSS", growth / (1 << 20), "MiB", "<", 100),
        Figure("re-hashing it", size / rehash / 1e6, "MB/s"),
    ]


def _small(sealed: SealedObjects, scratch: Path, files: int) -> list[Figure]:
    source, out = scratch / "source", scratch / "out"
    source.mkdir()
    out.mkdir()
    paths = [source / f"{number:05d}" for number in range(files)]
    for path, block in zip(paths, pattern(files << 20), strict=True):
        path.write_bytes(block[:FILE_BYTES])
    began = time.perf_counter()
    keep_files(paths, out)
    loop = time.perf_counter() - began

    began = time.perf_counter()
    for first in range(0, files, _BATCH):
        batch = paths[first : first + _BATCH]
        stored = sealed.put_many((path.read_bytes() for path in batch), limit=FILE_BYTES)
    put = time.perf_counter() - began

    ref = stored[0].ref()
    began = time.perf_counter()
    for _ in range(files):
        sealed.rehash(ref)
    rehash = (time.perf_counter() - began) / files
    return [
        Figure("sealing small files in batches", files / put, "files/s"),
        Figure("batches : plain loop", loop / put, "ratio", ">=", 0.5),
        Figure("re-hashing one small file", rehash * 1e6, "µs"),
    ]


def _new_peak() -> int:
    """Start a new peak of the resident size (Linux); return the current size in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
