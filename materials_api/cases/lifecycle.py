"""The lifecycle of a case (办件), as a table; and which role may cause which event.

The outcome is not a state of its own: a closed or filed case keeps the outcome
of the decision before it, so it is read from the states that the case passed.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from kernel.lifecycle import Lifecycle, mermaid
from kernel.principals import Role
from materials_api.rules.rule_errors import CaseTransitionIllegal, CorrectionAlreadyAsked


class CaseState(StrEnum):
    DRAFT = "draft"  # 暂存
    SUBMITTED = "submitted"  # 已提交
    CORRECTION_ASKED = "correction_asked"  # 补正告知
    NOT_ACCEPTED = "not_accepted"  # 不予受理
    ACCEPTED = "accepted"  # 受理
    APPROVED = "approved"  # 准予
    REFUSED = "refused"  # 不予许可
    WITHDRAWN = "withdrawn"  # 申请撤回
    TERMINATED = "terminated"  # 终止
    CLOSED = "closed"  # 办结
    FILED = "filed"  # 归档


class CaseEvent(StrEnum):
    SUBMIT = "submit"
    ASK_CORRECTION = "ask_correction"
    NOT_ACCEPT = "not_accept"
    ACCEPT = "accept"
    APPROVE = "approve"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    TERMINATE = "terminate"
    CLOSE = "close"
    FILE = "file"


class CaseOutcome(StrEnum):
    """How a case ended. Catalogue rules say which of these count for reuse."""

    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    TERMINATED = "terminated"
    NOT_ACCEPTED = "not_accepted"


TRANSITIONS: Mapping[tuple[CaseState, CaseEvent], CaseState] = {
    (CaseState.DRAFT, CaseEvent.SUBMIT): CaseState.SUBMITTED,
    (CaseState.DRAFT, CaseEvent.WITHDRAW): CaseState.WITHDRAWN,
    (CaseState.SUBMITTED, CaseEvent.ACCEPT): CaseState.ACCEPTED,
    (CaseState.SUBMITTED, CaseEvent.NOT_ACCEPT): CaseState.NOT_ACCEPTED,
    (CaseState.SUBMITTED, CaseEvent.ASK_CORRECTION): CaseState.CORRECTION_ASKED,
    (CaseState.SUBMITTED, CaseEvent.WITHDRAW): CaseState.WITHDRAWN,
    (CaseState.CORRECTION_ASKED, CaseEvent.SUBMIT): CaseState.SUBMITTED,
    (CaseState.CORRECTION_ASKED, CaseEvent.WITHDRAW): CaseState.WITHDRAWN,
    (CaseState.CORRECTION_ASKED, CaseEvent.TERMINATE): CaseState.TERMINATED,
    (CaseState.ACCEPTED, CaseEvent.APPROVE): CaseState.APPROVED,
    (CaseState.ACCEPTED, CaseEvent.REFUSE): CaseState.REFUSED,
    (CaseState.ACCEPTED, CaseEvent.WITHDRAW): CaseState.WITHDRAWN,
    (CaseState.ACCEPTED, CaseEvent.TERMINATE): CaseState.TERMINATED,
    (CaseState.NOT_ACCEPTED, CaseEvent.CLOSE): CaseState.CLOSED,
    (CaseState.APPROVED, CaseEvent.CLOSE): CaseState.CLOSED,
    (CaseState.REFUSED, CaseEvent.CLOSE): CaseState.CLOSED,
    (CaseState.WITHDRAWN, CaseEvent.CLOSE): CaseState.CLOSED,
    (CaseState.TERMINATED, CaseEvent.CLOSE): CaseState.CLOSED,
    (CaseState.CLOSED, CaseEvent.FILE): CaseState.FILED,
}

CASES: Lifecycle[CaseState, CaseEvent] = Lifecycle(
    name="case", starts=(CaseState.DRAFT,), transitions=TRANSITIONS, refusal=CaseTransitionIllegal
)

EVENT_ROLES: Mapping[CaseEvent, frozenset[Role]] = {
    CaseEvent.SUBMIT: frozenset({Role.APPLICANT, Role.WINDOW}),
    CaseEvent.WITHDRAW: frozenset({Role.APPLICANT, Role.WINDOW}),
    CaseEvent.ASK_CORRECTION: frozenset({Role.DEPARTMENT}),
    CaseEvent.NOT_ACCEPT: frozenset({Role.DEPARTMENT}),
    CaseEvent.ACCEPT: frozenset({Role.DEPARTMENT}),
    CaseEvent.APPROVE: frozenset({Role.DEPARTMENT}),
    CaseEvent.REFUSE: frozenset({Role.DEPARTMENT}),
    CaseEvent.TERMINATE: frozenset({Role.DEPARTMENT}),
    CaseEvent.CLOSE: frozenset({Role.DEPARTMENT, Role.WINDOW}),
    CaseEvent.FILE: frozenset({Role.ARCHIVIST}),
}

# Materials, commitments and verifications may still be added in these states;
# `accepted` is among them because a case may be accepted with gaps (容缺受理).
UNDECIDED: frozenset[CaseState] = frozenset(
    {CaseState.DRAFT, CaseState.SUBMITTED, CaseState.CORRECTION_ASKED, CaseState.ACCEPTED}
)

# While the applicant corrects, the department's time limit stands still.
TIME_LIMIT_RUNS: frozenset[CaseState] = frozenset({CaseState.SUBMITTED, CaseState.ACCEPTED})

_OUTCOMES: Mapping[CaseState, CaseOutcome] = {
    CaseState.APPROVED: CaseOutcome.APPROVED,
    CaseState.REFUSED: CaseOutcome.REFUSED,
    CaseState.WITHDRAWN: CaseOutcome.WITHDRAWN,
    CaseState.TERMINATED: CaseOutcome.TERMINATED,
    CaseState.NOT_ACCEPTED: CaseOutcome.NOT_ACCEPTED,
}

LABELS_ZH: Mapping[str, str] = {
    CaseState.DRAFT: "暂存",
    CaseState.SUBMITTED: "已提交",
    CaseState.CORRECTION_ASKED: "待补正",
    CaseState.NOT_ACCEPTED: "不予受理",
    CaseState.ACCEPTED: "已受理",
    CaseState.APPROVED: "准予",
    CaseState.REFUSED: "不予许可",
    CaseState.WITHDRAWN: "申请撤回",
    CaseState.TERMINATED: "终止",
    CaseState.CLOSED: "办结",
    CaseState.FILED: "归档",
    CaseEvent.SUBMIT: "提交",
    CaseEvent.ASK_CORRECTION: "补正告知",
    CaseEvent.NOT_ACCEPT: "不予受理",
    CaseEvent.ACCEPT: "受理",
    CaseEvent.APPROVE: "准予",
    CaseEvent.REFUSE: "不予许可",
    CaseEvent.WITHDRAW: "撤回申请",
    CaseEvent.TERMINATE: "终止",
    CaseEvent.CLOSE: "办结",
    CaseEvent.FILE: "归档",
}


def apply(state: CaseState, event: CaseEvent, *, corrections: int = 0) -> CaseState:
    """The state after `event`.

    `corrections` counts the correction notices that the case already had: a
    second one is `CorrectionAlreadyAsked`. An event that the table does not
    allow is `CaseTransitionIllegal`.
    """
    after = CASES.apply(state, event)
    if event is CaseEvent.ASK_CORRECTION and corrections > 0:
        raise CorrectionAlreadyAsked()
    return after


def outcome_of(states: Iterable[CaseState]) -> CaseOutcome | None:
    """The outcome of a case that passed these states, or None while undecided."""
    for state in states:
        if state in _OUTCOMES:
            return _OUTCOMES[state]
    return None


def diagram() -> str:
    return mermaid(CASES, LABELS_ZH)
