"""The lifecycle of a grant (授权), as a table, and the binding of a grant to a case.

Expired is derived from the date, never stored: `standing` tells it. A spent
grant still serves the case that spent it, so that repeats inside the case are
idempotent, and can still be revoked. Nothing leads out of `revoked`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kernel.lifecycle import Lifecycle, mermaid
from materials_api.rules.rule_errors import GrantBoundElsewhere, GrantTransitionIllegal


class GrantState(StrEnum):
    REQUESTED = "requested"  # 待授权
    GRANTED = "granted"  # 已授权
    DECLINED = "declined"  # 已拒绝
    LAPSED = "lapsed"  # 未在期限内处理
    SPENT = "spent"  # 已使用（限本办件）
    REVOKED = "revoked"  # 已撤回


class GrantEvent(StrEnum):
    APPROVE = "approve"
    DECLINE = "decline"
    LAPSE = "lapse"
    SPEND = "spend"
    REVOKE = "revoke"


class GrantUse(StrEnum):
    ONCE = "once"  # serves one case
    UNTIL = "until"  # serves until `expires_at`


class GrantStanding(StrEnum):
    """What a grant is good for at one moment: its state, or expired by date."""

    REQUESTED = "requested"
    GRANTED = "granted"
    DECLINED = "declined"
    LAPSED = "lapsed"
    SPENT = "spent"
    REVOKED = "revoked"
    EXPIRED = "expired"


TRANSITIONS: Mapping[tuple[GrantState, GrantEvent], GrantState] = {
    (GrantState.REQUESTED, GrantEvent.APPROVE): GrantState.GRANTED,
    (GrantState.REQUESTED, GrantEvent.DECLINE): GrantState.DECLINED,
    (GrantState.REQUESTED, GrantEvent.LAPSE): GrantState.LAPSED,
    (GrantState.GRANTED, GrantEvent.SPEND): GrantState.SPENT,
    (GrantState.GRANTED, GrantEvent.REVOKE): GrantState.REVOKED,
    (GrantState.SPENT, GrantEvent.SPEND): GrantState.SPENT,
    (GrantState.SPENT, GrantEvent.REVOKE): GrantState.REVOKED,
}

# A grant that the holder makes without being asked is born granted.
GRANTS: Lifecycle[GrantState, GrantEvent] = Lifecycle(
    name="grant",
    starts=(GrantState.REQUESTED, GrantState.GRANTED),
    transitions=TRANSITIONS,
    refusal=GrantTransitionIllegal,
)

LABELS_ZH: Mapping[str, str] = {
    GrantState.REQUESTED: "待授权",
    GrantState.GRANTED: "已授权",
    GrantState.DECLINED: "已拒绝",
    GrantState.LAPSED: "逾期未处理",
    GrantState.SPENT: "已使用（限本办件）",
    GrantState.REVOKED: "已撤回",
    GrantEvent.APPROVE: "授权",
    GrantEvent.DECLINE: "拒绝",
    GrantEvent.LAPSE: "逾期",
    GrantEvent.SPEND: "使用",
    GrantEvent.REVOKE: "撤回授权",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """A grant after a use: its state, and the case it belongs to.

    An unbound `until` grant stays granted and unbound.
    """

    state: GrantState
    case_id: str | None
    changed: bool


def apply(state: GrantState, event: GrantEvent) -> GrantState:
    """The state after `event`; `GrantTransitionIllegal` when not allowed."""
    return GRANTS.apply(state, event)


def spend(state: GrantState, use: GrantUse, bound_to: str | None, case_id: str) -> Spent:
    """Use a grant for `case_id`: the first use of a once-grant binds it.

    A second use inside the case changes nothing. Bound to another case:
    `GrantBoundElsewhere`. Not granted: `GrantTransitionIllegal`.
    """
    after = apply(state, GrantEvent.SPEND)
    if bound_to is not None and bound_to != case_id:
        raise GrantBoundElsewhere()
    if use is GrantUse.UNTIL:
        return Spent(state, bound_to, changed=False)
    return Spent(after, case_id, changed=(state, bound_to) != (after, case_id))


def standing(now: datetime, state: GrantState, expires_at: datetime | None) -> GrantStanding:
    """The state at `now`. A live grant ends at `expires_at`, exclusive."""
    live = state in (GrantState.REQUESTED, GrantState.GRANTED, GrantState.SPENT)
    if live and expires_at is not None and now >= expires_at:
        return GrantStanding.LAPSED if state is GrantState.REQUESTED else GrantStanding.EXPIRED
    return GrantStanding(state.value)


def diagram() -> str:
    return mermaid(GRANTS, LABELS_ZH)
