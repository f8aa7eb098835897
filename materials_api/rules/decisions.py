"""What a rule answers: every check with its result, and Allowed or Denied over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from materials_api.catalogue.terms import Route
from materials_api.rules.reasons import REASONS, Reason, ReasonCode


class CheckName(StrEnum):
    """The checks, in the order in which they are reported."""

    ROUTE = "route"
    TYPE = "type"
    HOLDER = "holder"
    CAPACITY = "capacity"
    GRANT = "grant"
    CONSENT = "consent"
    STATUS = "status"
    SOURCE_CASE = "source_case"
    PROVENANCE = "provenance"
    VALIDITY = "validity"
    FRESHNESS = "freshness"
    ANSWER = "answer"
    RECORD = "record"
    CONTENT = "content"
    LOG = "log"


CHECK_ZH: Mapping[CheckName, str] = MappingProxyType(
    {
        CheckName.ROUTE: "免交途径",
        CheckName.TYPE: "材料类型",
        CheckName.HOLDER: "主体或项目",
        CheckName.CAPACITY: "代办关系",
        CheckName.GRANT: "授权",
        CheckName.CONSENT: "当事人同意",
        CheckName.STATUS: "状态",
        CheckName.SOURCE_CASE: "来源办件",
        CheckName.PROVENANCE: "来源可信程度",
        CheckName.VALIDITY: "有效期",
        CheckName.FRESHNESS: "时效",
        CheckName.ANSWER: "登记库答复",
        CheckName.RECORD: "存证记录",
        CheckName.CONTENT: "内容摘要",
        CheckName.LOG: "日志存证",
    }
)
CHECK_EN: Mapping[CheckName, str] = MappingProxyType(
    {
        CheckName.ROUTE: "exemption route",
        CheckName.TYPE: "type",
        CheckName.HOLDER: "holder or project",
        CheckName.CAPACITY: "capacity",
        CheckName.GRANT: "authorisation",
        CheckName.CONSENT: "consent of the parties",
        CheckName.STATUS: "status",
        CheckName.SOURCE_CASE: "source case",
        CheckName.PROVENANCE: "provenance",
        CheckName.VALIDITY: "validity",
        CheckName.FRESHNESS: "freshness",
        CheckName.ANSWER: "answer of the register",
        CheckName.RECORD: "record",
        CheckName.CONTENT: "content",
        CheckName.LOG: "place in the log",
    }
)


class CheckResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"  # e.g. the grant under statutory duty


@dataclass(frozen=True, slots=True)
class Check:
    """One check that was run. `reasons` is non-empty exactly when it failed."""

    name: CheckName
    result: CheckResult
    reasons: tuple[ReasonCode, ...] = ()

    @property
    def passed(self) -> bool:
        """True when it does not stand in the way (passed or not applicable)."""
        return self.result is not CheckResult.FAILED

    @property
    def zh(self) -> str:
        return CHECK_ZH[self.name]

    @property
    def en(self) -> str:
        return CHECK_EN[self.name]


def passed(name: CheckName) -> Check:
    return Check(name, CheckResult.PASSED)


def not_applicable(name: CheckName) -> Check:
    return Check(name, CheckResult.NOT_APPLICABLE)


def checked(name: CheckName, failures: Sequence[ReasonCode]) -> Check:
    """Failed with these reasons (each once, in order), or passed when there are none."""
    if not failures:
        return passed(name)
    return Check(name, CheckResult.FAILED, tuple(dict.fromkeys(failures)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """On what an Allowed rests; it goes into the verification's record.

    `grants` are the ids relied on (none under statutory duty); `spend` those of
    them that this use binds to the case and turns to spent: the spending
    transaction applies `grants.lifecycle.spend` to each. `shard`, `index`, `size`
    locate the item's record in the log; all three are None for a data check
    whose answer is recorded with the verification itself.
    """

    route: Route
    basis: str  # consent | statutory_duty
    grants: tuple[str, ...] = ()
    spend: tuple[str, ...] = ()
    shard: str | None = None
    index: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    checks: tuple[Check, ...]
    evidence: Evidence

    @property
    def outcome(self) -> str:
        return "allowed"


@dataclass(frozen=True, slots=True)
class Denied:
    """`reasons`: every reason once, in the order of the checks; never empty.
    `alternatives`: other routes that the requirement opens."""

    checks: tuple[Check, ...]
    reasons: tuple[ReasonCode, ...]
    alternatives: tuple[Route, ...] = ()

    @property
    def outcome(self) -> str:
        return "denied"

    @property
    def first(self) -> Reason:
        return REASONS[self.reasons[0]]


Decision: TypeAlias = Allowed | Denied


def decide(
    checks: Sequence[Check], evidence: Evidence | None, alternatives: Sequence[Route]
) -> Decision:
    """Allowed when no check failed and there is evidence; otherwise Denied.

    No checks, or none that failed but no evidence, is a mistake of the caller:
    `ValueError`. An empty "all of" must never allow.
    """
    reasons = tuple(dict.fromkeys(code for check in checks for code in check.reasons))
    if reasons:
        return Denied(tuple(checks), reasons, tuple(alternatives))
    if evidence is None or not any(check.result is CheckResult.PASSED for check in checks):
        raise ValueError("nothing was checked")
    return Allowed(tuple(checks), evidence)
