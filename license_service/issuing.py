"""What a licence must be to be issued, and its metadata record (GB/T 36903). Pure."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from kernel.canonical import JsonValue
from kernel.clock import china_date, time_text
from kernel.errors import CodedError
from kernel.identifiers import (
    LicenseIdentifier,
    build_license_identifier,
    parse_license_identifier,
    parse_matter_code,
)
from license_service.errors import LicenseDraftInvalid, LicenseIdentifierMismatch
from license_service.kinds import Kind
from license_service.lifecycle import Event
from license_service.model import DraftLicense, LicenseFacts, Successor

MAX_NUMBER = 64
MAX_NAME = 200
MAX_ATTRIBUTE = 2000
MAX_PERMITS = 50


@dataclass(frozen=True, slots=True)
class Terms:
    """The validity and the identifier with which a licence is issued."""

    valid_from: datetime
    valid_until: datetime | None
    identifier: LicenseIdentifier


def check_draft(draft: DraftLicense, kind: Kind, holder_kind: str, issuer: str) -> None:
    """Raise `LicenseDraftInvalid` or `LicenseIdentifierMismatch` for what cannot be issued."""
    if not kind.allows(holder_kind):
        _refuse("holder", "not for this kind of holder")
    _text("number", draft.number, MAX_NUMBER)
    _text("issuer_name", draft.issuer_name, MAX_NAME)
    if len(draft.area_code) not in (6, 9, 12) or not _digits(draft.area_code):
        _refuse("area_code", "6, 9 or 12 digits")
    unknown = set(draft.attributes) - {shown.key for shown in kind.face}
    if unknown:
        _refuse("attributes", "not a field of this kind of licence")
    for value in draft.attributes.values():
        _text("attributes", value, MAX_ATTRIBUTE)
    if draft.permits and not kind.bundle:
        _refuse("permits", "this kind of licence bundles none")
    if len(draft.permits) > MAX_PERMITS or len(set(draft.permits)) != len(draft.permits):
        _refuse("permits", "each once, and at most 50")
    if draft.matter is not None:
        parse_matter_code(draft.matter.code)
        _text("matter", draft.matter.name, MAX_NAME)
    _check_dates(draft.valid_from, draft.valid_until)
    if draft.identifier is not None:
        if draft.serial is not None:
            _refuse("serial", "the identifier given has one already")
        check_identifier(draft.identifier, kind, issuer)
    elif draft.serial is not None:
        _serial_fits(kind, issuer, draft.serial)


def check_identifier(text: str, kind: Kind, issuer: str) -> LicenseIdentifier:
    """A given identifier must be valid and belong to this kind and issuer.

    An area code in place of the issuer's credit code is accepted (with a
    warning in the record): it cannot be compared with the issuer.
    """
    identifier = parse_license_identifier(text)
    if identifier.type_code != kind.type_code:
        raise LicenseIdentifierMismatch(part="type")
    if not identifier.warnings and identifier.issuer != issuer:
        raise LicenseIdentifierMismatch(part="issuer")
    return identifier


def decide_terms(
    draft: DraftLicense, kind: Kind, issuer: str, effective_at: datetime, serial: str
) -> Terms:
    """The dates and the identifier of a first version. `serial` serves if none was given."""
    start = draft.valid_from or effective_at
    end = draft.valid_until
    if end is None and kind.validity is not None:
        end = kind.validity.end(start)
    _check_dates(start, end)
    if draft.identifier is not None:
        return Terms(start, end, check_identifier(draft.identifier, kind, issuer))
    built = build_license_identifier(kind.type_code, issuer, draft.serial or serial, 1)
    return Terms(start, end, built)


def succeed(
    old: LicenseFacts, new: Successor, kind: Kind, event: Event, effective_at: datetime
) -> tuple[DraftLicense, Terms]:
    """The new version that takes the place of `old` from `effective_at` on.

    Without an identifier of its own it keeps type, issuer and serial and gets
    the next version number. It may not begin after the old one has ended:
    there would be a day without a valid licence.
    """
    start = new.valid_from or effective_at
    end = new.valid_until
    if end is None:
        end = old.valid_until
        if event is Event.RENEW and kind.validity is not None:
            end = kind.validity.end(old.valid_until or start)
    _check_dates(start, end)
    if start > effective_at:
        _refuse("valid_from", "a new version begins when the old one ends, or before")
    if old.identifier is None:
        raise LicenseIdentifierMismatch(part="version")
    before = parse_license_identifier(old.identifier)
    if new.identifier is not None:
        identifier = check_identifier(new.identifier, kind, old.issuer)
        same_serial = identifier.serial == before.serial
        if same_serial and int(identifier.version) <= int(before.version):
            raise LicenseIdentifierMismatch(part="version")
    else:
        identifier = build_license_identifier(
            before.type_code, before.issuer, before.serial, int(before.version) + 1
        )
    draft = DraftLicense(
        kind=old.kind,
        holder=old.holder,
        issuer_name=new.issuer_name or old.issuer_name,
        number=new.number or old.number,
        area_code=old.area_code,
        valid_from=start,
        valid_until=end,
        identifier=str(identifier),
        matter=new.matter,
        source_case=new.source_case,
        attributes={**old.attributes, **new.attributes},
        permits=old.permits if new.permits is None else new.permits,
    )
    return draft, Terms(start, end, identifier)


def content(
    draft: DraftLicense, kind: Kind, issuer: str, holder_record: str
) -> dict[str, JsonValue]:
    """The body of a drafting record: what was asked for. Names no holder, only ids."""
    return {
        "license_kind": kind.key,
        "name": kind.name.zh,
        "number": draft.number,
        "type": {"name": kind.name.zh, "code": kind.type_code},
        "issuer": issuer,
        "issuer_name": draft.issuer_name,
        "defining_authority": {"name": kind.defined_by.zh, "code": kind.defined_by.code},
        "area_code": draft.area_code,
        "holder": draft.holder,
        "holder_record": holder_record,
        "matter": (
            None if draft.matter is None else {"code": draft.matter.code, "name": draft.matter.name}
        ),
        "source_case": draft.source_case,
        "attributes": dict(draft.attributes),
        "permits": list(draft.permits),
        "identifier": draft.identifier,
        "serial": draft.serial,
        "valid_from": _time(draft.valid_from),
        "valid_until": _time(draft.valid_until),
        "supersedes": None,
        "file": None,  # the signed document, once documents are signed
        "status": "drafted",
    }


def issued(
    body: Mapping[str, JsonValue],
    terms: Terms,
    effective_at: datetime,
    *,
    event: Event = Event.ISSUE,
    supersedes: tuple[str, str] | None = None,
) -> dict[str, JsonValue]:
    """The body of the issuing record. `supersedes` is the id and identifier replaced."""
    return {
        **body,
        "identifier": str(terms.identifier),
        "serial": terms.identifier.serial,
        "version": terms.identifier.version,
        "warnings": [warning.value for warning in terms.identifier.warnings],
        "issued_on": china_date(effective_at).isoformat(),
        "valid_from": time_text(terms.valid_from),
        "valid_until": _time(terms.valid_until),
        "supersedes": (
            None if supersedes is None else {"license": supersedes[0], "identifier": supersedes[1]}
        ),
        "event": event.value,
        "effective_at": time_text(effective_at),
        "status": "valid",
    }


def _check_dates(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end <= start:
        _refuse("valid_until", "it must lie after the start")


def _serial_fits(kind: Kind, issuer: str, serial: str) -> None:
    try:
        build_license_identifier(kind.type_code, issuer, serial, 1)
    except CodedError:
        _refuse("serial", "1 to 24 upper-case letters and digits")


def _text(field: str, value: str, limit: int) -> None:
    invisible = any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in value)
    if not 1 <= len(value) <= limit or value != value.strip() or invisible:
        _refuse(field, f"1 to {limit} visible characters without spaces at the ends")


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _time(value: datetime | None) -> str | None:
    return None if value is None else time_text(value)


def _refuse(field: str, reason: str) -> NoReturn:
    raise LicenseDraftInvalid(field=field, reason=reason)
