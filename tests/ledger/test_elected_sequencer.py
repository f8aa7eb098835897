"""One sequencer of several processes, elected by a lock on PostgreSQL or on a file."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, text

from kernel.ids import IdKind, new_id
from ledger.errors import (
    CheckpointNotMonotone,
    DatabaseOlderThanLog,
    LedgerStopped,
    LogDiverged,
    SequencerBusy,
    SequencerLost,
)
from ledger.layout import lock_path
from ledger.reader import LogReader
from ledger.sequencer import Sequencer
from ledger.tables import ledger_entries
from ledger.tilestore import FilesystemTiles
from storage.database import Database
from storage.errors import OutcomeUnknown, StorageFailed
from tests.engines import POSTGRESQL, Engine, Servers
from tests.postgres_server import PostgresServer, free_port
from tests.servers.wire import Wire

TAKE_OVER_SECONDS = 5.0
# What a sequencer may stop with that no lock keeps from another: it lost a swap, or saw
# what the other published between two looks, or had its staging cleared away.
LOST_RACES = (
    SequencerLost,
    LedgerStopped,
    CheckpointNotMonotone,
    DatabaseOlderThanLog,
    LogDiverged,
    StorageFailed,
)
CHILD = """
import sys
from pathlib import Path
from sqlalchemy import make_url
from kernel.clock import SystemClock
from ledger.service import Ledger
from storage.database import Database
from storage.keyvault import FileKeyVault

