"""How long items are kept: from acceptance of a case, for the longest case that uses them."""

from datetime import UTC, datetime

from sqlalchemy import or_, select, union, update

from kernel.clock import china_date, china_midnight
from materials_api.cases.access import CaseView
from materials_api.cases.lifecycle import CaseState
from materials_api.catalogue.model import Catalogue, MaterialType, Matter
from materials_api.days import add_years
from materials_api.tables import case_requirements, cases, material_files, materials
from storage.database import ReadTx, WriteTx
from storage.objects import registry

FOREVER = datetime(9000, 12, 31, tzinfo=UTC)
"""The end of a permanent retention."""

# A case in these states still works with what it was given.
UNDER_WAY = frozenset(
    {CaseState.DRAFT, CaseState.SUBMITTED, CaseState.CORRECTION_ASKED, CaseState.ACCEPTED}
)


def retained_until(accepted_at: datetime, matter: Matter, type_: MaterialType | None) -> datetime:
    """The end (exclusive) of retention of a material of `type_` in a case accepted then.

    The longer of the matter's and the type's term counts; without a type, the matter's.
    """
    terms = (matter.retention, type_.retention if type_ else matter.retention)
    if "permanent" in terms:
        return FOREVER
    years = max(term for term in terms if isinstance(term, int))
    return china_midnight(add_years(china_date(accepted_at), years))


def start_retention(
    tx: WriteTx, case: CaseView, accepted_at: datetime, catalogue: Catalogue, matter: Matter
) -> None:
    """At acceptance: the case's own materials, and those of other cases that it uses."""
    other = materials.alias()
    own = select(other.c.material_id).where(other.c.case_id == case.case_id)
    used = select(case_requirements.c.item).where(case_requirements.c.case_id == case.case_id)
    # A used material may be of a type that this case's catalogue does not have.
    types = {type_.key: type_ for type_ in catalogue.types}
    # A union and not an "or": PostgreSQL finds each part by its index.
    for row in tx.all(select(materials).where(materials.c.material_id.in_(union(own, used)))):
        until = retained_until(accepted_at, matter, types.get(row["type"]))
        extend_retention(tx, row["material_id"], until)


def extend_for_use(
    tx: WriteTx, case: CaseView, material_id: str, type_: MaterialType | None, matter: Matter
) -> None:
    """A case begins to use a material: if it was accepted already, its term counts now."""
    if case.accepted_at is not None:
        extend_retention(tx, material_id, retained_until(case.accepted_at, matter, type_))


def extend_retention(tx: WriteTx, material_id: str, until: datetime) -> None:
    """Keep the material and its files at least until then; never shortens."""
    files = select(material_files.c.object_key).where(material_files.c.material_id == material_id)
    registry.keep(tx, files, until)
    tx.execute(
        update(materials)
        .where(
            materials.c.material_id == material_id,
            or_(materials.c.retain_until.is_(None), materials.c.retain_until < until),
        )
        .values(retain_until=until)
    )


def cases_under_way(tx: ReadTx, material_id: str) -> list[str]:
    """Ids of undecided cases that use the material, its own case among them."""
    using = select(case_requirements.c.case_id).where(case_requirements.c.item == material_id)
    owning = select(materials.c.case_id).where(materials.c.material_id == material_id)
    rows = tx.all(
        select(cases.c.case_id)
        .where(
            cases.c.case_id.in_(union(using, owning)),
            cases.c.state.in_([state.value for state in UNDER_WAY]),
        )
        .order_by(cases.c.case_id)
    )
    return [row["case_id"] for row in rows]
