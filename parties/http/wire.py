"""Types of JSON bodies that several rooms share: strict, and unknown fields are errors."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from kernel.clock import time_text, to_millis
from parties.registry import MAX_NAME, HolderRef


class Wire(BaseModel):
    """Base of every body: no coercion, no unknown fields, no change after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _read_time(value: Any) -> Any:
    # Strict models take no text for a time, and lax ones take numbers: neither is meant.
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("not an RFC 3339 time") from None
    if not isinstance(value, datetime):
        raise ValueError("a time is written as text")
    if value.tzinfo is None:
        raise ValueError("a time needs its offset, e.g. +08:00 or Z")
    return value


def _storable(value: datetime) -> datetime:
    # The edges of the calendar overflow when a zone is applied to them.
    if not 1800 <= value.year <= 9000:
        raise ValueError("a year between 1800 and 9000")
    return to_millis(value.astimezone(UTC))


UtcTime = Annotated[
    datetime,
    BeforeValidator(_read_time),
    AfterValidator(_storable),
    PlainSerializer(time_text, return_type=str),
    Field(description="RFC 3339 time with its offset; answers are UTC with milliseconds"),
]


class HolderIn(Wire):
    """A holder as the outside names it (主体): type word, code, name."""

    type: str = Field(max_length=32, examples=["111"])
    code: str = Field(max_length=32, examples=["310199198802299064"])
    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)

    def ref(self) -> HolderRef:
        return HolderRef(self.type, self.code, self.name)


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[ -~]+$",
        description="重试同一请求时使用同一个键。The same key again gets the first answer.",
    ),
]
