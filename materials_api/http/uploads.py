"""`PUT /v1/uploads/{id}`: raw bytes in, hashed and sealed while they arrive."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Request, Response

from kernel.principals import Principal, Role
from materials_api.http.common import OWN_LIMIT, ContentDigest, declared_digests, declared_size
from materials_api.http.receiving import ending, receive_into
from materials_api.room import MaterialsRoom
from materials_api.uploads.incoming import Upload, begin_upload, keep_upload
from parties.http.access import Access
from parties.http.wire import Wire

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "文件内容 / the bytes of one file",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class DigestsOut(Wire):
    """Of the plaintext, lower-case hex."""

    sha256: str
    sm3: str


class UploadOut(Wire):
    """A stored upload. `media_type` is what the content is, not what was claimed."""

    upload_id: str
    size: int
    digests: DigestsOut
    media_type: str


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """Uploads of applicants, windows and departments."""
    router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
    sender = access.require(Role.APPLICANT, Role.WINDOW, Role.DEPARTMENT)

    @router.put(
        "/{upload_id}",
        status_code=201,
        response_model=UploadOut,
        responses={200: {"model": UploadOut, "description": "the same bytes were here already"}},
        openapi_extra=_BODY,
        max_body_size=OWN_LIMIT,
        summary="上传文件",
    )
    async def put(
        upload_id: Annotated[str, Path(max_length=64, examples=["upl_" + "0" * 26])],
        request: Request,
        principal: Annotated[Principal, Depends(sender)],
        content_digest: ContentDigest = None,
    ) -> Response:
        """Store one file under an id that the client made (`upl_` and 26 characters).

        The same bytes under the same id succeed again; other bytes are refused.
        An upload that is not registered as a material in time is removed.
        """
        declared = declared_digests(content_digest)
        receiver = await to_thread.run_sync(
            begin_upload, room, principal, upload_id, declared_size(request)
        )
        async with ending(receiver):
            rest = await receive_into(request, receiver, room.limits.block_bytes)

        def keep() -> Upload:
            try:
                receiver.write(rest)
                received = receiver.finish(declared)
            except BaseException:  # broad-except - raised again
                receiver.abort()
                raise
            return keep_upload(room, room.clock.now(), principal, upload_id, received)

        upload = await to_thread.run_sync(keep)
        return Response(
            _out(upload).model_dump_json().encode(),
            201 if upload.fresh else 200,
            media_type="application/json",
        )

    return router


def _out(upload: Upload) -> UploadOut:
    return UploadOut(
        upload_id=upload.upload_id,
        size=upload.size,
        digests=DigestsOut(sha256=upload.sha256.hex(), sm3=upload.sm3.hex()),
        media_type=upload.media_type,
    )