folder, place = Path(sys.argv[1]), sys.argv[2]
database = Database(make_url(place) if "://" in place else Path(place))
vault = FileKeyVault.open(folder / "keys" / "vault.json")
ledger = Ledger.open(folder, database=database, vault=vault, clock=SystemClock())
ledger.start()
print("leading", flush=True)
sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> float:
    """How long it took; an assertion after `seconds`."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.01)
    return time.monotonic() - begun


@pytest.fixture
def other(store: Any, open_store: Callable[[Path], Any]) -> Iterator[Any]:
    """The same log as a second process opens it."""
    opened = open_store(store.directory)
    yield opened
    opened.close()


@pytest.mark.both_engines
def test_the_second_stands_by_and_takes_over(store: Any, other: Any) -> None:
    store.ledger.start()
    other.ledger.stand_by()
    entry = other.record()
    assert store.ledger.wait_for(entry.entry_id, 20), "sequenced by the first"
    assert (store.ledger.leading, other.ledger.leading) == (True, False)
    assert other.ledger.running
    assert other.ledger.wait_for(entry.entry_id, 20), "and the second sees it"
    store.ledger.stop()
    assert wait_until(lambda: other.ledger.leading) < TAKE_OVER_SECONDS
    late = store.record()
    assert other.ledger.wait_for(late.entry_id, 20)
    other.ledger.stop()
    assert store.fsck() == []


@pytest.mark.both_engines
def test_a_killed_one_is_succeeded_without_gap_or_duplicate(store: Any) -> None:
    place = store.database.place
    shown = str(place) if isinstance(place, Path) else place.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(store.directory), shown],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "leading\n"
        store.ledger.stand_by()
        entries = [store.record() for _ in range(20)]
        wait_until(lambda: store.ledger.checkpoint().size > 1)
        child.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        entries += [store.record() for _ in range(20)]
        wait_until(lambda: store.ledger.leading)
        assert all(store.ledger.wait_for(entry.entry_id, 20) for entry in entries)
        assert time.monotonic() - begun < TAKE_OVER_SECONDS
    store.ledger.stop()
    assert store.ledger.checkpoint().size == 41
    assert store.fsck() == []


@pytest.mark.both_engines
def test_one_that_failed_gives_way(store: Any, other: Any) -> None:
    store.ledger.start()
    other.ledger.stand_by()
    other.record()
    with pytest.raises(ZeroDivisionError):
        store.ledger.sequencer.check(lambda: 1 // 0)
    assert wait_until(lambda: other.ledger.leading) < TAKE_OVER_SECONDS
    assert not store.ledger.leading
    assert not store.ledger.running
    other.ledger.stop()
    assert store.fsck() == []


@pytest.mark.sqlite_only
def test_a_lock_file_that_was_removed_stops_its_holder(store: Any, other: Any) -> None:
    store.ledger.start()
    lock_path(store.directory, "2026").unlink()
    store.record()
    wait_until(lambda: isinstance(store.ledger.sequencer.failure, SequencerLost))
    assert not store.ledger.leading
    entry = other.record()
    # And begins anew, with a lock that keeps others out.
    assert wait_until(lambda: store.ledger.leading) < TAKE_OVER_SECONDS
    assert store.ledger.wait_for(entry.entry_id, 20)
    with pytest.raises(SequencerBusy):
        other.sequence()
    store.ledger.stop()
    assert other.fsck() == []


@pytest.mark.postgresql_only
def test_a_dead_lock_session_stops_its_holder_though_a_sibling_lives(
    store: Any, other: Any
) -> None:
    store.ledger.start()
    other.ledger.stand_by()
    first = store.record()
    assert store.ledger.wait_for(first.entry_id, 20)
    with other.database.read() as tx:
        ended = tx.scalar(
            text(
                "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l"
                " JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
                " WHERE l.locktype = 'advisory' AND l.granted"
            )
        )
    assert ended == 1
    entry = store.record()  # the sibling connection lives
    wait_until(lambda: isinstance(store.ledger.sequencer.failure, SequencerLost))
    assert not store.ledger.leading
    leaders = (store.ledger, other.ledger)
    taken = wait_until(lambda: [one.leading for one in leaders].count(True) == 1)
    assert taken < TAKE_OVER_SECONDS
    assert other.ledger.wait_for(entry.entry_id, 20)
    other.ledger.stop()
    store.ledger.stop()
    assert other.fsck() == []


@pytest.mark.sqlite_only  # its PostgreSQL is its own
def test_a_restart_of_the_server_is_survived(store: Any, tmp_path: Path) -> None:
    """The sequencer fails, and recovers by itself; what was acknowledged is in the log."""
    server = PostgresServer()
    try:
        engine = Engine(POSTGRESQL, Servers(server))
        store = type(store).create(tmp_path / "own", engine)
        store.ledger.start()
        entries = []
        for _ in range(3):
            entries += [store.record() for _ in range(5)]
            server.kill()
            server.start()
            entries += [store.record() for _ in range(5)]
        wait_until(lambda: store.ledger.leading)
        assert store.ledger.wait_for(entries[-1].entry_id, 20)
        store.ledger.stop()
        assert store.ledger.checkpoint().size == len(entries) + 1
        assert store.fsck() == []
        store.close()
    finally:
        server.close()


@pytest.mark.sqlite_only  # its PostgreSQL is its own
@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_swap_whose_answer_is_lost_is_finished(store: Any, tmp_path: Path, cut: str) -> None:
    """The head moved or not, and the sequencer does not know: it stops, and starts again."""
    server = PostgresServer(port=free_port())
    try:
        made = type(store).create(tmp_path / "own", Engine(POSTGRESQL, Servers(server)))
        place: Any = made.database.place
        with contextlib.closing(Wire(server.port or 0)) as wire:

            class Cutting(FilesystemTiles):
                def put(self, blobs: Any) -> None:
                    super().put(blobs)
                    wire.cut = cut  # the next commit is the swap of the head

            behind = Database(server.tcp_url(place.database).set(port=wire.port))
            tiles = Cutting(made.log)
            key = made.ledger.key
            sequencer = Sequencer(
                database=behind,
                tiles=tiles,
                signers=made.ledger.sequencer._signers,
                reader=LogReader(tiles, made.ledger.shard, key),
                stops=made.ledger.stops,
                shard=made.ledger.shard,
            )
            sequencer.recover(made.now)
            entries = made.record_many(5)
            with pytest.raises(OutcomeUnknown):
                sequencer.round(made.now)
            with pytest.raises(LedgerStopped):
                sequencer.round(made.now)
            assert made.ledger.reader.refresh().checkpoint.size == 1
            with made.database.read() as tx:
                size = tx.scalar(text("SELECT size FROM ledger_heads"))
            assert size == (6 if cut == "after" else 1)
            sequencer.restart()
            with contextlib.suppress(OutcomeUnknown):  # the round that it finishes is cut again
                sequencer.recover(made.now)
            behind.close()
        made.sequence()
        assert made.ledger.checkpoint().size == 6
        assert made.fsck() == []
        assert all(made.receipt(one.entry_id) for one in entries)
        made.close()
    finally:
        server.close()


@pytest.mark.postgresql_only
def test_an_entry_that_commits_late_is_not_skipped(store: Any) -> None:
    """Its position is lower than that of entries which are in the log already."""
    made = store.record({"n": 1})
    with store.database.read() as tx:
        row = dict(
            tx.one(ledger_entries.select().where(ledger_entries.c.entry_id == made.entry_id))
        )
    store.sequence()
    place = store.database.place
    assert isinstance(place, URL)
    plain = place.set(drivername="postgresql").render_as_string(hide_password=False)
    names = [name for name in row if name not in ("position", "shard", "leaf_index")]
    late_id = new_id(IdKind.ENTRY)
    values = {**row, "entry_id": late_id, "public": True, "sealed": None}
    values |= {"wrapped_key": None, "key_epoch": None, "leaf": b'{"body":{},"kind":"a.b","v":1}'}
    with psycopg.connect(plain) as late:  # past the writers' lock, as no code of ours does
        late.execute(
            f"INSERT INTO ledger_entries ({', '.join(names)})"  # type: ignore[arg-type]  # noqa: S608
            f" VALUES ({', '.join(f'%({name})s' for name in names)})",
            values,
        )
        early = store.record_many(3)
        assert store.sequence() == 3
        sizes = [store.ledger.checkpoint().size]
        late.commit()
    store.record_many(2)
    assert store.sequence() == 3
    assert store.ledger.checkpoint().size == sizes[0] + 3
    with store.database.read() as tx:
        places = {
            one["entry_id"]: (one["position"], one["leaf_index"])
            for one in tx.all(ledger_entries.select())
        }
    assert places[late_id][0] < places[early[0].entry_id][0]
    assert places[late_id][1] == sizes[0]
    assert sorted(index for _, index in places.values()) == list(range(sizes[0] + 3))


@pytest.mark.both_engines
def test_two_that_both_believe_to_lead_never_make_two_histories(
    store: Any, open_store: Callable[[Path], Any]
) -> None:
    """Without any lock the epoch and the compare-and-swap alone must hold."""
    others = [open_store(store.directory) for _ in range(2)]
    stopping = threading.Event()

    def run(one: Any) -> None:
        sequencer: Any = None
        while not stopping.is_set():
            with contextlib.suppress(*LOST_RACES):
                if sequencer is None or sequencer.failure is not None:
                    fresh = open_store(store.directory)
                    opened.append(fresh)
                    sequencer = fresh.ledger.sequencer
                    sequencer.recover(one.now)
                sequencer.round(one.now)

    opened: list[Any] = []
    threads = [threading.Thread(target=run, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    entries = [entry for _ in range(10) for entry in store.record_many(17)]
    time.sleep(1.0)
    stopping.set()
    for thread in threads:
        thread.join(60)
    for one in [*others, *opened]:
        one.close()
    store.sequence()
    assert store.ledger.checkpoint().size == len(entries) + 1
    assert store.fsck() == []


@pytest.mark.both_engines
def test_the_lock_is_refused_while_another_holds_it(store: Any, other: Any) -> None:
    store.ledger.start()
    with pytest.raises(SequencerBusy):
        other.ledger.start()
