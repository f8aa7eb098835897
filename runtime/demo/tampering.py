"""What the story does to the object store: a byte of a stored object is flipped and put back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runtime.places import OBJECTS, BucketPlace, open_place
from runtime.settings import Settings
from storage.objects import ObjectStore

if TYPE_CHECKING:
    from storage.s3 import Bucket


class Tampering(Protocol):
    """Whoever can write where the objects lie: the operator, say."""

    def keys(self) -> set[str]:
        """Every stored object; what a step added is the difference."""
        ...

    def flipped(self, key: str) -> AbstractContextManager[None]:
        """Within the `with`, one bit in the middle of the object is another."""
        ...


class FileTampering:
    """With plain files."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def keys(self) -> set[str]:
        return {key for key, _ in self._store.keys()}  # noqa: SIM118 - no mapping

    @contextmanager
    def flipped(self, key: str) -> Iterator[None]:
        path = self._folder / key[:2] / key
        mode = path.stat().st_mode
        path.chmod(0o600)
        place = path.stat().st_size // 2
        try:
            _flip(path, place)
            yield
        finally:
            _flip(path, place)
            path.chmod(mode)


class BucketTampering:
    """With a newer version on top: the one below cannot be changed."""

    def __init__(self, store: ObjectStore, bucket: "Bucket") -> None:
        self._store = store
        self._bucket = bucket

    def keys(self) -> set[str]:
        return {key for key, _ in self._store.keys()}  # noqa: SIM118 - no mapping

    @contextmanager
    def flipped(self, key: str) -> Iterator[None]:
        from storage.objects.bucket_store import object_name

        name = object_name(key)
        data = bytearray(self._bucket.get(name).data)
        data[len(data) // 2] ^= 1
        self._bucket.overwrite(name, bytes(data))
        try:
            yield
        finally:
            self._bucket.remove_version(name, self._bucket.stat(name).version)


@contextmanager
def tampering(data: Path, settings: Settings) -> Iterator[Tampering]:
    """The way to the objects of the store in `data`, past everything that guards them."""
    place = open_place(data, settings)
    try:
        if isinstance(place, BucketPlace):
            yield BucketTampering(place.objects, place.bucket)
        else:
            yield FileTampering(place.objects, data / OBJECTS)
    finally:
        place.close()


def _flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
