"""The lifecycle of an e-licence: which event leads from which status to which.

Expiry is not here: it is derived from dates when somebody asks, never stored.
Pure; the time is an argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kernel.lifecycle import Lifecycle, mermaid
from license_service.errors import IllegalLicenseTransition


class Status(StrEnum):
    """What is stored. `valid` says that no event ended it, not that its dates hold."""

    DRAFTED = "drafted"  # 制证
    VALID = "valid"  # 有效
    SUPERSEDED = "superseded"  # 已换发新版
    SUSPENDED = "suspended"  # 暂扣
    WITHDRAWN = "withdrawn"  # 撤回
    RESCINDED = "rescinded"  # 撤销
    REVOKED = "revoked"  # 吊销
    DEREGISTERED = "deregistered"  # 注销
    ANNULLED = "annulled"  # 废止


class Event(StrEnum):
    ISSUE = "issue"  # 签发
    INSPECT = "inspect"  # 年检
    CHANGE = "change"  # 变更
    RENEW = "renew"  # 延续
    REISSUE = "reissue"  # 补发
    SUSPEND = "suspend"  # 暂扣
    RESUME = "resume"  # 恢复
    WITHDRAW = "withdraw"  # 撤回：当初合法，情况已变
    RESCIND = "rescind"  # 撤销：违法取得，追溯既往
    REVOKE = "revoke"  # 吊销：处罚
    DEREGISTER = "deregister"  # 注销
    ANNUL = "annul"  # 废止：签发有误


# Only these reach back: what was done with the licence before is tainted too.
TAINTING = frozenset({Event.RESCIND, Event.ANNUL})

# These end a version because a new one takes its place.
SUPERSEDING = frozenset({Event.CHANGE, Event.RENEW, Event.REISSUE})

# These end a licence for good, whatever was its status: nothing leads back.
FINAL = frozenset({Event.WITHDRAW, Event.RESCIND, Event.REVOKE, Event.DEREGISTER, Event.ANNUL})

_LIVE = (Status.VALID, Status.SUSPENDED)
# A licence that was replaced or has ended lawfully can still prove to be unlawful.
_LAWFUL = (*_LIVE, Status.SUPERSEDED, Status.WITHDRAWN, Status.REVOKED, Status.DEREGISTERED)

TRANSITIONS: Mapping[tuple[Status, Event], Status] = {
    (Status.DRAFTED, Event.ISSUE): Status.VALID,
    (Status.VALID, Event.INSPECT): Status.VALID,
    **{(Status.VALID, event): Status.SUPERSEDED for event in Event if event in SUPERSEDING},
    (Status.VALID, Event.SUSPEND): Status.SUSPENDED,
    (Status.SUSPENDED, Event.RESUME): Status.VALID,
    **{(status, Event.WITHDRAW): Status.WITHDRAWN for status in _LIVE},
    **{(status, Event.REVOKE): Status.REVOKED for status in _LIVE},
    **{(status, Event.RESCIND): Status.RESCINDED for status in _LAWFUL},
    **{(status, Event.ANNUL): Status.ANNULLED for status in (*_LIVE, Status.SUPERSEDED)},
    # Deregistration is the formal end, also after one of the others.
    **{
        (status, Event.DEREGISTER): Status.DEREGISTERED
        for status in (*_LIVE, Status.WITHDRAWN, Status.RESCINDED, Status.REVOKED)
    },
}

LIFECYCLE = Lifecycle("license", (Status.DRAFTED,), TRANSITIONS, IllegalLicenseTransition)

LABELS: Mapping[str, str] = {
    "drafted": "制证 drafted",
    "valid": "有效 valid",
    "superseded": "已换发 superseded",
    "suspended": "暂扣 suspended",
    "withdrawn": "已撤回 withdrawn",
    "rescinded": "已撤销 rescinded",
    "revoked": "已吊销 revoked",
    "deregistered": "已注销 deregistered",
    "annulled": "已废止 annulled",
    "not_issued": "未签发 not issued",
    "not_yet_valid": "尚未生效 not yet valid",
    "expired": "已过期 expired",
    "issue": "签发 issue",
    "inspect": "年检 inspect",
    "change": "变更 change",
    "renew": "延续 renew",
    "reissue": "补发 reissue",
    "suspend": "暂扣 suspend",
    "resume": "恢复 resume",
    "withdraw": "撤回 withdraw",
    "rescind": "撤销 rescind",
    "revoke": "吊销 revoke",
    "deregister": "注销 deregister",
    "annul": "废止 annul",
}


def diagram() -> str:
    """The lifecycle as a Mermaid state diagram, for the documentation."""
    return mermaid(LIFECYCLE, LABELS)


class EffectiveStatus(StrEnum):
    """The status at a moment, with what follows from the dates."""

    NOT_ISSUED = "not_issued"
    NOT_YET_VALID = "not_yet_valid"
    VALID = "valid"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    SUSPENDED = "suspended"
    WITHDRAWN = "withdrawn"
    RESCINDED = "rescinded"
    REVOKED = "revoked"
    DEREGISTERED = "deregistered"
    ANNULLED = "annulled"


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a licence's history and the status after it."""

    event: Event
    status: Status
    effective_at: datetime
    entry_id: str


@dataclass(frozen=True, slots=True)
class StatusAt:
    """The status at a moment. `since` is when the event took effect that led to it.

    `tainted`: a rescission or annulment stands anywhere in the history, also
    later than the moment asked for. Then no use of the licence may be relied on.
    """

    status: EffectiveStatus
    since: datetime | None
    tainted: bool

    @property
    def valid(self) -> bool:
        return self.status is EffectiveStatus.VALID and not self.tainted


def status_at(
    history: Sequence[Happened],
    valid_from: datetime | None,
    valid_until: datetime | None,
    at: datetime,
) -> StatusAt:
    """The status at `at`, given every event known now, in order.

    Events count from the moment they take effect; validity is
    [valid_from, valid_until). Dates matter only while no event has ended the
    licence: a revoked one stays revoked after its last day.
    """
    tainted = any(happened.event in TAINTING for happened in history)
    known = [happened for happened in history if happened.effective_at <= at]
    if not known or known[-1].status is Status.DRAFTED:
        return StatusAt(EffectiveStatus.NOT_ISSUED, None, tainted)
    last = known[-1]
    if last.status in _LIVE:
        if valid_until is not None and at >= valid_until:
            return StatusAt(EffectiveStatus.EXPIRED, valid_until, tainted)
        if valid_from is not None and at < valid_from:
            return StatusAt(EffectiveStatus.NOT_YET_VALID, last.effective_at, tainted)
    return StatusAt(EffectiveStatus(last.status.value), last.effective_at, tainted)
