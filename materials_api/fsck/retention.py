"""The part of `fsck` that computes once more how long a material must be kept."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, union

from ledger.records import Row
from materials_api.cases.access import CaseView, rules_of, view_of
from materials_api.cases.requirements import UPLOAD
from materials_api.materials.retention import retained_until
from materials_api.room import MaterialsRoom
from materials_api.tables import case_requirements, cases
from storage.database import ReadTx
from storage.database.prepared import Prepared

_own = cases.alias()
# A union and not an "or": PostgreSQL finds each part by its index.
_ACCEPTED = Prepared(
    select(cases).where(
        cases.c.accepted_at.is_not(None),
        cases.c.case_id.in_(
            union(
                select(_own.c.case_id).where(_own.c.case_id == bindparam("case")),
                select(case_requirements.c.case_id).where(
                    case_requirements.c.item == bindparam("material")
                ),
            )
        ),
    )
)
_USES = Prepared(
    select(case_requirements.c.requirement, case_requirements.c.at).where(
        case_requirements.c.case_id == bindparam("case"),
        case_requirements.c.item == bindparam("material"),
        case_requirements.c.route != bindparam("upload"),
    )
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which the end of retention must lie; equal, but for uses at the very
    moment of acceptance. None: no accepted case uses the material."""

    least: datetime | None
    most: datetime | None

    def hold(self, value: datetime | None) -> bool:
        if self.least is None or self.most is None:
            return value is None
        return value is not None and self.least <= value <= self.most


def retention_of(room: MaterialsRoom, tx: ReadTx, material: Row) -> Bounds:
    """What acceptance of each case that uses the material, and each later use, asked for.

    At acceptance the material's own type counts, afterwards that of the requirement
    it was verified for. The rows of cases are checked on their own.
    """
    asked = {"material": material["material_id"], "case": material["case_id"]}
    rows = _ACCEPTED.all(tx, asked)
    least: list[datetime] = []
    most: list[datetime] = []
    for row in rows:
        low, high = _of_case(room, tx, view_of(row), row["accepted_at"], material)
        least.append(low)
        most.append(high)
    return Bounds(max(least, default=None), max(most, default=None))


def _of_case(
    room: MaterialsRoom, tx: ReadTx, case: CaseView, accepted: datetime, material: Row
) -> tuple[datetime, datetime]:
    catalogue, matter = rules_of(room, tx, case)
    types = {type_.key: type_ for type_ in catalogue.types}
    own = retained_until(accepted, matter, types.get(material["type"]))
    if case.case_id == material["case_id"]:
        return own, own
    ends: list[tuple[datetime, datetime]] = []
    asked = {"case": case.case_id, "material": material["material_id"], "upload": UPLOAD}
    for use in _USES.all(tx, asked):
        rule = matter.requirement(case.variant, use["requirement"])
        later = retained_until(accepted, matter, catalogue.type(rule.type))
        if use["at"] < accepted:
            ends.append((own, own))
        elif use["at"] > accepted:
            ends.append((later, later))
        else:
            ends.append((min(own, later), max(own, later)))
    return max(low for low, _ in ends), max(high for _, high in ends)
