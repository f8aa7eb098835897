"""Grants (授权): a window asks, the holder decides, revokes, or grants unasked.

Each function works in the caller's transaction; record, rows and audit commit
together. The grant itself, and how its records look, is in `grants.records`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update

from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from materials_api.cases.access import load_case, rules_of
from materials_api.cases.requirements import still_open
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.catalogue.terms import Sensitivity
from materials_api.errors import CaseUnknown
from materials_api.grants.authority import Decider, decider
from materials_api.grants.errors import (
    GrantExpired,
    GrantItemsInvalid,
    GrantItemsNotAsked,
    GrantPeriodInvalid,
    GrantRequestLapsed,
    GrantUnknown,
)
from materials_api.grants.lifecycle import (
    GrantEvent,
    GrantStanding,
    GrantState,
    GrantUse,
    apply,
    standing,
)
from materials_api.grants.records import (
    Grant,
    GrantItem,
    actor_of,
    add_grant,
    open_grant,
    publish_end,
    save_grant,
)
from materials_api.grants.stored_items import (
    MATERIAL,
    StoredItem,
    item_of_holder,
)
from materials_api.paging import Page, page_of, page_of_parts
from materials_api.room import MaterialsRoom
from materials_api.tables import grant_items, grants
from materials_api.texts import clean_text
from storage import audit
from storage.database import ReadTx, WriteTx


@dataclass(frozen=True, slots=True)
class MakeGrant:
    """What a holder grants unasked. Without `case` it is unbound: the first case that
    uses a once-grant binds it. `audience` (a body's credit code) and `matter` narrow it."""

    items: tuple[str, ...]
    purpose: str
    use: GrantUse
    case: str | None = None
    audience: str | None = None
    matter: str | None = None
    expires_at: datetime | None = None


def make_grant(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, wanted: MakeGrant
) -> Grant:
    """A grant that the holder gives of their own accord, in force at once.

    A `case` must be one of the holder's own (`CaseUnknown`).
    """
    who = decider(room, tx, at, principal)
    check_items(room, wanted.items)
    stored = [item_of_holder(tx, who.holder, item) for item in wanted.items]
    audience, matter = wanted.audience, wanted.matter
    if matter is not None:
        matter = room.catalogue.matter(matter).code
    if wanted.case is not None:
        case = load_case(tx, wanted.case)
        if case.applicant != who.holder:
            raise CaseUnknown()
        still_open(case)
        audience, matter = audience or case.window_org, case.matter
    for item in stored:
        who.may_grant(_sensitivity(room.catalogue, item))
    until = end_of(room, at, wanted.use, wanted.expires_at)
    grant = Grant(
        grant_id=new_id(IdKind.GRANT),
        holder=who.holder,
        items=tuple(GrantItem(item.item, item.kind, item.type) for item in stored),
        approved=frozenset(wanted.items),
        case_id=wanted.case,
        bound_by_use=False,
        audience=audience,
        matter=matter,
        use=wanted.use,
        purpose=clean_text("purpose", wanted.purpose, room.limits.grants.purpose_chars),
        state=GrantState.GRANTED,
        requested_at=at,
        wanted_until=until,
        expires_at=until or later(at, room.limits.grants.once_life),
        asked_by=None,
        person=who.person,
        capacity=who.capacity,
        capacity_id=who.capacity_id,
        decided_at=at,
    )
    made = add_grant(room, tx, at, "grant.granted", actor_of(principal), grant)
    note(tx, at, principal, "grant.make", made)
    return made


def approve(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    grant_id: str,
    items: Sequence[str] | None = None,
) -> Grant:
    """The holder agrees to all that was asked for, or to `items` of it."""
    who, grant = _own(room, tx, at, principal, grant_id)
    after = apply(grant.state, GrantEvent.APPROVE)
    if standing(at, grant.state, grant.expires_at) is GrantStanding.LAPSED:
        raise GrantRequestLapsed()
    asked = {one.item: one for one in grant.items}
    approved = frozenset(asked if items is None else items)
    if items is not None:
        check_items(room, items)
        if not approved <= asked.keys():
            raise GrantItemsNotAsked()
    catalogue, matter, variant = _rules(room, tx, grant)
    for item in approved:
        who.may_grant(_asked_sensitivity(catalogue, matter, variant, asked[item]))
    granted = replace(
        grant,
        state=after,
        approved=approved,
        person=who.person,
        capacity=who.capacity,
        capacity_id=who.capacity_id,
        decided_at=at,
        expires_at=grant.wanted_until or later(at, room.limits.grants.once_life),
    )
    saved = save_grant(room, tx, at, "grant.granted", actor_of(principal), granted)
    tx.execute(
        update(grant_items)
        .where(grant_items.c.grant_id == grant_id, grant_items.c.item.in_(approved))
        .values(approved=True)
    )
    note(tx, at, principal, "grant.approve", saved)
    return saved


def decline(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, grant_id: str
) -> Grant:
    """The holder says no."""
    who, grant = _own(room, tx, at, principal, grant_id)
    declined = replace(
        grant,
        state=apply(grant.state, GrantEvent.DECLINE),
        person=who.person,
        capacity=who.capacity,
        capacity_id=who.capacity_id,
        decided_at=at,
    )
    saved = save_grant(room, tx, at, "grant.declined", actor_of(principal), declined)
    note(tx, at, principal, "grant.decline", saved)
    return saved


def revoke(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, grant_id: str
) -> Grant:
    """The holder withdraws a grant for good, also one that was used already.

    From this commit on nothing is verified or downloaded by it.
    """
    _, grant = _own(room, tx, at, principal, grant_id)
    ended = room.ledger.records.latest(tx, grant_id)
    revoked = replace(grant, state=apply(grant.state, GrantEvent.REVOKE))
    saved = save_grant(room, tx, at, "grant.revoked", actor_of(principal), revoked)
    publish_end(room, tx, at, "revoked", ended)
    note(tx, at, principal, "grant.revoke", saved)
    return saved


def lapse_overdue(room: MaterialsRoom, tx: WriteTx, at: datetime, *, limit: int = 200) -> int:
    """Record that unanswered requests have lapsed; how many. For a background loop.

    Nothing depends on it: a request past its end counts as lapsed anyway.
    """
    rows = tx.all(
        select(grants.c.grant_id)
        .where(grants.c.status == GrantState.REQUESTED.value, grants.c.expires_at <= at)
        .order_by(grants.c.expires_at)
        .limit(limit)
    )
    for row in rows:
        grant = open_grant(room, tx, row["grant_id"], lock=True)
        lapsed = replace(grant, state=apply(grant.state, GrantEvent.LAPSE))
        save_grant(room, tx, at, "grant.lapsed", {"role": "system"}, lapsed)
    return len(rows)


def grant_for(room: MaterialsRoom, tx: ReadTx, principal: Principal, grant_id: str) -> Grant:
    """The grant, if this caller may see it: its holder, or the bodies that handle its
    case, or the body it was given to. Anybody else gets `GrantUnknown`."""
    grant = open_grant(room, tx, grant_id)
    if principal.role is Role.APPLICANT:
        seen = principal.holder is not None and grant.holder == principal.holder
    else:
        bodies = {grant.audience}
        if grant.case_id is not None:
            case = load_case(tx, grant.case_id)
            bodies |= {case.window_org, case.department}
        seen = principal.org is not None and principal.org in bodies
    if not seen:
        raise GrantUnknown()
    return grant


def list_grants(
    room: MaterialsRoom,
    tx: ReadTx,
    principal: Principal,
    *,
    state: GrantState | None = None,
    case_id: str | None = None,
    cursor: str | None = None,
    limit: int,
) -> Page[Grant]:
    """The grants that `grant_for` would show, newest first."""
    by, whose = ["audience", "window_org", "department"], principal.org
    if principal.role is Role.APPLICANT:
        by, whose = ["holder"], principal.holder
    states = [one.value for one in (GrantState if state is None else [state])]
    time, key = grants.c.requested_at, grants.c.grant_id
    page: Page[Any]
    if case_id is None:
        parts = [{column: whose, "status": one} for column in by for one in states]
        page = page_of_parts(tx, grants, parts, time.name, key.name, cursor=cursor, limit=limit)
    else:  # all of the case is read
        seen = or_(*(grants.c[column] == whose for column in by))
        of_case = select(grants).where(
            grants.c.case_id == case_id, grants.c.status.in_(states), seen
        )
        page = page_of(tx, of_case, time, key, cursor=cursor, limit=limit)
    return page.map(lambda row: open_grant(room, tx, row["grant_id"]))


def check_live(at: datetime, grant: Grant) -> None:
    """`GrantExpired` past its end; for what only a grant in force allows."""
    if standing(at, grant.state, grant.expires_at) is GrantStanding.EXPIRED:
        raise GrantExpired()


def _own(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, grant_id: str
) -> tuple[Decider, Grant]:
    """Who decides, and their holder's own grant; anybody else's is `GrantUnknown`."""
    grant = open_grant(room, tx, grant_id, lock=True)
    if principal.holder is None or grant.holder != principal.holder:
        raise GrantUnknown()
    return decider(room, tx, at, principal), grant


def _rules(
    room: MaterialsRoom, tx: ReadTx, grant: Grant
) -> tuple[Catalogue, Matter | None, str | None]:
    if grant.case_id is None:
        return room.catalogue, None, None
    case = load_case(tx, grant.case_id)
    return (*rules_of(room, tx, case), case.variant)


def _asked_sensitivity(
    catalogue: Catalogue, matter: Matter | None, variant: str | None, item: GrantItem
) -> Sensitivity | None:
    """How sensitive the item is: by the requirement's type, else by its own."""
    key = item.type
    if item.requirement is not None and matter is not None and variant is not None:
        key = matter.requirement(variant, item.requirement).type
    elif item.kind != MATERIAL:
        return None
    return _type_sensitivity(catalogue, key)


def _sensitivity(catalogue: Catalogue, item: StoredItem) -> Sensitivity | None:
    return _type_sensitivity(catalogue, item.type) if item.kind == MATERIAL else None


def _type_sensitivity(catalogue: Catalogue, key: str) -> Sensitivity | None:
    return next((type_.sensitivity for type_ in catalogue.types if type_.key == key), None)


def check_items(room: MaterialsRoom, items: Iterable[str]) -> None:
    named = list(items)
    limit = room.limits.grants.items
    if not 1 <= len(named) <= limit or len(set(named)) != len(named):
        raise GrantItemsInvalid(limit=limit)


def end_of(
    room: MaterialsRoom, at: datetime, use: GrantUse, expires_at: datetime | None
) -> datetime | None:
    longest = room.limits.grants.longest_life
    if expires_at is None:
        if use is GrantUse.UNTIL:
            raise GrantPeriodInvalid(days=longest // 86_400)
        return None
    if not at < expires_at <= later(at, longest):
        raise GrantPeriodInvalid(days=longest // 86_400)
    return expires_at


def later(at: datetime, seconds: int) -> datetime:
    return at + timedelta(seconds=seconds)


def note(tx: WriteTx, at: datetime, principal: Principal, action: str, grant: Grant) -> None:
    audit.note(
        tx,
        at,
        principal,
        action,
        entity=grant.grant_id,
        case_id=grant.case_id,
        detail={"status": grant.state.value, "items": len(grant.items)},
    )
