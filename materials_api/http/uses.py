"""The route of the holder's use history (使用记录)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends

from kernel.principals import Principal, Role
from materials_api.catalogue.errors import MatterUnknown
from materials_api.http.common import Cursor, PageSize, TextOut
from materials_api.releases.uses import Use, uses_of
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.wire import UtcTime, Wire


class UsedByOut(Wire):
    """Who. For the holder's own side, `role` is applicant and `org` empty."""

    role: str | None
    org: str | None
    unit: str | None
    officer_number: str | None
    officer_role: str | None


class UseOut(Wire):
    """One use: who, when, for which case, on what basis."""

    at: UtcTime
    action: Literal["verified", "denied", "downloaded", "exported"]
    basis: Literal["consent", "statutory_duty", "own", "archiving"]
    by: UsedByOut
    item: str
    item_type: str | None
    case_id: str
    case_number: str | None
    matter: TextOut | None
    requirement: str | None
    reason: str | None
    grants: list[str]
    verification: str | None


class UsePage(Wire):
    items: list[UseOut]
    next: str | None


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`GET /v1/uses`."""
    router = APIRouter(prefix="/v1", tags=["grants"])
    holder = access.require(Role.APPLICANT)

    @router.get("/uses", response_model=UsePage, summary="使用记录")
    def history(
        principal: Annotated[Principal, Depends(holder)],
        cursor: Cursor = None,
        limit: PageSize = 50,
    ) -> UsePage:
        """What was done with anything of the holder, refusals included, newest first."""
        with room.database.read() as tx:
            page = uses_of(room, tx, principal.holder or "", cursor=cursor, limit=limit)
        return UsePage(items=[_out(room, use) for use in page.items], next=page.next)

    return router


def _out(room: MaterialsRoom, use: Use) -> UseOut:
    return UseOut.model_validate(
        {
            "at": use.at,
            "action": use.action,
            "basis": use.basis,
            "by": UsedByOut(
                role=use.role,
                org=use.org,
                unit=use.unit,
                officer_number=use.officer_number,
                officer_role=use.officer_role,
            ),
            "item": use.item,
            "item_type": use.item_type,
            "case_id": use.case_id,
            "case_number": use.case_number,
            "matter": _matter(room, use.matter),
            "requirement": use.requirement,
            "reason": use.reason,
            "grants": list(use.grants),
            "verification": use.verification_id,
        }
    )


def _matter(room: MaterialsRoom, code: str | None) -> TextOut | None:
    if code is None:
        return None
    try:
        name = room.catalogue.matter(code).name
    except MatterUnknown:
        return TextOut(zh=code, en=code)  # of an earlier catalogue
    return TextOut(zh=name.zh, en=name.en)
