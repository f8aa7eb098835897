"""The audit trail: a row in the same transaction as what it tells of.

Bytes are released only after their row is committed (invariant 4).
"""

from datetime import datetime

from sqlalchemy import insert

from kernel.canonical import Record, canonical_bytes
from kernel.principals import Principal
from storage.database.prepared import Prepared
from storage.database.unit_of_work import WriteTx
from storage.tables import audit

_NOTE = Prepared(insert(audit), [column.key for column in audit.c if column is not audit.c.id])


def note(
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    action: str,
    *,
    entity: str | None = None,
    case_id: str | None = None,
    outcome: str = "done",
    detail: Record | None = None,
) -> None:
    """Write one audit row. `detail` holds codes, ids and counts; never personal data."""
    _NOTE.add(
        tx,
        {
            "at": at,
            "principal": principal.subject,
            "role": principal.role.value,
            "org": principal.org,
            "person": principal.person,
            "capacity": principal.capacity.value if principal.capacity else None,
            "action": action,
            "entity": entity,
            "case_id": case_id,
            "outcome": outcome,
            "detail": None if detail is None else canonical_bytes(detail).decode(),
        },
    )
