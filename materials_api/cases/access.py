"""Cases (办件): who may see and work on which, and what they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import bindparam, select

from kernel.principals import Principal, Role
from ledger.records import Row
from materials_api.cases.lifecycle import CaseOutcome, CaseState, outcome_of
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.errors import (
    CaseOfOtherDepartment,
    CaseOfOtherWindow,
    CaseUnknown,
    RecordMismatch,
)
from materials_api.paging import Page, page_of_parts
from materials_api.room import MaterialsRoom
from materials_api.rules.visibility import (
    ARCHIVED,
    CaseScope,
    Unseen,
    UnseenReason,
    decide_visibility,
    fonds_of,
)
from materials_api.tables import case_events, cases, catalogue_versions
from storage.database import ReadTx
from storage.database.prepared import Prepared, Wanted

_BY_ID = Prepared(select(cases).where(cases.c.case_id == bindparam("case")))


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as its row tells it: ids, codes and times, no names."""

    case_id: str
    number: str
    matter: str
    variant: str
    applicant: str
    person: str
    capacity: str
    project: str | None
    channel: str
    window_org: str | None
    department: str
    state: CaseState
    version: int
    opened_at: datetime
    accepted_at: datetime | None
    closed_at: datetime | None
    origin: str
    catalogue_sha256: bytes
    entry_id: str


@dataclass(frozen=True, slots=True)
class CaseEventView:
    sequence: int
    event: str
    state: CaseState
    at: datetime
    role: str
    entry_id: str


def case_for(tx: ReadTx, principal: Principal, case_id: str) -> CaseView:
    """The case, if this caller may see it by `rules.visibility`.

    Otherwise `CaseUnknown`, as for a case that there is not; a window or department
    is told that the case belongs to another (`CaseOfOtherWindow`, `CaseOfOtherDepartment`).
    """
    return visible_to(principal, load_case(tx, case_id))


def visible_to(principal: Principal, case: CaseView) -> CaseView:
    """The case, if this caller may see it: the rule of `case_for`."""
    scope = CaseScope(case.applicant, case.window_org, case.department, case.state)
    match decide_visibility(principal, scope):
        case Unseen(UnseenReason.OTHER_WINDOW):
            raise CaseOfOtherWindow()
        case Unseen(UnseenReason.OTHER_DEPARTMENT):
            raise CaseOfOtherDepartment()
        case Unseen():
            raise CaseUnknown()
    return case


def asked_case(case_id: str) -> Wanted:
    """What `load_case` asks, for `read_ahead`."""
    return _BY_ID, {"case": case_id}


def load_case(tx: ReadTx, case_id: str) -> CaseView:
    """The case whoever asks: for use cases that have checked who does. `CaseUnknown`."""
    statement, given = asked_case(case_id)
    row = statement.one(tx, given)
    if row is None:
        raise CaseUnknown()
    return view_of(row)


def view_of(row: Row) -> CaseView:
    """A row of `cases` as a view. `RecordMismatch` for a state that there is not."""
    try:
        state = CaseState(row["state"])
    except ValueError:
        raise RecordMismatch(entity=row["case_id"]) from None
    return CaseView(
        case_id=row["case_id"],
        number=row["number"],
        matter=row["matter"],
        variant=row["variant"],
        applicant=row["applicant"],
        person=row["person"],
        capacity=row["capacity"],
        project=row["project"],
        channel=row["channel"],
        window_org=row["window_org"],
        department=row["department"],
        state=state,
        version=row["version"],
        opened_at=row["opened_at"],
        accepted_at=row["accepted_at"],
        closed_at=row["closed_at"],
        origin=row["origin"],
        catalogue_sha256=row["catalogue_sha256"],
        entry_id=row["entry_id"],
    )


def list_cases(
    tx: ReadTx,
    principal: Principal,
    *,
    state: CaseState | None = None,
    number: str | None = None,
    cursor: str | None = None,
    limit: int,
) -> Page[CaseView]:
    """The cases that `case_for` would show, newest first."""
    parts = _visible(principal, state)
    if number is not None:
        parts = [{**part, "number": number} for part in parts]
    page = page_of_parts(tx, cases, parts, "opened_at", "case_id", cursor=cursor, limit=limit)
    return page.map(view_of)


def events_of(tx: ReadTx, case_id: str) -> list[CaseEventView]:
    """What happened to the case, in order (过程信息)."""
    rows = tx.all(
        select(case_events).where(case_events.c.case_id == case_id).order_by(case_events.c.sequence)
    )
    return [
        CaseEventView(
            row["sequence"],
            row["event"],
            CaseState(row["state"]),
            row["at"],
            row["role"],
            row["entry_id"],
        )
        for row in rows
    ]


def outcome(events: Sequence[CaseEventView]) -> CaseOutcome | None:
    """How the case was decided, or None."""
    return outcome_of(event.state for event in events)


def rules_of(room: MaterialsRoom, tx: ReadTx, case: CaseView) -> tuple[Catalogue, Matter]:
    """The catalogue under which the case was opened, and its matter there."""
    catalogue = catalogue_of(room, tx, case.catalogue_sha256)
    return catalogue, catalogue.matter(case.matter)


def catalogue_of(room: MaterialsRoom, tx: ReadTx, sha256: bytes) -> Catalogue:
    """The catalogue with this digest: the present one, or an earlier one from its row.

    `RecordMismatch` when it is not there or its content has another digest.
    """
    if sha256 == room.catalogue.sha256:
        return room.catalogue
    content = tx.scalar(
        select(catalogue_versions.c.content).where(catalogue_versions.c.sha256 == sha256)
    )
    if content is None:
        raise RecordMismatch()
    catalogue = _parsed(content)
    if catalogue.sha256 != sha256:
        raise RecordMismatch()
    return catalogue


@lru_cache(maxsize=8)
def _parsed(content: bytes) -> Catalogue:
    return Catalogue.parse(content)


def _visible(principal: Principal, state: CaseState | None) -> list[dict[str, str]]:
    """What the rows have that `case_for` would show, in this state if one is named."""
    states = list(CaseState) if state is None else [state]
    column, values = "department", [principal.org]
    if principal.role is Role.APPLICANT:
        column, values = "applicant", [principal.holder]
    elif principal.role is Role.WINDOW:
        column = "window_org"
    elif principal.role is Role.ARCHIVIST:
        values = [*sorted(fonds_of(principal))]
        states = [one for one in states if one in ARCHIVED]
    elif principal.role is not Role.DEPARTMENT:
        return []
    return [
        {column: value, "state": one.value}
        for value in values
        if value is not None
        for one in states
    ]
