"""`fsck` names every row, record and byte that is not what it was."""

import pytest
from sqlalchemy import delete, select, update

from materials_api.fsck.checking import fsck
from materials_api.fsck.sentences import problem
from materials_api.materials.erasure import continue_erasures, request_erasure
from materials_api.tables import (
    case_events,
    cases,
    material_files,
    material_parties,
    materials,
    tasks,
)
from storage.tables import objects


@pytest.fixture
def store(hall):
    """A store with an approved case and its lease, and one more material."""
    hall.lived, hall.lease = hall.approved_case()
    hall.other = hall.register(hall.open_case().case_id).material_id
    hall.sequence()
    return hall


def found(hall) -> set[tuple[str, str]]:
    return {(one.code, one.where) for one in fsck(hall.room)}


def test_a_healthy_store_is_clean(store) -> None:
    seen: list[tuple[str, int, int]] = []
    assert fsck(store.room, lambda *step: seen.append(step)) == []
    assert ("objects", 2, 2) in seen
    assert store.problems() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", "layout_plan"),
        ("provenance", "authority_issued"),
        ("form", "form"),
        ("project", "P-1"),
        ("valid_until", None),
        ("status", "invalidated"),
    ],
)
def test_a_changed_material_row_is_named(store, column, value) -> None:
    if column == "valid_until":
        value = store.NOON
    store.write(
        lambda tx: tx.execute(
            update(materials).where(materials.c.material_id == store.lease).values({column: value})
        )
    )
    assert ("material_row", store.lease) in found(store)


def test_a_row_moved_to_another_record_or_holder_is_named(store) -> None:
    other = store.material(store.other)
    store.write(
        lambda tx: tx.execute(
            update(materials)
            .where(materials.c.material_id == store.lease)
            .values(entry_id=other.record.entry_id)
        )
    )
    assert ("material_row", store.lease) in found(store)


def test_a_changed_party_is_named(store) -> None:
    elder = store.party(store.ELDER)
    store.write(
        lambda tx: tx.execute(
            update(material_parties)
            .where(material_parties.c.material_id == store.lease)
            .where(material_parties.c.role == "owner")
            .values(party_id=elder)
        )
    )
    assert ("material_row", store.lease) in found(store)


@pytest.mark.parametrize("column", ["number", "variant", "capacity", "window_org", "opened_at"])
def test_a_changed_case_row_is_named(store, column) -> None:
    value = store.NOON.replace(year=2020) if column == "opened_at" else "changed"
    store.write(
        lambda tx: tx.execute(
            update(cases).where(cases.c.case_id == store.lived.case_id).values({column: value})
        )
    )
    assert ("case_row", store.lived.case_id) in found(store)


def test_a_changed_state_or_event_is_named(store) -> None:
    case_id = store.lived.case_id
    store.write(
        lambda tx: tx.execute(update(cases).where(cases.c.case_id == case_id).values(state="filed"))
    )
    store.write(
        lambda tx: tx.execute(
            update(case_events)
            .where(case_events.c.case_id == case_id, case_events.c.sequence == 4)
            .values(state="refused")
        )
    )
    assert {("state_differs", case_id), ("case_event", f"{case_id}/4")} <= found(store)


def test_rows_without_records_and_records_without_rows_are_named(store) -> None:
    def work(tx):
        tx.execute(delete(material_parties).where(material_parties.c.material_id == store.other))
        tx.execute(delete(material_files).where(material_files.c.material_id == store.other))
        tx.execute(delete(materials).where(materials.c.material_id == store.other))
        tx.execute(
            tasks.insert(),
            {
                "task_id": "tsk_made_up",
                "kind": "review_use",
                "case_id": store.lived.case_id,
                "item": store.lease,
                "department": store.MARKET,
                "state": "open",
                "created_at": store.now,
                "entry_id": "ent_none",
            },
        )

    store.write(work)
    codes = found(store)
    assert ("record_without_row", store.other) in codes
    assert ("row_without_record", "tsk_made_up") in codes
    assert any(code == "object_unused" for code, _ in codes)


def test_every_flipped_or_lost_byte_of_an_object_is_named(store) -> None:
    row = store.read(
        lambda tx: tx.one(select(material_files).where(material_files.c.material_id == store.lease))
    )
    key = row["object_key"]
    path = next((store.path / "objects").rglob(key))
    whole = path.read_bytes()
    where = f"{store.lease}/1 {key}"
    for position in range(0, len(whole), max(1, len(whole) // 23)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.chmod(0o600)
        path.write_bytes(bytes(damaged))
        assert ("object_corrupt", where) in found(store), position
    path.write_bytes(whole[:-1])
    assert ("object_corrupt", where) in found(store)
    path.unlink()
    assert ("object_missing", where) in found(store)
    path.write_bytes(whole)
    assert found(store) == set()


def test_a_swapped_object_is_named(store) -> None:
    rows = store.read(lambda tx: tx.all(select(material_files)))
    first, second = (row["object_key"] for row in rows)

    def swap(tx):
        for mine, other in ((store.lease, second), (store.other, first)):
            tx.execute(
                update(material_files)
                .where(material_files.c.material_id == mine)
                .values(object_key=other)
            )

    assert {row["material_id"] for row in rows} == {store.lease, store.other}
    swapped = first if rows[0]["material_id"] == store.lease else second
    store.write(swap)
    codes = {code for code, _ in found(store)}
    assert "object_owner" in codes
    store.write(lambda tx: tx.execute(update(objects).values(claimed_by=store.lease)))
    assert swapped in {first, second}
    assert "object_owner" in {code for code, _ in found(store)}


def test_an_erased_material_is_no_problem_but_a_lost_record_is(store) -> None:
    store.write(lambda tx: request_erasure(store.room, tx, store.now, store.operator, store.other))
    store.sequence()
    continue_erasures(store.room, store.now)
    assert store.problems() == []
    store.write(
        lambda tx: tx.execute(
            update(materials)
            .where(materials.c.material_id == store.other)
            .values(status="reusable")
        )
    )
    assert ("material_record", store.other) in found(store)


def test_every_problem_has_both_sentences() -> None:
    one = problem("object_missing", "x", "y")
    assert one.zh
    assert one.en
