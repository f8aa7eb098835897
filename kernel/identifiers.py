"""Identifiers of people, bodies, matters and e-licences, with their check characters.

Everything here is pure. A parser returns a value or raises a coded refusal from
`kernel.identifier_errors`; it accepts exactly one spelling, so that two texts
never name the same thing. Lower case, full-width digits and spaces are refused.

What a check character promises: in citizen numbers (mod 11), credit codes (mod
31) and e-licence identifiers (ISO 7064 MOD 37,36) a change of any one character
is always found, because 11, 31 and 37 are prime and no weight is a multiple of
them. Matter codes, passports and travel permits carry none: there a mistyped
character is found only where it breaks the form.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from kernel.identifier_errors import (
    BirthDateImpossible,
    BirthDateInFuture,
    CheckCharacterWrong,
    HolderTypeUnknown,
    IdentifierMalformed,
    MatterKindUnknown,
)


def _match(pattern: "re.Pattern[str]", text: str, what: str) -> "re.Match[str]":
    found = pattern.fullmatch(text)
    if found is None:
        raise IdentifierMalformed(what=what)
    return found


# --- Citizen number, GB 11643 -------------------------------------------------

# The first digit is the region group of GB/T 2260. Area codes beyond it are not
# looked up: abolished ones stay in use for a lifetime. 81, 82 and 83 begin the
# numbers of residence permits, which are a holder type of their own.
_CITIZEN = re.compile(r"(?!8[123])[1-8][0-9]{16}[0-9X]")
_CITIZEN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def citizen_check_character(first17: str) -> str:
    """The 18th character of GB 11643 (ISO 7064 MOD 11-2) for 17 digits."""
    total = sum(
        int(digit) * weight for digit, weight in zip(first17, _CITIZEN_WEIGHTS, strict=True)
    )
    return "10X98765432"[total % 11]


def parse_citizen_number(text: str, today: date) -> date:
    """Check an 18-character citizen number and return the birth date inside it.

    `today` is the date in China at the time of the request; a birth after it is
    refused. An impossible date is named before a wrong check character: it says more.
    """
    _match(_CITIZEN, text, "citizen_number")
    return _born(text, today, "citizen_number")


def _born(text: str, today: date, what: str) -> date:
    """The date at positions 7 to 14 of an 18-character number with its check character."""
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        raise BirthDateImpossible(what=what) from None
    if citizen_check_character(text[:17]) != text[17]:
        raise CheckCharacterWrong(what=what)
    if born > today:
        raise BirthDateInFuture(what=what)
    return born


# --- Unified social credit code, GB 32100-2015 --------------------------------

_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT = re.compile(rf"[{_CREDIT_ALPHABET}]{{18}}")
_CREDIT_VALUE = {char: value for value, char in enumerate(_CREDIT_ALPHABET)}
_CREDIT_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))


def credit_check_character(first17: str) -> str:
    """The 18th character of GB 32100 for the first 17."""
    total = sum(
        _CREDIT_VALUE[char] * weight for char, weight in zip(first17, _CREDIT_WEIGHTS, strict=True)
    )
    return _CREDIT_ALPHABET[-total % 31]


def parse_credit_code(text: str) -> str:
    """Check a unified social credit code and return it."""
    _match(_CREDIT, text, "credit_code")
    if credit_check_character(text[:17]) != text[17]:
        raise CheckCharacterWrong(what="credit_code")
    return text


# --- Matter codes -------------------------------------------------------------


class MatterKind(StrEnum):
    """The two digits of a basic matter code that name the kind of power."""

    PERMISSION = "01"  # 行政许可
    PENALTY = "02"  # 行政处罚
    COERCION = "03"  # 行政强制
    LEVY = "04"  # 行政征收
    PAYMENT = "05"  # 行政给付
    INSPECTION = "06"  # 行政检查
    CONFIRMATION = "07"  # 行政确认
    REWARD = "08"  # 行政奖励
    ADJUDICATION = "09"  # 行政裁决
    OTHER = "10"  # 其他行政权力
    PUBLIC_SERVICE = "20"  # 公共服务


@dataclass(frozen=True, slots=True)
class MatterCode:
    """A matter code of any of its three lengths; `basic` is what rules are keyed on."""

    text: str
    basic: str  # 12: region 2, kind 2, main item 5, sub-item 3
    kind: MatterKind
    authority: str | None = None  # credit code, in codes of 31 and 33
    level: str | None = None  # 1 digit, in codes of 31 and 33
    business_item: str | None = None  # 2 digits, in codes of 33


_MATTER = re.compile(
    rf"(?:(?P<authority>[{_CREDIT_ALPHABET}]{{18}})(?P<level>[1-9]))?"
    r"(?P<basic>[0-9]{2}(?P<kind>[0-9]{2})[0-9]{8})"
    r"(?P<item>[0-9]{2})?"
)


def parse_matter_code(text: str) -> MatterCode:
    """Read a matter code of 12 (basic), 31 (implementing) or 33 (business item) characters.

    Basic codes have no check character: only length, digits and kind are
    checked. In the longer ones the authority's credit code is checked too.
    """
    if len(text) not in (12, 31, 33):
        raise IdentifierMalformed(what="matter_code")
    found = _match(_MATTER, text, "matter_code")
    try:
        kind = MatterKind(found["kind"])
    except ValueError:
        raise MatterKindUnknown() from None
    authority = found["authority"]
    if authority is not None:
        parse_credit_code(authority)
    return MatterCode(text, found["basic"], kind, authority, found["level"], found["item"])


# --- E-licence identifier, GB/T 36904-2018 ------------------------------------

LICENSE_ROOT = "1.2.156.3005.2"
_CHECK_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHECK_VALUE = {char: value for value, char in enumerate(_CHECK_ALPHABET)}
_LICENSE = re.compile(
    re.escape(LICENSE_ROOT)
    + rf"\.(?P<type>[{_CREDIT_ALPHABET}]{{18}}[0-9]{{3}})"
    + rf"\.(?P<issuer>[{_CREDIT_ALPHABET}]{{18}}|[0-9]{{6}})"
    + r"\.(?P<serial>[0-9A-Z]{1,24})"
    + r"\.(?P<version>[0-9]{3})"
    + r"\.(?P<check>[0-9A-Z])"
)


class LicenseWarning(StrEnum):
    """What is odd about an identifier, but occurs and is accepted."""

    ISSUER_IS_AREA_CODE = "issuer_is_area_code"  # six digits in place of a credit code


@dataclass(frozen=True, slots=True)
class LicenseIdentifier:
    """A checked e-licence identifier, by its parts. `str()` gives the text back."""

    type_code: str  # 21: defining authority's credit code and 3 digits
    issuer: str  # credit code, or an area code of 6 digits with a warning
    serial: str  # 1 to 24 upper-case letters and digits
    version: str  # 3 digits
    check: str  # 1 character

    @property
    def defining_authority(self) -> str:
        return self.type_code[:18]

    @property
    def warnings(self) -> tuple[LicenseWarning, ...]:
        return (LicenseWarning.ISSUER_IS_AREA_CODE,) if len(self.issuer) == 6 else ()

    def __str__(self) -> str:
        parts = (LICENSE_ROOT, self.type_code, self.issuer, self.serial, self.version, self.check)
        return ".".join(parts)


def license_check_character(payload: str) -> str:
    """ISO 7064 MOD 37,36 over type, issuer, serial and version, without root and dots."""
    p = 36
    for char in payload:
        p = ((p + _CHECK_VALUE[char]) % 36 or 36) * 2 % 37
    return _CHECK_ALPHABET[(37 - p) % 36]


def parse_license_identifier(text: str) -> LicenseIdentifier:
    """Check `1.2.156.3005.2.<type>.<issuer>.<serial>.<version>.<check>` and take it apart.

    The root is part of the identifier. An issuer of six digits is accepted and
    stands in `warnings`; both credit codes must be right by themselves.
    """
    found = _match(_LICENSE, text, "license_identifier")
    result = LicenseIdentifier(*found.group("type", "issuer", "serial", "version", "check"))
    payload = result.type_code + result.issuer + result.serial + result.version
    if license_check_character(payload) != result.check:
        raise CheckCharacterWrong(what="license_identifier")
    _check_authorities(result)
    return result


def build_license_identifier(
    type_code: str, issuer: str, serial: str, version: int
) -> LicenseIdentifier:
    """A new identifier with its check character computed. `version` is 1 to 999."""
    payload = f"{type_code}{issuer}{serial}{version:03d}"
    if not payload.isascii() or any(char not in _CHECK_VALUE for char in payload):
        raise IdentifierMalformed(what="license_identifier")
    check = license_check_character(payload)
    result = LicenseIdentifier(type_code, issuer, serial, f"{version:03d}", check)
    if version < 1:
        raise IdentifierMalformed(what="license_identifier")
    _match(_LICENSE, str(result), "license_identifier")
    _check_authorities(result)
    return result


def _check_authorities(identifier: LicenseIdentifier) -> None:
    parse_credit_code(identifier.defining_authority)
    if len(identifier.issuer) == 18:
        parse_credit_code(identifier.issuer)


# --- Holders ------------------------------------------------------------------


class HolderType(StrEnum):
    """How a holder is named. `111` and `001` are the national words, the rest are ours."""

    CITIZEN = "111"  # 公民身份号码
    ORGANIZATION = "001"  # 统一社会信用代码
    PASSPORT = "passport"  # 护照
    HK_MACAU_PERMIT = "hk_macau_permit"  # 港澳居民来往内地通行证
    TAIWAN_PERMIT = "taiwan_permit"  # 台湾居民来往大陆通行证
    RESIDENCE_PERMIT = "hmt_residence_permit"  # 港澳台居民居住证
    FOREIGNER_CARD = "foreigner_card"  # 外国人永久居留身份证


@dataclass(frozen=True, slots=True)
class HolderId:
    """A checked holder type and code. `born` is known where the code contains it."""

    type: HolderType
    code: str
    born: date | None = None

    @property
    def is_person(self) -> bool:
        return self.type is not HolderType.ORGANIZATION


# A passport number is unique only within its issuing state, so the state (ICAO
# 9303, three letters) is part of the code: `USA-123456789`. A bare number must
# have the form of a passport of the People's Republic and is kept as `CHN-…`.
_PASSPORT = re.compile(r"[A-Z]{3}-[0-9A-Z]{5,12}")
_PASSPORT_CHN = re.compile(r"(?:CHN-)?([A-Z][0-9]{8}|[A-Z]{2}[0-9]{7})")
_HK_MACAU = re.compile(r"[HM][0-9]{8}")
_TAIWAN = re.compile(r"[0-9]{8}")
_RESIDENCE = re.compile(r"8[123]0000[0-9]{11}[0-9X]")
# Since 2023 18 characters that begin with 9 and end in the GB 11643 check
# character; before, the state's three letters and 12 digits.
_FOREIGNER = re.compile(r"9[0-9]{16}[0-9X]")
_FOREIGNER_OLD = re.compile(r"[A-Z]{3}[0-9]{12}")


def parse_holder(type_: str, code: str, today: date) -> HolderId:
    """Check a holder's type and code and return them in their one stored form.

    `today` is the date in China. Passports and permits have no check character.
    """
    try:
        holder_type = HolderType(type_)
    except ValueError:
        raise HolderTypeUnknown(known=[item.value for item in HolderType]) from None
    if holder_type is HolderType.CITIZEN:
        return HolderId(holder_type, code, parse_citizen_number(code, today))
    if holder_type is HolderType.ORGANIZATION:
        return HolderId(holder_type, parse_credit_code(code))
    if holder_type is HolderType.RESIDENCE_PERMIT:
        _match(_RESIDENCE, code, holder_type.value)
        return HolderId(holder_type, code, _born(code, today, holder_type.value))
    if holder_type is HolderType.FOREIGNER_CARD:
        if len(code) == 18:
            _match(_FOREIGNER, code, holder_type.value)
            return HolderId(holder_type, code, _born(code, today, holder_type.value))
        _match(_FOREIGNER_OLD, code, holder_type.value)
        return HolderId(holder_type, code)
    if holder_type is HolderType.PASSPORT:
        return HolderId(holder_type, _passport(code))
    _match(_HK_MACAU if holder_type is HolderType.HK_MACAU_PERMIT else _TAIWAN, code, type_)
    return HolderId(holder_type, code)


def _passport(code: str) -> str:
    chinese = _PASSPORT_CHN.fullmatch(code)
    if chinese:
        return f"CHN-{chinese[1]}"
    if code.startswith("CHN-"):
        raise IdentifierMalformed(what=HolderType.PASSPORT.value)
    return _match(_PASSPORT, code, HolderType.PASSPORT.value)[0]
