"""Refusals of the catalogue, and the problems that its validation finds."""

from dataclasses import dataclass
from enum import StrEnum

from kernel.errors import InvalidInput, NotFound, Unavailable


class MatterUnknown(InvalidInput):
    code = "matter_unknown"
    zh = "事项不在目录内：{matter}"
    en = "no such matter in the catalogue: {matter}"


class MatterNotListed(NotFound):
    code = "matter_not_listed"
    zh = "目录中没有这个事项"
    en = "the catalogue lists no such matter"


class VariantUnknown(InvalidInput):
    code = "variant_unknown"
    zh = "事项没有此业务情形：{variant}（可选：{known}）"
    en = "the matter has no such variant: {variant} (known: {known})"


class VariantNeeded(InvalidInput):
    code = "variant_needed"
    zh = "该事项须选择业务情形（可选：{known}）"
    en = "this matter needs a variant (known: {known})"


class RequirementUnknown(InvalidInput):
    code = "requirement_unknown"
    zh = "该事项及情形不要求此项：{requirement}"
    en = "this matter and variant have no such requirement: {requirement}"


class MaterialTypeUnknown(InvalidInput):
    code = "material_type_unknown"
    zh = "材料类型不在目录内：{type}"
    en = "no such material type in the catalogue: {type}"


class RegisterUnknown(InvalidInput):
    code = "register_unknown"
    zh = "登记库不在目录内：{register}"
    en = "no such register in the catalogue: {register}"


class ProblemCode(StrEnum):
    """Everything that can be wrong with catalogue files. Never renamed."""

    FILE_MISSING = "catalogue_file_missing"
    FILE_TOO_LARGE = "catalogue_file_too_large"
    YAML_SYNTAX = "catalogue_yaml_syntax"
    YAML_FEATURE = "catalogue_yaml_feature"
    DUPLICATE_KEY = "catalogue_duplicate_key"
    UNKNOWN_KEY = "catalogue_unknown_key"
    MISSING_KEY = "catalogue_missing_key"
    WRONG_TYPE = "catalogue_wrong_type"
    WRONG_VALUE = "catalogue_wrong_value"
    UNKNOWN_ROUTE = "catalogue_unknown_route"
    WRONG_MATTER_CODE = "catalogue_wrong_matter_code"
    WRONG_CREDIT_CODE = "catalogue_wrong_credit_code"
    DUPLICATE_CODE = "catalogue_duplicate_code"
    UNKNOWN_REFERENCE = "catalogue_unknown_reference"
    CONTRADICTION = "catalogue_contradiction"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of one file. `line` counts from 1; 0 where no line is known."""

    code: ProblemCode
    file: str
    line: int
    key: str
    zh: str
    en: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place} {self.key}: {self.zh} / {self.en} [{self.code}]"


MOST_SHOWN = 20


class CatalogueInvalid(InvalidInput):
    """The catalogue's files do not validate. `problems` lists all that was found, the
    details the first `MOST_SHOWN`."""

    code = "catalogue_invalid"
    zh = "事项目录有 {count} 处错误：{problems}"
    en = "the catalogue has {count} problem(s): {problems}"

    def __init__(self, problems: list[Problem]) -> None:
        shown = [str(problem) for problem in problems[:MOST_SHOWN]]
        super().__init__(count=len(problems), problems=shown)
        self.problems = tuple(problems)


class CatalogueUnreadable(Unavailable):
    """Stored catalogue content that this version of the program cannot read."""

    code = "catalogue_unreadable"
    zh = "已存的事项目录无法读取（版本 {sha256}）"
    en = "the stored catalogue cannot be read (version {sha256})"
