"""Who sees a case (办件): one rule for every route that reads it, and for its list.

| role         | sees                                                                  |
|--------------|-----------------------------------------------------------------------|
| `applicant`  | the cases of the holder for whom they act                             |
| `window`     | the cases that its body took in                                       |
| `department` | the cases that its body decides                                       |
| `archivist`  | once closed: the cases of its own body (档案室), and of those bodies  |
|              | whose archives it keeps (档案馆; 全宗)                                |
| others       | none                                                                  |

The body of a case is the one that decides it: that body must file it, so a window
of another body does not make the case one of that body's fonds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from kernel.principals import Principal, Role
from materials_api.cases.lifecycle import CaseState

ARCHIVED = frozenset({CaseState.CLOSED, CaseState.FILED})


class UnseenReason(StrEnum):
    """Why a caller does not see a case. For us: most callers are only told "no such case"."""

    OTHER_HOLDER = "other_holder"
    OTHER_WINDOW = "other_window"
    OTHER_DEPARTMENT = "other_department"
    OTHER_FONDS = "other_fonds"
    NOT_CLOSED = "not_closed"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class CaseScope:
    """What the rule looks at: whose case it is, and how far it went."""

    applicant: str
    window_org: str | None
    department: str
    state: CaseState


@dataclass(frozen=True, slots=True)
class Seen:
    """The caller may read the case and all that belongs to it."""


@dataclass(frozen=True, slots=True)
class Unseen:
    reason: UnseenReason


Visibility: TypeAlias = Seen | Unseen


def decide_visibility(principal: Principal, case: CaseScope) -> Visibility:
    """Whether this caller sees this case. Whoever has no body or holder sees nothing."""
    match principal.role:
        case Role.APPLICANT:
            yours, reason = _is(principal.holder, case.applicant), UnseenReason.OTHER_HOLDER
        case Role.WINDOW:
            yours, reason = _is(principal.org, case.window_org), UnseenReason.OTHER_WINDOW
        case Role.DEPARTMENT:
            yours, reason = _is(principal.org, case.department), UnseenReason.OTHER_DEPARTMENT
        case Role.ARCHIVIST:
            yours, reason = case.department in fonds_of(principal), UnseenReason.OTHER_FONDS
            if yours and case.state not in ARCHIVED:
                yours, reason = False, UnseenReason.NOT_CLOSED
        case _:
            yours, reason = False, UnseenReason.ROLE
    return Seen() if yours else Unseen(reason)


def fonds_of(principal: Principal) -> frozenset[str]:
    """The bodies whose closed cases an archivist sees: its own, and those it keeps."""
    if principal.role is not Role.ARCHIVIST or principal.org is None:
        return frozenset()
    return principal.keeps | {principal.org}


def _is(mine: str | None, theirs: str | None) -> bool:
    return mine is not None and mine == theirs
