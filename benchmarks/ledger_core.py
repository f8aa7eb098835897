"""The ledger alone: entries a second, tree build, cost of a proof.

Nothing is left out: records are checked, put into canonical form, sealed,
journalled durably, staged, written into fsynced tiles, read back, signed and
published. The proof figures use a real tile folder and a warm reader.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blockcerts_merkletools import MerkleTools

import ledger.tables  # noqa: F401 - registers its tables
from benchmarks.figures import Figure
from kernel.canonical import Record
from kernel.clock import SystemClock
from kernel.ids import IdKind, new_ids
from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.growth import Tail, edge, grow
from ledger.journal import JournalEntry, SealedRecords
from ledger.keys import Ed25519Signer
from ledger.merkle import leaf_hash
from ledger.reader import LogReader
from ledger.service import Ledger
from ledger.tiles import TilePath
from ledger.tilestore import FilesystemTiles
from runtime.interpreter import settle
from storage.database import Database, WriteTx
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault

BATCH = 1_000
BATCHES = 60
SMALL, LARGE = 10_000, 1_000_000
PROOFS = 20_000
SEED = 20261124


def measure(scratch: Path) -> list[Figure]:
    """All figures of the ledger's core; `scratch` is an empty folder."""
    figures = [
        Figure("log, record to published checkpoint", durable(scratch), "entries/s", ">=", 20_000),
        *tree_build(),
    ]
    small, large = proofs(
        [
            (log_of(scratch / "small", SMALL), SMALL),
            (log_of(scratch / "large", LARGE), LARGE),
        ]
    )
    return [
        *figures,
        Figure("inclusion proof at 10 k leaves, median", median(small) * 1e6, "µs"),
        Figure("inclusion proof at 1 M leaves, median", median(large) * 1e6, "µs"),
        Figure("inclusion proof at 1 M leaves, p99", p99(large) * 1e3, "ms", "<", 1.0),
        Figure("inclusion proof, 1 M against 10 k", median(large) / median(small), "×", "<=", 1.5),
    ]


def durable(scratch: Path, batches: int = BATCHES, size: int = BATCH) -> float:
    """Entries a second from record to published checkpoint, in batches, all durable.

    One thread seals the next batch while the database commits the last one and
    the sequencer works in the background: what a bulk collection does, with its
    settings of the interpreter.
    """
    settle()
    with_ledger = _Store(scratch / "durable")
    with_ledger.ledger.start()
    rate = appends(with_ledger.ledger, batches, size)
    with_ledger.close()
    return rate


def appends(log: Ledger, batches: int, size: int) -> float:
    """Entries a second through a log that was started."""
    bodies = [_batch(size) for _ in range(batches)]
    begun = time.perf_counter()
    pending = None
    for rows in bodies:
        sealed = log.journal.seal(log.clock.now(), rows)
        if pending is not None:
            pending.result()
        pending = log.database.submit(_writing(log, sealed))
    if pending is None:
        raise ValueError("no batches")
    last = pending.result()[-1]
    if not log.wait_for(last.entry_id, 120):
        raise RuntimeError("the log did not publish")
    return batches * size / (time.perf_counter() - begun)


def tree_build(count: int = 256 * 400) -> list[Figure]:
    """Leaves a second of our tiles against plain merkletools over the same entries."""
    entries = [b"entry %d" % number for number in range(count)]
    ours = _seconds(lambda: grow(Tail(0), entries))

    def plain() -> None:
        tree = MerkleTools()
        tree.add_leaf([leaf_hash(entry).hex() for entry in entries])
        tree.make_tree()

    theirs = _seconds(plain)
    return [
        Figure("tree build, tiles and bundles", count / ours, "leaves/s"),
        Figure("tree build, plain merkletools", count / theirs, "leaves/s"),
        Figure("tree build, ours against plain", theirs / ours, "×"),
    ]


def log_of(folder: Path, size: int) -> LogReader:
    """A published log of `size` small entries, as files; its reader."""
    tiles = FilesystemTiles.create(folder / "log" / "2026")
    signer = Ed25519Signer("bench.example/2026", bytes(32))
    tail = Tail(0)
    partial: dict[TilePath, bytes] = {}
    step = 64 * 256
    for first in range(0, size, step):
        chunk = [b"%d" % number for number in range(first, min(size, first + step))]
        grown = grow(tail, chunk)
        tiles.put({path: data for path, data in grown.blobs.items() if path.full})
        partial |= grown.blobs
        tail = grown.tail
    tiles.put({path: partial[path] for path in edge(size)})
    signed = sign_checkpoint(Checkpoint(signer.key.name, size, tail.root), [signer])
    tiles.publish(signed.encode())
    return LogReader(tiles, "2026", signer.key)


def proofs(logs: Sequence[tuple[LogReader, int]], count: int = PROOFS) -> list[list[float]]:
    """Seconds of each of `count` proofs of random entries of each log, warm.

    The logs take turns, so that a busy moment of the machine meets both.
    """
    chosen = random.Random(SEED)
    for reader, size in logs:
        for index in range(0, size, 256):  # every tile is read once
            reader.inclusion(index)
    taken: list[list[float]] = [[] for _ in logs]
    for _ in range(count):
        for (reader, size), seconds in zip(logs, taken, strict=True):
            index = chosen.randrange(size)
            begun = time.perf_counter()
            inclusion = reader.inclusion(index)
            seconds.append(time.perf_counter() - begun)
            if not inclusion.proves(leaf_hash(b"%d" % index)):
                raise RuntimeError("a proof does not hold")
    return taken


def median(values: list[float]) -> float:
    return statistics.median(values)


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


class _Store:
    """A log of its own: database, vault, tiles."""

    def __init__(self, folder: Path) -> None:
        (folder / "keys").mkdir(parents=True)
        self.clock = SystemClock()
        self.database = Database(folder / "mianjiao.sqlite3", create=True)
        metadata.create_all(self.database.writer_engine)
        self.ledger = Ledger.create(
            folder,
            database=self.database,
            vault=FileKeyVault.create(folder / "keys" / "vault.json"),
            clock=self.clock,
            name="bench.example",
            shard="2026",
        )

    def close(self) -> None:
        self.ledger.stop()
        self.database.close()


def _batch(size: int) -> list[tuple[str, str, Record]]:
    """Records as the bulk collection of back files writes them."""
    return [
        (
            "material.registered",
            material,
            {
                "type": "lease_contract",
                "title": "租赁合同",
                "provenance": "back_scan",
                "status": "pending",
                "files": [
                    {
                        "name": "租赁合同.pdf",
                        "media_type": "application/pdf",
                        "size": 20_480,
                        "digests": {"sha256": "ab" * 32, "sm3": "cd" * 32},
                    }
                ],
                "parties": [{"party": "pty_3v9q0000000000000000000000", "role": "owner"}],
            },
        )
        for material in new_ids(IdKind.MATERIAL, size)
    ]


def _writing(log: Ledger, sealed: SealedRecords) -> Callable[[WriteTx], list[JournalEntry]]:
    return lambda tx: log.journal.write(tx, sealed)


def _seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)
