"""Routes of tasks (待办): what a department still has to look at."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response

from kernel.principals import Principal, Role
from materials_api.cases.tasks import TaskState, TaskView, finish_task, list_tasks
from materials_api.http.case_models import Note
from materials_api.http.common import Cursor, PageSize, TaskId
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey, UtcTime, Wire
from storage.database import WriteTx


class TaskOut(Wire):
    """`review_use`: a material that this case used was declared false (复核)."""

    task_id: str
    kind: Literal["review_use"]
    case_id: str
    item: str
    state: Literal["open", "done"]
    created_at: UtcTime
    done_at: UtcTime | None


class TaskPage(Wire):
    items: list[TaskOut]
    next: str | None


class DoneIn(Wire):
    conclusion: Note


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/tasks`, for departments."""
    router = APIRouter(prefix="/v1/tasks", tags=["tasks"])
    department = access.require(Role.DEPARTMENT)

    @router.get("", response_model=TaskPage, summary="待办")
    def list_(
        principal: Annotated[Principal, Depends(department)],
        state: Annotated[Literal["open", "done"] | None, Query()] = None,
        cursor: Cursor = None,
        limit: PageSize = 50,
    ) -> TaskPage:
        """The department's tasks, newest first."""
        with room.database.read() as tx:
            page = list_tasks(
                tx,
                principal.org or "",
                state=None if state is None else TaskState(state),
                cursor=cursor,
                limit=limit,
            )
        return TaskPage(items=[_out(task) for task in page.items], next=page.next)

    @router.post("/{task_id}/done", response_model=TaskOut, summary="完成待办")
    def done(
        task_id: TaskId,
        body: DoneIn,
        principal: Annotated[Principal, Depends(department)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Close a task with what it concluded."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, TaskOut]:
            return 200, _out(finish_task(room, tx, at, principal, task_id, body.conclusion))

        route = f"POST /v1/tasks/{task_id}/done"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    return router


def _out(task: TaskView) -> TaskOut:
    return TaskOut(
        task_id=task.task_id,
        kind=task.kind.value,
        case_id=task.case_id,
        item=task.item,
        state=task.state.value,
        created_at=task.created_at,
        done_at=task.done_at,
    )
