"""`mianjiao token`: issues an opaque bearer token; only its hash is kept."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kernel.principals import Capacity, Role
from parties import HolderRef
from runtime.errors import CapacityWithoutHolder, HolderUnreadable
from runtime.store import Store, open_store
from storage.database import WriteTx


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The options of the command, as typed."""

    role: str
    org: str | None = None
    unit: str | None = None
    officer: str | None = None
    holder: str | None = None
    holder_name: str | None = None
    for_holder: str | None = None
    capacity: str | None = None
    days: int = 30


def issue_token(data: Path, request: TokenRequest) -> int:
    """Print the token alone on standard output, so that a script can take it."""
    with open_store(data) as store:
        print(issue(store, request))
    return 0


def issue(store: Store, request: TokenRequest) -> str:
    """Register whoever is new, and the capacity if it is not in force; return the secret."""
    at = store.clock.now()
    if (request.for_holder is None) != (request.capacity is None) or (
        request.for_holder is not None and request.holder is None
    ):
        raise CapacityWithoutHolder()
    me = None if request.holder is None else _holder(request.holder, request.holder_name)
    other = None if request.for_holder is None else _holder(request.for_holder, None)

    def work(tx: WriteTx) -> str:
        person = None if me is None else store.parties.ensure(tx, at, me)
        holder = None if other is None else store.parties.ensure(tx, at, other)
        capacity = None if request.capacity is None else Capacity(request.capacity)
        if (
            person is not None
            and holder is not None
            and capacity is not None
            and capacity not in store.parties.capacities(tx, at, person, holder)
        ):
            store.parties.register_capacity(tx, at, holder, person, capacity, "operator")
        _, secret = store.credentials.issue(
            tx,
            at,
            role=Role(request.role),
            org=request.org,
            unit=request.unit,
            officer=request.officer,
            person=person,
            holder=holder,
            capacity=capacity,
            expires_at=at + timedelta(days=request.days),
        )
        return secret

    return store.database.write(work)


def _holder(text: str, name: str | None) -> HolderRef:
    type_, separator, code = text.partition(":")
    if not separator or not type_ or not code:
        raise HolderUnreadable()
    return HolderRef(type_, code, name)
