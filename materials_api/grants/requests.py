"""A window asks for authorisation (申请授权): which items, and of whom."""

from dataclasses import dataclass
from datetime import datetime

from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from materials_api.cases.access import CaseView, case_for, rules_of
from materials_api.cases.candidates import case_facts
from materials_api.cases.requirements import still_open
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.catalogue.terms import ConsentRule
from materials_api.grants.errors import NothingToAsk
from materials_api.grants.granting import check_items, end_of, later, note
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.grants.records import Grant, GrantItem, actor_of, add_grant, officer_of
from materials_api.grants.stored_items import (
    MATERIAL,
    StoredItem,
    askable,
    best_item,
    item_for_case,
)
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.texts import clean_text
from storage.database import ReadTx, WriteTx


@dataclass(frozen=True, slots=True)
class AskGrant:
    """What a window asks for: items that it knows, or requirements for which the
    items are chosen here. `until` needs `expires_at`."""

    purpose: str
    use: GrantUse
    items: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    expires_at: datetime | None = None


def ask_grants(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    wanted: AskGrant,
) -> list[Grant]:
    """Ask the holders, one grant each: co-owners answer for themselves.

    The case must be the window's own and undecided. `NothingToAsk` for a
    requirement that nothing stored could meet, `ItemUnknown` for an item that
    the case has nothing to do with.
    """
    case = still_open(case_for(tx, principal, case_id))
    checked_state(room, tx, case_id, case.state.value)
    catalogue, matter = rules_of(room, tx, case)
    purpose = clean_text("purpose", wanted.purpose, room.limits.grants.purpose_chars)
    until = end_of(room, at, wanted.use, wanted.expires_at)
    asked = _asked_items(room, tx, at, principal, case, catalogue, matter, wanted)
    requests: dict[str, list[GrantItem]] = {}
    for item, parties in asked:
        for party in parties:
            requests.setdefault(party, []).append(item)
    made: list[Grant] = []
    for holder, items in requests.items():
        grant = Grant(
            grant_id=new_id(IdKind.GRANT),
            holder=holder,
            items=tuple(items),
            approved=frozenset(),
            case_id=case_id,
            bound_by_use=False,
            audience=principal.org,
            matter=case.matter,
            use=wanted.use,
            purpose=purpose,
            state=GrantState.REQUESTED,
            requested_at=at,
            wanted_until=until,
            expires_at=later(at, room.limits.grants.request_life),
            asked_by=officer_of(principal),
        )
        added = add_grant(room, tx, at, "grant.requested", actor_of(principal), grant)
        note(tx, at, principal, "grant.request", added)
        made.append(added)
    return made


def _asked_items(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    principal: Principal,
    case: CaseView,
    catalogue: Catalogue,
    matter: Matter,
    wanted: AskGrant,
) -> list[tuple[GrantItem, tuple[str, ...]]]:
    """Every item with the parties to ask for it."""
    check_items(room, (*wanted.items, *wanted.requirements))
    facts = case_facts(room, tx, at, case, principal.org or "")
    found: dict[str, tuple[GrantItem, tuple[str, ...]]] = {}
    for key in wanted.requirements:
        rule = matter.requirement(case.variant, key)
        item = best_item(room, tx, at, case, catalogue, matter, rule)
        if item is None:
            raise NothingToAsk(requirement=key)
        stored = item_for_case(tx, facts, item)
        parties = askable(stored, catalogue.consent_of(rule), facts)
        found[item] = (GrantItem(item, stored.kind, stored.type, key), parties)
    for item in wanted.items:
        stored = item_for_case(tx, facts, item)
        parties = askable(stored, _consent(catalogue, stored), facts)
        found.setdefault(item, (GrantItem(item, stored.kind, stored.type), parties))
    return list(found.values())


def _consent(catalogue: Catalogue, item: StoredItem) -> ConsentRule:
    types = {type_.key: type_ for type_ in catalogue.types}
    if item.kind != MATERIAL or item.type not in types:
        return ConsentRule.ALL
    return types[item.type].consent
