"""The small parts that catalogue models are made of."""

from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from kernel.errors import InvalidInput
from kernel.identifiers import parse_credit_code, parse_matter_code
from materials_api.catalogue.errors import ProblemCode

PERMANENT: Literal["permanent"] = "permanent"


def fail(code: ProblemCode, zh: str, en: str) -> PydanticCustomError:
    """A validation error with a code of ours.

    The two sentences travel as values: a brace in a YAML text is no placeholder.
    """
    return PydanticCustomError(code.value, "{zh} / {en}", {"zh": zh, "en": en})


def _credit_code(text: str) -> str:
    try:
        return parse_credit_code(text)
    except InvalidInput as error:
        raise fail(ProblemCode.WRONG_CREDIT_CODE, error.message_zh(), error.message_en()) from error


def _basic_code(text: str) -> str:
    try:
        code = parse_matter_code(text)
    except InvalidInput as error:
        raise fail(ProblemCode.WRONG_MATTER_CODE, error.message_zh(), error.message_en()) from error
    if code.text != code.basic:
        raise fail(
            ProblemCode.WRONG_MATTER_CODE,
            "此处应为十二位基本编码",
            "the twelve-digit basic code stands here",
        )
    return text


def _retention(
    value: object, handler: ValidatorFunctionWrapHandler
) -> "int | Literal['permanent']":
    try:
        found: int | Literal["permanent"] = handler(value)
    except ValidationError:
        found = 0
    if isinstance(found, int) and not 1 <= found <= 100:
        raise fail(
            ProblemCode.WRONG_VALUE,
            "应为 1 至 100（年）或 permanent",
            "1 to 100 (years) or permanent belongs here",
        )
    return found


Version: TypeAlias = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.\-]{0,31}$")]
Key: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")]
BasicCode: TypeAlias = Annotated[str, AfterValidator(_basic_code)]
CreditCode: TypeAlias = Annotated[str, AfterValidator(_credit_code)]
Retention: TypeAlias = Annotated[int | Literal["permanent"], WrapValidator(_retention)]


class Strict(BaseModel):
    """Unknown keys are errors, nothing is coerced, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Text(Strict):
    """A name that people read."""

    zh: str = Field(min_length=1, max_length=200)
    en: str = Field(min_length=1, max_length=200)
