"""Rows are not believed: a row's state is compared with the newest record of its thing."""

from materials_api.errors import RecordMismatch
from materials_api.room import MaterialsRoom
from storage.database import ReadTx


def checked_state(room: MaterialsRoom, tx: ReadTx, entity: str, status: str) -> None:
    """Raise `RecordMismatch` unless the entity's newest record says `status`."""
    if room.ledger.records.latest(tx, entity).body.get("status") != status:
        raise RecordMismatch(entity=entity)
