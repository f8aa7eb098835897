"""Edits that leave rows agreeing with each other: a verification does not believe them.

Who edits the database deletes the newest records of a thing and puts its rows back as
they were. What stops something is noted beside the rows (`ledger.stops`). `fsck` names
each of these edits.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from kernel.principals import Capacity
from ledger.errors import HistoryCut
from license_service.lifecycle import Event
from materials_api.materials.invalidation import InvalidReason, invalidate
from storage.errors import ReplyAltered
from storage.idempotency import RequestKey
from tests.runtime.fsck.test_fsck_not_believed import Stage


@pytest.fixture
def stage(office: Any) -> Iterator[Stage]:
    made = Stage(office)
    yield made
    made.driver.close()


def _stale(stage: Stage) -> None:
    """A lease from before the company moved, granted to a case: denied as things are."""
    stage.lease = stage.desk.lease(issued_at=date(2026, 1, 5))
    stage.begin_case()
    stage.desk.granted(stage.case, stage.lease, stage.boss)
    stage.hall.sequence()
    assert stage.outcome() == "denied"
    stage.begin_case()
    stage.desk.granted(stage.case, stage.lease, stage.boss)
    stage.hall.sequence()


def _newest_entry_gone(stage: Stage, entity: str) -> None:
    cursor = stage.driver.execute(
        "DELETE FROM ledger_entries WHERE position ="
        " (SELECT max(position) FROM ledger_entries WHERE entity = ?)",
        (entity,),
    )
    assert cursor.rowcount == 1


def test_a_deleted_event_of_a_party_makes_no_stale_material_fresh(stage: Stage) -> None:
    _stale(stage)
    stage.driver.execute("DELETE FROM party_events WHERE event = 'address_changed'")
    assert stage.office.check() != []
    assert stage.outcome() != "allowed"


def test_an_event_of_a_party_deleted_with_its_record_makes_no_stale_material_fresh(
    stage: Stage,
) -> None:
    _stale(stage)
    for row in stage.driver.execute("SELECT entry_id FROM party_events").fetchall():
        stage.driver.execute("DELETE FROM ledger_entries WHERE entry_id = ?", (row[0],))
    stage.driver.execute("DELETE FROM party_events")
    assert stage.office.check() != []
    assert stage.outcome() == "history_cut"


def test_an_event_moved_to_another_party_makes_no_stale_material_fresh(stage: Stage) -> None:
    _stale(stage)
    landlord = stage.hall.party(stage.hall.LANDLORD)
    stage.edit("party_events", ("event", "address_changed"), party_id=landlord)
    assert stage.office.check() != []
    assert stage.outcome() != "allowed"


def test_an_invalidated_material_whose_newest_record_is_deleted_stays_invalid(
    stage: Stage,
) -> None:
    hall = stage.hall
    hall.write(
        lambda tx: invalidate(
            hall.room, tx, hall.now, hall.department, stage.lease, InvalidReason.FORGED
        )
    )
    hall.sequence()
    stage.edit("materials", ("material_id", stage.lease), status="reusable", version=1)
    _newest_entry_gone(stage, stage.lease)
    assert stage.office.check() != []
    assert stage.outcome() != "allowed"


def test_a_revoked_grant_whose_newest_record_is_deleted_stays_revoked(stage: Stage) -> None:
    stage.desk.revoke(stage.desk.grant(stage.grant), stage.boss)
    stage.hall.sequence()
    version = stage.rows("grants", "grant_id", stage.grant)[0]["version"]
    stage.edit("grants", ("grant_id", stage.grant), status="granted", version=version - 1)
    _newest_entry_gone(stage, stage.grant)
    assert stage.office.check() != []
    assert stage.outcome() != "allowed"


def test_an_ended_capacity_whose_newest_record_is_deleted_stays_ended(stage: Stage) -> None:
    hall = stage.hall
    for row in stage.rows("capacities", "holder", stage.boss.holder):
        capacity = row["capacity_id"]
        hall.write(
            lambda tx, one=capacity: hall.store.parties.end_capacity(tx, hall.now, one, "withdrawn")
        )
        hall.sequence()
        _newest_entry_gone(stage, capacity)
    stage.edit("capacities", ("holder", stage.boss.holder), ended_at=None, ended_reason=None)
    assert stage.boss.capacity is Capacity.LEGAL_REPRESENTATIVE
    assert stage.office.check() != []
    assert stage.outcome() != "allowed"


def test_a_suspended_licence_whose_newest_record_is_deleted_is_not_valid(stage: Stage) -> None:
    hall, license_id = stage.hall, stage.ids["license"]
    stage.desk.granted(stage.case, license_id, stage.boss)
    (before,) = stage.rows("licenses", "license_id", license_id)
    licenses = hall.store.licenses
    hall.write(lambda tx: licenses.apply(tx, hall.now, hall.department, license_id, Event.SUSPEND))
    hall.sequence()
    stage.edit("licenses", ("license_id", license_id), status="valid", version=before["version"])
    stage.driver.execute(
        "DELETE FROM license_events WHERE event = 'suspend' AND license_id = ?", (license_id,)
    )
    _newest_entry_gone(stage, license_id)
    assert stage.office.check() != []
    assert stage.outcome(license_id, "business_license") != "allowed"


def test_a_reply_kept_for_retries_that_was_edited_is_not_told_again(stage: Stage) -> None:
    _stale(stage)
    hall = stage.hall
    vault, subject = hall.store.vault, hall.window.subject
    key = RequestKey.of(vault, subject, "POST /v1/verifications", "again", b"{}")
    first = stage.desk.verify(stage.case, stage.lease, key=key)
    assert first["outcome"] == "denied"
    edited = stage.driver.execute(
        "UPDATE idempotency SET reply ="
        " CAST(replace(CAST(reply AS TEXT), '\"denied\"', '\"allowed\"') AS BLOB)"
        " WHERE key = 'again'"
    )
    assert edited.rowcount == 1
    assert stage.office.check() != []
    with pytest.raises(ReplyAltered):
        stage.desk.verify(stage.case, stage.lease, key=key)


# --- What was stopped, and its record lost, can be ended again, and nothing else ---


def test_a_capacity_whose_end_was_lost_is_ended_again(stage: Stage) -> None:
    hall, parties = stage.hall, stage.hall.store.parties
    capacity = stage.rows("capacities", "holder", stage.boss.holder)[0]["capacity_id"]
    hall.write(lambda tx: parties.end_capacity(tx, hall.now, capacity, "withdrawn"))
    hall.sequence()
    _newest_entry_gone(stage, capacity)
    stage.edit("capacities", ("capacity_id", capacity), ended_at=None, ended_reason=None)
    with pytest.raises(HistoryCut):
        hall.write(lambda tx: parties.capacity(tx, capacity))
    hall.write(lambda tx: parties.end_capacity(tx, hall.now, capacity, "withdrawn"))
    hall.sequence()
    assert hall.write(lambda tx: parties.capacity(tx, capacity)).ended_at is not None


def test_a_licence_whose_stop_was_lost_can_be_ended_and_not_used(stage: Stage) -> None:
    hall, license_id = stage.hall, stage.ids["license"]
    (before,) = stage.rows("licenses", "license_id", license_id)
    licenses = hall.store.licenses

    def apply(event: Event) -> None:
        hall.write(lambda tx: licenses.apply(tx, hall.now, hall.department, license_id, event))
        hall.sequence()

    apply(Event.SUSPEND)
    stage.edit("licenses", ("license_id", license_id), status="valid", version=before["version"])
    stage.driver.execute(
        "DELETE FROM license_events WHERE event = 'suspend' AND license_id = ?", (license_id,)
    )
    _newest_entry_gone(stage, license_id)
    for event in (Event.INSPECT, Event.SUSPEND):
        with pytest.raises(HistoryCut):
            apply(event)
    apply(Event.REVOKE)
    (after,) = stage.rows("licenses", "license_id", license_id)
    assert after["status"] == "revoked"


def test_a_material_whose_stop_was_lost_is_declared_false_again(stage: Stage) -> None:
    hall = stage.hall
    (before,) = stage.rows("materials", "material_id", stage.lease)

    def declare() -> None:
        hall.write(
            lambda tx: invalidate(
                hall.room, tx, hall.now, hall.department, stage.lease, InvalidReason.FORGED
            )
        )
        hall.sequence()

    declare()
    stage.edit(
        "materials",
        ("material_id", stage.lease),
        status=before["status"],
        version=before["version"],
    )
    _newest_entry_gone(stage, stage.lease)
    declare()
    (after,) = stage.rows("materials", "material_id", stage.lease)
    assert after["status"] == "invalidated"
