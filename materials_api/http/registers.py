"""Routes for what other bodies' registers say, and for what happens to parties."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from kernel.principals import Principal, Role
from materials_api.catalogue.terms import PartyEventKind
from materials_api.http.case_models import RequirementKey
from materials_api.http.verification_models import Claim
from materials_api.registers.party_events import record_event
from materials_api.registers.register import end_facts, load_facts
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import HolderIn, IdempotencyKey, UtcTime, Wire
from storage.database import WriteTx

FactId = Annotated[str, Path(pattern=r"^fct_[0-9a-z]{26}$")]


class FactsIn(Wire):
    """What a register says of a holder, in place of what it said before."""

    register_key: RequirementKey = Field(alias="register", examples=["population"])
    holder: HolderIn
    facts: dict[RequirementKey, Claim | list[Claim]] = Field(min_length=1, max_length=32)


class FactsOut(Wire):
    fact_id: str
    holder: str


class EndedOut(Wire):
    fact_id: str
    status: str


class EventIn(Wire):
    """What happened to a party. Without `at`: now."""

    holder: HolderIn
    event: PartyEventKind = Field(strict=False)
    at: UtcTime | None = None


class EventOut(Wire):
    """`entry`: of its record in the ledger. `ended`: capacities (代办关系) that ended with it."""

    entry: str
    party: str
    ended: list[str]


class NoBody(Wire):
    """For routes without a body: what their idempotency key is compared on."""


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`/v1/register-facts` and `/v1/party-events`."""
    router = APIRouter(prefix="/v1", tags=["registers"])
    operator = access.require(Role.OPERATOR)
    registrar = access.require(Role.OPERATOR, Role.DEPARTMENT)

    @router.post(
        "/register-facts", status_code=201, response_model=FactsOut, summary="载入登记信息"
    )
    def load(
        body: FactsIn,
        principal: Annotated[Principal, Depends(operator)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Load what a register says of a holder; the facts stand sealed in the record alone."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, FactsOut]:
            holder = room.parties.ensure(tx, at, body.holder.ref())
            fact_id, _ = load_facts(room, tx, at, principal, body.register_key, holder, body.facts)
            return 201, FactsOut(fact_id=fact_id, holder=holder)

        return write_once(
            room.database, room.vault, at, principal, "POST /v1/register-facts", key, body, work
        )

    @router.post("/register-facts/{fact_id}/end", response_model=EndedOut, summary="登记终止")
    def end(
        fact_id: FactId,
        principal: Annotated[Principal, Depends(operator)],
        key: IdempotencyKey = None,
    ) -> Response:
        """The registration ended (注销)."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, EndedOut]:
            end_facts(room, tx, at, principal, fact_id)
            return 200, EndedOut(fact_id=fact_id, status="ended")

        route = f"POST /v1/register-facts/{fact_id}/end"
        return write_once(room.database, room.vault, at, principal, route, key, NoBody(), work)

    @router.post("/party-events", status_code=201, response_model=EventOut, summary="主体变更事件")
    def happened(
        body: EventIn,
        principal: Annotated[Principal, Depends(registrar)],
        key: IdempotencyKey = None,
    ) -> Response:
        """A move, a new name, a new representative, a death: it ends the freshness of older
        materials, and where the law says so the authority of those who act for the party."""
        now = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, EventOut]:
            party = room.parties.ensure(tx, now, body.holder.ref())
            done = record_event(room, tx, now, principal, party, body.event, body.at or now)
            return 201, EventOut(entry=done.entry_id, party=party, ended=list(done.ended))

        return write_once(
            room.database, room.vault, now, principal, "POST /v1/party-events", key, body, work
        )

    return router
