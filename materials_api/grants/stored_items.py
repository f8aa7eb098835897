"""Materials and licences as items that can be authorised: whose they are, what fits a case.

Rows only: kinds, types and party ids. Nothing here shows content, and nothing
here decides: a verification opens the records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import bindparam, select

from kernel.ids import IdKind, is_id
from license_service.lifecycle import Status
from license_service.tables import licenses
from materials_api.cases.access import CaseView
from materials_api.cases.candidates import available_for
from materials_api.catalogue.model import Catalogue, Matter, Requirement
from materials_api.catalogue.terms import ConsentRule, Route
from materials_api.grants.errors import ItemUnknown
from materials_api.materials.lifecycle import MaterialState
from materials_api.room import MaterialsRoom
from materials_api.rules.exemption_facts import Available, LicenseCandidate, MaterialCandidate
from materials_api.rules.exemptions import assess
from materials_api.rules.reuse_facts import CaseFacts
from materials_api.tables import cases, material_parties, materials
from storage.database import ReadTx

MATERIAL = "material"
LICENSE = "license"

_MATERIAL = (
    select(
        materials.c.type,
        materials.c.project,
        materials.c.status,
        cases.c.applicant.label("source_applicant"),
    )
    .join(cases, cases.c.case_id == materials.c.case_id)
    .where(materials.c.material_id == bindparam("item"))
)
_PARTIES = (
    select(material_parties.c.party_id)
    .where(material_parties.c.material_id == bindparam("item"))
    .order_by(material_parties.c.role, material_parties.c.party_id)
)
_LICENSE = select(licenses.c.kind, licenses.c.holder, licenses.c.status).where(
    licenses.c.license_id == bindparam("item")
)


@dataclass(frozen=True, slots=True)
class StoredItem:
    """`parties`: whose it is, never empty. `handed_in_by`: the applicant of the case
    it came from; None for a licence. `live` False: erased, or only drafted."""

    item: str
    kind: str
    type: str
    parties: tuple[str, ...]
    handed_in_by: str | None
    project: str | None
    live: bool

    @property
    def owners(self) -> frozenset[str]:
        """Who may authorise anything about it."""
        handed = () if self.handed_in_by is None else (self.handed_in_by,)
        return frozenset((*self.parties, *handed))


def stored_item(tx: ReadTx, item: str) -> StoredItem | None:
    """The item of this id, or None. An id of another form is None too."""
    if is_id(item, IdKind.MATERIAL):
        row = tx.one(_MATERIAL, {"item": item})
        if row is None:
            return None
        parties = tuple(dict.fromkeys(one["party_id"] for one in tx.all(_PARTIES, {"item": item})))
        source = row["source_applicant"]
        live = row["status"] != MaterialState.ERASED
        return StoredItem(
            item, MATERIAL, row["type"], parties or (source,), source, row["project"], live
        )
    if is_id(item, IdKind.LICENSE):
        row = tx.one(_LICENSE, {"item": item})
        if row is None:
            return None
        live = row["status"] != Status.DRAFTED
        return StoredItem(item, LICENSE, row["kind"], (row["holder"],), None, None, live)
    return None


def item_for_case(tx: ReadTx, case: CaseFacts, item: str) -> StoredItem:
    """An item that this case has to do with: of its applicant or people, or of the
    same project. Anything else is `ItemUnknown`, the same as an id that does not exist."""
    found = stored_item(tx, item)
    if found is None or not found.live or not concerns(case, found):
        raise ItemUnknown()
    return found


def item_of_holder(tx: ReadTx, holder: str, item: str) -> StoredItem:
    """An item about which this holder may decide, or `ItemUnknown`."""
    found = stored_item(tx, item)
    if found is None or not found.live or holder not in found.owners:
        raise ItemUnknown()
    return found


def concerns(case: CaseFacts, item: StoredItem) -> bool:
    ours = case.people | {case.applicant}
    same_project = case.project is not None and item.project == case.project
    return same_project or not ours.isdisjoint(item.owners)


def best_item(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    case: CaseView,
    catalogue: Catalogue,
    matter: Matter,
    requirement: Requirement,
) -> str | None:
    """The stored item that fits the requirement best, or None.

    By the requirement's order of routes; of several, one without a caution,
    then the newest. Chosen here so that a window learns no ids before consent.
    """
    available = available_for(room, tx, at, case, catalogue, matter)
    for rule in requirement.routes:
        if rule.route is Route.LICENSE:
            offered: Iterable[LicenseCandidate | MaterialCandidate] = available.licenses
        elif rule.route is Route.HISTORIC_MATERIAL:
            offered = available.materials
        else:
            continue
        fitting = [
            (caution, -_dated(one).timestamp(), one.item)
            for one in offered
            if one.item is not None
            and (caution := _caution(at, catalogue, matter, case, requirement, one, available))
            is not None
        ]
        if fitting:
            return min(fitting)[2]
    return None


def askable(item: StoredItem, consent: ConsentRule, case: CaseFacts) -> tuple[str, ...]:
    """The parties to ask. Where any will do: the applicant, else the case's people,
    else whoever of the parties answers first."""
    if consent is ConsentRule.ALL:
        return item.parties
    if case.applicant in item.parties:
        return (case.applicant,)
    people = tuple(party for party in item.parties if party in case.people)
    return people[:1] or item.parties


def _caution(
    at: datetime,
    catalogue: Catalogue,
    matter: Matter,
    case: CaseView,
    requirement: Requirement,
    one: LicenseCandidate | MaterialCandidate,
    available: Available,
) -> bool | None:
    """Whether a verification would probably deny this candidate; None: it does not fit."""
    alone = replace(
        available,
        materials=(one,) if isinstance(one, MaterialCandidate) else (),
        licenses=(one,) if isinstance(one, LicenseCandidate) else (),
    )
    found = assess(at, catalogue, matter, case.variant, alone).of(requirement.key)
    for route in () if found is None else found.routes:
        if route.open and route.candidates:
            return route.caution is not None
    return None


def _dated(one: LicenseCandidate | MaterialCandidate) -> datetime:
    dates: Sequence[datetime | None] = (
        (one.issued_at, one.registered_at)
        if isinstance(one, MaterialCandidate)
        else (one.issued_at, one.valid_from)
    )
    known = next((date for date in dates if date is not None), None)
    if known is None:
        # A licence without any date: older than all that bear one.
        return datetime.min.replace(tzinfo=UTC)
    return known
