"""Routes of materials (电子材料): register, by upload ids or by browser form; read; decide."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response

from kernel.principals import Principal, Role
from materials_api.cases.access import case_for
from materials_api.http.common import (
    CaseId,
    Cursor,
    MaterialId,
    PageSize,
    Prefer,
    Waiting,
    preferred_wait,
    receipt_link,
)
from materials_api.http.material_models import (
    ErasureOut,
    InvalidatedOut,
    InvalidateIn,
    MaterialIn,
    MaterialItem,
    MaterialOut,
    MaterialPage,
    RegisteredOut,
    StatusOut,
    TypeKey,
)
from materials_api.http.material_views import material_item, material_out, using_case
from materials_api.materials.access import (
    MaterialFacts,
    list_own,
    material_for,
    materials_of_case,
    open_or_row,
)
from materials_api.materials.control import resume_reuse, stop_reuse
from materials_api.materials.erasure import continue_erasures, erasure_of, request_erasure
from materials_api.materials.invalidation import invalidate
from materials_api.materials.lifecycle import MaterialState
from materials_api.materials.registration import (
    Registered,
    ask_before,
    asked_registration,
    register_material,
)
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey
from storage import audit
from storage.database import WriteTx


def registered_out(case_id: str, type_: str, made: Registered) -> RegisteredOut:
    return RegisteredOut(
        material_id=made.material_id,
        case_id=case_id,
        type=type_,
        status=made.state.value,
        receipt=receipt_link(made.entry_id),
    )


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/cases/{case_id}/materials` and `/v1/materials`."""
    router = APIRouter(prefix="/v1", tags=["materials"])
    waiting = Waiting(room)
    registrar = access.require(Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT)
    holder = access.require(Role.APPLICANT)
    department = access.require(Role.DEPARTMENT)
    reader = access.require(Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST)
    eraser = access.require(Role.APPLICANT, Role.OPERATOR)

    @router.post(
        "/cases/{case_id}/materials",
        status_code=201,
        response_model=RegisteredOut,
        summary="登记材料",
    )
    async def register(
        case_id: CaseId,
        body: MaterialIn,
        principal: Annotated[Principal, Depends(registrar)],
        key: IdempotencyKey = None,
        prefer: Prefer = None,
    ) -> Response:
        """Register uploads as one material of the case.

        `Prefer: wait=N` waits for the receipt; otherwise it follows at its link.
        """
        at = room.clock.now()

        def run() -> Response:
            asked = ask_before(room, at, principal, case_id, body.requirement)

            def work(tx: WriteTx) -> tuple[int, RegisteredOut]:
                made = register_material(
                    room, tx, at, principal, case_id, body.registration(), asked
                )
                return 201, registered_out(case_id, body.type, made)

            route = f"POST /v1/cases/{case_id}/materials"
            ahead = asked_registration(case_id, body.requirement)
            return write_once(
                room.database, room.vault, at, principal, route, key, body, work, ahead
            )

        response = await to_thread.run_sync(run)
        return await waiting.settle(response, preferred_wait(room, prefer))

    @router.get("/cases/{case_id}/materials", response_model=MaterialPage, summary="办件的材料")
    def of_case(case_id: CaseId, principal: Annotated[Principal, Depends(reader)]) -> MaterialPage:
        """All materials of a case, rejected versions included, oldest first; never paged."""
        with room.database.read() as tx:
            case_for(tx, principal, case_id)
            found = materials_of_case(tx, case_id)
        return MaterialPage(items=[material_item(row) for row in found], next=None)

    @router.get("/materials", response_model=MaterialPage, summary="我的材料")
    def own(
        principal: Annotated[Principal, Depends(holder)],
        type_: Annotated[TypeKey | None, Query(alias="type")] = None,
        cursor: Cursor = None,
        limit: PageSize = 50,
    ) -> MaterialPage:
        """Materials in which the holder is a party, newest first."""
        with room.database.read() as tx:
            page = list_own(tx, principal.holder or "", type_=type_, cursor=cursor, limit=limit)
        return MaterialPage(items=[material_item(row) for row in page.items], next=page.next)

    @router.get(
        "/materials/{material_id}",
        response_model=MaterialOut | MaterialItem,
        summary="材料详情",
    )
    def one(
        material_id: MaterialId, principal: Annotated[Principal, Depends(reader)]
    ) -> MaterialOut | MaterialItem:
        """Title, parties and files from the record; of an erased material its item alone."""
        at = room.clock.now()
        with room.database.read() as tx:
            row = material_for(room, tx, principal, material_id)
            found = open_or_row(room, tx, row)
            if not isinstance(found, MaterialFacts):
                return material_item(row)
            answer = material_out(room, tx, row, found)
        if principal.role is not Role.APPLICANT:
            # An officer sees names: that is on record before they do.
            room.database.write(
                lambda tx: audit.note(
                    tx, at, principal, "material.view", entity=material_id, case_id=row.case_id
                )
            )
        return answer

    @router.post(
        "/materials/{material_id}/stop-reuse", response_model=StatusOut, summary="停止复用"
    )
    def stop(
        material_id: MaterialId,
        principal: Annotated[Principal, Depends(holder)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Stop the reuse of a material at once, also where it was authorised."""
        return decide(principal, material_id, "stop-reuse", key)

    @router.post(
        "/materials/{material_id}/resume-reuse", response_model=StatusOut, summary="恢复复用"
    )
    def resume(
        material_id: MaterialId,
        principal: Annotated[Principal, Depends(holder)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Allow the reuse of a material again."""
        return decide(principal, material_id, "resume-reuse", key)

    def decide(principal: Principal, material_id: str, what: str, key: str | None) -> Response:
        at = room.clock.now()
        change = stop_reuse if what == "stop-reuse" else resume_reuse

        def work(tx: WriteTx) -> tuple[int, StatusOut]:
            state = change(room, tx, at, principal, material_id)
            return 200, StatusOut(material_id=material_id, status=state.value)

        route = f"POST /v1/materials/{material_id}/{what}"
        body = StatusOut(material_id=material_id, status="pending")  # no body of its own
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    @router.post(
        "/materials/{material_id}/invalidate", response_model=InvalidatedOut, summary="认定无效"
    )
    def declare_false(
        material_id: MaterialId,
        body: InvalidateIn,
        principal: Annotated[Principal, Depends(department)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Declare a material false; every case that used it gets a task for its department."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, InvalidatedOut]:
            done = invalidate(room, tx, at, principal, material_id, body.why(), body.note)
            return 200, InvalidatedOut(
                material_id=material_id,
                status=MaterialState.INVALIDATED.value,
                cases=[using_case(case) for case in done.cases],
                tasks=list(done.tasks),
            )

        route = f"POST /v1/materials/{material_id}/invalidate"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    @router.post(
        "/materials/{material_id}/erase",
        status_code=202,
        response_model=ErasureOut,
        responses={200: {"model": ErasureOut, "description": "nothing of it is left"}},
        summary="删除",
    )
    def erase(
        material_id: MaterialId, principal: Annotated[Principal, Depends(eraser)]
    ) -> Response:
        """Erase a material whose retention is over or never began. Asking again tells
        how far it has come."""
        at = room.clock.now()
        entry = room.database.write(
            lambda tx: request_erasure(room, tx, at, principal, material_id)
        )
        if entry.last_record is not None:
            # Its last record must be in the log before the keys can be destroyed.
            room.ledger.wait_for(entry.last_record, 2.0)
        continue_erasures(room, at)
        with room.database.read() as tx:
            found = erasure_of(room, tx, material_id)
        answer = ErasureOut(
            material_id=material_id,
            erasure=found.state.value,
            older_copies="closed" if found.closed else "readable",
        )
        return Response(
            answer.model_dump_json().encode(),
            200 if answer.erasure == "done" else 202,
            media_type="application/json",
        )

    return router
