"""Routes of the service itself: its description, its health, its metrics."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from ledger.witness.asking import WitnessState
from parties.http import Access, Monitoring
from runtime.errors import NotReady
from runtime.evidence import EvidenceState
from runtime.metrics import CONTENT_TYPE
from runtime.openapi import described
from runtime.problems import coded_problem
from runtime.settings import Settings
from runtime.store import Store
from runtime.watch import FOR_READS


class EvidenceOf(BaseModel):
    """One source of evidence: sizes of checkpoints, in entries."""

    name: str = Field(description="来源 / source")
    kind: str = Field(description="种类：chain 链，stamp 时间戳，quorum 见证 / kind")
    size: int = Field(description="日志已发布的条目数 / published entries of the log")
    waiting: int = Field(description="已发出待确认 / sent, not confirmed yet; 0: none")
    mined: int = Field(description="已上链 / on the chain, or stamped")
    final: int = Field(description="已最终确认 / final")
    at: datetime | None = Field(description="最新证据的时间 / when the newest was got")
    pending_since: datetime | None = Field(
        description="最早待补条目的写入时间 / when the oldest entry without it was written"
    )
    reason: str | None = Field(description="未能推进的原因 / why it is stuck")

    @classmethod
    def of(cls, state: EvidenceState) -> "EvidenceOf":
        far = state.reached
        return cls(
            name=state.name,
            kind=state.kind,
            size=state.size,
            waiting=far.waiting if far.waiting > far.mined else 0,
            mined=far.mined,
            final=far.final,
            at=far.at,
            pending_since=state.pending_since,
            reason=state.reason,
        )


class WitnessOf(BaseModel):
    """One witness, as the process that answers knows it."""

    name: str = Field(description="见证名称 / name of its key")
    reachable: bool | None = Field(description="最近一次是否联署；空为未询问 / null: not asked")
    size: int = Field(description="最近联署的大小 / size that it cosigned last; 0: none")
    succeeded_at: datetime | None = Field(description="最近联署的时间 / when that was")
    failure: str | None = Field(description="最近一次未联署的原因 / why it gave nothing last")

    @classmethod
    def of(cls, state: WitnessState) -> "WitnessOf":
        return cls(
            name=state.name,
            reachable=state.reachable,
            size=state.size,
            succeeded_at=state.succeeded_at,
            failure=state.failure,
        )


class EvidenceAnswer(BaseModel):
    """Evidence from outside: its sources, and the witnesses one by one."""

    sources: list[EvidenceOf]
    witnesses: list[WitnessOf]


Of = Annotated[
    Literal["all", "reads"],
    Query(description="`reads`：只看查询所需的条件 / only what reading needs"),
]


def routes(app: FastAPI, store: Store, settings: Settings) -> APIRouter:
    """`/openapi.json`, `/health/…`, `/metrics`."""
    router = APIRouter(tags=["service"])
    public = [Depends(Access.public)]
    document: list[dict[str, Any]] = []  # made when first asked for: it takes a moment

    @router.get("/openapi.json", include_in_schema=False, dependencies=public)
    def openapi() -> Response:
        if not document:
            document.append(described(app))
        return JSONResponse(document[0])

    # On the event loop, without a thread: they read memory, and answer when all
    # threads are waiting for a database that hangs.
    @router.get("/health/live", summary="存活", dependencies=public)
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @router.get("/health/ready", summary="就绪", dependencies=public)
    async def ready(request: Request, of: Of = "all") -> Any:
        """Nothing is missing; otherwise 503 with what is, each with its reason."""
        missing = {
            what: reason
            for what, reason in store.watch.missing().items()
            if of == "all" or what in FOR_READS
        }
        if not missing:
            waiting = store.watch.waiting()
            return {"status": "ready", "waiting": waiting} if waiting else {"status": "ready"}
        told = [f"{what}:{reason}" for what, reason in sorted(missing.items())]
        request.state.refusal = NotReady.code
        error = NotReady(missing="、".join(told))
        return coded_problem(error, request.state.request_id, {"missing": missing})

    @router.get("/health/evidence", summary="外部证据", dependencies=public)
    def evidence() -> EvidenceAnswer:
        """How far witnesses, chains and time stamps have got with the log. Never part of readiness:
        evidence that is late catches up, and nobody at a window waits for it."""
        return EvidenceAnswer(
            sources=[EvidenceOf.of(state) for state in store.evidence.states()],
            witnesses=[WitnessOf.of(state) for state in store.evidence.witnesses()],
        )

    if settings.metrics_access != "off":
        token = settings.metrics_token if settings.metrics_access == "token" else None
        guard = Monitoring(None if token is None else token.get_secret_value())

        @router.get("/metrics", include_in_schema=False, dependencies=[Depends(guard)])
        async def metrics() -> Response:
            """What Prometheus reads (text format 0.0.4)."""
            text = store.observing.metrics.exposition()
            return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return router
