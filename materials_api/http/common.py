"""What the routes of this room share: pages, headers, receipt links, waiting."""

import base64
import binascii
import json
import re
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import Header, Path, Query, Request, Response
from pydantic import BeforeValidator, Field, PlainSerializer

from kernel.clock import china_date, parse_date
from ledger.errors import NotYetLogged
from materials_api.errors import DigestHeaderInvalid
from materials_api.room import MaterialsRoom
from parties.http.wire import Wire

MAX_PAGE = 200
# For routes that count bytes themselves and say which file is too large: the
# application's limit on bodies is meant for JSON.
OWN_LIMIT = 1 << 64

CaseId = Annotated[str, Path(pattern=r"^cas_[0-9a-z]{26}$")]
MaterialId = Annotated[str, Path(pattern=r"^mat_[0-9a-z]{26}$")]
DocumentId = Annotated[str, Path(pattern=r"^doc_[0-9a-z]{26}$")]
TaskId = Annotated[str, Path(pattern=r"^tsk_[0-9a-z]{26}$")]
Cursor = Annotated[str | None, Query(max_length=256, description="`next` of the page before")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE, description="at most so many items")]
Prefer = Annotated[
    str | None,
    Header(
        max_length=256,
        description="`wait=N`: 等待存证回执，最多 N 秒。Wait up to N seconds for the receipt.",
    ),
]
ContentDigest = Annotated[
    str | None,
    Header(
        max_length=1024,
        description="RFC 9530，例如 e.g. `sha-256=:…:`；内容不符则拒收 refused if it differs",
    ),
]


def _read_day(value: Any) -> Any:
    if isinstance(value, str):
        return parse_date(value)
    if type(value) is date:
        return value
    raise ValueError("a day is written as YYYY-MM-DD")


Day = Annotated[
    date,
    BeforeValidator(_read_day),
    PlainSerializer(date.isoformat, return_type=str),
    Field(description="YYYY-MM-DD, a day in China", examples=["2026-11-24"]),
]


class TextOut(Wire):
    """A name in both languages."""

    zh: str
    en: str


class ReceiptOut(Wire):
    """The evidence of what was just done. `ready`: `receipt` is the whole receipt.

    `pending` (存证补全中): the log has it, the checkpoint follows within moments;
    ask `href` again.
    """

    entry: str
    status: Literal["pending", "ready"]
    href: str
    receipt: dict[str, Any] | None = None


def receipt_link(entry_id: str) -> ReceiptOut:
    """Where the receipt of an entry will be."""
    return ReceiptOut(entry=entry_id, status="pending", href=f"/v1/receipts/{entry_id}")


def last_day(until: Any) -> date | None:
    """The last day of a validity that ends (exclusively) at `until`."""
    return None if until is None else china_date(until - timedelta(milliseconds=1))


_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def preferred_wait(room: MaterialsRoom, prefer: str | None) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240 section 4.3), cut to the limit.

    Anything else in the header is ignored, as the RFC wants it.
    """
    found = _WAIT.search(prefer or "")
    return 0.0 if found is None else min(float(found[1]), room.limits.wait_seconds)


# key '=' ':' base64 ':' and parameters, which nobody has defined yet (RFC 8941).
_DIGEST = re.compile(r"\s*([a-z*][a-z0-9_\-.*]*)=:([A-Za-z0-9+/=]*):(?:;[^,]*)?\s*")


def declared_digests(header: str | None) -> dict[str, bytes]:
    """The digests of a `Content-Digest` header (RFC 9530) that can be checked here.

    Only `sha-256` is: a header without it, one that does not parse, or a digest
    of the wrong length is `DigestHeaderInvalid`, so that nobody believes in a
    check that did not happen.
    """
    if header is None:
        return {}
    found: dict[str, bytes] = {}
    for part in header.split(","):
        member = _DIGEST.fullmatch(part)
        if member is None or member[1] in found:
            raise DigestHeaderInvalid()
        try:
            found[member[1]] = base64.b64decode(member[2], validate=True)
        except binascii.Error as error:
            raise DigestHeaderInvalid() from error
    if len(found.get("sha-256", b"")) != 32:
        raise DigestHeaderInvalid()
    return {"sha-256": found["sha-256"]}


def declared_size(request: Request) -> int | None:
    """`Content-Length`, if it is a number; the server checks that it is kept."""
    text = request.headers.get("content-length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


class Waiting:
    """Waits for receipts without holding the threads that do the work.

    One per router. When too many wait already, nobody waits: the answer says
    `pending`, as it does when the time is over.
    """

    def __init__(self, room: MaterialsRoom) -> None:
        self._room = room
        self._limiter: CapacityLimiter | None = None

    async def settle(self, response: Response, seconds: float) -> Response:
        """Put the receipt into an answer that holds a `receipt` link, if it comes in time."""
        body = json.loads(bytes(response.body))
        link = body.get("receipt")
        if seconds <= 0 or not isinstance(link, dict):
            return response
        receipt = await self.receipt(link["entry"], seconds)
        if receipt is None:
            return response
        body["receipt"] = {**link, "status": "ready", "receipt": json.loads(receipt)}
        answer = Response(
            json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
            response.status_code,
            media_type="application/json",
        )
        for name, value in response.headers.items():
            if name not in ("content-length", "content-type"):
                answer.headers[name] = value
        answer.headers["Preference-Applied"] = f"wait={int(seconds)}"
        return answer

    async def receipt(self, entry_id: str, seconds: float) -> bytes | None:
        """The receipt of an entry, or None if it did not come in time."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._room.limits.waiting_requests)
        if self._limiter.available_tokens < 1:
            seconds = 0.0
        return await to_thread.run_sync(
            partial(self._wait, entry_id, seconds),
            limiter=None if seconds <= 0 else self._limiter,
        )

    def _wait(self, entry_id: str, seconds: float) -> bytes | None:
        if seconds > 0 and not self._room.ledger.wait_for(entry_id, seconds):
            return None
        try:
            with self._room.database.read() as tx:
                return self._room.ledger.evidence.receipt(tx, entry_id)
        except NotYetLogged:
            return None
