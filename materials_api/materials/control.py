"""What the holder of a material decides about it: stop its reuse, allow it again."""

from datetime import datetime

from kernel.principals import Principal
from materials_api.errors import MaterialUnknown
from materials_api.materials.access import is_party
from materials_api.materials.lifecycle import MaterialEvent, MaterialState
from materials_api.materials.states import change_state, material_row
from materials_api.room import MaterialsRoom
from storage.database import WriteTx


def stop_reuse(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, material_id: str
) -> MaterialState:
    """Any party of a material may stop its reuse (停止复用); a grant in force ends with it.

    Somebody else's material is `MaterialUnknown`.
    """
    return _by_party(room, tx, at, principal, material_id, MaterialEvent.STOP)


def resume_reuse(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, material_id: str
) -> MaterialState:
    """Take back `stop_reuse`. The material is again what it was before."""
    return _by_party(room, tx, at, principal, material_id, MaterialEvent.RESUME)


def _by_party(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    material_id: str,
    event: MaterialEvent,
) -> MaterialState:
    row = material_row(tx, material_id)
    if not is_party(tx, principal.holder, material_id):
        raise MaterialUnknown()
    return change_state(room, tx, at, principal, row, event)
