"""Who follows the log looks often only while somebody waits, and never tells less for that."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any

from ledger.follower import Follower
from ledger.reader import LogReader
from ledger.tilestore import FilesystemTiles


class Counted(FilesystemTiles):
    """The real store, and how often it was asked for the checkpoint."""

    looks = 0

    def checkpoint(self) -> bytes | None:
        self.looks += 1
        return super().checkpoint()


@contextmanager
def following(store: Any) -> Iterator[tuple[Follower, LogReader, Counted]]:
    tiles = Counted(store.log)
    own = store.ledger.reader
    reader = LogReader(tiles, own.shard, *own.keys)
    follower = Follower(reader, lambda: False)
    follower.start()
    try:
        until(lambda: reader.size > 0)
        yield follower, reader, tiles
    finally:
        follower.stop()


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def newest_is(follower: Follower, size: int) -> bool:
    return follower.newest().checkpoint.size == size


def looked_beyond(tiles: Counted, number: int) -> bool:
    return tiles.looks > number


def test_it_looks_seldom_while_nobody_waits(store: Any) -> None:
    store.record()
    store.sequence()
    with following(store) as (_, _, tiles):
        before = tiles.looks
        time.sleep(1.5)
        assert tiles.looks - before <= 3


def test_whoever_asks_is_told_of_what_was_published_meanwhile(store: Any) -> None:
    """Though the follower itself will not look for a while."""
    store.record()
    store.sequence()
    with following(store) as (follower, reader, _):
        for _ in range(3):
            store.record()
            store.sequence()
            size = store.ledger.checkpoint().size
            until(partial(newest_is, follower, size), 0.9)
            assert reader.size == size


def test_who_waits_is_woken_by_what_is_published(store: Any) -> None:
    store.record()
    store.sequence()
    with following(store) as (follower, reader, tiles):
        known = reader.size
        woken: list[int] = []

        def wait() -> None:
            while reader.size <= known:
                follower.call()
                reader.wait_beyond(known, 0.2)
            woken.append(reader.size)

        waiter = Thread(target=wait)
        waiter.start()
        before = tiles.looks
        # As often as somebody waits: within a second some ten looks, where there was one.
        until(lambda: tiles.looks - before >= 5)
        assert not woken
        store.record()
        store.sequence()
        waiter.join(30)
        assert woken == [known + 1]


def test_nothing_is_remembered_where_nothing_follows(store: Any) -> None:
    """A command asks once, and means what is published then."""
    store.record()
    store.sequence()
    own = store.ledger.reader
    follower = Follower(LogReader(FilesystemTiles(store.log), own.shard, *own.keys), lambda: False)
    size = follower.newest().checkpoint.size
    store.record()
    store.sequence()
    assert follower.newest().checkpoint.size == size + 1


def test_it_can_be_started_again(store: Any) -> None:
    store.record()
    store.sequence()
    tiles = Counted(store.log)
    own = store.ledger.reader
    follower = Follower(LogReader(tiles, own.shard, *own.keys), lambda: False)
    for number in range(2):
        follower.start()
        until(partial(looked_beyond, tiles, number))
        follower.stop()
