"""Routes of verifications (核验) and data checks (数据核验)."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Response

from kernel.principals import Principal, Role
from materials_api.grants.errors import VerificationContended
from materials_api.http.common import CaseId
from materials_api.http.verification_models import CallOut, DataCheckIn, VerifyIn, basis_of
from materials_api.registers.data_checks import CheckData, check_data
from materials_api.registers.register import DataSource, LocalRegisters
from materials_api.room import MaterialsRoom
from materials_api.verification.answers import call_answer, encode, item_answer
from materials_api.verification.reading import ReadCall, read_call
from materials_api.verification.store import Stale
from materials_api.verification.verifying import Call, attempts
from parties.http.access import Access
from parties.http.replies import json_response, request_key
from parties.http.wire import IdempotencyKey
from storage import audit
from storage.database import WriteTx
from storage.idempotency import Reply

VerificationId = Annotated[str, Path(pattern=r"^vrf_[0-9a-z]{26}$")]


def routes(room: MaterialsRoom, access: Access, registers: DataSource | None = None) -> APIRouter:
    """`/v1/verifications` and `/v1/cases/{case_id}/data-checks`."""
    router = APIRouter(prefix="/v1", tags=["verifications"])
    asker = access.require(Role.WINDOW, Role.DEPARTMENT)
    reader = access.require(Role.WINDOW, Role.DEPARTMENT, Role.APPLICANT)
    source = registers or LocalRegisters(room)

    @router.post("/verifications", status_code=201, response_model=CallOut, summary="核验")
    async def verify_(
        body: VerifyIn,
        principal: Annotated[Principal, Depends(asker)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Verify all reused items of a case in one call; failures stand first.

        201 whether allowed or denied: both are recorded, and each leaves a slip.
        """
        at = room.clock.now()
        asked = request_key(room.vault, principal, "POST /v1/verifications", key, body)
        steps = attempts(room, at, principal, body.wanted(), rendered, asked)
        return json_response(await settled(room, steps))

    @router.post(
        "/cases/{case_id}/data-checks",
        status_code=201,
        response_model=CallOut,
        summary="数据核验",
    )
    def check(
        case_id: CaseId,
        body: DataCheckIn,
        principal: Annotated[Principal, Depends(asker)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Ask a register instead of the applicant; answered like a verification."""
        at = room.clock.now()
        route = f"POST /v1/cases/{case_id}/data-checks"
        wanted = CheckData(
            case_id,
            body.requirement,
            None if body.subject is None else body.subject.ref(),
            body.claims,
            basis_of(body.basis),
        )
        asked = request_key(room.vault, principal, route, key, body)
        return json_response(check_data(room, source, at, principal, wanted, rendered, asked))

    @router.get("/verifications/{verification_id}", response_model=CallOut, summary="核验详情")
    def read(
        verification_id: VerificationId, principal: Annotated[Principal, Depends(reader)]
    ) -> Response:
        """A call by its id, or one verification by its own; a holder sees their own items."""
        at = room.clock.now()
        with room.database.read() as tx:
            call = read_call(room, tx, principal, verification_id)
        if principal.role is not Role.APPLICANT:
            room.database.write(
                lambda tx: audit.note(
                    tx,
                    at,
                    principal,
                    "verification.view",
                    entity=verification_id,
                    case_id=call.case_id,
                )
            )
        return json_response(_reply(call, 200))

    return router


async def settled(room: MaterialsRoom, steps: Iterator[Callable[[WriteTx], Reply]]) -> Reply:
    """Decide in a thread, wait for the commit on the loop: a waiting thread would only
    take turns with those that decide. Again as long as it is `Stale`."""
    while work := await to_thread.run_sync(next, steps, None):
        try:
            return await asyncio.wrap_future(room.database.submit(work))
        except Stale:
            continue
    raise VerificationContended()


def rendered(call: Call) -> Reply:
    """The answer of a fresh call."""
    return _reply(call, 201)


def _reply(call: Call | ReadCall, status: int) -> Reply:
    items = [
        item_answer(one.verification_id, one.entry_id, one.slip, one.body) for one in call.items
    ]
    return Reply(status, encode(call_answer(call.call_id, call.case_id, call.at, items)))
