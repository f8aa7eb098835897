"""Bodies of the verification routes. Answers hold ids, codes and sentences, no personal data."""

from typing import Annotated, Literal

from pydantic import Field

from materials_api.http.case_models import RequirementKey
from materials_api.http.common import ReceiptOut
from materials_api.rules.reuse_facts import Basis, Consent, StatutoryDuty
from materials_api.verification.facts import AskedItem
from materials_api.verification.verifying import Verify
from parties.http.wire import HolderIn, UtcTime, Wire

ItemId = Annotated[str, Field(pattern=r"^(mat|lic)_[0-9a-z]{26}$", examples=["mat_" + "0" * 26])]
GrantId = Annotated[str, Field(pattern=r"^grt_[0-9a-z]{26}$")]
Words = Annotated[str, Field(min_length=1, max_length=64)]
Claim = Annotated[str, Field(min_length=1, max_length=500)]
OutcomeWord = Literal["allowed", "denied"]


class ConsentIn(Wire):
    """The holders' own authorisation (本人授权)."""

    kind: Literal["consent"] = "consent"


class DutyIn(Wire):
    """依职能查验: a statutory duty; officer, number and role are named."""

    kind: Literal["statutory_duty"]
    officer: Words
    number: Words
    role: Words


BasisIn = Annotated[ConsentIn | DutyIn, Field(discriminator="kind")]


def basis_of(basis: ConsentIn | DutyIn) -> Basis:
    if isinstance(basis, DutyIn):
        return StatutoryDuty(basis.officer, basis.number, basis.role)
    return Consent()


class AskedItemIn(Wire):
    """An item, the requirement it is to meet, and a grant to rely on (found if not named)."""

    requirement: RequirementKey
    item: ItemId
    grant: GrantId | None = None


class VerifyIn(Wire):
    """All items of a case in one call."""

    case: str = Field(pattern=r"^cas_[0-9a-z]{26}$")
    items: list[AskedItemIn] = Field(min_length=1, max_length=50)
    basis: BasisIn = Field(default_factory=ConsentIn)

    def wanted(self) -> Verify:
        items = tuple(AskedItem(one.requirement, one.item, one.grant) for one in self.items)
        return Verify(self.case, items, basis_of(self.basis))


class DataCheckIn(Wire):
    """Ask the register of a requirement (数据核验).

    `subject`: whom to ask about; without it the applicant or, where the
    requirement is about a person, the legal representative. `claims`: what the
    applicant states, by field of the register; each must agree with it.
    """

    requirement: RequirementKey
    subject: HolderIn | None = None
    claims: dict[RequirementKey, Claim | list[Claim]] = Field(default_factory=dict, max_length=32)
    basis: BasisIn = Field(default_factory=ConsentIn)


class RemedyOut(Wire):
    code: str
    zh: str
    en: str


class ReasonOut(Wire):
    code: str
    zh: str
    en: str
    remedy: RemedyOut


class CheckOut(Wire):
    """One check. `code` and `reasons` are set exactly when it failed."""

    check: str
    zh: str
    en: str
    result: Literal["passed", "failed", "not_applicable"]
    passed: bool
    code: str | None
    reasons: list[ReasonOut]


class RouteOut(Wire):
    route: str
    zh: str
    en: str


class VerificationOut(Wire):
    """One item. `slip`: its 核验结果单. Checks that failed stand first."""

    verification: str
    requirement: str
    item: str
    item_kind: Literal["material", "license", "register"]
    item_type: str
    route: str
    outcome: OutcomeWord
    reason: str | None
    reasons: list[ReasonOut]
    alternatives: list[RouteOut]
    checks: list[CheckOut]
    basis: Literal["consent", "statutory_duty"]
    grants: list[str]
    slip: str
    receipt: ReceiptOut


class CallOut(Wire):
    """All items of a call, those that failed first. `allowed` only if all are."""

    call: str
    case: str
    at: UtcTime
    outcome: OutcomeWord
    items: list[VerificationOut]
