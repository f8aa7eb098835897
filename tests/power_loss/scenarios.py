"""The product's own file code at work: objects, the log, keys."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernel.clock import FixedClock
from ledger.journal import SealedRecords
from ledger.keys import create_key_file, open_key_file
from ledger.reader import LogReader
from ledger.sequencer import Sequencer
from ledger.shard_keys import open_signers
from ledger.stops import COMPLETE, Stops
from ledger.tilestore import FilesystemTiles
from runtime.store import create_store
from storage.database import ReadTx, WriteTx
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore
from tests.power_loss.disk import Recorder
from tests.simulation.oracle import Tree, needed
from tests.simulation.ports import MemoryObjects
from tests.simulation.world import (
    NOON,
    ORIGIN,
    SHARD,
    base,
    journal,
    open_memory,
    signer,
    vault,
)


class Interrupted(Exception):
    """A put was cut off before one of its fsyncs."""


@contextmanager
def interrupted(recorder: Recorder, site: str) -> Iterator[None]:
    """The first fsync of this line fails, as if the writer were killed there."""

    def fail(asked: str) -> None:
        if site in asked:
            raise Interrupted

    recorder.fail = fail
    try:
        yield
    except Interrupted:
        pass
    else:
        raise AssertionError(f"no fsync of {site}")
    finally:
        recorder.fail = lambda _: None


class Objects:
    """Puts one by one, twice, over a cut-off one, many at once; a deletion."""

    name = "objects"

    def play(self, root: Path, recorder: Recorder) -> None:
        store = FilesystemStore(root / "objects", create=True)
        recorder.mark(("store", None))

        def put(key: str) -> None:
            writer = store.create(key)
            writer.write(_bytes(key))
            writer.commit()
            recorder.mark(("put", key))

        put(_key(1))
        put(_key(1))
        writer = store.create(_key(2))
        writer.write(_bytes(_key(2)))
        writer.place()  # and no further: its writer was killed
        put(_key(2))
        many = [_key(number) for number in range(3, 9)]
        store.put_many((key, _bytes(key)) for key in many)
        for key in many:
            recorder.mark(("put", key))
        store.delete(_key(1))
        recorder.mark(("gone", _key(1)))

    def check(self, root: Path, marks: list[Any]) -> None:
        if not marks:
            return
        store = FilesystemStore(root / "objects")
        gone = {key for kind, key in marks if kind == "gone"}
        visible = {key for key, _ in store.keys()}  # noqa: SIM118 - no mapping
        assert not gone & visible, "a deleted object is back"
        deleting = {_key(1)} if ("put", _key(8)) in marks else set()
        for kind, key in marks:
            if kind == "put" and key not in gone | deleting:
                assert key in visible, f"{key} was acknowledged"
        for key in visible:
            assert b"".join(store.read(key)) == _bytes(key), f"{key} is not whole"


def _key(number: int) -> str:
    return f"{number:02x}" * 16


def _bytes(key: str) -> bytes:
    return bytes.fromhex(key) * 40


class Rows:
    """A database in memory whose commits are durable, as `synchronous=FULL` makes them."""

    def __init__(self, rows: bytes, committed: Callable[[bytes], None]) -> None:
        self.memory = open_memory()
        self.memory.driver.deserialize(rows)
        self._committed = committed

    @contextmanager
    def read(self) -> Iterator[ReadTx]:
        yield ReadTx(self.memory.connection)

    def write(self, work: Callable[[WriteTx], Any]) -> Any:
        driver = self.memory.driver
        driver.execute("BEGIN IMMEDIATE")
        value = work(WriteTx(self.memory.connection))
        driver.execute("COMMIT")
        self._committed(driver.serialize())
        return value


def _sequencer(rows: Rows, root: Path) -> Sequencer:
    database: Any = rows
    tiles = FilesystemTiles(root / "log" / SHARD)
    reader = LogReader(tiles, SHARD, signer().key)
    # Objects have a scenario of their own.
    stops = Stops(MemoryObjects(), vault())
    stops.note([COMPLETE])
    return Sequencer(
        database=database,
        tiles=tiles,
        signers=[signer()],
        reader=reader,
        stops=stops,
        shard=SHARD,
    )


class Log:
    """The birth of a log, rounds that fill tiles, a put over a cut-off one."""

    name = "log"

    def play(self, root: Path, recorder: Recorder) -> None:
        rows = Rows(base(0).rows, lambda data: recorder.mark(("rows", data)))
        recorder.mark(("rows", base(0).rows))
        FilesystemTiles.create(root / "log" / SHARD)
        recorder.mark(("log", None))
        made, pool = journal()
        first = 0
        sequencer = _sequencer(rows, root)
        sequencer.recover(NOON)
        for number, count in enumerate((2, 1, 254, 5, 3)):
            sealed = SealedRecords(
                NOON, pool.entries[first : first + count], pool.values[first : first + count]
            )
            rows.write(lambda tx, sealed=sealed: made.write(tx, sealed))
            first += count
            if number == 3:
                with interrupted(recorder, "FilesystemTiles.put: _sync_folder"):
                    sequencer.round(NOON)
                sequencer = _sequencer(rows, root)
                sequencer.recover(NOON)
            else:
                sequencer.round(NOON)
            recorder.mark(("published", (rows.memory.head().size, rows.memory.head().root)))

    def check(self, root: Path, marks: list[Any]) -> None:
        kinds = {kind for kind, _ in marks}
        if "log" not in kinds:
            return
        data = [mark for kind, mark in marks if kind == "rows"][-1]
        rows = Rows(data, lambda _: None)
        leaves = _leaves(rows)
        tiles = FilesystemTiles(root / "log" / SHARD)
        published = [mark for kind, mark in marks if kind == "published"]
        on_disk = 0
        if tiles.checkpoint() is not None:
            head = LogReader(tiles, SHARD, signer().key).refresh().checkpoint
            on_disk = head.size
            _backed(tiles, Tree.of(leaves[:on_disk]), head.size, head.root)
        assert on_disk >= max([size for size, _ in published], default=0), "a checkpoint is lost"
        sequencer = _sequencer(rows, root)
        sequencer.recover(NOON)
        while sequencer.round(NOON):
            pass
        leaves = _leaves(rows)
        tree = Tree.of(leaves)
        for size, known in published:
            assert tree.root(size) == known, "an acknowledged head is no prefix"
        head = LogReader(tiles, SHARD, signer().key).refresh().checkpoint
        assert head.size == len(leaves), "not all entries came back"
        _backed(tiles, tree, head.size, head.root)


def _leaves(rows: Rows) -> list[bytes]:
    query = "SELECT leaf FROM ledger_entries WHERE leaf_index IS NOT NULL ORDER BY leaf_index"
    return [row[0] for row in rows.memory.driver.execute(query)]


def _backed(tiles: FilesystemTiles, tree: Tree, size: int, root: bytes) -> None:
    assert tree.root(size) == root, "another root than the entries have"
    names = set(tiles.names())
    for path in needed(size):
        stored = path if path.text in names else path.whole()
        expected = tree.blob(path)
        assert tiles.get(stored)[: len(expected)] == expected, f"{path.text} has other bytes"


class Keys:
    """A vault and a signing key, in a folder that the key file itself makes."""

    name = "keys"

    def play(self, root: Path, recorder: Recorder) -> None:
        made = create_key_file(root / "keys" / "log-2026.key", ORIGIN)
        recorder.mark(("key", made.key.text))
        vault = FileKeyVault.create(root / "keys" / "vault.json")
        recorder.mark(("vault", vault.mac("x", b"y")))

    def check(self, root: Path, marks: list[Any]) -> None:
        for kind, known in marks:
            if kind == "key":
                assert open_key_file(root / "keys" / "log-2026.key").key.text == known
            else:
                assert FileKeyVault.open(root / "keys" / "vault.json").mac("x", b"y") == known


class Birth:
    """`mianjiao init`: the folders and files of a whole store. SQLite's own are left out:
    it writes them itself, with `synchronous=FULL`."""

    name = "birth"

    def play(self, root: Path, recorder: Recorder) -> None:
        create_store(root / "stores" / "one", "test.example", FixedClock(NOON))
        recorder.mark(("born", None))

    def check(self, root: Path, marks: list[Any]) -> None:
        store = root / "stores" / "one"
        assert store.is_dir(), "the folder of the store has no name"
        assert (store / "exports").is_dir()
        FilesystemStore(store / "objects")
        FileKeyVault.open(store / "keys" / "vault.json")
        keys = [one.key for one in open_signers(store, str(NOON.year))]
        tiles = FilesystemTiles(store / "log" / str(NOON.year))
        assert LogReader(tiles, str(NOON.year), *keys).refresh().checkpoint.size > 0


SCENARIOS = (Objects(), Log(), Keys())
