"""The catalogue's model: strict, frozen, in one piece. No file, no YAML, no clock.

Each part is valid as soon as it exists; that the parts fit together is checked
by `consistency`, which the loader runs. A catalogue's identity is the SHA-256 of
its canonical JSON; cases name the catalogue under which they were opened, so
that a later change of rules never rewrites an older case.
"""

import hashlib
from functools import cached_property
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from kernel.canonical import canonical_bytes
from kernel.identifiers import MatterKind
from materials_api.catalogue.errors import (
    CatalogueUnreadable,
    MaterialTypeUnknown,
    MatterUnknown,
    ProblemCode,
    RegisterUnknown,
    RequirementUnknown,
    VariantNeeded,
    VariantUnknown,
)
from materials_api.catalogue.fields import (
    BasicCode,
    CreditCode,
    Key,
    Retention,
    Strict,
    Text,
    Version,
    fail,
)
from materials_api.catalogue.requirements import MaterialType, Register, Requirement
from materials_api.catalogue.terms import ConsentRule

__all__ = [
    "ArchiveOffice",
    "Catalogue",
    "MaterialType",
    "Matter",
    "Register",
    "Requirement",
    "Text",
    "TimeLimits",
    "Variant",
]


class Variant(Strict):
    """A business situation of a matter (业务情形), e.g. new, moved."""

    key: Key
    name: Text


class TimeLimits(Strict):
    """Working days (工作日)."""

    acceptance: int = Field(default=5, ge=0, le=60)
    statutory: int = Field(ge=0, le=365)
    promised: int = Field(ge=0, le=365)

    @model_validator(mode="after")
    def _promise_holds(self) -> "TimeLimits":
        if self.promised > self.statutory:
            raise fail(
                ProblemCode.CONTRADICTION,
                "承诺时限长于法定时限",
                "the promised limit exceeds the statutory one",
            )
        return self


class Matter(Strict):
    """A matter (事项). `code` is the 12-digit basic catalogue code:
    region 2, kind 2, main item 5, sub-item 3."""

    code: BasicCode
    key: Key
    name: Text
    department: CreditCode  # the deciding body
    department_name: Text
    level: str = Field(pattern=r"^[1-9]$")  # 行使层级, 4: district or county
    implementing_code: str | None = None  # 31 characters, as `full_code`
    holder: Literal["person", "organization", "either"]
    variants: tuple[Variant, ...] = Field(min_length=1)
    time_limits: TimeLimits
    retention: Retention
    result: Key | None = None  # licence kind that an approval issues
    requirements: tuple[Requirement, ...] = Field(min_length=1)

    @property
    def full_code(self) -> str:
        """The 31-character implementing code: department 18, level 1, basic code 12."""
        return self.department + self.level + self.code

    @property
    def region(self) -> str:
        return self.code[0:2]

    @property
    def kind(self) -> MatterKind:
        return MatterKind(self.code[2:4])

    def variant(self, key: str | None) -> Variant:
        """The variant of this key; the only one when `key` is None.

        Raises `VariantUnknown`, or `VariantNeeded` when there are several.
        """
        known = ", ".join(variant.key for variant in self.variants)
        if key is None:
            if len(self.variants) > 1:
                raise VariantNeeded(known=known)
            return self.variants[0]
        for variant in self.variants:
            if variant.key == key:
                return variant
        raise VariantUnknown(variant=key[:64], known=known)

    def required(self, variant: str) -> tuple[Requirement, ...]:
        """All requirements of the variant, mandatory or not, in order."""
        return tuple(rule for rule in self.requirements if rule.in_variant(variant))

    def requirement(self, variant: str, key: str) -> Requirement:
        """One requirement of the variant; `RequirementUnknown` when it has none such."""
        for requirement in self.required(variant):
            if requirement.key == key:
                return requirement
        raise RequirementUnknown(requirement=key[:64])

    def name_of(self, variant: str) -> Text:
        """The matter's name with its variant, as slips show it."""
        if len(self.variants) == 1:
            return self.name
        name = self.variant(variant).name
        return Text(zh=f"{self.name.zh}（{name.zh}）", en=f"{self.name.en} ({name.en})")

    @model_validator(mode="after")
    def _code_holds(self) -> "Matter":
        full = self.full_code
        if self.implementing_code is not None and self.implementing_code != full:
            raise fail(
                ProblemCode.WRONG_MATTER_CODE,
                f"实施编码应为 {full}（行政机关代码、行使层级、基本编码）",
                f"the implementing code should be {full} (body, level, basic code)",
            )
        return self


