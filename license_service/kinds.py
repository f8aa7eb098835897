"""Kinds of licences as data: read from YAML, checked once, then fixed."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kernel.clock import CHINA
from kernel.errors import CodedError
from kernel.identifiers import parse_credit_code
from license_service.errors import KindsInvalid, LicenseKindUnknown

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")]
Words = Annotated[str, Field(min_length=1, max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Text(_Strict):
    zh: Words
    en: Words


class Authority(_Strict):
    """A body that defines licence types (证照类型定义机构)."""

    code: str = Field(min_length=18, max_length=18)
    zh: Words
    en: Words


class FaceField(_Strict):
    """A field that the licence shows (照面信息)."""

    key: Key
    zh: Words
    en: Words


class Validity(_Strict):
    """How long a licence is good for unless its issuer says otherwise."""

    years: int = Field(default=0, ge=0, le=100)
    months: int = Field(default=0, ge=0, le=1200)

    @model_validator(mode="after")
    def _some(self) -> "Validity":
        if self.years + self.months == 0:
            raise ValueError("a validity of nothing")
        return self

    def end(self, start: datetime) -> datetime:
        """The same day and hour in China that many months later, exclusive.

        A day that the month does not have (29 February, 31 April) becomes the
        first day of the next month, so that no day of the term is lost.
        """
        local = start.astimezone(CHINA)
        months = local.month - 1 + self.months + 12 * self.years
        year, month = local.year + months // 12, months % 12 + 1
        first = local.replace(year=year, month=month, day=1)
        end = first + timedelta(days=local.day - 1)
        if end.month != month:
            end = (first + timedelta(days=31)).replace(day=1)
        return end.astimezone(start.tzinfo)


class Kind(_Strict):
    """One kind of licence. `bundle`: it lists permits that keep their own effect (一业一证)."""

    key: Key
    name: Text
    defined_by: Authority
    type: str = Field(pattern=r"^[0-9]{3}$")
    holder: Literal["person", "organization", "either"]
    validity: Validity | None
    bundle: bool
    face: tuple[FaceField, ...]

    @property
    def type_code(self) -> str:
        """21 characters: defining authority and type (GB/T 36904)."""
        return self.defined_by.code + self.type

    def allows(self, holder_kind: str) -> bool:
        """Whether a `person` or an `organization` may hold it."""
        return self.holder in ("either", holder_kind)


class Kinds:
    """All kinds, by key."""

    def __init__(self, version: str, kinds: Mapping[str, Kind]) -> None:
        self.version = version
        self._kinds = dict(kinds)

    def get(self, key: str) -> Kind:
        kind = self._kinds.get(key)
        if kind is None:
            # What was sent is echoed only if it has the form of a key.
            shown = key if re.fullmatch(r"[a-z][a-z0-9_]{1,47}", key) else "?"
            raise LicenseKindUnknown(kind=shown)
        return kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def __contains__(self, key: object) -> bool:
        return key in self._kinds

    def __len__(self) -> int:
        return len(self._kinds)


class _KindEntry(_Strict):
    key: Key
    name: Text
    authority: Key
    type: str
    holder: Literal["person", "organization", "either"]
    validity: Validity | None
    bundle: bool = False
    face: list[FaceField] = Field(max_length=30)


class _File(_Strict):
    version: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}(\.[0-9]+)?$")]
    authorities: dict[Key, Authority]
    kinds: list[_KindEntry] = Field(min_length=1, max_length=2000)


def parse_kinds(text: str) -> Kinds:
    """Read the YAML text of a kinds file. Any fault is `KindsInvalid` with its place."""
    try:
        file = _File.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise KindsInvalid(reason="not YAML") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise KindsInvalid(reason=f"{place}: {first['msg']}") from error
    for key, authority in file.authorities.items():
        try:
            parse_credit_code(authority.code)
        except CodedError as error:
            raise KindsInvalid(reason=f"authorities.{key}: {error.code}") from error
    kinds: dict[str, Kind] = {}
    type_codes: set[str] = set()
    for entry in file.kinds:
        kind = _kind(entry, file.authorities)
        if kind.key in kinds or kind.type_code in type_codes:
            raise KindsInvalid(reason=f"{kind.key}: key or type code used twice")
        kinds[kind.key] = kind
        type_codes.add(kind.type_code)
    return Kinds(file.version, kinds)


def _kind(entry: _KindEntry, authorities: Mapping[str, Authority]) -> Kind:
    if entry.authority not in authorities:
        raise KindsInvalid(reason=f"{entry.key}: unknown authority")
    if len({field.key for field in entry.face}) != len(entry.face):
        raise KindsInvalid(reason=f"{entry.key}: a face field occurs twice")
    try:
        return Kind(
            key=entry.key,
            name=entry.name,
            defined_by=authorities[entry.authority],
            type=entry.type,
            holder=entry.holder,
            validity=entry.validity,
            bundle=entry.bundle,
            face=tuple(entry.face),
        )
    except ValidationError as error:
        raise KindsInvalid(reason=f"{entry.key}: {error.errors()[0]['msg']}") from error


def load_kinds() -> Kinds:
    """The kinds that come with the product."""
    return parse_kinds(files("license_service").joinpath("kinds.yaml").read_text("utf-8"))
