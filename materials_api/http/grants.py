"""Routes of grants (授权): ask, preview, decide, revoke, show a code, redeem it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from kernel.principals import Principal, Role
from materials_api.grants.granting import (
    approve,
    decline,
    grant_for,
    list_grants,
    make_grant,
    revoke,
)
from materials_api.grants.lifecycle import GrantState
from materials_api.grants.records import Grant
from materials_api.grants.requests import ask_grants
from materials_api.grants.show_codes import WrongCode, redeem, show_code
from materials_api.http.common import CaseId, Cursor, PageSize
from materials_api.http.grant_models import (
    ApproveIn,
    AskGrantIn,
    GrantDetailOut,
    GrantOut,
    GrantPage,
    MakeGrantIn,
    RedeemIn,
    ShowCodeOut,
)
from materials_api.http.grant_views import grant_detail, grant_out
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey, Wire
from storage.database import WriteTx

GrantId = Annotated[str, Path(pattern=r"^grt_[0-9a-z]{26}$")]
StateQuery = Annotated[GrantState | None, Query(description="stored state; dates not counted in")]


class NoBody(Wire):
    """For routes without a body: what their idempotency key is compared on."""


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/grants` and `/v1/cases/{case_id}/grants`."""
    router = APIRouter(prefix="/v1", tags=["grants"])
    window = access.require(Role.WINDOW)
    holder = access.require(Role.APPLICANT)
    reader = access.require(Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT)

    @router.post(
        "/cases/{case_id}/grants", status_code=201, response_model=GrantPage, summary="申请授权"
    )
    def ask(
        case_id: CaseId,
        body: AskGrantIn,
        principal: Annotated[Principal, Depends(window)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Ask for authorisation: one grant per holder, each to be decided by its own."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, GrantPage]:
            made = ask_grants(room, tx, at, principal, case_id, body.wanted())
            found = [grant_out(at, principal, grant) for grant in made]
            return 201, GrantPage(items=found, next=None)

        route = f"POST /v1/cases/{case_id}/grants"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    @router.post(
        "/cases/{case_id}/grants/redeem",
        status_code=201,
        response_model=GrantOut,
        summary="兑换亮证码",
    )
    def redeem_(
        case_id: CaseId, body: RedeemIn, principal: Annotated[Principal, Depends(window)]
    ) -> GrantOut:
        """Turn the code that a holder shows into a grant for this case. Once; wrong codes count."""
        at = room.clock.now()
        found = room.database.write(lambda tx: redeem(room, tx, at, principal, case_id, body.code))
        if isinstance(found, WrongCode):
            raise found.error()
        return grant_out(at, principal, found)

    @router.post("/grants", status_code=201, response_model=GrantOut, summary="主动授权")
    def make(
        body: MakeGrantIn,
        principal: Annotated[Principal, Depends(holder)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Grant items unasked, for one case of one's own or unbound."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, GrantOut]:
            made = make_grant(room, tx, at, principal, body.wanted())
            return 201, grant_out(at, principal, made)

        return write_once(
            room.database, room.vault, at, principal, "POST /v1/grants", key, body, work
        )

    @router.get("/grants", response_model=GrantPage, summary="授权列表")
    def list_(
        principal: Annotated[Principal, Depends(reader)],
        state: StateQuery = None,
        case: Annotated[str | None, Query(pattern=r"^cas_[0-9a-z]{26}$")] = None,
        cursor: Cursor = None,
        limit: PageSize = 50,
    ) -> GrantPage:
        """The holder's own grants; for offices those given to them or to their cases."""
        at = room.clock.now()
        with room.database.read() as tx:
            page = list_grants(
                room, tx, principal, state=state, case_id=case, cursor=cursor, limit=limit
            )
        found = [grant_out(at, principal, grant) for grant in page.items]
        return GrantPage(items=found, next=page.next)

    @router.get("/grants/{grant_id}", response_model=GrantDetailOut, summary="授权预览")
    def one(grant_id: GrantId, principal: Annotated[Principal, Depends(reader)]) -> GrantDetailOut:
        """A grant with its purpose; for its holder exactly what would be shown to whom."""
        at = room.clock.now()
        with room.database.read() as tx:
            grant = grant_for(room, tx, principal, grant_id)
            return grant_detail(room, tx, at, principal, grant)

    @router.post("/grants/{grant_id}/approve", response_model=GrantOut, summary="同意授权")
    def approve_(
        grant_id: GrantId,
        principal: Annotated[Principal, Depends(holder)],
        body: ApproveIn | None = None,
        key: IdempotencyKey = None,
    ) -> Response:
        """Agree to all that was asked for, or to some of it."""
        at = room.clock.now()
        wanted = body or ApproveIn()

        def work(tx: WriteTx) -> tuple[int, GrantOut]:
            granted = approve(room, tx, at, principal, grant_id, wanted.items)
            return 200, grant_out(at, principal, granted)

        route = f"POST /v1/grants/{grant_id}/approve"
        return write_once(room.database, room.vault, at, principal, route, key, wanted, work)

    @router.post("/grants/{grant_id}/decline", response_model=GrantOut, summary="拒绝授权")
    def decline_(
        grant_id: GrantId,
        principal: Annotated[Principal, Depends(holder)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Say no to a request."""
        return _decide(principal, grant_id, "decline", key)

    @router.post("/grants/{grant_id}/revoke", response_model=GrantOut, summary="撤回授权")
    def revoke_(
        grant_id: GrantId,
        principal: Annotated[Principal, Depends(holder)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Withdraw a grant for good, also one that was used: downloads stop as well."""
        return _decide(principal, grant_id, "revoke", key)

    def _decide(principal: Principal, grant_id: str, what: str, key: str | None) -> Response:
        at = room.clock.now()
        change = decline if what == "decline" else revoke

        def work(tx: WriteTx) -> tuple[int, GrantOut]:
            changed: Grant = change(room, tx, at, principal, grant_id)
            return 200, grant_out(at, principal, changed)

        route = f"POST /v1/grants/{grant_id}/{what}"
        return write_once(room.database, room.vault, at, principal, route, key, NoBody(), work)

    @router.post("/grants/{grant_id}/code", response_model=ShowCodeOut, summary="亮证码")
    def code(
        grant_id: GrantId,
        principal: Annotated[Principal, Depends(holder)],
        response: Response,
    ) -> ShowCodeOut:
        """A code to show at a counter: one minute, one use. Never remembered anywhere."""
        at = room.clock.now()
        shown = room.database.write(lambda tx: show_code(room, tx, at, principal, grant_id))
        response.headers["Cache-Control"] = "no-store"
        return ShowCodeOut(code=shown.code, expires_at=shown.expires_at)

    return router
