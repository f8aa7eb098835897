"""The route of receipts (存证回执): who may have which stands in `receipts_access`."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Response

from kernel.principals import Principal, Role
from materials_api.http.common import Prefer, Waiting, preferred_wait
from materials_api.releases.receipts_access import check_receipt
from materials_api.room import MaterialsRoom
from materials_api.verification.answers import encode
from parties.http.access import Access
from storage import audit

EntryId = Annotated[str, Path(pattern=r"^ent_[0-9a-z]{26}$")]
_RETRY_SECONDS = 1


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`GET /v1/receipts/{entry_id}`."""
    router = APIRouter(prefix="/v1", tags=["receipts"])
    waiting = Waiting(room)
    anybody = access.require(*Role)

    @router.get(
        "/receipts/{entry_id}",
        response_class=Response,
        responses={
            200: {"content": {"application/json": {}}, "description": "the receipt file"},
            202: {"description": "存证补全中 / pending: ask again after Retry-After"},
        },
        summary="存证回执",
    )
    async def receipt(
        entry_id: EntryId,
        principal: Annotated[Principal, Depends(anybody)],
        prefer: Prefer = None,
    ) -> Response:
        """The receipt exactly as it verifies offline: canonical JSON and a newline.

        Whoever may not have it gets the same 404 as for an unknown entry.
        """
        at = room.clock.now()

        def check() -> None:
            with room.database.read() as tx:
                check_receipt(room, tx, principal, entry_id)

        def note() -> None:
            # The record may hold names: that it was given out is on record before.
            room.database.write(
                lambda tx: audit.note(tx, at, principal, "receipt.read", entity=entry_id)
            )

        await to_thread.run_sync(check)
        data = await waiting.receipt(entry_id, preferred_wait(room, prefer))
        if data is None:
            body = {"entry": entry_id, "status": "pending", "href": f"/v1/receipts/{entry_id}"}
            return Response(
                encode(body),
                202,
                {"Retry-After": str(_RETRY_SECONDS), "Cache-Control": "no-store"},
                media_type="application/json",
            )
        await to_thread.run_sync(note)
        return Response(
            data,
            200,
            {
                "Cache-Control": "private, no-store",
                "Content-Disposition": f'attachment; filename="{entry_id}.json"',
                "X-Content-Type-Options": "nosniff",
            },
            media_type="application/json",
        )

    return router
