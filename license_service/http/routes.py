"""Routes for licences: issue, events, look-up, status, kinds."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from kernel.principals import Principal, Role
from license_service.answers import NoneFound, SourceOutage
from license_service.errors import (
    LicenseSourceUnavailable,
    LicenseUnknown,
)
from license_service.http import views
from license_service.http.models import (
    LICENSE_ID,
    EventIn,
    FullLicenseOut,
    IssuedOut,
    KindKey,
    KindsOut,
    LicenseIn,
    LicenseOut,
    LicensePage,
    StatusIn,
    StatusOut,
)
from license_service.lifecycle import Event
from license_service.room import LicenseRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey
from storage import audit
from storage.database import WriteTx

MAX_PAGE = 200

LicenseId = Annotated[str, Path(pattern=LICENSE_ID)]


def routes(room: LicenseRoom, access: Access) -> APIRouter:
    """The router of this room, with every route guarded."""
    router = APIRouter(prefix="/v1", tags=["licenses"])
    department = access.require(Role.DEPARTMENT)
    applicant = access.require(Role.APPLICANT)

    @router.get(
        "/license-kinds",
        response_model=KindsOut,
        dependencies=[Depends(access.public)],
        summary="证照种类",
    )
    def license_kinds() -> KindsOut:
        """Every kind of licence that can be issued here."""
        return views.kinds(room.licenses.kinds)

    @router.post("/licenses", status_code=201, response_model=IssuedOut, summary="制证")
    def draft(
        body: LicenseIn,
        principal: Annotated[Principal, Depends(department)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Make a licence ready. It becomes valid by the event `issue`."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, IssuedOut]:
            holder = room.parties.ensure(tx, at, body.holder.ref())
            made = room.licenses.draft(tx, at, principal, body.draft(holder))
            return 201, views.brief(room, at, views.trusted_facts(room, tx, made.license_id))

        return write_once(
            room.database, room.vault, at, principal, "POST /v1/licenses", key, body, work
        )

    @router.post(
        "/licenses/{license_id}/events",
        status_code=201,
        response_model=IssuedOut,
        summary="签发、年检、变更、延续、补发、暂扣、恢复、撤回、撤销、吊销、注销、废止",
    )
    def event(
        license_id: LicenseId,
        body: EventIn,
        principal: Annotated[Principal, Depends(department)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Let an event happen to a licence of one's own body.

        Change, renew and reissue answer with the new version.
        """
        at = room.clock.now()
        happening = Event(body.event)

        def work(tx: WriteTx) -> tuple[int, IssuedOut]:
            if body.successor is None:
                after = room.licenses.apply(
                    tx,
                    at,
                    principal,
                    license_id,
                    happening,
                    effective_at=body.effective_at,
                    reason=body.reason,
                )
            else:
                after = room.licenses.supersede(
                    tx,
                    at,
                    principal,
                    license_id,
                    happening,
                    body.successor.successor(),
                    effective_at=body.effective_at,
                    reason=body.reason,
                )
            return 201, views.brief(room, at, views.trusted_facts(room, tx, after.license_id))

        route = f"POST /v1/licenses/{license_id}/events"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    @router.get("/licenses", response_model=LicensePage, summary="我的证照")
    def own(
        principal: Annotated[Principal, Depends(applicant)],
        kind: Annotated[KindKey | None, Query()] = None,
        cursor: Annotated[str | None, Query(pattern=LICENSE_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> LicensePage:
        """The holder's own licences, newest first; drafts are not shown."""
        at = room.clock.now()
        if principal.holder is None:
            raise LicenseUnknown()
        with room.database.read() as tx:
            found = room.licenses.of_holder(
                tx, principal.holder, kind, after=cursor, limit=limit + 1, drafts=False
            )
            items = [
                views.brief(room, at, views.trusted_facts(room, tx, view.license_id))
                for view in found[:limit]
            ]
        more = len(found) > limit
        return LicensePage(items=items, next=items[-1].license_id if more else None)

    @router.post("/licenses/status", response_model=StatusOut, summary="查证照状态")
    def status(
        body: StatusIn,
        principal: Annotated[
            Principal, Depends(access.require(Role.WINDOW, Role.DEPARTMENT, Role.AUDITOR))
        ],
    ) -> StatusOut:
        """The status of a licence at a time, by its identifier. Tells nothing of its holder."""
        now = room.clock.now()
        at = body.at or now
        answer = room.source.status(body.identifier, at)
        room.database.write(
            lambda tx: audit.note(
                tx, now, principal, "license.status", outcome=type(answer).__name__.lower()
            )
        )
        if isinstance(answer, NoneFound):
            raise LicenseUnknown()
        if isinstance(answer, SourceOutage):
            raise LicenseSourceUnavailable(source=answer.source)
        return views.status(answer, at)

    @router.get(
        "/licenses/{license_id}",
        response_model=FullLicenseOut | LicenseOut,
        summary="证照详情",
    )
    def one(
        license_id: LicenseId,
        principal: Annotated[
            Principal, Depends(access.require(Role.APPLICANT, Role.DEPARTMENT, Role.WINDOW))
        ],
    ) -> FullLicenseOut | LicenseOut:
        """Everything for the holder and the issuing body; status and dates for others."""
        at = room.clock.now()
        with room.database.read() as tx:
            facts = views.trusted_facts(room, tx, license_id)
            issuing = principal.role is Role.DEPARTMENT and principal.org == facts.issuer
            holding = principal.role is Role.APPLICANT and principal.holder == facts.holder
            # Another holder's licence, or one not issued yet, is as good as unknown.
            if not issuing and not facts.history:
                raise LicenseUnknown()
            if principal.role is Role.APPLICANT and not holding:
                raise LicenseUnknown()
            if not issuing and not holding:
                return views.plain(room, at, facts)
            answer = views.full(room, tx, at, facts)
        if issuing:
            # An officer saw personal data: that is on record before they see it.
            room.database.write(
                lambda tx: audit.note(tx, at, principal, "license.view", entity=license_id)
            )
        return answer

    return router
