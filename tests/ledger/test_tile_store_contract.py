"""The contract of the `TileStore` port: in a folder, in a bucket, and in one behind faults."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ledger.bucket_tiles import BucketShards, BucketTiles
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.errors import (
    CheckpointMalformed,
    CheckpointNotMonotone,
    LogExists,
    LogMissing,
    NoteMalformed,
    TileCorrupt,
    TileMissing,
)
from ledger.fsck import fsck
from ledger.keys import create_key_file
from ledger.layout import stops_store
from ledger.lock import FileLock
from ledger.service import Ledger
from ledger.shard_keys import open_signers
from ledger.tiles import FULL_TILE_BYTES, TilePath
from ledger.tilestore import FilesystemTiles, FolderShards, Shards, TileStore
from storage.errors import ImmutableConflict
from storage.s3 import Bucket
from storage.s3.bucket import Blob
from tests.servers.fault_proxy import FaultProxy
from tests.servers.minio import MinioServer
from tests.servers.radosgw import RadosGateway

ORIGIN = "log.example/2026"
PLACES = (
    "filesystem",
    "minio",
    "minio-faulty",
    pytest.param("radosgw", marks=pytest.mark.xdist_group("radosgw")),
)
PATH, OTHER = TilePath(0, 1234067), TilePath(None, 3, 17)


class Place:
    """Where a log can be: made once, opened any number of times."""

    def __init__(self, shards: Shards, litter: Callable[[str], None]) -> None:
        self.shards = shards
        self.litter = litter
        """Put something of this name beside the shards."""

    def create(self) -> TileStore:
        return self.shards.create("2026")

    def open(self) -> TileStore:
        return self.shards.open("2026")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "filesystem":
        root = tmp_path / "log"
        yield Place(FolderShards(root), lambda name: (root / name).touch())
        return
    server: MinioServer | RadosGateway = request.getfixturevalue(
        request.param.removesuffix("-faulty")
    )
    bucket = server.bucket()
    if request.param == "minio-faulty":
        proxy: FaultProxy = request.getfixturevalue("fault_proxy")
        proxy.often()
        bucket.close()
        bucket = Bucket(server.settings(bucket.name, endpoint=proxy.endpoint))
    yield Place(BucketShards(bucket), lambda name: bucket.overwrite(f"log/{name}", b""))
    bucket.close()


@pytest.fixture
def tiles(place: Place) -> TileStore:
    return place.create()


@pytest.fixture
def signed(tmp_path: Path) -> Callable[[int, bytes], bytes]:
    """A checkpoint of a size and a root."""
    (tmp_path / "keys").mkdir(exist_ok=True)
    signer = create_key_file(tmp_path / "keys" / "log.key", ORIGIN)
    return lambda size, root: sign_checkpoint(Checkpoint(ORIGIN, size, root), [signer]).encode()


def test_a_log_is_born_once_and_opened_only_if_it_was(place: Place) -> None:
    with pytest.raises(LogMissing):
        place.open()
    place.create()
    assert place.open().checkpoint() is None
    with pytest.raises(LogExists):
        place.create()


def test_what_lies_beside_the_shards_is_named(place: Place, tiles: TileStore) -> None:
    tiles.put({PATH: b"a" * 32})
    other = place.shards.create("2027")
    other.put({PATH: b"b" * 32})
    assert list(place.shards.strangers({"2026", "2027"})) == []
    place.litter("2028.txt")
    assert list(place.shards.strangers({"2026", "2027"})) == ["2028.txt"]
    assert any(name.startswith("2027") for name in place.shards.strangers({"2026"}))


def test_what_was_put_is_read_back_by_others(place: Place, tiles: TileStore) -> None:
    blobs = {
        TilePath(level, index): secrets.token_bytes(FULL_TILE_BYTES)
        for level in range(2)
        for index in range(40)
    }
    tiles.put(blobs)
    tiles.put(blobs)
    again = place.open()
    assert {path: again.get(path) for path in blobs} == blobs
    assert again.get_many(iter(blobs)) == blobs
    with pytest.raises(TileMissing):
        again.get_many([*blobs, OTHER])
    assert sorted(again.names()) == sorted(path.text for path in blobs)


def test_other_bytes_are_a_conflict_and_change_nothing(tiles: TileStore) -> None:
    tiles.put({PATH: b"a" * 32, OTHER: b"entry"})
    for other in (b"b" * 32, b"a" * 31, b""):
        with pytest.raises(ImmutableConflict) as caught:
            tiles.put({PATH: other})
        assert caught.value.details["path"] == PATH.text
    assert tiles.get(PATH) == b"a" * 32


def test_of_racing_writers_of_a_tile_one_wins(place: Place, tiles: TileStore) -> None:
    for number in range(5):
        path = TilePath(0, number)
        barrier = threading.Barrier(3)
        won: list[int] = []

        def race(
            writer: int,
            path: TilePath = path,
            barrier: threading.Barrier = barrier,
            won: list[int] = won,
        ) -> None:
            mine = place.open()
            barrier.wait(10)
            try:
                mine.put({path: bytes([writer]) * 32})
                won.append(writer)
            except ImmutableConflict:
                pass

        threads = [threading.Thread(target=race, args=(writer,)) for writer in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(won) == 1
        assert tiles.get(path) == bytes(won) * 32


def test_the_unknown_is_missing_and_the_too_long_is_corrupt(tiles: TileStore) -> None:
    with pytest.raises(TileMissing):
        tiles.get(PATH)
    tiles.put({PATH: b"x" * (FULL_TILE_BYTES + 1)})
    with pytest.raises(TileCorrupt):
        tiles.get(PATH)


def test_a_checkpoint_replaces_smaller_ones_and_never_goes_back(
    place: Place, tiles: TileStore, signed: Callable[[int, bytes], bytes]
) -> None:
    root, fork = b"r" * 32, b"f" * 32
    for size in (1, 2, 2, 300):
        tiles.publish(signed(size, root))
        assert place.open().checkpoint() == signed(size, root)
    for size, other in ((299, root), (300, fork), (1, fork)):
        with pytest.raises(CheckpointNotMonotone):
            tiles.publish(signed(size, other))
    with pytest.raises((NoteMalformed, CheckpointMalformed)):
        tiles.publish(b"no checkpoint")
    assert tiles.checkpoint() == signed(300, root)
    assert list(tiles.names()) == []


# The port asks for one writer; a bucket bears several, as after a lost lock.
@pytest.mark.parametrize("place", ["minio", "minio-faulty"], indirect=True)
def test_of_racing_publishers_the_largest_stays(
    place: Place, signed: Callable[[int, bytes], bytes]
) -> None:
    place.create()
    checkpoints = [signed(size, b"r" * 32) for size in range(1, 13)]
    barrier = threading.Barrier(4)

    def publish(number: int) -> None:
        tiles = place.open()
        barrier.wait(10)
        for checkpoint in checkpoints[number::4]:
            with suppress(CheckpointNotMonotone):
                tiles.publish(checkpoint)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert place.open().checkpoint() == checkpoints[-1]


def test_a_publisher_that_is_overtaken_between_look_and_write_does_not_go_back(
    minio: MinioServer, signed: Callable[[int, bytes], bytes]
) -> None:
    root = b"r" * 32
    bucket = minio.bucket()
    other = BucketTiles.create(bucket, "2026")
    other.publish(signed(1, root))

    class Overtaken(Bucket):
        def replace(self, name: str, data: bytes, before: Blob) -> bool:
            other.publish(signed(5, root))
            return super().replace(name, data, before)

    overtaken = Overtaken(minio.settings(bucket.name))
    tiles = BucketTiles(overtaken, "2026")
    with pytest.raises(CheckpointNotMonotone):
        tiles.publish(signed(3, root))
    assert other.checkpoint() == signed(5, root)
    overtaken.close()
    bucket.close()


def test_partial_tiles_go_when_the_full_one_is_there(tiles: TileStore) -> None:
    partials = [TilePath(0, 5, width) for width in (3, 17, 255)]
    tiles.put({path: b"x" * 32 * path.width for path in partials})
    kept = {TilePath(0, 5): b"y" * FULL_TILE_BYTES, TilePath(0, 6, 4): b"z" * 128}
    tiles.put(kept)
    tiles.discard_partials(TilePath(0, 5))
    tiles.discard_partials(TilePath(0, 7))
    tiles.sweep()
    assert sorted(tiles.names()) == sorted(path.text for path in kept)
    assert {path: tiles.get(path) for path in kept} == kept


def test_what_a_restore_discards_is_gone_and_its_name_is_free(place: Place) -> None:
    tiles = place.create()
    gone, kept = TilePath(None, 5, 17), TilePath(None, 5, 16)
    tiles.put({gone: b"unsigned", kept: b"signed"})
    for _ in range(2):
        tiles.discard(gone)
        assert list(tiles.names()) == [kept.text]
    with pytest.raises(TileMissing):
        tiles.get(gone)
    tiles.put({gone: b"another"})
    assert (place.open().get(gone), tiles.get(kept)) == (b"another", b"signed")
    tiles.discard(TilePath(0, 9))


def test_old_versions_of_a_checkpoint_do_not_pile_up(
    minio: MinioServer, signed: Callable[[int, bytes], bytes]
) -> None:
    bucket = minio.bucket()
    tiles = BucketTiles.create(bucket, "2026")
    for size in range(1, 6):
        tiles.publish(signed(size, b"r" * 32))
    assert len(list(bucket.versions("log/2026/checkpoint"))) == 1
    bucket.overwrite("log/2026/checkpoint", signed(6, b"r" * 32))  # killed before it removed
    tiles.sweep()
    assert len(list(bucket.versions("log/2026/checkpoint"))) == 1
    assert tiles.checkpoint() == signed(6, b"r" * 32)
    bucket.close()


def test_a_real_log_lives_in_a_bucket_behind_faults(
    store: Any, minio: MinioServer, fault_proxy: FaultProxy
) -> None:
    # The log that was born in a folder moves into a bucket, and goes on there.
    made = minio.bucket()
    bucket = Bucket(minio.settings(made.name, endpoint=fault_proxy.endpoint))
    tiles = BucketTiles.create(bucket, "2026")
    folder = FilesystemTiles(store.log)
    tiles.put({(path := TilePath.parse(name)): folder.get(path) for name in folder.names()})
    tiles.publish(folder.checkpoint() or b"")
    fault_proxy.often()

    def opened() -> Ledger:
        return Ledger(
            database=store.database,
            vault=store.vault,
            stops=stops_store(store.directory),
            tiles=BucketTiles(bucket, "2026"),
            signers=open_signers(store.directory, "2026"),
            lock=FileLock(store.directory / "sequencer-2026.lock"),
            clock=store.clock,
            shard="2026",
            directory=store.directory,
            shards=BucketShards(bucket),
        )

    total = 1
    for count in (1, 254, 3, 600):
        ledger = opened()  # each time as after a restart
        store.record_many(count)
        ledger.sequence(store.now)
        total += count
        assert ledger.checkpoint().size == total
        ledger.stop()
    assert [problem.code for problem in fsck(opened())] == []
    assert sum(fault_proxy.seen.values()) > 10
    bucket.close()
    made.close()
