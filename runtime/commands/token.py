"""`mianjiao token`: issues an opaque bearer token, of which only the hash is kept; lists and
ends them."""

import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from kernel.clock import china_date, time_text
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
        secret = issue(store, request)
        with store.database.read() as tx:
            known = store.credentials.id_of(tx, secret)
    print(secret, flush=True)
    print(f"  停用 to end it  mianjiao token revoke {known} --data {data}", file=sys.stderr)
    return 0


def list_tokens(data: Path, *, as_json: bool) -> int:
    """Those in force, oldest first. Of applicants the ids alone."""
    with open_store(data) as store:
        at = store.clock.now()
        with store.database.read() as tx:
            found = store.credentials.in_force(tx, at)
    if as_json:
        print(json.dumps({"tokens": [_told(one) for one in found]}, ensure_ascii=False))
        return 0
    for one in found:
        whose = (one["org"], one["unit"], one["officer"], one["person"], one["capacity"])
        until = china_date(one["expires_at"])
        words = " ".join(str(word) for word in whose if word is not None)
        print(f"{one['credential_id']}  {one['role']:<10}  → {until}  {words}".rstrip())
    return 0


def revoke_token(data: Path, one: str | None) -> int:
    """`one`: an id; without it the token itself is read from standard input, so that it
    stands in no history of commands. `CredentialNotFound`."""
    secret = sys.stdin.readline().strip() if one is None else ""
    with open_store(data) as store:
        at = store.clock.now()

        def work(tx: WriteTx) -> str:
            known = store.credentials.id_of(tx, secret) if one is None else one
            store.credentials.revoke(tx, at, known)
            return known

        ended = store.database.write(work)
    print(f"已停用 / ended: {ended}")
    return 0


def _told(row: RowMapping) -> dict[str, Any]:
    times = {name: time_text(row[name]) for name in ("created_at", "expires_at")}
    return {**row, **times}


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
