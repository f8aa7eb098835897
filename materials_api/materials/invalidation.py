"""A department declares a material false: it is listed where it was used, and each use reviewed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, union

from kernel.canonical import JsonValue
from kernel.principals import Principal
from materials_api.cases.access import CaseView, view_of
from materials_api.cases.tasks import TaskKind, open_task
from materials_api.errors import MaterialOfOtherDepartment
from materials_api.materials.lifecycle import MaterialEvent
from materials_api.materials.states import change_state, material_row
from materials_api.room import MaterialsRoom
from materials_api.tables import case_requirements, cases, materials, verifications
from materials_api.texts import clean_text
from storage.database import ReadTx, WriteTx


class InvalidReason(StrEnum):
    FORGED = "forged"  # 伪造、变造
    FALSE_STATEMENT = "false_statement"  # 内容虚假
    ISSUED_IN_ERROR = "issued_in_error"  # 出具有误
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Invalidated:
    """The cases that used the material, oldest first, and the task made for each."""

    cases: tuple[CaseView, ...]
    tasks: tuple[str, ...]


def invalidate(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    material_id: str,
    reason: InvalidReason,
    note: str | None = None,
) -> Invalidated:
    """Declare the material false, whatever state it is in; it is never reused again.

    Only a department that handled a case that used it may
    (`MaterialOfOtherDepartment`). Every such case gets a task for its own
    department; nothing about them changes by itself.
    """
    row = material_row(tx, material_id)
    using = cases_that_used(tx, material_id)
    if principal.org is None or principal.org not in {case.department for case in using}:
        raise MaterialOfOtherDepartment()
    text = None if note is None else clean_text("note", note, room.limits.note_chars, lines=True)
    listed: list[JsonValue] = [case.case_id for case in using]
    change_state(
        room,
        tx,
        at,
        principal,
        row,
        MaterialEvent.INVALIDATE,
        {"reason": reason.value, "note": text, "cases": listed, "officer": principal.officer},
    )
    made = [
        open_task(
            room,
            tx,
            at,
            principal,
            TaskKind.REVIEW_USE,
            case_id=case.case_id,
            department=case.department,
            item=material_id,
            reason=reason.value,
        )
        for case in using
    ]
    return Invalidated(tuple(using), tuple(made))


def cases_that_used(tx: ReadTx, item: str) -> list[CaseView]:
    """Every case in which the item counted: handed in there, named by a requirement,
    or verified with the outcome `allowed`; oldest first."""
    ids = union(
        select(materials.c.case_id).where(materials.c.material_id == item),
        select(case_requirements.c.case_id).where(case_requirements.c.item == item),
        select(verifications.c.case_id).where(
            verifications.c.item == item, verifications.c.outcome == "allowed"
        ),
    ).subquery()
    rows = tx.all(
        select(cases)
        .where(cases.c.case_id.in_(select(ids.c.case_id)))
        .order_by(cases.c.opened_at, cases.c.case_id)
    )
    return [view_of(row) for row in rows]
