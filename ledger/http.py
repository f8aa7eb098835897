"""The public routes of the log (C2SP tlog-tiles): its checkpoint and its tiles, and the
evidence from outside whose digests stand in it.

No credential, no query: whatever stands after a `?` is ignored, so that a cache
that ignores it too can never serve a wrong answer.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.params import Depends

from ledger.anchoring.errors import EvidenceUnknown
from ledger.anchoring.publishing import document
from ledger.errors import LogMissing, NotInLog, NotYetLogged, TileMissing, TilePathInvalid
from ledger.reader import LogReader
from ledger.service import Ledger
from ledger.tiles import TilePath

_CHECKPOINT_CACHE = "public, max-age=1"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TILE_CACHE = "public, max-age=31536000, immutable"


def _reader(ledger: Ledger, shard: str) -> LogReader:
    """`TilePathInvalid` for a shard that this log has not, or not yet."""
    try:
        return ledger.readers.of(shard)
    except (NotInLog, NotYetLogged) as error:
        raise TilePathInvalid() from error


def routes(ledger: Ledger, dependencies: Sequence[Depends] = ()) -> APIRouter:
    """The router. `dependencies` mark its routes as public, for the access matrix."""
    router = APIRouter(tags=["log"], dependencies=list(dependencies))

    def checkpoint(shard: str) -> Response:
        """The signed checkpoint of the log / 日志检查点."""
        if shard == ledger.shard:
            data = ledger.tiles.checkpoint()
        else:
            data = _reader(ledger, shard).refresh().encode()
        if data is None:
            raise LogMissing()
        return Response(
            data,
            media_type="text/plain; charset=utf-8",
            headers={"Cache-Control": _CHECKPOINT_CACHE, "X-Content-Type-Options": "nosniff"},
        )

    def tile(shard: str, path: str) -> Response:
        """A Merkle tile or an entry bundle of the log / 日志分块."""
        try:
            data = _reader(ledger, shard).published_blob(TilePath.parse(f"tile/{path}"))
        except TileMissing as error:
            raise TilePathInvalid() from error
        return Response(
            data,
            media_type="application/octet-stream",
            headers={"Cache-Control": _TILE_CACHE, "X-Content-Type-Options": "nosniff"},
        )

    def evidence(digest: str) -> Response:
        """Evidence whose SHA-256 stands in the log / 日志所载摘要对应的外部证据."""
        if not _DIGEST.fullmatch(digest):
            raise EvidenceUnknown()
        with ledger.database.read() as tx:
            data = document(tx, bytes.fromhex(digest))
        return Response(
            data,
            media_type="application/json",
            headers={"Cache-Control": _TILE_CACHE, "X-Content-Type-Options": "nosniff"},
        )

    public: list[tuple[str, Callable[..., Any]]] = [
        ("/log/{shard}/checkpoint", checkpoint),
        ("/log/{shard}/tile/{path:path}", tile),
        ("/log/evidence/sha256/{digest}", evidence),
    ]
    for address, route in public:
        router.add_api_route(
            address,
            route,
            methods=["GET"],
            response_class=Response,
            operation_id=f"log_{route.__name__}",
        )
        router.add_api_route(address, route, methods=["HEAD"], include_in_schema=False)
    return router
