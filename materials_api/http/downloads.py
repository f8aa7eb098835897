"""Routes of downloads: a ticket for a file of a verified item or of one's own, and its bytes."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path, Response
from pydantic import Field
from starlette.types import Receive, Scope, Send

from kernel.errors import CodedError
from kernel.principals import Principal, Role
from materials_api.http.common import MaterialId
from materials_api.releases.byte_ranges import RangeRequest
from materials_api.releases.downloads import Release, begin_download, note_stopped, stream
from materials_api.releases.tickets import IssuedTicket, ticket_for_own, ticket_for_verification
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.wire import UtcTime, Wire

VerificationId = Annotated[str, Path(pattern=r"^vrf_[0-9a-z]{26}$")]
Ticket = Annotated[str, Path(pattern=r"^mjt_[A-Za-z0-9_-]{43}$")]
RangeHeader = Annotated[
    str | None, Header(alias="Range", max_length=256, description="one range: `bytes=0-1023`")
]
# What it is said to be is what the file is.
_ANY_KIND: dict[str, Any] = {"application/octet-stream": {}, "*/*": {}}
IfRange = Annotated[str | None, Header(alias="If-Range", max_length=256)]


class TicketIn(Wire):
    """Which file of the item, from 1."""

    position: int = Field(default=1, ge=1, le=10_000)


class TicketOut(Wire):
    """A ticket for one download by this credential. It is told once."""

    ticket: str
    href: str
    expires_at: UtcTime


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/verifications/{id}/tickets`, `/v1/materials/{id}/tickets`, `/v1/downloads/{ticket}`."""
    router = APIRouter(prefix="/v1", tags=["downloads"])
    office = access.require(Role.WINDOW, Role.DEPARTMENT)
    holder = access.require(Role.APPLICANT)
    reader = access.require(Role.WINDOW, Role.DEPARTMENT, Role.APPLICANT)

    @router.post(
        "/verifications/{verification_id}/tickets",
        status_code=201,
        response_model=TicketOut,
        summary="下载凭票",
    )
    def ticket(
        verification_id: VerificationId,
        body: TicketIn,
        principal: Annotated[Principal, Depends(office)],
        response: Response,
    ) -> TicketOut:
        """A ticket for a file of an item that was verified and allowed. Never remembered."""
        at = room.clock.now()
        issued = room.database.write(
            lambda tx: ticket_for_verification(
                room, tx, at, principal, verification_id, body.position
            )
        )
        return _ticket(response, issued)

    @router.post(
        "/materials/{material_id}/tickets",
        status_code=201,
        response_model=TicketOut,
        summary="下载自己的材料",
    )
    def own_ticket(
        material_id: MaterialId,
        body: TicketIn,
        principal: Annotated[Principal, Depends(holder)],
        response: Response,
    ) -> TicketOut:
        """A ticket for a file of the holder's own material."""
        at = room.clock.now()
        issued = room.database.write(
            lambda tx: ticket_for_own(room, tx, at, principal, material_id, body.position)
        )
        return _ticket(response, issued)

    @router.get(
        "/downloads/{ticket}",
        response_class=Response,
        responses={
            200: {"content": _ANY_KIND, "description": "the whole file"},
            206: {"content": _ANY_KIND, "description": "the range"},
            416: {"description": "范围超出内容 / the range lies outside the content"},
        },
        summary="下载",
    )
    def download(
        ticket: Ticket,
        principal: Annotated[Principal, Depends(reader)],
        range_: RangeHeader = None,
        if_range: IfRange = None,
    ) -> Response:
        """The file, once. A range with `If-Range` resumes the same download until it expires.

        Audited before the first byte. If the right to it ends meanwhile, or the
        content is not what was recorded, the connection is cut short.
        """
        wanted = RangeRequest(range_, if_range)
        release = begin_download(room, room.clock.now(), principal, ticket, wanted)

        def stopped(error: CodedError) -> None:
            note_stopped(room, room.clock.now(), principal, release, error)

        return StreamedRelease(
            stream(room, principal, release), _status(release), _headers(release), stopped
        )

    return router


class StreamedRelease(Response):
    """Sends blocks from a thread. When one fails, the body stays short of its
    `Content-Length` and the server closes the connection: no client takes it for whole."""

    def __init__(
        self,
        blocks: Iterator[bytes],
        status: int,
        headers: dict[str, str],
        stopped: Callable[[CodedError], None],
    ) -> None:
        # Without a body of its own, so that no length but ours is set.
        super().__init__(None, status, headers)
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ]
        self._blocks = blocks
        self._stopped = stopped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        try:
            while (block := await to_thread.run_sync(next, self._blocks, None)) is not None:
                await send({"type": "http.response.body", "body": block, "more_body": True})
        except CodedError as error:
            await to_thread.run_sync(self._stopped, error)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _ticket(response: Response, issued: IssuedTicket) -> TicketOut:
    response.headers["Cache-Control"] = "no-store"
    return TicketOut(
        ticket=issued.ticket,
        href=f"/v1/downloads/{issued.ticket}",
        expires_at=issued.expires_at,
    )


def _status(release: Release) -> int:
    return 206 if release.range.partial else 200


def _headers(release: Release) -> dict[str, str]:
    part, size = release.range, release.file.size
    headers = {
        "Content-Type": release.file.media_type,
        "Content-Length": str(part.stop - part.start),
        "Content-Disposition": content_disposition(release.file.name),
        "Accept-Ranges": "bytes",
        "ETag": release.etag,
        "Repr-Digest": release.repr_digest,
        # Nothing in it may run, wherever it is shown, and nobody may keep it.
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-store",
    }
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    else:
        headers["Content-Digest"] = release.repr_digest
    return headers


# RFC 8187 attr-char without the letters and digits, which `quote` never escapes.
_SAFE = "!#$&+-.^_`|~"


def content_disposition(name: str) -> str:
    """An attachment under its own name (RFC 6266); ASCII clients see a stand-in."""
    suffix = name.rpartition(".")[2] if "." in name else ""
    plain = f"download.{suffix}" if suffix.isascii() and suffix.isalnum() else "download"
    encoded = quote(name, safe=_SAFE)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
