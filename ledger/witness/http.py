"""The witness behind HTTP (C2SP tlog-witness): `add-checkpoint`, and what monitors read."""

import logging
from collections.abc import Mapping
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from kernel.clock import Clock
from kernel.errors import CodedError
from ledger.errors import ConsistencyInvalid, LogNotTrusted, SignatureInvalid
from ledger.witness.errors import (
    WitnessOriginUnknown,
    WitnessRequestMalformed,
    WitnessSizeConflict,
)
from ledger.witness.records import origin_hash
from ledger.witness.requests import MAX_REQUEST_BYTES, SIZE_TYPE
from ledger.witness.service import Witness

_STATUS: Mapping[type[CodedError], int] = {
    WitnessRequestMalformed: 400,
    LogNotTrusted: 403,
    SignatureInvalid: 403,
    WitnessOriginUnknown: 404,
    WitnessSizeConflict: 409,
    ConsistencyInvalid: 422,
}
_log = logging.getLogger(__name__)


def routes(witness: Witness, clock: Clock) -> APIRouter:
    """The router. It carries no secret and asks for no credential: a checkpoint's own
    signature is what admits it."""
    router = APIRouter()
    registry = CollectorRegistry()
    answers = Counter(
        "mianjiao_witness_requests", "add-checkpoint by status", ["status"], registry=registry
    )
    sizes = Gauge(
        "mianjiao_witness_log_size", "cosigned size of a log", ["origin"], registry=registry
    )
    splits = Counter(
        "mianjiao_witness_split_views", "two trees signed", ["origin"], registry=registry
    )
    by_hash = {origin_hash(origin): origin for origin in witness.logs}

    def noticed(origin: str, proof: Path) -> None:
        splits.labels(origin).inc()
        _log.error("the log %s signed two trees; the proof: %s", origin, proof)

    witness.noticed = noticed

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_REQUEST_BYTES:
                break  # and is refused as too long
        answer = await to_thread.run_sync(_answer, witness, clock, body)
        answers.labels(str(answer.status_code)).inc()
        return answer

    def checkpoint(name: str) -> Response:
        origin = by_hash.get(name)
        signed = None if origin is None else witness.latest(origin)
        if signed is None:
            return PlainTextResponse("not found\n", 404)
        headers = {"Cache-Control": "public, max-age=1", "X-Content-Type-Options": "nosniff"}
        return PlainTextResponse(signed.encode(), headers=headers)

    def metrics() -> Response:
        for origin in witness.logs:
            signed = witness.latest(origin)
            sizes.labels(origin).set(0 if signed is None else signed.checkpoint.size)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    router.add_api_route("/add-checkpoint", add_checkpoint, methods=["POST"])
    router.add_api_route("/metrics", metrics, methods=["GET"])
    router.add_api_route("/{name}/checkpoint", checkpoint, methods=["GET"])
    return router


def _answer(witness: Witness, clock: Clock, body: bytes) -> Response:
    try:
        return PlainTextResponse(witness.add_checkpoint(body, clock.now()))
    except WitnessSizeConflict as error:
        # The header to the letter: no charset behind it.
        size = f"{error.details['size']}\n"
        return Response(size, 409, headers={"Content-Type": SIZE_TYPE})
    except tuple(_STATUS) as error:
        return PlainTextResponse(f"{error.message_en()}\n", _STATUS[type(error)])
    except CodedError as error:
        # A damaged record, a full disk: nothing was cosigned.
        _log.error("nothing is cosigned: %s", error.code)
        return PlainTextResponse(f"{error.message_en()}\n", 503)