class ArchiveOffice(Strict):
    """An archive office (档案馆) and the bodies whose archives it keeps (全宗).

    Its archivists see the closed cases of these bodies, and nobody else's. A body's
    own record room (档案室) needs no line here.
    """

    body: CreditCode
    name: Text
    keeps: tuple[CreditCode, ...] = Field(min_length=1)


class Catalogue(Strict):
    """The whole catalogue. `version` is what its editors call it, e.g. `2026.11`.

    `archives` came later: without any, the canonical form is that of a catalogue that
    does not know the word, so that older ones keep their SHA-256.
    """

    version: Version
    registers: tuple[Register, ...]
    types: tuple[MaterialType, ...]
    matters: tuple[Matter, ...]
    archives: tuple[ArchiveOffice, ...] = ()

    @cached_property
    def canonical(self) -> bytes:
        """Canonical JSON of the whole catalogue, as `catalogue_versions.content` keeps it."""
        exclude = None if self.archives else {"archives"}
        return canonical_bytes(self.model_dump(mode="json", by_alias=True, exclude=exclude))

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.canonical).digest()

    @classmethod
    def parse(cls, content: bytes) -> "Catalogue":
        """Read `canonical` back; `CatalogueUnreadable` when it does not validate."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise CatalogueUnreadable(sha256=hashlib.sha256(content).hexdigest()) from error

    @cached_property
    def _matters(self) -> dict[str, Matter]:
        by_key = {matter.key: matter for matter in self.matters}
        return by_key | {matter.code: matter for matter in self.matters}

    @cached_property
    def _types(self) -> dict[str, MaterialType]:
        return {type_.key: type_ for type_ in self.types}

    @cached_property
    def _registers(self) -> dict[str, Register]:
        return {register.key: register for register in self.registers}

    @cached_property
    def fonds(self) -> dict[str, frozenset[str]]:
        """By archive office: the bodies whose archives it keeps."""
        return {archive.body: frozenset(archive.keeps) for archive in self.archives}

    def find_matter(self, code: str) -> Matter | None:
        """By 12-digit basic code, implementing code (31) or business item (33), or key.

        Longer codes must name this matter's own department and level.
        """
        if len(code) in (31, 33) and code not in self._matters:
            matter = self._matters.get(code[19:31])
            own = matter is not None and code.startswith(matter.full_code)
            return matter if own and code[31:].isascii() else None
        return self._matters.get(code)

    def matter(self, code: str) -> Matter:
        """As `find_matter`, but an unknown one is `MatterUnknown`."""
        matter = self.find_matter(code)
        if matter is None:
            raise MatterUnknown(matter=code[:64])
        return matter

    def type(self, key: str) -> MaterialType:
        found = self._types.get(key)
        if found is None:
            raise MaterialTypeUnknown(type=key[:64])
        return found

    def register_of(self, key: str) -> Register:
        found = self._registers.get(key)
        if found is None:
            raise RegisterUnknown(register=key[:64])
        return found

    def name_of(self, requirement: Requirement) -> Text:
        return requirement.name or self.type(requirement.type).name

    def consent_of(self, requirement: Requirement) -> ConsentRule:
        return requirement.consent or self.type(requirement.type).consent
