"""Checks of one licence: every check runs and is reported. Pure.

Whether a licence may stand in for a required material is decided in
materials_api, where grants and requirements live; this answers only whether
the licence is what it is taken for, and in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kernel.errors import CodedError
from kernel.identifiers import parse_license_identifier
from license_service.answers import Known, SourceOutage, StatusAnswer
from license_service.lifecycle import LABELS, EffectiveStatus, StatusAt
from license_service.model import LicenseFacts


@dataclass(frozen=True, slots=True)
class Question:
    """What the licence is taken for. `kinds`: any of these will do; None: not asked."""

    holder: str  # party id
    kinds: frozenset[str]
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check and how it ended. `code` is None exactly when it passed."""

    check: str
    code: str | None
    zh: str
    en: str

    @property
    def passed(self) -> bool:
        return self.code is None


# What each status that is not `valid` is called as a reason.
_STATUS_CODES: Mapping[EffectiveStatus, str] = {
    EffectiveStatus.NOT_ISSUED: "license_not_issued",
    EffectiveStatus.NOT_YET_VALID: "license_not_yet_valid",
    EffectiveStatus.EXPIRED: "license_expired",
    EffectiveStatus.SUPERSEDED: "license_superseded",
    EffectiveStatus.SUSPENDED: "license_suspended",
    EffectiveStatus.WITHDRAWN: "license_ended",
    EffectiveStatus.RESCINDED: "license_tainted",
    EffectiveStatus.REVOKED: "license_ended",
    EffectiveStatus.DEREGISTERED: "license_ended",
    EffectiveStatus.ANNULLED: "license_tainted",
}


def verify_license(
    at: datetime, question: Question, facts: LicenseFacts, answer: StatusAnswer | None = None
) -> tuple[Check, ...]:
    """Run every check on a licence as it stands at `at`.

    `answer` is what its source says of the status, if one was asked: an outage
    is a failed check, because what cannot be verified is never called valid.
    """
    checks = [
        _identifier(facts),
        _agrees(facts),
        _named("kind", facts.kind in question.kinds, "证照种类", "kind"),
        _named("holder", facts.holder == question.holder, "持证主体", "holder"),
    ]
    if question.issuer is not None:
        checks.append(_named("issuer", facts.issuer == question.issuer, "发证机关", "issuer"))
    checks.append(_status("status", facts.status_at(at)))
    if answer is not None:
        checks.append(_source(answer))
    return tuple(checks)


def failures(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(check for check in checks if not check.passed)


def _identifier(facts: LicenseFacts) -> Check:
    name = "identifier"
    try:
        parse_license_identifier(facts.identifier or "")
    except CodedError as error:
        return Check(
            name,
            "license_identifier_invalid",
            f"电子证照标识无效：{error.message_zh()}",
            f"the licence identifier is not valid: {error.message_en()}",
        )
    return Check(name, None, "电子证照标识校验通过", "the licence identifier is valid")


def _agrees(facts: LicenseFacts) -> Check:
    if facts.disagreements:
        return Check(
            "record",
            "license_record_mismatch",
            "证照登记与存证不一致",
            "the row of the licence does not agree with its records",
        )
    return Check("record", None, "登记与存证一致", "row and records agree")


def _named(name: str, same: bool, zh: str, en: str) -> Check:
    if same:
        return Check(name, None, f"{zh}一致", f"the {en} matches")
    return Check(name, f"license_{name}_differs", f"{zh}不一致", f"the {en} differs")


def _status(name: str, status: StatusAt) -> Check:
    if status.valid:
        return Check(name, None, "证照有效", "the licence is in force")
    code = "license_tainted" if status.tainted else _STATUS_CODES[status.status]
    label = LABELS[status.status.value]
    zh, _, en = label.partition(" ")
    if status.tainted:
        return Check(
            name,
            code,
            f"证照已被撤销或废止，追溯既往（{zh}）",
            f"the licence was rescinded or annulled, which reaches back ({en})",
        )
    return Check(name, code, f"证照状态：{zh}", f"the licence is {en}")


def _source(answer: StatusAnswer) -> Check:
    if isinstance(answer, Known):
        return _status("source", answer.license.status)
    if isinstance(answer, SourceOutage):
        return Check(
            "source",
            "source_outage",
            "证照来源暂时无法查询",
            "the licence source cannot be asked now",
        )
    return Check(
        "source",
        "license_unknown_to_source",
        "证照来源查无此证",
        "the licence source has no such licence",
    )
