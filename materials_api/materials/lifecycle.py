"""The lifecycle of a material (电子材料), as a table.

A material is born `pending` and becomes `reusable` when its case is approved.
The holder may stop and resume reuse at any time; stopping before the decision
is a state of its own, so that resuming leads back to where it was. A rejected
version stays rejected when its replacement arrives.
"""

from collections.abc import Mapping
from enum import StrEnum

from kernel.lifecycle import Lifecycle, mermaid
from materials_api.rules.rule_errors import MaterialTransitionIllegal


class MaterialState(StrEnum):
    PENDING = "pending"  # 待办件决定
    REUSABLE = "reusable"  # 可复用
    REJECTED = "rejected"  # 已退回（补正）
    SUPERSEDED = "superseded"  # 已被新版本取代
    STOPPED_PENDING = "stopped_pending"  # 停止复用（办件未决定）
    STOPPED = "stopped"  # 停止复用
    INVALIDATED = "invalidated"  # 已认定无效
    ERASED = "erased"  # 已删除


class MaterialEvent(StrEnum):
    VERIFY = "verify"  # its case was approved
    REJECT = "reject"  # named in a correction notice
    SUPERSEDE = "supersede"  # a new version was registered
    STOP = "stop"
    RESUME = "resume"
    INVALIDATE = "invalidate"  # a department declares it false
    ERASE = "erase"


TRANSITIONS: Mapping[tuple[MaterialState, MaterialEvent], MaterialState] = {
    (MaterialState.PENDING, MaterialEvent.VERIFY): MaterialState.REUSABLE,
    (MaterialState.PENDING, MaterialEvent.REJECT): MaterialState.REJECTED,
    (MaterialState.PENDING, MaterialEvent.SUPERSEDE): MaterialState.SUPERSEDED,
    (MaterialState.PENDING, MaterialEvent.STOP): MaterialState.STOPPED_PENDING,
    (MaterialState.PENDING, MaterialEvent.INVALIDATE): MaterialState.INVALIDATED,
    (MaterialState.PENDING, MaterialEvent.ERASE): MaterialState.ERASED,
    (MaterialState.REUSABLE, MaterialEvent.SUPERSEDE): MaterialState.SUPERSEDED,
    (MaterialState.REUSABLE, MaterialEvent.STOP): MaterialState.STOPPED,
    (MaterialState.REUSABLE, MaterialEvent.INVALIDATE): MaterialState.INVALIDATED,
    (MaterialState.REUSABLE, MaterialEvent.ERASE): MaterialState.ERASED,
    (MaterialState.STOPPED_PENDING, MaterialEvent.RESUME): MaterialState.PENDING,
    (MaterialState.STOPPED_PENDING, MaterialEvent.VERIFY): MaterialState.STOPPED,
    (MaterialState.STOPPED_PENDING, MaterialEvent.REJECT): MaterialState.REJECTED,
    (MaterialState.STOPPED_PENDING, MaterialEvent.SUPERSEDE): MaterialState.SUPERSEDED,
    (MaterialState.STOPPED_PENDING, MaterialEvent.INVALIDATE): MaterialState.INVALIDATED,
    (MaterialState.STOPPED_PENDING, MaterialEvent.ERASE): MaterialState.ERASED,
    (MaterialState.STOPPED, MaterialEvent.RESUME): MaterialState.REUSABLE,
    (MaterialState.STOPPED, MaterialEvent.SUPERSEDE): MaterialState.SUPERSEDED,
    (MaterialState.STOPPED, MaterialEvent.INVALIDATE): MaterialState.INVALIDATED,
    (MaterialState.STOPPED, MaterialEvent.ERASE): MaterialState.ERASED,
    (MaterialState.REJECTED, MaterialEvent.SUPERSEDE): MaterialState.REJECTED,
    (MaterialState.REJECTED, MaterialEvent.INVALIDATE): MaterialState.INVALIDATED,
    (MaterialState.REJECTED, MaterialEvent.ERASE): MaterialState.ERASED,
    (MaterialState.SUPERSEDED, MaterialEvent.INVALIDATE): MaterialState.INVALIDATED,
    (MaterialState.SUPERSEDED, MaterialEvent.ERASE): MaterialState.ERASED,
    (MaterialState.INVALIDATED, MaterialEvent.ERASE): MaterialState.ERASED,
}

MATERIALS: Lifecycle[MaterialState, MaterialEvent] = Lifecycle(
    name="material",
    # Back files come from cases that were approved long ago: they begin as reusable.
    starts=(MaterialState.PENDING, MaterialState.REUSABLE),
    transitions=TRANSITIONS,
    refusal=MaterialTransitionIllegal,
)

LABELS_ZH: Mapping[str, str] = {
    MaterialState.PENDING: "待办件决定",
    MaterialState.REUSABLE: "可复用",
    MaterialState.REJECTED: "已退回",
    MaterialState.SUPERSEDED: "已被取代",
    MaterialState.STOPPED_PENDING: "停止复用（办件未决定）",
    MaterialState.STOPPED: "停止复用",
    MaterialState.INVALIDATED: "已认定无效",
    MaterialState.ERASED: "已删除",
    MaterialEvent.VERIFY: "办件准予",
    MaterialEvent.REJECT: "补正退回",
    MaterialEvent.SUPERSEDE: "新版本",
    MaterialEvent.STOP: "停止复用",
    MaterialEvent.RESUME: "恢复复用",
    MaterialEvent.INVALIDATE: "认定无效",
    MaterialEvent.ERASE: "删除",
}


def apply(state: MaterialState, event: MaterialEvent) -> MaterialState:
    """The state after `event`; `MaterialTransitionIllegal` when not allowed."""
    return MATERIALS.apply(state, event)


def diagram() -> str:
    return mermaid(MATERIALS, LABELS_ZH)
