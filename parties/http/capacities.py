"""Routes for capacities (代办关系): register, end."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from kernel.clock import Clock
from kernel.principals import Capacity, Principal, Role
from parties.http.access import Access
from parties.http.replies import write_once
from parties.http.wire import HolderIn, IdempotencyKey, UtcTime, Wire
from parties.service import Parties
from storage import audit
from storage.database import Database, WriteTx
from storage.keyvault import KeyVault


@dataclass(frozen=True, slots=True)
class PartiesRoom:
    """What the routes of this room work with."""

    clock: Clock
    database: Database
    vault: KeyVault
    parties: Parties


class CapacityIn(Wire):
    """A person who will act for a holder. Both are registered if they are new."""

    holder: HolderIn
    person: HolderIn
    capacity: Literal["legal_representative", "license_manager", "operator", "guardian", "agent"]
    basis: Literal["registration", "power_of_attorney", "kinship", "operator"]
    valid_until: UtcTime | None = Field(
        default=None, description="exclusive; a guardian's ends with the ward's 18th birthday"
    )


class CapacityOut(Wire):
    """A capacity by its ids: whose they are stands in their records only."""

    capacity_id: str
    holder: str
    person: str
    capacity: str
    basis: str
    valid_from: UtcTime
    valid_until: UtcTime | None
    ended_at: UtcTime | None
    ended_reason: str | None


class EndIn(Wire):
    reason: Literal[
        "death",
        "dissolution",
        "representative_changed",
        "withdrawn",
        "renounced",
        "registered_in_error",
    ]


CapacityId = Annotated[str, Path(pattern=r"^cap_[0-9a-z]{26}$")]


def routes(room: PartiesRoom, access: Access) -> APIRouter:
    """`POST /v1/capacities` and `POST /v1/capacities/{id}/end`, for operators and departments."""
    router = APIRouter(prefix="/v1/capacities", tags=["parties"])
    registrar = access.require(Role.OPERATOR, Role.DEPARTMENT)

    @router.post("", status_code=201, response_model=CapacityOut, summary="登记代办关系")
    def register(
        body: CapacityIn,
        principal: Annotated[Principal, Depends(registrar)],
        key: IdempotencyKey = None,
    ) -> Response:
        """Register that a person may act for a holder from now on."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, CapacityOut]:
            capacity_id = room.parties.register_capacity(
                tx,
                at,
                room.parties.ensure(tx, at, body.holder.ref()),
                room.parties.ensure(tx, at, body.person.ref()),
                Capacity(body.capacity),
                body.basis,
                body.valid_until,
            )
            audit.note(tx, at, principal, "capacity.register", entity=capacity_id)
            return 201, _out(room.parties, tx, capacity_id)

        return write_once(
            room.database, room.vault, at, principal, "POST /v1/capacities", key, body, work
        )

    @router.post("/{capacity_id}/end", response_model=CapacityOut, summary="终止代办关系")
    def end(
        capacity_id: CapacityId,
        body: EndIn,
        principal: Annotated[Principal, Depends(registrar)],
        key: IdempotencyKey = None,
    ) -> Response:
        """End a capacity now. Credentials that rest on it stop working at once."""
        at = room.clock.now()

        def work(tx: WriteTx) -> tuple[int, CapacityOut]:
            room.parties.end_capacity(tx, at, capacity_id, body.reason)
            audit.note(tx, at, principal, "capacity.end", entity=capacity_id)
            return 200, _out(room.parties, tx, capacity_id)

        route = f"POST /v1/capacities/{capacity_id}/end"
        return write_once(room.database, room.vault, at, principal, route, key, body, work)

    return router


def _out(parties: Parties, tx: WriteTx, capacity_id: str) -> CapacityOut:
    facts = parties.capacity(tx, capacity_id)
    return CapacityOut(
        capacity_id=facts.capacity_id,
        holder=facts.holder,
        person=facts.person,
        capacity=facts.capacity.value,
        basis=facts.basis.value,
        valid_from=facts.valid_from,
        valid_until=facts.valid_until,
        ended_at=facts.ended_at,
        ended_reason=None if facts.ended_reason is None else facts.ended_reason.value,
    )
