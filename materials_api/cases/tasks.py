"""Work that is left for a department: at present, looking again at a use of a false material."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, select, update

from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from ledger.records import Row
from materials_api.errors import TaskDone, TaskUnknown
from materials_api.paging import Page, page_of_parts
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.tables import tasks
from materials_api.texts import clean_text
from storage import audit
from storage.database import ReadTx, WriteTx


class TaskKind(StrEnum):
    REVIEW_USE = "review_use"  # 复核：已用材料被认定无效


class TaskState(StrEnum):
    OPEN = "open"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class TaskView:
    task_id: str
    kind: TaskKind
    case_id: str
    item: str
    department: str
    state: TaskState
    created_at: datetime
    done_at: datetime | None
    entry_id: str


def open_task(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    kind: TaskKind,
    *,
    case_id: str,
    department: str,
    item: str,
    reason: str,
) -> str:
    """Make a task for a department; its id. Recorded and audited in this transaction."""
    task_id = new_id(IdKind.TASK)
    entry = room.ledger.journal.record(
        tx,
        at,
        "task.opened",
        task_id,
        {
            "task": kind.value,
            "case": case_id,
            "department": department,
            "item": item,
            "reason": reason,
            "status": TaskState.OPEN.value,
        },
    )
    tx.execute(
        insert(tasks),
        {
            "task_id": task_id,
            "kind": kind.value,
            "case_id": case_id,
            "item": item,
            "department": department,
            "state": TaskState.OPEN.value,
            "created_at": at,
            "entry_id": entry.entry_id,
        },
    )
    audit.note(tx, at, principal, "task.open", entity=task_id, case_id=case_id)
    return task_id


def list_tasks(
    tx: ReadTx, department: str, *, state: TaskState | None, cursor: str | None, limit: int
) -> Page[TaskView]:
    """The department's tasks, newest first."""
    states = TaskState if state is None else [state]
    parts = [{"department": department, "state": one.value} for one in states]
    page = page_of_parts(tx, tasks, parts, "created_at", "task_id", cursor=cursor, limit=limit)
    return page.map(_view)


def finish_task(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    task_id: str,
    conclusion: str,
) -> TaskView:
    """Close a task of the caller's department with what it concluded.

    Another department's task is `TaskUnknown`; a closed one `TaskDone`.
    """
    row = tx.one(select(tasks).where(tasks.c.task_id == task_id).with_for_update())
    if row is None or principal.org is None or row["department"] != principal.org:
        raise TaskUnknown()
    if row["state"] != TaskState.OPEN:
        raise TaskDone()
    checked_state(room, tx, task_id, row["state"])
    room.ledger.journal.record(
        tx,
        at,
        "task.done",
        task_id,
        {
            "conclusion": clean_text("conclusion", conclusion, room.limits.note_chars, lines=True),
            "officer": principal.officer,
            "status": TaskState.DONE.value,
        },
    )
    tx.execute(
        update(tasks)
        .where(tasks.c.task_id == task_id)
        .values(state=TaskState.DONE.value, done_at=at)
    )
    audit.note(tx, at, principal, "task.done", entity=task_id, case_id=row["case_id"])
    done = tx.one(select(tasks).where(tasks.c.task_id == task_id))
    if done is None:
        raise TaskUnknown()
    return _view(done)


def _view(row: Row) -> TaskView:
    return TaskView(
        task_id=row["task_id"],
        kind=TaskKind(row["kind"]),
        case_id=row["case_id"],
        item=row["item"],
        department=row["department"],
        state=TaskState(row["state"]),
        created_at=row["created_at"],
        done_at=row["done_at"],
        entry_id=row["entry_id"],
    )
