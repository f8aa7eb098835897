"""Routes of the archive: export a closed case, find its exports, fetch a package."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.responses import StreamingResponse

from archive import records
from archive.errors import ExportUnknown
from archive.package import export_to_store
from archive.records import Export
from archive.room import ArchiveRoom
from kernel.principals import Principal, Role
from ledger.errors import NotYetLogged
from materials_api.cases.access import case_for
from materials_api.errors import CaseUnknown
from materials_api.releases.byte_ranges import ByteRange, RangeRequest, requested_range
from parties.http import Access
from parties.http.replies import write_once
from parties.http.wire import IdempotencyKey, UtcTime, Wire
from storage.database import ReadTx, WriteTx
from storage.objects import ObjectRef

CaseId = Annotated[str, Path(pattern=r"^cas_[0-9a-z]{26}$")]
_RECEIPT_SECONDS = 5.0  # a request waits this long for its checkpoint
ExportId = Annotated[str, Path(pattern=r"^exp_[0-9a-z]{26}$")]


class ExportIn(Wire):
    """Nothing is asked: the whole case is exported, or the reasons why not are named."""


class ExportOut(Wire):
    """An export by ids and digests. `package`: where to fetch it, null when it is gone."""

    export_id: str
    case_id: str
    at: UtcTime
    shard: str
    tree_size: int
    root: str
    tagmanifest_sha256: str
    payload_files: int
    payload_bytes: int
    entry_id: str
    receipt: str
    package: str | None


class ExportList(Wire):
    items: list[ExportOut]
    next: str | None


class PendingOut(Wire):
    status: str


def routes(room: ArchiveRoom, access: Access) -> APIRouter:
    """The router of this room, with every route guarded."""
    router = APIRouter(prefix="/v1", tags=["archive"])
    archivist = access.require(Role.ARCHIVIST)
    rooms = room.materials

    @router.post(
        "/cases/{case_id}/exports",
        status_code=201,
        response_model=ExportOut,
        summary="导出归档包",
    )
    def export(
        case_id: CaseId,
        principal: Annotated[Principal, Depends(archivist)],
        body: ExportIn | None = None,
        key: IdempotencyKey = None,
    ) -> Response:
        """Build the package of a closed case, check it, record it; it waits to be fetched.

        Of the archivist's own body, or of one whose archives it keeps; any other case is
        unknown here, and so are its exports.
        """
        with rooms.database.read() as tx:
            case_for(tx, principal, case_id)
        at = rooms.clock.now()
        records.forget_stale(room, at)
        return export_to_store(
            room,
            principal,
            case_id,
            lambda work: write_once(
                rooms.database,
                rooms.vault,
                at,
                principal,
                f"POST /v1/cases/{case_id}/exports",
                key,
                body or ExportIn(),
                lambda tx: (201, _out(work(tx), kept=True)),
            ),
        )

    @router.get("/cases/{case_id}/exports", response_model=ExportList, summary="归档包列表")
    def of_case(case_id: CaseId, principal: Annotated[Principal, Depends(archivist)]) -> ExportList:
        """The exports of a case that the archivist sees, newest first."""
        at = rooms.clock.now()
        with rooms.database.read() as tx:
            case_for(tx, principal, case_id)
            found = records.exports_of(tx, case_id)
            items = [_out(item, kept=not records.is_stale(room, tx, at, item)) for item in found]
        return ExportList(items=items, next=None)

    @router.get("/exports/{export_id}", response_model=ExportOut, summary="归档包信息")
    def one(export_id: ExportId, principal: Annotated[Principal, Depends(archivist)]) -> ExportOut:
        """What was exported, against which checkpoint."""
        at = rooms.clock.now()
        with rooms.database.read() as tx:
            item = _visible(tx, principal, export_id)
            return _out(item, kept=not records.is_stale(room, tx, at, item))

    @router.get(
        "/exports/{export_id}/package",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"application/zip": {}}, "description": "归档包 (ZIP)"},
            206: {"content": {"application/zip": {}}, "description": "归档包的一部分"},
        },
        summary="取归档包",
    )
    def package(
        export_id: ExportId,
        principal: Annotated[Principal, Depends(archivist)],
        range_: Annotated[str | None, Header(alias="Range", max_length=128)] = None,
        if_range: Annotated[str | None, Header(alias="If-Range", max_length=128)] = None,
    ) -> StreamingResponse:
        """The package as a stored ZIP file, or a range of it. The audit row is committed
        before the first byte."""
        at = rooms.clock.now()
        etag = f'"{export_id}"'

        def work(tx: WriteTx) -> tuple[Export, ObjectRef, ByteRange]:
            _visible(tx, principal, export_id)
            item, ref = records.fetch(room, tx, at, principal, export_id)
            return item, ref, requested_range(RangeRequest(range_, if_range), ref.size, etag)

        item, ref, part = rooms.database.write(work)
        headers = {
            "Content-Length": str(part.stop - part.start),
            "Content-Disposition": f'attachment; filename="{item.case_id}.zip"',
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        if part.partial:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{ref.size}"
        return StreamingResponse(
            rooms.objects.read(ref, part.start, part.stop),
            status_code=206 if part.partial else 200,
            media_type="application/zip",
            headers=headers,
        )

    @router.get(
        "/exports/{export_id}/receipt",
        response_model=None,
        responses={
            200: {"content": {"application/json": {}}, "description": "存证凭证"},
            202: {"model": PendingOut},
        },
        summary="归档凭证",
    )
    def receipt(
        export_id: ExportId, principal: Annotated[Principal, Depends(archivist)]
    ) -> Response:
        """The receipt that proves the package as a whole; 202 while evidence is pending."""
        with rooms.database.read() as tx:
            item = _visible(tx, principal, export_id)
        rooms.ledger.wait_for(item.entry_id, _RECEIPT_SECONDS)
        try:
            with rooms.database.read() as tx:
                data = rooms.ledger.evidence.receipt(tx, item.entry_id)
        except NotYetLogged:
            pending = PendingOut(status="pending").model_dump_json()
            return Response(pending, 202, {"Retry-After": "1"}, media_type="application/json")
        name = f"{item.case_id}.receipt.json"
        return Response(
            data,
            media_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, no-store",
            },
        )

    return router


def _visible(tx: ReadTx, principal: Principal, export_id: str) -> Export:
    """The export, if the caller may see its case; else `ExportUnknown`, as if there were none."""
    item = records.load_export(tx, export_id)
    try:
        case_for(tx, principal, item.case_id)
    except CaseUnknown:
        raise ExportUnknown() from None
    return item


def _out(item: Export, *, kept: bool) -> ExportOut:
    base = f"/v1/exports/{item.export_id}"
    return ExportOut(
        export_id=item.export_id,
        case_id=item.case_id,
        at=item.at,
        shard=item.shard,
        tree_size=item.tree_size,
        root=item.root.hex(),
        tagmanifest_sha256=item.tagmanifest_sha256.hex(),
        payload_files=item.payload_files,
        payload_bytes=item.payload_bytes,
        entry_id=item.entry_id,
        receipt=f"{base}/receipt",
        package=f"{base}/package" if kept and item.object_key is not None else None,
    )
