"""Routes of cases (办件): open, list, read, let events happen."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response

from kernel.principals import Principal, Role
from materials_api.cases.access import case_for, events_of, list_cases
from materials_api.cases.events import apply_event
from materials_api.cases.lifecycle import CaseState
from materials_api.cases.numbers import PATTERN
from materials_api.cases.opening import open_case
from materials_api.http.case_models import (
    CaseDetailOut,
    CaseIn,
    CaseOut,
    CasePage,
    EventIn,
    StateWord,
)
from materials_api.http.case_views import case_detail, case_item, case_out
from materials_api.http.common import CaseId, Cursor, PageSize, Prefer, Waiting, preferred_wait
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey
from storage import audit
from storage.database import WriteTx


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/cases`, and `/v1/cases/{case_id}/events`."""
    router = APIRouter(prefix="/v1/cases", tags=["cases"])
    waiting = Waiting(room)
    opener = access.require(Role.APPLICANT, Role.WINDOW)
    reader = access.require(Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST)

    @router.post("", status_code=201, response_model=CaseOut, summary="开办件")
    async def open_(
        body: CaseIn,
        principal: Annotated[Principal, Depends(opener)],
        key: IdempotencyKey = None,
        prefer: Prefer = None,
    ) -> Response:
        """Open a draft case of a matter, for an applicant, by a person who may act for it."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, CaseOut]:
            case = open_case(room, tx, at, principal, body.wanted())
            return 201, case_out(room, tx, case, case.entry_id)

        def run() -> Response:
            return write_once(
                room.database, room.vault, at, principal, "POST /v1/cases", key, body, work
            )

        response = await to_thread.run_sync(run)
        return await waiting.settle(response, preferred_wait(room, prefer))

    @router.get("", response_model=CasePage, summary="办件列表")
    def list_(
        principal: Annotated[Principal, Depends(reader)],
        state: Annotated[StateWord | None, Query()] = None,
        number: Annotated[str | None, Query(pattern=PATTERN, description="办件编码")] = None,
        cursor: Cursor = None,
        limit: PageSize = 50,
    ) -> CasePage:
        """The caller's cases, newest first: the holder's, the window's, the department's;
        for an archivist those that are closed, of its own body and of the bodies whose
        archives it keeps."""
        with room.database.read() as tx:
            page = list_cases(
                tx,
                principal,
                state=None if state is None else CaseState(state),
                number=number,
                cursor=cursor,
                limit=limit,
            )
        return CasePage(items=[case_item(case) for case in page.items], next=page.next)

    @router.get("/{case_id}", response_model=CaseDetailOut, summary="办件详情")
    def one(case_id: CaseId, principal: Annotated[Principal, Depends(reader)]) -> CaseDetailOut:
        """A case with its people, requirements and process records, if it is among those that
        the caller's list shows."""
        at = room.clock.now()
        with room.database.read() as tx:
            answer = case_detail(room, tx, case_for(tx, principal, case_id))
        if principal.role is not Role.APPLICANT:
            # An officer sees names: that is on record before they do.
            room.database.write(
                lambda tx: audit.note(
                    tx, at, principal, "case.view", entity=case_id, case_id=case_id
                )
            )
        return answer

    @router.post(
        "/{case_id}/events",
        status_code=201,
        response_model=CaseOut,
        summary="提交、受理、补正告知、不予受理、准予、不予许可、撤回、终止、办结、归档",
    )
    async def event(
        case_id: CaseId,
        body: EventIn,
        principal: Annotated[Principal, Depends(reader)],
        key: IdempotencyKey = None,
        prefer: Prefer = None,
    ) -> Response:
        """Let an event happen. Which role may do which stands in the lifecycle table."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, CaseOut]:
            case = apply_event(room, tx, at, principal, case_id, body.wanted())
            return 201, case_out(room, tx, case, events_of(tx, case_id)[-1].entry_id)

        def run() -> Response:
            route = f"POST /v1/cases/{case_id}/events"
            return write_once(room.database, room.vault, at, principal, route, key, body, work)

        response = await to_thread.run_sync(run)
        return await waiting.settle(response, preferred_wait(room, prefer))

    return router
