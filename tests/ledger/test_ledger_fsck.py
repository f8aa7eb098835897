"""`fsck` of the ledger names every byte with meaning that is not what it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from kernel.ids import IdKind, new_id
from ledger.fsck import fsck
from ledger.tables import ledger_entries, ledger_heads

COLUMNS = ledger_entries.c


@pytest.fixture
def small(store: Any) -> Any:
    """Two records, a public leaf, an erased entity, an entry that waits: 5 leaves."""
    store.record({"status": "pending"}, "mat_x")
    store.record({"status": "pending"}, "mat_gone")
    store.sequence()
    store.database.write(lambda tx: store.ledger.journal.erase(tx, store.now, "mat_gone"))
    store.record({"status": "accepted"}, "mat_x")
    store.sequence()
    store.record({"status": "waiting"}, "mat_z")
    assert store.fsck() == []
    return store


def rows(store: Any) -> list[dict[str, Any]]:
    with store.database.read() as tx:
        return [dict(row) for row in tx.all(select(ledger_entries).order_by(COLUMNS.position))]


def write(store: Any, *statements: Any) -> None:
    def work(tx: Any) -> None:
        for statement in statements:
            tx.execute(statement)

    store.database.write(work)


def log_files(store: Any) -> list[Path]:
    return sorted(path for path in store.log.rglob("*") if path.is_file())


def test_flipped_bytes_of_every_file_of_the_log_are_named(small: Any) -> None:
    files = log_files(small)
    assert len(files) == 7  # bundles and tiles of sizes 1, 3 and 5, and the checkpoint
    for path in files:
        data = path.read_bytes()
        # Each costs an `fsck`. Every third byte; far inside an ML-DSA-44 signature or key,
        # every 61st: `make soak` flips bits anywhere.
        for at in [*range(0, min(512, len(data)), 3), *range(512, len(data), 61)]:
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            path.write_bytes(flipped)
            problems = small.fsck()
            assert problems, (path, at)
            name = path.relative_to(small.log).as_posix()
            assert name in {problem.where for problem in problems}, (name, at, problems)
        path.write_bytes(data)
    assert small.fsck() == []


def test_one_flipped_byte_is_one_problem(store: Any) -> None:
    store.record_many(700)
    store.sequence()
    for name, code in [
        ("tile/entries/001", "bundle_corrupt"),
        ("tile/0/001", "tile_corrupt"),
        ("tile/1/000.p/2", "tile_corrupt"),
        ("tile/0/002.p/189", "tile_corrupt"),
        ("tile/entries/002.p/189", "bundle_corrupt"),
        ("checkpoint", "checkpoint_invalid"),
    ]:
        path = store.log / name
        data = path.read_bytes()
        for at in range(40, len(data), len(data) // 6):
            flipped = bytearray(data)
            flipped[at] ^= 0x10
            path.write_bytes(flipped)
            assert [(one.code, one.where) for one in store.fsck()] == [(code, name)]
        path.write_bytes(data)
    assert store.fsck() == []


def flipped_values(value: Any) -> list[Any]:
    """The value with one bit of every fifth byte, or third character, changed."""
    if isinstance(value, bytes):
        return [
            value[:at] + bytes([value[at] ^ (1 << at % 8)]) + value[at + 1 :]
            for at in range(0, len(value), 5)
        ]
    if isinstance(value, str):
        return [
            value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :] for at in range(0, len(value), 3)
        ]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value ^ 1, value ^ 64, value + 1000]
    return []


# A public row's entity and id serve no decision; what is sealed stands in `sealed`.
MEANT = ["kind", "public", "leaf", "sealed", "wrapped_key", "key_epoch", "shard", "leaf_index"]


@pytest.mark.parametrize("column", [*MEANT, "entity", "entry_id"])
def test_flipped_bytes_of_every_row_are_named(small: Any, column: str) -> None:
    for row in rows(small):
        if (
            row["public"]
            and (column == "entry_id" or row["entity"] == "log")
            and column
            in (
                "entity",
                "entry_id",
            )
        ):
            continue
        if row["erased_at"] is not None and column in ("kind", "entry_id"):
            continue  # what would contradict them is destroyed
        here = COLUMNS.position == row["position"]
        for value in flipped_values(row[column]):
            if column == "leaf_index":
                clash = value in {one["leaf_index"] for one in rows(small)}
                if clash:
                    continue
            write(small, update(ledger_entries).where(here).values({column: value}))
            assert small.fsck(), (row["kind"], column, value)
        write(small, update(ledger_entries).where(here).values({column: row[column]}))
    assert small.fsck() == []


def test_a_changed_time_of_a_row_is_named(small: Any) -> None:
    for row in rows(small):
        here = COLUMNS.position == row["position"]
        write(small, update(ledger_entries).where(here).values(at=small.now))
        assert small.fsck() or row["erased_at"] is not None
        write(small, update(ledger_entries).where(here).values(at=row["at"]))
        if row["erased_at"] is not None:
            write(small, update(ledger_entries).where(here).values(erased_at=small.now))
            assert "row_differs" in small.codes()
            write(small, update(ledger_entries).where(here).values(erased_at=row["erased_at"]))
    assert small.fsck() == []


@pytest.mark.parametrize("column", ["origin", "staged_size", "size", "root", "checkpoint"])
def test_flipped_bytes_of_the_head_row_are_named(small: Any, column: str) -> None:
    with small.database.read() as tx:
        value = tx.all(select(ledger_heads))[0][column]
    for flipped in flipped_values(value):
        write(small, update(ledger_heads).values({column: flipped}))
        assert small.fsck(), (column, flipped)
    write(small, update(ledger_heads).values({column: value}))
    assert small.fsck() == []


def place(store: Any, index: int) -> Any:
    return (COLUMNS.shard == "2026") & (COLUMNS.leaf_index == index)


def remove_record(store: Any) -> None:
    write(store, delete(ledger_entries).where(place(store, 4)))


def add_record(store: Any) -> None:
    row = rows(store)[1]
    fresh = {**row, "entry_id": new_id(IdKind.ENTRY), "leaf_index": 77}
    del fresh["position"]
    write(store, insert(ledger_entries).values(fresh))


def swap_leaves(store: Any) -> None:
    write(
        store,
        update(ledger_entries).where(place(store, 1)).values(leaf_index=99),
        update(ledger_entries).where(place(store, 4)).values(leaf_index=1),
        update(ledger_entries).where(place(store, 99)).values(leaf_index=4),
    )


def swap_positions(store: Any) -> None:
    one, two = [row["position"] for row in rows(store) if row["entity"] == "mat_x"][:2]
    write(
        store,
        update(ledger_entries).where(COLUMNS.position == one).values(position=9_999),
        update(ledger_entries).where(COLUMNS.position == two).values(position=one),
        update(ledger_entries).where(COLUMNS.position == 9_999).values(position=two),
    )


def lose_record(store: Any) -> None:
    write(
        store,
        update(ledger_entries)
        .where(place(store, 1))
        .values(sealed=None, wrapped_key=None, key_epoch=None, erased_at=store.now),
    )


def lose_key(store: Any) -> None:
    write(store, update(ledger_entries).where(place(store, 1)).values(wrapped_key=None))


def undo_erasure(store: Any) -> None:
    whole = rows(store)[1]
    values = {name: whole[name] for name in ("sealed", "wrapped_key", "key_epoch")}
    write(store, update(ledger_entries).where(place(store, 2)).values(erased_at=None, **values))


def blame_another(store: Any) -> None:
    write(store, update(ledger_entries).where(COLUMNS.kind == "ended").values(entity="mat_y"))


def delete_file(name: str) -> Callable[[Any], None]:
    return lambda store: (store.log / name).unlink()


def truncate_file(name: str) -> Callable[[Any], None]:
    def work(store: Any) -> None:
        path = store.log / name
        path.write_bytes(path.read_bytes()[:-1])

    return work


def add_file(name: str) -> Callable[[Any], None]:
    def work(store: Any) -> None:
        path = store.log / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 32)

    return work


def break_type(store: Any) -> None:
    from sqlalchemy import text

    write(store, text("UPDATE ledger_entries SET leaf = 'text' WHERE leaf_index = 1"))


def break_time(store: Any) -> None:
    from sqlalchemy import text

    write(store, text("UPDATE ledger_entries SET at = 'yesterday' WHERE leaf_index = 1"))


def break_time_of_waiting(store: Any) -> None:
    from sqlalchemy import text

    write(store, text("UPDATE ledger_entries SET at = 'soon' WHERE leaf_index IS NULL"))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (remove_record, "leaf_without_record"),
        (add_record, "row_without_leaf"),
        (swap_leaves, "row_differs"),
        (swap_positions, "rows_out_of_order"),
        (lose_record, "record_lost"),
        (lose_key, "record_lost"),
        (undo_erasure, "record_corrupt"),
        (blame_another, "row_differs"),
        (break_type, "record_corrupt"),
        (break_time, "row_unreadable"),
        (break_time_of_waiting, "row_unreadable"),
        (delete_file("checkpoint"), "checkpoint_missing"),
        (delete_file("tile/0/000.p/5"), "tile_missing"),
        (delete_file("tile/entries/000.p/5"), "bundle_missing"),
        (truncate_file("checkpoint"), "checkpoint_invalid"),
        (truncate_file("tile/0/000.p/5"), "tile_corrupt"),
        (truncate_file("tile/entries/000.p/5"), "bundle_corrupt"),
        (truncate_file("tile/0/000.p/3"), "tile_corrupt"),
        (add_file("tile/0/000.p/6"), "unexpected_file"),
        (add_file("tile/1/000.p/1"), "unexpected_file"),
        (add_file("tile/0/001"), "unexpected_file"),
        (add_file("notes.txt"), "unexpected_file"),
        (add_file("tile/0/000.p/2"), "tile_corrupt"),
    ],
)
def test_each_kind_of_damage_has_its_code(
    small: Any, damage: Callable[[Any], None], code: str
) -> None:
    if damage in (break_time, break_time_of_waiting) and not small.engine.is_sqlite:
        pytest.skip("PostgreSQL lets no such value in")
    damage(small)
    problems = small.fsck()
    assert code in {problem.code for problem in problems}
    for problem in problems:
        assert problem.zh
        assert problem.en
        assert "{" not in problem.zh + problem.en


def test_an_erasure_that_a_restore_undid_is_named(store: Any) -> None:
    store.record({"title": "x"}, "mat_gone")
    store.sequence()
    (whole,) = [row for row in rows(store) if row["entity"] == "mat_gone"]
    store.database.write(lambda tx: store.ledger.journal.erase(tx, store.now, "mat_gone"))
    assert store.fsck() == []
    values = {name: whole[name] for name in ("sealed", "wrapped_key", "key_epoch", "erased_at")}
    write(
        store,
        update(ledger_entries).where(COLUMNS.entity == "mat_gone", ~COLUMNS.public).values(values),
    )
    assert store.codes() == {"erasure_undone"}


def test_a_rewritten_history_with_matching_tiles_and_rows_is_named(store: Any) -> None:
    """An operator with everything but the key: rows, bundles and tiles all agree."""
    from ledger.growth import Tail, grow
    from ledger.leaves import blinded_leaf
    from ledger.tiles import TilePath

    store.record_many(3)
    store.sequence()
    entries = [entry for _, entry in store.ledger.reader.entries(4)]
    entries[2] = blinded_leaf(bytes(32), b"{}")
    for path, data in grow(Tail(0), entries).blobs.items():
        (store.log / path.text).write_bytes(data)
    write(store, update(ledger_entries).where(place(store, 2)).values(leaf=entries[2]))
    assert TilePath(0, 0, 4).text == "tile/0/000.p/4"
    assert {"root_mismatch", "checkpoint_differs", "record_corrupt"} <= store.codes()


def test_progress_is_reported_to_the_end(store: Any) -> None:
    store.record_many(600)
    store.sequence()
    steps: list[tuple[str, int, int]] = []
    assert fsck(store.ledger, lambda *step: steps.append(step)) == []
    assert steps == [("ledger", 256, 601), ("ledger", 512, 601), ("ledger", 601, 601)]


def test_it_may_run_beside_a_working_log(store: Any) -> None:
    store.ledger.start()
    for _ in range(6):
        store.record({"n": 1}, "mat_x")
        entries = store.record_many(150)
        assert store.fsck() == []
    assert store.ledger.wait_for(entries[-1].entry_id, 30)
    store.database.write(lambda tx: store.ledger.journal.erase(tx, store.now, "mat_x"))
    assert store.fsck() == []


def test_a_database_that_cannot_be_read_is_named(store: Any) -> None:
    write(store, delete(ledger_heads))
    assert store.codes() == {"database_unreadable"}
