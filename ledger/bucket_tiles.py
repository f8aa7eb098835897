"""A shard of the log in a bucket: tiles that never change, and one checkpoint."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from ledger.errors import LogExists, LogMissing, TileCorrupt, TileMissing
from ledger.tiles import FULL_TILE_BYTES, MAX_BUNDLE_BYTES, TilePath
from ledger.tilestore import CHECKPOINT, check_monotone
from storage.errors import ImmutableConflict, ObjectMissing, StorageFailed
from storage.s3.bucket import Blob, Bucket

ROOT = "log/"
_TRIES = 8  # of replacing a checkpoint that others replace at the same time


class BucketShards:
    """`Shards` under `log/` of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def create(self, shard: str) -> "BucketTiles":
        return BucketTiles.create(self._bucket, shard)

    def open(self, shard: str) -> "BucketTiles":
        return BucketTiles(self._bucket, shard)

    def strangers(self, shards: Collection[str]) -> Iterator[str]:
        born = {_born(shard) for shard in shards}
        roots = tuple(map(_root, shards))
        for name, _ in self._bucket.names(ROOT):
            if name not in born and not name.startswith(roots):
                yield name.removeprefix(ROOT)


class BucketTiles:
    """A `TileStore` under `log/<shard>/`, with the names that are served.

    Tiles are put many at a time with `If-None-Match: *`; the checkpoint is
    replaced with `If-Match` on the ETag that was read and compared: of two
    publishers one wins, and the other looks again. Its older versions are
    removed, else there would be one for every round.
    """

    def __init__(self, bucket: Bucket, shard: str) -> None:
        """Open an existing log; `LogMissing` otherwise."""
        self._bucket = bucket
        self._root = _root(shard)
        try:
            bucket.stat(_born(shard))
        except ObjectMissing:
            raise LogMissing() from None

    @classmethod
    def create(cls, bucket: Bucket, shard: str) -> "BucketTiles":
        """Bring the log's place into being. `LogExists` if it is, or was, there."""
        if not bucket.put_new(_born(shard), b"") or any(bucket.names(_root(shard))):
            raise LogExists()
        return cls(bucket, shard)

    def put(self, blobs: Mapping[TilePath, bytes]) -> None:
        deque(self._bucket.in_parallel(self._put_one, blobs.items()), maxlen=0)

    def get(self, path: TilePath) -> bytes:
        limit = MAX_BUNDLE_BYTES if path.level is None else FULL_TILE_BYTES
        return self._read(self._bucket.get_first, path.text, limit).data

    def get_many(self, paths: Iterable[TilePath]) -> dict[TilePath, bytes]:
        wanted = list(paths)
        return dict(zip(wanted, self._bucket.in_parallel(self.get, wanted), strict=True))

    def publish(self, checkpoint: bytes) -> None:
        for _ in range(_TRIES):
            published = self._published()
            check_monotone(None if published is None else published.data, checkpoint)
            if published is None:
                done = self._bucket.put_new(self._root + CHECKPOINT, checkpoint)
            elif published.data == checkpoint:
                return
            else:
                done = self._bucket.replace(self._root + CHECKPOINT, checkpoint, published)
            if done:
                self._forget(published)
                return
        raise StorageFailed(problem="the checkpoint changes faster than it can be compared")

    def checkpoint(self) -> bytes | None:
        published = self._published()
        return None if published is None else published.data

    def names(self) -> Iterator[str]:
        for name, _ in self._bucket.names(self._root):
            if name != self._root + CHECKPOINT:
                yield name.removeprefix(self._root)

    def discard_partials(self, path: TilePath) -> None:
        for name, _ in self._bucket.names(f"{self._root}{path.whole().text}.p/"):
            self._bucket.remove(name)

    def discard(self, path: TilePath) -> None:
        self._bucket.remove(self._root + path.text)

    def sweep(self) -> None:
        """Remove older versions of the checkpoint, which a killed publisher left."""
        for entry in self._bucket.versions(self._root + CHECKPOINT):
            if entry.name == self._root + CHECKPOINT and not entry.newest:
                self._bucket.remove_version(entry.name, entry.version)

    def _put_one(self, item: tuple[TilePath, bytes]) -> None:
        path, data = item
        name = self._root + path.text
        if not self._bucket.put_new(name, data) and self._bucket.get_first(name).data != data:
            raise ImmutableConflict(path=path.text)

    def _published(self) -> Blob | None:
        try:
            return self._read(self._bucket.get, CHECKPOINT, FULL_TILE_BYTES * 64)
        except TileMissing:
            return None

    def _forget(self, replaced: Blob | None) -> None:
        # What stays is removed by the next `sweep`.
        with suppress(StorageFailed):
            if replaced is not None and replaced.version is not None:
                self._bucket.remove_version(self._root + CHECKPOINT, replaced.version)

    def _read(self, get: Callable[[str], Blob], name: str, limit: int) -> Blob:
        try:
            blob = get(self._root + name)
        except ObjectMissing:
            raise TileMissing(path=name) from None
        if len(blob.data) > limit:
            raise TileCorrupt(path=name, reason="longer than any such blob")
        return blob


def _root(shard: str) -> str:
    return f"{ROOT}{shard}/"


def _born(shard: str) -> str:
    """Beside the log's names, which hold nothing but what is served."""
    return f"{ROOT}{shard}.born"
