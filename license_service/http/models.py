"""Bodies of the licence routes. Who sees which is decided in `views`."""

from typing import Annotated, Literal

from pydantic import Field

from license_service.issuing import MAX_ATTRIBUTE, MAX_NAME, MAX_NUMBER, MAX_PERMITS
from license_service.model import DraftLicense, MatterRef, Successor
from parties.http.wire import HolderIn, UtcTime, Wire

LICENSE_ID = r"^lic_[0-9a-z]{26}$"
CASE_ID = r"^cas_[0-9a-z]{26}$"
KindKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$", examples=["business_license"])]
Identifier = Annotated[
    str,
    Field(
        max_length=96,
        examples=["1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G"],
    ),
]
Number = Annotated[str, Field(min_length=1, max_length=MAX_NUMBER)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Attributes = Annotated[
    dict[str, Annotated[str, Field(min_length=1, max_length=MAX_ATTRIBUTE)]],
    Field(max_length=30),
]
Permits = Annotated[list[Annotated[str, Field(pattern=LICENSE_ID)]], Field(max_length=MAX_PERMITS)]


class MatterIn(Wire):
    code: str = Field(max_length=33)
    name: Name

    def ref(self) -> MatterRef:
        return MatterRef(self.code, self.name)


class LicenseIn(Wire):
    """A licence to make ready (制证). The issuer is the caller's own body."""

    kind: KindKey
    holder: HolderIn
    issuer_name: Name
    number: Number
    area_code: str = Field(pattern=r"^[0-9]{6}([0-9]{3}){0,2}$")
    valid_from: UtcTime | None = None
    valid_until: UtcTime | None = Field(default=None, description="exclusive")
    identifier: Identifier | None = Field(
        default=None, description="if it has one already; otherwise built when issued"
    )
    matter: MatterIn | None = None
    source_case: str | None = Field(default=None, pattern=CASE_ID)
    attributes: Attributes = Field(default_factory=dict)
    permits: Permits = Field(default_factory=list)

    def draft(self, holder: str) -> DraftLicense:
        return DraftLicense(
            kind=self.kind,
            holder=holder,
            issuer_name=self.issuer_name,
            number=self.number,
            area_code=self.area_code,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            identifier=self.identifier,
            matter=None if self.matter is None else self.matter.ref(),
            source_case=self.source_case,
            attributes=self.attributes,
            permits=tuple(self.permits),
        )


class SuccessorIn(Wire):
    """What differs in the new version; what is left out stays as it was."""

    number: Number | None = None
    issuer_name: Name | None = None
    valid_from: UtcTime | None = None
    valid_until: UtcTime | None = Field(default=None, description="exclusive")
    identifier: Identifier | None = None
    matter: MatterIn | None = None
    source_case: str | None = Field(default=None, pattern=CASE_ID)
    attributes: Attributes = Field(default_factory=dict)
    permits: Permits | None = None

    def successor(self) -> Successor:
        return Successor(
            number=self.number,
            issuer_name=self.issuer_name,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            identifier=self.identifier,
            matter=None if self.matter is None else self.matter.ref(),
            source_case=self.source_case,
            attributes=self.attributes,
            permits=None if self.permits is None else tuple(self.permits),
        )


class EventIn(Wire):
    """An event of the lifecycle. Change, renew and reissue come with a `successor`."""

    event: Literal[
        "issue",
        "inspect",
        "change",
        "renew",
        "reissue",
        "suspend",
        "resume",
        "withdraw",
        "rescind",
        "revoke",
        "deregister",
        "annul",
    ]
    effective_at: UtcTime | None = Field(
        default=None, description="now, or earlier but not before the preceding event"
    )
    reason: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,47}$")
    successor: SuccessorIn | None = None


class StatusIn(Wire):
    identifier: Identifier
    at: UtcTime | None = None


class TextOut(Wire):
    zh: str
    en: str


class LicenseOut(Wire):
    """A licence without what is personal: for answers to events, and for other bodies.

    `status` is the effective one at the time of the answer; `tainted`: it was
    rescinded or annulled, which reaches back.
    """

    license_id: str
    kind: str
    name: TextOut
    issuer: str
    status: str
    tainted: bool
    valid_from: UtcTime | None
    valid_until: UtcTime | None
    supersedes: str | None
    version: int = Field(description="raised by every event")


class IssuedOut(LicenseOut):
    """The answer to a writing request: also the identifier, and where the receipt is."""

    identifier: str | None
    entry_id: str
    receipt: str = Field(description="path of the receipt of the newest record")


class HolderOut(Wire):
    party_id: str
    type: str
    code: str
    name: str | None


class FaceOut(Wire):
    """A field that the licence shows (照面信息)."""

    key: str
    zh: str
    en: str
    value: str


class EventOut(Wire):
    event: str
    status: str
    effective_at: UtcTime


class FullLicenseOut(IssuedOut):
    """Everything: for the holder and the issuing body only."""

    holder: HolderOut
    number: str
    issuer_name: str
    area_code: str
    source_case: str | None
    face: list[FaceOut]
    permits: list[LicenseOut]
    history: list[EventOut]


class LicensePage(Wire):
    items: list[IssuedOut]
    next: str | None


class StatusOut(Wire):
    """The status of a licence at a moment (证照状态)."""

    identifier: str
    kind: str
    issuer: str
    issuer_name: str
    status: str
    tainted: bool
    since: UtcTime | None
    valid_from: UtcTime | None
    valid_until: UtcTime | None
    at: UtcTime
    source: str


class FaceFieldOut(Wire):
    key: str
    zh: str
    en: str


class KindOut(Wire):
    key: str
    name: TextOut
    type_code: str
    defined_by: TextOut
    holder: str
    bundle: bool
    months: int | None = Field(description="default validity; null: no end")
    face: list[FaceFieldOut]


class KindsOut(Wire):
    version: str
    items: list[KindOut]
