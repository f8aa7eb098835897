"""`fsck` of the licence room names every row that is not what its records say."""

from typing import Any

import pytest
from sqlalchemy import delete, update

from license_service.fsck import fsck
from license_service.lifecycle import Event
from license_service.model import Successor
from license_service.sources import Snapshots
from license_service.tables import license_events, license_snapshots, licenses


@pytest.fixture
def held(store: Any) -> Any:
    """A licence that was changed, suspended and resumed; a draft; two kept answers."""
    store.old = store.issued().license_id
    store.advance(hours=1)
    store.new = store.supersede(store.old, Event.CHANGE, Successor()).license_id
    for event in (Event.SUSPEND, Event.RESUME):
        store.advance(hours=1)
        store.apply(store.new, event)
    store.draft = store.drafted().license_id
    source = store.room.source
    identifier = store.facts(store.new).identifier
    answer = source.status(identifier, store.now)
    keep = Snapshots(store.room.ledger.journal).keep
    store.answers = [
        store.write(lambda tx: keep(tx, store.now, {"license": store.new}, answer,
                                    license_id=store.new)),
        store.write(lambda tx: keep(tx, store.now, {"holder": "pty_x"}, answer)),
    ]  # fmt: skip
    return store


def found(store: Any) -> set[tuple[str, str]]:
    problems = fsck(store.room.database, store.room.ledger.records)
    assert all(one.zh and one.en for one in problems)
    return {(one.code, one.where) for one in problems}


def test_licences_with_a_course_behind_them_are_clean(held: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    assert fsck(held.room.database, held.room.ledger.records, lambda *step: seen.append(step)) == []
    assert seen[-1] == ("licenses", 5, 5)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "revoked"},
        {"status": "no such status"},
        {"kind": "food_business_permit"},
        {"issuer": "11310199MB2Y050411"},
        {"valid_until": None},
        {"supersedes": None},
        {"version": 9},
        {"created_at": None},
        {"source_case": "cas_x"},
    ],
    ids=str,
)
def test_a_changed_row_is_named(held: Any, values: dict[str, Any]) -> None:
    if "created_at" in values:
        values = {"created_at": held.now}
    if "valid_until" in values:
        values = {"valid_until": held.now}
    here = licenses.c.license_id == held.new
    held.write(lambda tx: tx.execute(update(licenses).where(here).values(values)))
    assert found(held) == {("license_row", held.new)}


def test_changed_and_lost_events_are_named(held: Any) -> None:
    here = license_events.c.license_id == held.new
    last = here & (license_events.c.sequence == 3)
    held.write(lambda tx: tx.execute(update(license_events).where(last).values(sequence=7)))
    assert found(held) == {("license_event", held.new)}
    held.write(lambda tx: tx.execute(delete(license_events).where(here)))
    assert found(held) == {("license_event", held.new)}


def test_a_lost_licence_is_named(held: Any) -> None:
    here = licenses.c.license_id == held.draft
    held.write(lambda tx: tx.execute(delete(licenses).where(here)))
    assert found(held) == {("record_without_row", held.draft)}


def test_changed_and_lost_answers_are_named(held: Any) -> None:
    asked, other = held.answers
    one = license_snapshots.c.entry_id == asked
    for values in ({"source": "city"}, {"answer_sha256": b"x" * 32}, {"license_id": held.old}):
        held.write(lambda tx, v=values: tx.execute(update(license_snapshots).where(one).values(v)))
        assert found(held) == {("license_answer", asked)}
        held.write(
            lambda tx: tx.execute(
                update(license_snapshots)
                .where(one)
                .values(
                    source="local",
                    license_id=held.new,
                    answer_sha256=license_snapshots.select()
                    .with_only_columns(license_snapshots.c.answer_sha256)
                    .where(license_snapshots.c.entry_id == other)
                    .scalar_subquery(),
                )
            )
        )
    assert found(held) == set()
    held.write(lambda tx: tx.execute(delete(license_snapshots).where(one)))
    assert found(held) == {("record_without_row", asked)}
