"""The rows that a verification reads: one prepared statement per question.

The hot path of the store: a statement of Core costs ten times as much here.
"""

from typing import Any

from sqlalchemy import bindparam, or_, select

from kernel.principals import Capacity
from materials_api.tables import (
    case_events,
    cases,
    grant_items,
    grants,
    material_files,
    material_parties,
    materials,
)
from parties.tables import capacities, parties
from storage.database import ReadTx
from storage.database.prepared import Prepared, Wanted
from storage.tables import objects

Row = dict[str, Any]

_CASE = Prepared(select(cases).where(cases.c.case_id == bindparam("case")))
_MATERIAL = Prepared(select(materials).where(materials.c.material_id == bindparam("material")))
_FILES = Prepared(
    select(
        material_files.c.position,
        material_files.c.object_key,
        material_files.c.size,
        material_files.c.media_type,
        objects.c.size.label("stored_size"),
        objects.c.cipher_size,
        objects.c.cipher_sha256,
        objects.c.wrapped_key,
        objects.c.key_epoch,
    )
    .join(objects, objects.c.object_key == material_files.c.object_key)
    .where(material_files.c.material_id == bindparam("material"))
    .order_by(material_files.c.position)
)
_PARTIES = Prepared(
    select(material_parties.c.party_id, material_parties.c.role).where(
        material_parties.c.material_id == bindparam("material")
    )
)
# Grants that may serve without being named: of this case, or given to its bodies.
_GRANTS_FOR_ITEM = Prepared(
    select(grants)
    .join(grant_items, grant_items.c.grant_id == grants.c.grant_id)
    .where(
        grant_items.c.item == bindparam("item"),
        or_(
            grants.c.case_id == bindparam("case"),
            grants.c.case_id.is_(None)
            & or_(
                grants.c.audience == bindparam("window"),
                grants.c.audience == bindparam("department"),
            ),
        ),
    )
)
_GRANT = Prepared(select(grants).where(grants.c.grant_id == bindparam("grant")))
_ACTING = Prepared(
    select(capacities.c.capacity_id).where(
        capacities.c.holder == bindparam("holder"),
        or_(
            capacities.c.person == bindparam("person"),
            capacities.c.capacity == Capacity.LEGAL_REPRESENTATIVE.value,
        ),
    )
)
_KIND = Prepared(select(parties.c.kind).where(parties.c.party_id == bindparam("party")))
_STATES = Prepared(
    select(case_events.c.state, case_events.c.entry_id)
    .where(case_events.c.case_id == bindparam("case"))
    .order_by(case_events.c.sequence)
)


def asked_call(case_id: str) -> list[Wanted]:
    """What is asked of the case of a call; this and what follows for `read_ahead`."""
    return [_case(case_id)]


def asked_material(material_id: str) -> list[Wanted]:
    """What is asked of a material."""
    return [part(material_id) for part in (_material, _files, _shares)]


def asked_source(case_id: str) -> list[Wanted]:
    """What is asked of the case that a material came from."""
    return [_case(case_id), _states(case_id)]


def asked_acting(applicant: str, person: str) -> list[Wanted]:
    """What is asked about who acts for an applicant."""
    return [_acting(applicant, person), _party(applicant)]


def asked_grants(
    item: str, case_id: str, window: str | None, department: str | None
) -> list[Wanted]:
    """What is asked about the grants for an item."""
    return [_for_item(item, case_id, window, department)]


def case_row(tx: ReadTx, case_id: str) -> Row | None:
    return _one(tx, _case(case_id))


def material_row(tx: ReadTx, material_id: str) -> Row | None:
    return _one(tx, _material(material_id))


def file_rows(tx: ReadTx, material_id: str) -> list[Row]:
    """Files in order, each with what its object's row says."""
    return _all(tx, _files(material_id))


def party_rows(tx: ReadTx, material_id: str) -> list[Row]:
    return _all(tx, _shares(material_id))


def grant_rows(
    tx: ReadTx, item: str, case_id: str, window: str | None, department: str | None
) -> list[Row]:
    return _all(tx, _for_item(item, case_id, window, department))


def grant_row(tx: ReadTx, grant_id: str) -> Row | None:
    return _GRANT.one(tx, {"grant": grant_id})


def capacity_ids(tx: ReadTx, holder: str, person: str) -> list[str]:
    """Capacities of this person for the holder, and every legal representation of it."""
    return [row["capacity_id"] for row in _all(tx, _acting(holder, person))]


def party_kind(tx: ReadTx, party: str) -> str | None:
    row = _one(tx, _party(party))
    return None if row is None else row["kind"]


def state_rows(tx: ReadTx, case_id: str) -> list[Row]:
    """The states that a case passed, with the entry of each."""
    return _all(tx, _states(case_id))


def _case(case_id: str) -> Wanted:
    return _CASE, {"case": case_id}


def _material(material_id: str) -> Wanted:
    return _MATERIAL, {"material": material_id}


def _files(material_id: str) -> Wanted:
    return _FILES, {"material": material_id}


def _shares(material_id: str) -> Wanted:
    return _PARTIES, {"material": material_id}


def _for_item(item: str, case_id: str, window: str | None, department: str | None) -> Wanted:
    return _GRANTS_FOR_ITEM, {
        "item": item,
        "case": case_id,
        "window": window,
        "department": department,
    }


def _acting(holder: str, person: str) -> Wanted:
    return _ACTING, {"holder": holder, "person": person}


def _party(party: str) -> Wanted:
    return _KIND, {"party": party}


def _states(case_id: str) -> Wanted:
    return _STATES, {"case": case_id}


def _one(tx: ReadTx, asked: Wanted) -> Row | None:
    statement, parameters = asked
    return statement.one(tx, parameters)


def _all(tx: ReadTx, asked: Wanted) -> list[Row]:
    statement, parameters = asked
    return statement.all(tx, parameters)
