"""Bodies of the case routes. Answers of writing routes hold ids, codes and times only:
they are remembered for repeats, and nothing personal may stand in plain rows."""

from typing import Annotated, Literal

from pydantic import Field

from kernel.principals import Capacity, Channel
from materials_api.cases.events import CorrectionItem, EventRequest
from materials_api.cases.lifecycle import CaseEvent
from materials_api.cases.opening import Acting, OpenCase
from materials_api.http.common import ReceiptOut, TextOut
from parties.http.wire import HolderIn, UtcTime, Wire
from parties.registry import MAX_NAME, HolderRef

RequirementKey = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$", examples=["lease_contract"])
]
Note = Annotated[str, Field(min_length=1, max_length=2_000)]
CapacityWord = Literal[
    "self", "legal_representative", "license_manager", "operator", "guardian", "agent"
]
StateWord = Literal[
    "draft",
    "submitted",
    "correction_asked",
    "not_accepted",
    "accepted",
    "approved",
    "refused",
    "withdrawn",
    "terminated",
    "closed",
    "filed",
]


class ActingIn(Wire):
    """The natural person who acts, and in which capacity (办理人)."""

    type: str = Field(max_length=32, examples=["111"])
    code: str = Field(max_length=32, examples=["310199199207089155"])
    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)
    capacity: CapacityWord

    def acting(self) -> Acting:
        return Acting(HolderRef(self.type, self.code, self.name), Capacity(self.capacity))


class CaseIn(Wire):
    """A case to open (办件). Without `acting` the applicant acts in person."""

    matter: str = Field(
        max_length=33,
        description="事项编码：12、31 或 33 位 / matter code of any length, or its key",
        examples=["11310199MB2Y01016G4000131014000"],
    )
    variant: str | None = Field(default=None, max_length=64, examples=["moved"])
    applicant: HolderIn
    acting: ActingIn | None = None
    channel: Literal["window", "pc", "mobile", "kiosk"]
    project: str | None = Field(default=None, max_length=64)
    number: str | None = Field(default=None, max_length=64, description="办件编码；空则自动编号")

    def wanted(self) -> OpenCase:
        return OpenCase(
            matter=self.matter,
            applicant=self.applicant.ref(),
            channel=Channel(self.channel),
            variant=self.variant,
            acting=None if self.acting is None else self.acting.acting(),
            project=self.project,
            number=self.number,
        )


class CorrectionItemIn(Wire):
    text: Note
    requirement: RequirementKey | None = None


class EventIn(Wire):
    """An event of the lifecycle; `docs/` has the table."""

    event: Literal[
        "submit",
        "ask_correction",
        "not_accept",
        "accept",
        "approve",
        "refuse",
        "withdraw",
        "terminate",
        "close",
        "file",
    ]
    note: Note | None = Field(default=None, description="not_accept, refuse, terminate need one")
    items: list[CorrectionItemIn] = Field(
        default_factory=list, max_length=64, description="ask_correction: 需要补正的全部内容"
    )
    reject: list[Annotated[str, Field(pattern=r"^mat_[0-9a-z]{26}$")]] = Field(
        default_factory=list, max_length=64, description="ask_correction: 退回的材料"
    )
    with_gaps: bool = Field(default=False, description="容缺：仍有应交未交的材料")

    def wanted(self) -> EventRequest:
        return EventRequest(
            event=CaseEvent(self.event),
            note=self.note,
            items=tuple(CorrectionItem(item.text, item.requirement) for item in self.items),
            reject=tuple(self.reject),
            with_gaps=self.with_gaps,
        )


class CaseOut(Wire):
    """A case by ids, codes and times."""

    case_id: str
    number: str
    matter: str
    matter_name: TextOut
    variant: str
    applicant: str
    person: str
    capacity: str
    project: str | None
    channel: str
    window_org: str | None
    department: str
    state: StateWord
    version: int
    opened_at: UtcTime
    accepted_at: UtcTime | None
    closed_at: UtcTime | None
    origin: Literal["live", "imported"]
    missing: list[str] = Field(description="必交而未满足的要求 / mandatory and not met yet")
    receipt: ReceiptOut


class PartyOut(Wire):
    """Who somebody is. The code is shown in part."""

    party: str
    type: str
    code_masked: str
    name: str | None


class MetOut(Wire):
    """How a requirement is met: `upload`, or an exemption route."""

    route: str
    item: str | None
    verification: str | None
    exemptible: bool
    reason: str | None
    at: UtcTime


class RequirementOut(Wire):
    requirement: str
    name: TextOut
    type: str
    mandatory: bool
    met: MetOut | None


class CaseEventOut(Wire):
    sequence: int
    event: str
    state: StateWord
    at: UtcTime
    role: str
    entry: str


class CaseDetailOut(CaseOut):
    """A case with its people, requirements and process records (过程信息)."""

    applicant_party: PartyOut
    person_party: PartyOut
    outcome: str | None
    requirements: list[RequirementOut]
    events: list[CaseEventOut]


class CaseListItem(Wire):
    case_id: str
    number: str
    matter: str
    variant: str
    applicant: str
    channel: str
    department: str
    state: StateWord
    opened_at: UtcTime
    origin: Literal["live", "imported"]


class CasePage(Wire):
    items: list[CaseListItem]
    next: str | None
