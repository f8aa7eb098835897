"""`POST /v1/cases/{id}/materials/form`: the same registration from a browser's form."""

import json
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from kernel.errors import CodedError
from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from materials_api.errors import FormInvalid
from materials_api.http.common import (
    OWN_LIMIT,
    CaseId,
    Prefer,
    Waiting,
    declared_size,
    preferred_wait,
)
from materials_api.http.material_models import FormBody, MaterialFields, RegisteredOut
from materials_api.http.materials import registered_out
from materials_api.http.receiving import ending, receive_into
from materials_api.materials.checks import FileInput
from materials_api.materials.registration import ask_before, asked_registration, register_material
from materials_api.room import MaterialsRoom
from materials_api.uploads.forms import Form, FormReceiver
from materials_api.uploads.incoming import check_room_for, discard
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey
from storage.database import WriteTx

# Text fields as in the JSON body; `parties` is a JSON array; one or more `file` parts.
_FIELDS = (
    "type",
    "title",
    "requirement",
    "provenance",
    "issued_at",
    "valid_until",
    "supersedes",
    "certified_by",
    "certified_at",
    "reason",
)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        **{name: {"type": "string"} for name in _FIELDS},
                        "parties": {"type": "string", "description": "JSON 数组 / a JSON array"},
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                    "required": ["type", "title", "file"],
                }
            }
        },
    }
}


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """One route: a browser's form, streamed like an upload, without temporary files."""
    router = APIRouter(prefix="/v1", tags=["materials"])
    waiting = Waiting(room)
    sender = access.require(Role.APPLICANT, Role.WINDOW)

    @router.post(
        "/cases/{case_id}/materials/form",
        status_code=201,
        response_model=RegisteredOut,
        openapi_extra=_BODY,
        max_body_size=OWN_LIMIT,
        summary="用网页表单登记材料",
    )
    async def form(
        case_id: CaseId,
        request: Request,
        principal: Annotated[Principal, Depends(sender)],
        key: IdempotencyKey = None,
        prefer: Prefer = None,
    ) -> Response:
        """Upload and register in one request. Fields may stand before or after the files."""
        size = declared_size(request)
        check = partial(check_room_for, room, principal, size)
        # Nothing of a body of one block is stored before it is all in: all in one thread then.
        large = size is None or size >= room.limits.block_bytes
        receiver = FormReceiver(room, request.headers.get("content-type"))
        if large:
            await to_thread.run_sync(check)
        async with ending(receiver):
            rest = await receive_into(request, receiver, room.limits.block_bytes)

        def take() -> Response:
            try:
                if not large:
                    check()
                receiver.write(rest)
                form = receiver.finish()
            except BaseException:  # broad-except - raised again
                receiver.abort()
                raise
            return _register(room, principal, case_id, form, key)

        response = await to_thread.run_sync(take)
        return await waiting.settle(response, preferred_wait(room, prefer))

    return router


def _register(
    room: MaterialsRoom, principal: Principal, case_id: str, form: Form, key: str | None
) -> Response:
    """Uploads and registration in one transaction; the objects go if it is refused."""
    at = room.clock.now()
    try:
        fields = _fields(form)
        asked = ask_before(room, at, principal, case_id, fields.requirement)

        ids = [new_id(IdKind.UPLOAD) for _ in form.files]
        fresh = {key: file.received for key, file in zip(ids, form.files, strict=True)}
        wanted = fields.wanted(
            tuple(FileInput(key, file.name) for key, file in zip(ids, form.files, strict=True))
        )

        def work(tx: WriteTx) -> tuple[int, RegisteredOut]:
            made = register_material(room, tx, at, principal, case_id, wanted, asked, fresh)
            return 201, registered_out(case_id, fields.type, made)

        route = f"POST /v1/cases/{case_id}/materials/form"
        body = FormBody(
            fields=form.fields,
            files=[(file.name, file.received.stored.sha256.hex()) for file in form.files],
        )
        ahead = asked_registration(case_id, fields.requirement)
        response = write_once(
            room.database, room.vault, at, principal, route, key, body, work, ahead
        )
    except (CodedError, RequestValidationError):
        # Refused, so surely not stored; after any other error the sweep decides.
        _discard(room, form)
        raise
    if response.headers.get("Idempotency-Replayed") == "true":
        _discard(room, form)
    return response


def _fields(form: Form) -> MaterialFields:
    """The text fields as a registration; empty ones were not filled in."""
    known = {*_FIELDS, "parties"}
    if not known.issuperset(form.fields):
        raise FormInvalid(problem="unknown field")
    values: dict[str, Any] = {name: text for name, text in form.fields.items() if text.strip()}
    if "parties" in values:
        try:
            values["parties"] = json.loads(values["parties"])
        except ValueError as error:
            raise FormInvalid(problem="parties") from error
    try:
        return MaterialFields.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error


def _discard(room: MaterialsRoom, form: Form) -> None:
    for file in form.files:
        discard(room, file.received.stored)
