"""Bodies of the grant routes. Answers of writing routes hold ids and codes only: what a
holder previews, and the purpose, stand in `GrantDetailOut`, which is never remembered."""

from typing import Annotated, Literal

from pydantic import Field

from materials_api.grants.granting import MakeGrant
from materials_api.grants.lifecycle import GrantUse
from materials_api.grants.requests import AskGrant
from materials_api.http.case_models import CapacityWord, RequirementKey
from materials_api.http.common import TextOut
from materials_api.http.material_models import MaterialOut
from materials_api.http.verification_models import ItemId
from parties.http.wire import UtcTime, Wire

Purpose = Annotated[
    str, Field(min_length=1, max_length=200, description="使用目的 / what it is needed for")
]
UseWord = Literal["once", "until"]
StandingWord = Literal["requested", "granted", "declined", "lapsed", "spent", "revoked", "expired"]


class AskGrantIn(Wire):
    """A window asks: `items` that it knows, or `requirements` for which the store
    chooses. One grant comes out per holder that has to be asked."""

    purpose: Purpose
    use: UseWord = "once"
    items: list[ItemId] = Field(default_factory=list, max_length=50)
    requirements: list[RequirementKey] = Field(default_factory=list, max_length=50)
    expires_at: UtcTime | None = Field(default=None, description="needed for use `until`")

    def wanted(self) -> AskGrant:
        return AskGrant(
            purpose=self.purpose,
            use=GrantUse(self.use),
            items=tuple(self.items),
            requirements=tuple(self.requirements),
            expires_at=self.expires_at,
        )


class MakeGrantIn(Wire):
    """A holder grants unasked. Without `case` the first case that uses it binds it."""

    items: list[ItemId] = Field(min_length=1, max_length=50)
    purpose: Purpose
    use: UseWord = "once"
    case: str | None = Field(default=None, pattern=r"^cas_[0-9a-z]{26}$")
    audience: str | None = Field(
        default=None, pattern=r"^[0-9A-HJ-NPQRTUWXY]{18}$", description="credit code of a body"
    )
    matter: str | None = Field(default=None, max_length=33)
    expires_at: UtcTime | None = Field(default=None, description="needed for use `until`")

    def wanted(self) -> MakeGrant:
        return MakeGrant(
            items=tuple(self.items),
            purpose=self.purpose,
            use=GrantUse(self.use),
            case=self.case,
            audience=self.audience,
            matter=self.matter,
            expires_at=self.expires_at,
        )


class ApproveIn(Wire):
    """Without `items`: all that was asked for."""

    items: list[ItemId] | None = Field(default=None, min_length=1, max_length=50)


class RedeemIn(Wire):
    code: str = Field(min_length=1, max_length=32, description="亮证码", examples=["7K2D-9QXM"])


class ShowCodeOut(Wire):
    """亮证码: shown once, valid for a minute, for one use."""

    code: str
    expires_at: UtcTime


class GrantItemOut(Wire):
    """`item` is told to a window only once the holder has agreed to it."""

    item: str | None
    kind: Literal["material", "license"]
    type: str
    requirement: str | None
    approved: bool


class GrantOut(Wire):
    """`status` counts the dates in: a grant past its end is `expired`."""

    grant_id: str
    status: StandingWord
    holder: str
    case_id: str | None
    audience: str | None
    matter: str | None
    use: UseWord
    items: list[GrantItemOut]
    capacity: CapacityWord | None
    requested_at: UtcTime
    decided_at: UtcTime | None
    expires_at: UtcTime | None
    spent_at: UtcTime | None
    receipt: str


class GrantPage(Wire):
    items: list[GrantOut]
    next: str | None


class AskedByOut(Wire):
    org: str | None
    unit: str | None
    officer: str | None


class GrantCaseOut(Wire):
    """For which case: what the holder must know before agreeing."""

    case_id: str
    number: str
    matter: TextOut
    department: TextOut
    handled_by: list[str] = Field(description="credit codes of the bodies that may see it")


class LicensePreviewOut(Wire):
    """A licence as it would be shown."""

    license_id: str
    kind: str
    name: TextOut
    identifier: str | None
    number: str
    issuer: str
    issuer_name: str
    valid_from: UtcTime | None
    valid_until: UtcTime | None
    status: str
    attributes: dict[str, str]


class PreviewOut(Wire):
    """Exactly what would be shown of one item. Neither is set once it was erased."""

    item: str
    material: MaterialOut | None = None
    license: LicensePreviewOut | None = None


class GrantDetailOut(GrantOut):
    """A grant with its purpose and, for its holder alone, what would be shown to whom."""

    purpose: str
    asked_by: AskedByOut | None
    case: GrantCaseOut | None
    preview: list[PreviewOut] | None
