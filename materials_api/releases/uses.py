"""The holder's use history (使用记录): who, when, which case, on what basis.

From the records of verifications and downloads. Of a statutory-duty check the
holder learns body, unit, officer's number and role; the officer's name stays in
the sealed record.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, select

from kernel.canonical import JsonValue
from ledger.errors import RecordErased
from materials_api.errors import RecordMismatch
from materials_api.paging import Page, page_of
from materials_api.room import MaterialsRoom
from materials_api.tables import cases, uses
from storage.database import ReadTx


@dataclass(frozen=True, slots=True)
class Use:
    """`action`: verified, denied, downloaded, exported. `basis`: consent,
    statutory_duty, or own (the holder's side). `details`: what the record adds."""

    at: datetime
    action: str
    basis: str
    item: str
    org: str | None
    case_id: str
    case_number: str | None
    matter: str | None
    verification_id: str | None
    entry_id: str
    unit: str | None = None
    role: str | None = None
    item_type: str | None = None
    requirement: str | None = None
    reason: str | None = None
    officer_number: str | None = None
    officer_role: str | None = None
    grants: tuple[str, ...] = ()


def uses_of(
    room: MaterialsRoom, tx: ReadTx, holder: str, *, cursor: str | None, limit: int
) -> Page[Use]:
    """What was done with anything of this holder, newest first."""
    # One record may tell of several items: the pair is unique.
    key = (uses.c.entry_id + uses.c.item).label("line")
    query = (
        select(uses, key, cases.c.number, cases.c.matter)
        .outerjoin(cases, cases.c.case_id == uses.c.case_id)
        .where(uses.c.holder == holder)
    )
    page = page_of(tx, query, uses.c.at, key, cursor=cursor, limit=limit)
    return page.map(lambda row: _use(room, tx, row))


def _use(room: MaterialsRoom, tx: ReadTx, row: RowMapping) -> Use:
    try:
        record = room.ledger.records.open(tx, row["entry_id"])
    except RecordErased:
        body: dict[str, JsonValue] = {}
    else:
        body = record.body
        if record.at != row["at"] or body.get("case", row["case_id"]) != row["case_id"]:
            raise RecordMismatch(entity=row["entry_id"])
    basis = body.get("basis")
    duty = basis if isinstance(basis, dict) and basis.get("kind") == "statutory_duty" else {}
    reasons, grants = body.get("reasons"), body.get("grants")
    return Use(
        at=row["at"],
        action=row["action"],
        basis=row["basis"],
        item=row["item"],
        org=row["org"],
        case_id=row["case_id"],
        case_number=row["number"],
        matter=row["matter"],
        verification_id=row["verification_id"],
        entry_id=row["entry_id"],
        unit=_text(body.get("unit")),
        role=_text(body.get("role")),
        item_type=_text(body.get("item_type")),
        requirement=_text(body.get("requirement")),
        reason=_text(reasons[0]) if isinstance(reasons, list) and reasons else None,
        officer_number=_text(duty.get("number")),
        officer_role=_text(duty.get("role")),
        grants=tuple(str(one) for one in grants) if isinstance(grants, list) else (),
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None
