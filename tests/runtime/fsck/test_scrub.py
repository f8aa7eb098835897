"""`mianjiao scrub` names every byte and every commitment that is not what it was."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from ledger.leaves import blinded_leaf
from ledger.merkle import leaf_hash
from ledger.problems import Problem
from ledger.scrub import bundle_count, scrub_bundles
from ledger.tables import ledger_entries
from ledger.tiles import TilePath, encode_bundle, parse_bundle
from materials_api.tables import material_files
from materials_api.uploads.incoming import release_uploads
from runtime.cli import run
from runtime.errors import ScrubBusy
from runtime.pool.pace import PacedObjects
from runtime.pool.units import Bundles, Objects, Result, plan_bundles, plan_objects
from runtime.pool.work import Job, Worker, work
from runtime.scrub.progress import ScrubProgress, alone, load
from runtime.store import Store
from storage.objects import FilesystemStore, registry
from storage.objects.port import new_object_key
from storage.tables import objects

MIB = 1 << 20


@contextmanager
def damaged(path: Path, data: bytes | None) -> Iterator[None]:
    """Other bytes in a file, or no file, for a while."""
    whole = path.read_bytes()
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def everything(store: Store) -> Result:
    """The whole scrub, in this thread."""
    worker = Worker(store)
    size = store.ledger.checkpoint().size
    results = [worker.bundles(one) for one in plan_bundles([(store.ledger.shard, size)], 0)]
    results += [worker.objects(one) for one in plan_objects(store.database, "", MIB)]
    return Result(
        sum(one.entries for one in results),
        sum(one.objects for one in results),
        sum(one.bytes for one in results),
        [problem for one in results for problem in one.problems],
    )


def codes(problems: list[Problem]) -> set[str]:
    return {one.code for one in problems}


def object_path(store: Store, key: str) -> Path:
    return store.data / "objects" / key[:2] / key


def lease_key(office: Any) -> str:
    with office.store.database.read() as tx:
        query = select(material_files.c.object_key).where(
            material_files.c.material_id == office.ids["lease"]
        )
        return str(tx.scalar(query))


def test_a_clean_store_is_looked_at_whole(module_office: Any) -> None:
    store = module_office.store
    done = everything(store)
    assert done.problems == []
    assert done.entries == store.ledger.checkpoint().size
    with store.database.read() as tx:
        rows = tx.all(select(objects))
    kept = [row for row in rows if row["erased_at"] is None]
    assert len(rows) > len(kept)
    assert (done.objects, done.bytes) == (len(kept), sum(row["cipher_size"] for row in kept))


def test_every_object_that_is_flipped_cut_or_lost_is_named(module_office: Any) -> None:
    store = module_office.store
    paths = sorted(one for one in (store.data / "objects").rglob("*") if one.is_file())
    assert len(paths) == 8  # of materials, a back file, an upload that waits, a package
    for path in paths:
        data = path.read_bytes()
        for left in (flip(data), data[:-1], b"", None):
            with damaged(path, left):
                (found,) = everything(store).problems
            assert path.name in found.where
            assert found.code.endswith("_missing" if left is None else "_corrupt")
    assert everything(store).problems == []


def test_content_that_was_replaced_with_all_its_rows_is_not_believed(office: Any) -> None:
    """Whoever has database, store and keys cannot give a material other bytes."""
    store, key = office.store, lease_key(office)
    other = store.objects.put([b"%PDF-1.7 forged"], limit=MIB)

    def replace(tx: Any) -> None:
        registry.add(tx, store.clock.now(), store.vault, other)
        registry.claim(tx, other.object_key, office.ids["lease"])
        tx.execute(
            update(material_files)
            .where(material_files.c.object_key == key)
            .values(object_key=other.object_key, size=15)
        )

    store.database.write(replace)
    found = {(one.code, one.where.split()[-1]) for one in everything(store).problems}
    assert found == {("object_differs", other.object_key), ("object_unused", key)}


def test_a_record_or_leaf_that_is_not_what_was_committed_to_is_named(office: Any) -> None:
    store, columns = office.store, ledger_entries.c
    of_lease = columns.entity == office.ids["lease"]

    def edited(**values: Any) -> set[str]:
        with store.database.read() as tx:
            row = tx.one(select(ledger_entries).where(of_lease).order_by(columns.position).limit(1))
        only = columns.position == row["position"]
        changed = {name: change(row[name]) for name, change in values.items()}
        store.database.write(
            lambda tx: tx.execute(update(ledger_entries).where(only).values(**changed))
        )
        found = everything(store).problems
        whole = {name: row[name] for name in values}
        store.database.write(
            lambda tx: tx.execute(update(ledger_entries).where(only).values(**whole))
        )
        assert any(row["entry_id"] == one.where for one in found)
        return codes(found)

    assert "record_corrupt" in edited(sealed=flip)
    assert "row_differs" in edited(leaf=flip)
    assert "record_corrupt" in edited(kind=lambda _: "material.erase")
    assert "record_lost" in edited(sealed=lambda _: None, wrapped_key=lambda _: None)
    assert everything(store).problems == []


def test_bundles_and_tiles_that_are_not_what_was_signed_are_named(office: Any) -> None:
    store = office.store
    at = store.clock.now()
    for _ in range(600):
        store.database.write(
            lambda tx: store.ledger.journal.record(tx, at, "task.done", "tsk_x", {})
        )
    store.ledger.sequence(at)
    size = store.ledger.checkpoint().size
    assert bundle_count(size) >= 3
    shard = store.data / "log" / store.ledger.shard

    def found() -> list[Problem]:
        # A reader keeps tiles: each look is by one that has seen none.
        store.ledger.reader._rows.cache_clear()
        store.ledger.reader._edges.cache_clear()
        return scrub_bundles(store.ledger, store.ledger.shard, size, range(bundle_count(size)))

    assert found() == []
    for path, code in (
        (TilePath(None, 1, 256), "bundle"),
        (TilePath(0, 1, 256), "tile"),
        (TilePath(1, 0, size // 256), "tile"),
    ):
        file = shard / path.text
        with damaged(file, flip(file.read_bytes())):
            assert codes(found()) == {f"{code}_corrupt"}, path.text
        with damaged(file, None):
            assert f"{code}_missing" in codes(found()), path.text
    assert found() == []


def test_tiles_that_agree_with_each_other_but_were_never_signed_are_named(office: Any) -> None:
    """Row, bundle and tile changed alike: only the signed root is left to say no."""
    store = office.store
    size = store.ledger.checkpoint().size
    shard = store.data / "log" / store.ledger.shard
    bundle, tile = TilePath(None, 0, size), TilePath(0, 0, size)
    entries = list(parse_bundle(bundle, (shard / bundle.text).read_bytes()))
    other = blinded_leaf(bytes(32), b"{}")
    entries[3] = other
    hashes = bytearray((shard / tile.text).read_bytes())
    hashes[3 * 32 : 4 * 32] = leaf_hash(other)
    store.database.write(
        lambda tx: tx.execute(
            update(ledger_entries).where(ledger_entries.c.leaf_index == 3).values(leaf=other)
        )
    )
    with (
        damaged(shard / bundle.text, encode_bundle(entries)),
        damaged(shard / tile.text, bytes(hashes)),
    ):
        found = everything(store).problems
    assert "tile_corrupt" in codes(found)


def test_an_object_that_goes_away_meanwhile_is_no_problem(office: Any) -> None:
    store = office.store
    (unit,) = plan_objects(store.database, "", 1 << 40)
    with store.database.read() as tx:
        waiting = tx.scalar(select(objects.c.object_key).where(objects.c.claimed_by.is_(None)))
    office.store.object_store.delete(waiting)
    assert codes(Worker(store).objects(unit).problems) == {"object_missing"}
    (found,) = Worker(store).objects(unit).problems
    assert waiting in found.where

    def forget(tx: Any) -> None:
        release_uploads(tx, [waiting])
        registry.remove(tx, [waiting])

    store.database.write(forget)
    assert Worker(store).objects(unit).problems == []
    assert Worker(store)._again(waiting) is None  # it went between two looks


def test_units_follow_each_other_without_gaps(module_office: Any) -> None:
    trees = [("2026", 256 * 40 + 1), ("2027", 257)]
    planned = [(one.shard, one.first, one.stop, one.done) for one in plan_bundles(trees, 3)]
    assert planned == [
        ("2026", 3, 19, 19),
        ("2026", 19, 35, 35),
        ("2026", 35, 41, 41),
        ("2027", 0, 2, 43),
    ]
    assert [(one.shard, one.first) for one in plan_bundles(trees, 42)] == [("2027", 1)]
    assert list(plan_bundles([("2026", 512)], 2)) == []
    database = module_office.store.database
    with database.read() as tx:
        keys = list(
            tx.execute(select(objects.c.object_key).order_by(objects.c.object_key)).scalars()
        )
    for most in (1, 5_000, 1 << 40):
        units = list(plan_objects(database, "", most))
        assert [key for one in units for key in one.keys] == keys
    assert [one.keys for one in plan_objects(database, keys[0], 1)] == [(key,) for key in keys[1:]]


def test_reading_is_no_faster_than_told(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "objects", create=True)
    key = new_object_key()
    writer = store.create(key)
    writer.write(bytes(3 * MIB))
    writer.commit()
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    paced = PacedObjects(store, MIB, elapsed=lambda: now, sleep=sleep)
    assert sum(len(block) for block in paced.read(key)) == 3 * MIB
    assert now == pytest.approx(103)
    now += 50  # an idle time is no credit
    assert sum(len(block) for block in paced.read(key, 0, MIB)) == MIB
    assert now == pytest.approx(154)


def test_progress_is_kept_and_what_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    made = ScrubProgress(
        began=1.5, bundles=3, after="ab", problems=[Problem("object_corrupt", "x", "坏", "bad")]
    )
    made.save(tmp_path)
    assert load(tmp_path) == made
    path = tmp_path / "scrub.json"
    whole = path.read_bytes()
    for broken in (b"", b"[]", b"{}", whole[:-1], whole.replace(b'"v": 1', b'"v": 2')):
        path.write_bytes(broken)
        assert load(tmp_path) is None


def test_two_scrubs_of_one_store_do_not_meet(
    module_office: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = module_office.store.data
    with alone(data):
        with pytest.raises(ScrubBusy), alone(data):
            pass
        assert run(["scrub", "--data", str(data)]) == 2
    assert "scrub_busy" in capsys.readouterr().err


def test_without_the_extra_ray_is_refused_by_name(
    module_office: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    assert run(["scrub", "--data", str(module_office.store.data), "--ray", "127.0.0.1:1"]) == 2
    assert "pip install 'mianjiao[ray]'" in capsys.readouterr().err


def test_a_store_that_cannot_be_read_ends_the_scrub_and_is_no_problem_of_an_object(
    small: Any, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(small[0], tmp_path / "store"))
    (data / "objects").rename(data / "gone")
    assert work(Job(data, None), Objects(("0" * 32,))).failure == "object_store_missing"
    assert work(Job(data, None), Bundles("2026", 0, 1, 1, 1)).failure == "object_store_missing"
    assert run(["scrub", "--data", str(data)]) == 2
    assert load(data) is None


def test_a_server_tells_of_the_newest_scrub(office: Any) -> None:
    store = office.store

    def told() -> str:
        store.sweep()
        return str(store.observing.metrics.exposition().decode())

    assert "mianjiao_scrub_finished_timestamp_seconds 0.0" in told()
    found = [Problem("object_corrupt", "x", "坏", "bad")]
    ScrubProgress(began=1.0, finished=2.5, problems=found).save(store.data)
    assert "mianjiao_scrub_finished_timestamp_seconds 2.5" in told()
    assert "mianjiao_scrub_problems 1.0" in told()
