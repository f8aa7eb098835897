"""How the requirements of a case are met: the rows, in order, and what is still missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select

from materials_api.cases.access import CaseView
from materials_api.cases.lifecycle import UNDECIDED
from materials_api.catalogue.model import Matter
from materials_api.catalogue.terms import Route
from materials_api.errors import CaseStateForbids
from materials_api.materials.lifecycle import MaterialState
from materials_api.tables import case_requirements, materials
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared, Wanted

UPLOAD = "upload"
"""The route of a requirement that was met by bringing the material."""

_DEAD = frozenset(
    {
        MaterialState.REJECTED,
        MaterialState.SUPERSEDED,
        MaterialState.INVALIDATED,
        MaterialState.ERASED,
    }
)

# On every verification's path: compiled once.
_LAST = Prepared(
    select(func.max(case_requirements.c.sequence).label("last")).where(
        case_requirements.c.case_id == bindparam("case"),
        case_requirements.c.requirement == bindparam("requirement"),
    )
)
_ADD = Prepared(insert(case_requirements), case_requirements.c.keys())


@dataclass(frozen=True, slots=True)
class Met:
    """One way in which a requirement was met. `route`: `upload` or an exemption route."""

    requirement: str
    sequence: int
    route: str
    item: str | None
    verification_id: str | None
    exemptible: bool
    reason: str | None
    at: datetime


def still_open(case: CaseView) -> CaseView:
    """The case, if materials and exemptions may still be added; else `CaseStateForbids`."""
    if case.state not in UNDECIDED:
        raise CaseStateForbids(state=case.state.value)
    return case


def asked_last(case_id: str, requirement: str) -> Wanted:
    """What `note_met` asks, for `read_ahead`."""
    return _LAST, {"case": case_id, "requirement": requirement}


def note_met(
    tx: WriteTx,
    at: datetime,
    case_id: str,
    requirement: str,
    route: str,
    *,
    item: str | None = None,
    verification_id: str | None = None,
    exemptible: bool,
    reason: str | None = None,
) -> int:
    """Add the row that says how a requirement was met; its sequence number."""
    statement, given = asked_last(case_id, requirement)
    last = statement.one(tx, given)
    sequence = 1 if last is None or last["last"] is None else int(last["last"]) + 1
    _ADD.add(
        tx,
        {
            "case_id": case_id,
            "requirement": requirement,
            "sequence": sequence,
            "route": route,
            "item": item,
            "verification_id": verification_id,
            "exemptible": exemptible,
            "reason": reason,
            "at": at,
        },
    )
    return sequence


def ways_met(tx: ReadTx, case_id: str) -> list[Met]:
    """Every row of the case, by requirement and sequence."""
    rows = tx.all(
        select(case_requirements)
        .where(case_requirements.c.case_id == case_id)
        .order_by(case_requirements.c.requirement, case_requirements.c.sequence)
    )
    return [
        Met(
            row["requirement"],
            row["sequence"],
            row["route"],
            row["item"],
            row["verification_id"],
            row["exemptible"],
            row["reason"],
            row["at"],
        )
        for row in rows
    ]


def currently_met(tx: ReadTx, case: CaseView, matter: Matter) -> Mapping[str, Met]:
    """Per requirement the newest way that still counts.

    Materials of the case that were rejected, superseded, invalidated or erased
    count no longer. What a `waived` route drops counts as met without a row.
    """
    dead = {
        row["material_id"]
        for row in tx.all(
            select(materials.c.material_id).where(
                materials.c.material_id.in_(
                    select(case_requirements.c.item).where(
                        case_requirements.c.case_id == case.case_id
                    )
                ),
                materials.c.status.in_([state.value for state in _DEAD]),
            )
        )
    }
    met: dict[str, Met] = {
        rule.key: Met(rule.key, 0, Route.WAIVED.value, None, None, True, None, case.opened_at)
        for rule in matter.required(case.variant)
        if rule.rule(Route.WAIVED) is not None
    }
    for way in ways_met(tx, case.case_id):
        if way.item not in dead:
            met[way.requirement] = way
    return met


def missing(tx: ReadTx, case: CaseView, matter: Matter) -> list[str]:
    """Keys of mandatory requirements that nothing meets yet, in the matter's order."""
    met = currently_met(tx, case, matter)
    return [
        rule.key for rule in matter.required(case.variant) if rule.mandatory and rule.key not in met
    ]
