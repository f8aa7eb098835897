"""The one place that changes a material's state: table, record, row, audit."""

from datetime import datetime

from sqlalchemy import RowMapping, select, update

from kernel.canonical import JsonValue, Record
from kernel.principals import Principal
from materials_api.errors import MaterialUnknown, RowChanged
from materials_api.materials.lifecycle import MaterialEvent, MaterialState, apply
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.tables import materials
from storage import audit
from storage.database import WriteTx


def change_state(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    row: RowMapping,
    event: MaterialEvent,
    body: Record | None = None,
) -> MaterialState:
    """Apply `event` to the material of this row and record it; the state after.

    `MaterialTransitionIllegal` when the table does not allow it, `RowChanged`
    when the row is not what it was, `RecordMismatch` when row and newest record
    disagree. An event that leaves the state as it is changes nothing.
    """
    material_id = row["material_id"]
    before = MaterialState(row["status"])
    after = apply(before, event)
    if after is before:
        return after
    checked_state(room, tx, material_id, before.value)
    record: dict[str, JsonValue] = {
        **(body or {}),
        "role": principal.role.value,
        "org": principal.org,
        "person": principal.person,
        "status": after.value,
    }
    room.ledger.journal.record(tx, at, f"material.{event.value}", material_id, record)
    changed = tx.execute(
        update(materials)
        .where(materials.c.material_id == material_id, materials.c.version == row["version"])
        .values(status=after.value, version=row["version"] + 1)
    )
    if changed.rowcount != 1:
        raise RowChanged()
    audit.note(
        tx,
        at,
        principal,
        f"material.{event.value}",
        entity=material_id,
        case_id=row["case_id"],
        detail={"status": after.value},
    )
    return after


def material_row(tx: WriteTx, material_id: str) -> RowMapping:
    """The row, locked against other writers; `MaterialUnknown`."""
    row = tx.one(select(materials).where(materials.c.material_id == material_id).with_for_update())
    if row is None:
        raise MaterialUnknown()
    return row
