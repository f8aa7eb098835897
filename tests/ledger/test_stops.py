"""Stops are noted beside the rows, before their checkpoint, and a cut history is refused."""

import shutil
from typing import Any

import pytest

from kernel.ids import IdKind, new_id
from ledger.errors import HistoryCut
from ledger.stops import STOPPING, Stop
from license_service.facts import KIND_OF
from license_service.lifecycle import LIFECYCLE, Status
from materials_api.materials.lifecycle import TRANSITIONS, MaterialState

BEGUN, SUSPENDED, RESUMED = "license.issued", "license.suspended", "license.resumed"
USABLE = {MaterialState.PENDING, MaterialState.REUSABLE}


def license_with(store: Any, *kinds: str) -> str:
    """A thing with these records, in the log."""
    entity = new_id(IdKind.LICENSE)
    for kind in kinds:
        store.database.write(
            lambda tx, kind=kind: store.ledger.journal.record(tx, store.now, kind, entity, {})
        )
        store.sequence()
    return entity


def history(store: Any, entity: str) -> list[str]:
    with store.database.read() as tx:
        return [record.kind for record in store.ledger.records.history(tx, entity)]


def sql(store: Any, statement: str, **values: Any) -> None:
    from sqlalchemy import text

    with store.database.writer_engine.connect() as connection, connection.begin():
        assert connection.execute(text(statement), values).rowcount == 1


@pytest.mark.both_engines
def test_a_history_without_its_last_stop_is_refused(store: Any) -> None:
    entity = license_with(store, BEGUN, SUSPENDED, RESUMED, SUSPENDED)
    assert history(store, entity) == [BEGUN, SUSPENDED, RESUMED, SUSPENDED]
    assert store.fsck() == []
    sql(
        store,
        "DELETE FROM ledger_entries WHERE position ="
        " (SELECT max(position) FROM ledger_entries WHERE entity = :entity)",
        entity=entity,
    )
    with pytest.raises(HistoryCut):
        history(store, entity)
    assert {one.code for one in store.fsck()} == {"leaf_without_record", "history_cut"}


@pytest.mark.parametrize("number", [2, 4])
def test_a_stop_that_is_given_to_another_thing_is_missed(store: Any, number: int) -> None:
    entity = license_with(store, BEGUN, SUSPENDED, RESUMED, SUSPENDED)
    sql(
        store,
        "UPDATE ledger_entries SET entity = :other WHERE position ="
        " (SELECT min(position) FROM ledger_entries WHERE entity = :entity) + :number - 1",
        other=new_id(IdKind.LICENSE),
        entity=entity,
        number=number,
    )
    with pytest.raises(HistoryCut):
        history(store, entity)


def test_a_note_that_is_lost_is_named_and_comes_back(store: Any) -> None:
    entity = license_with(store, BEGUN, SUSPENDED)
    key = store.ledger.stops.key(Stop(entity, 1))
    path = store.directory / "stops" / key[:2] / key
    path.unlink()
    assert [one.code for one in store.fsck()] == ["stop_not_noted"]
    # A store that is older than notes has none at all: its next start makes them.
    shutil.rmtree(store.directory / "stops")
    again = store.reopen()
    again.sequence()
    assert path.exists()
    assert again.fsck() == []
    again.close()


def test_a_foreign_note_is_named(store: Any) -> None:
    store.ledger.stops.note([Stop("lic_x", 1)])
    assert [one.code for one in store.fsck()] == ["history_cut"]


def test_nothing_is_published_whose_stop_is_not_noted(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = store.ledger.checkpoint().size

    def fail(_: Any) -> None:
        raise OSError("no space")

    license_with(store, BEGUN)
    monkeypatch.setattr(store.ledger.sequencer._stops, "note", fail)
    with pytest.raises(OSError, match="no space"):
        license_with(store, SUSPENDED)
    assert store.ledger.checkpoint().size == size + 1
    again = store.reopen()
    again.sequence()
    assert again.ledger.checkpoint().size == size + 2
    assert again.fsck() == []
    again.close()


def test_the_kinds_are_those_that_the_rooms_write() -> None:
    """Whatever leads a thing out of a state in which it may be used is a stop."""
    licenses = {
        KIND_OF[event]
        for (before, event), after in LIFECYCLE.transitions.items()
        if before is Status.VALID is not after
    }
    materials = {
        f"material.{event.value}"
        for (before, event), after in TRANSITIONS.items()
        if before in USABLE and after not in USABLE and after is not MaterialState.ERASED
    }
    assert licenses == {kind for kind in STOPPING if kind.startswith("license.")}
    assert materials == {kind for kind in STOPPING if kind.startswith("material.")}
    others = {kind for kind in STOPPING if not kind.startswith(("license.", "material."))}
    assert others == {
        "capacity.ended",
        "grant.revoked",
        "party.event",
        "register.replaced",
        "register.ended",
    }
