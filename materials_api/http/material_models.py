"""Bodies of the material routes. Answers of writing routes hold no personal data."""

from typing import Annotated, Literal

from pydantic import Field

from materials_api.catalogue.terms import PartyRole, Provenance
from materials_api.http.case_models import RequirementKey
from materials_api.http.common import Day, ReceiptOut, TextOut
from materials_api.materials.checks import FileInput, PartyInput, RegisterMaterial
from materials_api.materials.invalidation import InvalidReason
from parties.http.wire import UtcTime, Wire
from parties.registry import MAX_NAME, HolderRef

ProvenanceWord = Literal[
    "unchecked_copy", "back_scan", "certified_copy", "data_checked", "authority_issued"
]
StatusWord = Literal[
    "pending",
    "reusable",
    "rejected",
    "superseded",
    "stopped_pending",
    "stopped",
    "invalidated",
    "erased",
]
RoleWord = Literal["owner", "co_owner", "tenant", "spouse", "child", "guardian"]
TypeKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$", examples=["lease_contract"])]


class PartyIn(Wire):
    """A party of the material, and in which role (权利人、共有人、承租人……)."""

    type: str = Field(max_length=32)
    code: str = Field(max_length=32)
    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)
    role: RoleWord = "owner"

    def party(self) -> PartyInput:
        return PartyInput(HolderRef(self.type, self.code, self.name), PartyRole(self.role))


class FileIn(Wire):
    upload: str = Field(max_length=64, examples=["upl_" + "0" * 26])
    name: str = Field(min_length=1, max_length=255, description="文件原名 / the file's own name")


class MaterialFields(Wire):
    """What a registration says beside its files."""

    type: TypeKey
    title: str = Field(min_length=1, max_length=200)
    requirement: RequirementKey | None = None
    provenance: ProvenanceWord = "unchecked_copy"
    parties: list[PartyIn] = Field(
        default_factory=list, max_length=16, description="空：办件申请人 / empty: the applicant"
    )
    issued_at: Day | None = Field(default=None, description="出具日期 / date on the document")
    valid_until: Day | None = Field(default=None, description="有效期至（含当日）/ last valid day")
    supersedes: str | None = Field(default=None, pattern=r"^mat_[0-9a-z]{26}$")
    certified_by: str | None = Field(
        default=None, min_length=1, max_length=64, description="核对人；空则为凭证上的经办人员"
    )
    certified_at: UtcTime | None = None
    reason: str | None = Field(
        default=None,
        max_length=64,
        description="应免未免的原因 / why it is brought although exempt",
    )

    def wanted(self, files: tuple[FileInput, ...]) -> RegisterMaterial:
        return RegisterMaterial(
            type=self.type,
            title=self.title,
            provenance=Provenance(self.provenance),
            files=files,
            requirement=self.requirement,
            parties=tuple(party.party() for party in self.parties),
            issued_at=self.issued_at,
            valid_until=self.valid_until,
            supersedes=self.supersedes,
            certified_by=self.certified_by,
            certified_at=self.certified_at,
            reason=self.reason,
        )


class MaterialIn(MaterialFields):
    """A material to register: uploads become part of a case."""

    files: list[FileIn] = Field(min_length=1, max_length=64)

    def registration(self) -> RegisterMaterial:
        return self.wanted(tuple(FileInput(file.upload, file.name) for file in self.files))


class FormBody(Wire):
    """What identifies a browser form for its Idempotency-Key."""

    fields: dict[str, str]
    files: list[tuple[str, str]]


class RegisteredOut(Wire):
    """A material that was just registered."""

    material_id: str
    case_id: str
    type: str
    status: StatusWord
    receipt: ReceiptOut


class MaterialItem(Wire):
    """A material by ids, codes and dates."""

    material_id: str
    type: str
    case_id: str
    status: StatusWord
    version: int
    provenance: ProvenanceWord
    issued_at: Day | None
    valid_until: Day | None
    supersedes: str | None
    retain_until: UtcTime | None
    registered_at: UtcTime
    receipt: str = Field(description="存证回执地址 / where its receipt is")


class MaterialPage(Wire):
    items: list[MaterialItem]
    next: str | None


class FileOut(Wire):
    position: int
    name: str
    media_type: str
    size: int
    digests: dict[Literal["sha256", "sm3"], str]


class ShareOut(Wire):
    party: str
    role: RoleWord
    name: str | None


class CertifiedOut(Wire):
    """与原件核对一致: who compared it with the original, and when."""

    by: str
    at: UtcTime


class MaterialOut(MaterialItem):
    """A material as its record tells it. Once erased, nothing but `MaterialItem` is left."""

    type_name: TextOut
    title: str
    requirement: str | None
    parties: list[ShareOut]
    files: list[FileOut]
    certified: CertifiedOut | None


class StatusOut(Wire):
    material_id: str
    status: StatusWord


class InvalidateIn(Wire):
    reason: Literal["forged", "false_statement", "issued_in_error", "other"]
    note: str | None = Field(default=None, min_length=1, max_length=2_000)

    def why(self) -> InvalidReason:
        return InvalidReason(self.reason)


class UsingCaseOut(Wire):
    case_id: str
    number: str
    matter: str
    department: str
    state: str


class InvalidatedOut(Wire):
    """Where the material was used, oldest first, and the task made for each case."""

    material_id: str
    status: StatusWord
    cases: list[UsingCaseOut]
    tasks: list[str]


class ErasureOut(Wire):
    """`pending`: nothing shows it any more, but a trace may be in a file of ours yet.

    `older_copies`: whether backups made before can still be opened with the keys of
    that time: `closed` once the operator has rotated the keys.
    """

    material_id: str
    erasure: Literal["pending", "done"]
    older_copies: Literal["readable", "closed"]
