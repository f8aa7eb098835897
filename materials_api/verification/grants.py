"""The grants that a verification may rest on, opened and compared with their rows."""

from kernel.errors import Corrupt
from materials_api.grants.lifecycle import GrantState
from materials_api.grants.records import Grant, read_grant
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_facts import CapacityFacts, GrantFacts
from materials_api.verification.case import CaseContext, capacity_facts
from materials_api.verification.rows import grant_row, grant_rows
from storage.database import ReadTx

Opened = dict[str, tuple[Grant, GrantFacts]]


def gather_grants(
    room: MaterialsRoom,
    tx: ReadTx,
    case: CaseContext,
    item: str,
    named: str | None,
    owners: frozenset[str],
    seen: Opened,
) -> list[tuple[Grant, GrantFacts]]:
    """Grants of this case, or given to its bodies, that list the item; and the one named.

    A named grant that has nothing to do with the item or its owners is left
    out, the same as one that does not exist.
    """
    view = case.view
    rows = grant_rows(tx, item, view.case_id, view.window_org, view.department)
    if named is not None and named not in {row["grant_id"] for row in rows}:
        row = grant_row(tx, named)
        if row is not None:
            rows.append(row)
    opened: list[tuple[Grant, GrantFacts]] = []
    for row in rows:
        grant_id = row["grant_id"]
        if grant_id not in seen:
            grant, agrees = read_grant(row, room.ledger.records.only_stop(tx, grant_id))
            seen[grant_id] = grant, _grant_facts(room, tx, case, grant, agrees=agrees)
        grant, facts = seen[grant_id]
        listed = any(one.item == item for one in grant.items)
        if listed or grant.holder in owners:
            opened.append((grant, facts))
    return opened


def _grant_facts(
    room: MaterialsRoom, tx: ReadTx, case: CaseContext, grant: Grant, *, agrees: bool
) -> GrantFacts:
    capacity: CapacityFacts | None = None
    if grant.capacity_id is not None:
        try:
            known = case.capacities.get(grant.capacity_id)
            capacity = capacity_facts(known or room.parties.capacity(tx, grant.capacity_id))
        except Corrupt:
            agrees = False
    # A request is judged by what it asks for: it is pending, not "for something else".
    asked = frozenset(one.item for one in grant.items)
    decided = grant.state in (GrantState.GRANTED, GrantState.SPENT, GrantState.REVOKED)
    return GrantFacts(
        grant_id=grant.grant_id,
        holder=grant.holder,
        person=grant.person if decided else grant.holder,
        state=grant.state,
        use=grant.use,
        items=grant.approved if decided else asked,
        decided_at=grant.decided_at,
        expires_at=grant.expires_at,
        case_id=grant.case_id,
        bound_by_use=grant.bound_by_use,
        audience=grant.audience,
        matter=grant.matter,
        capacity=capacity,
        record_agrees=agrees,
    )
