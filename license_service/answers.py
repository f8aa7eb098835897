"""What a licence source may answer: closed unions, in which an outage is an answer. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from kernel.canonical import JsonValue
from kernel.clock import time_text
from license_service.lifecycle import StatusAt


@dataclass(frozen=True, slots=True)
class SourcedLicense:
    """What a source says of one licence. `license_id` is set if it was issued here."""

    license_id: str | None
    identifier: str
    kind: str
    number: str
    issuer: str
    issuer_name: str
    valid_from: datetime | None
    valid_until: datetime | None
    status: StatusAt

    def record(self) -> dict[str, JsonValue]:
        """For the snapshot: everything but whose it is."""
        return {
            "license": self.license_id,
            "identifier": self.identifier,
            "license_kind": self.kind,
            "number": self.number,
            "issuer": self.issuer,
            "issuer_name": self.issuer_name,
            "valid_from": None if self.valid_from is None else time_text(self.valid_from),
            "valid_until": None if self.valid_until is None else time_text(self.valid_until),
            "license_status": self.status.status.value,
            "tainted": self.status.tainted,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """One licence or more of that holder and kind, each with its status."""

    source: str
    asked_at: datetime
    licenses: tuple[SourcedLicense, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """The licence with that identifier, and its status at the time asked for."""

    source: str
    asked_at: datetime
    license: SourcedLicense


@dataclass(frozen=True, slots=True)
class NoneFound:
    """The source was reached and holds no such licence."""

    source: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class NameDiffers:
    """Holder code and name do not belong together: a human compares them."""

    source: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class SourceOutage:
    """The source could not be asked, or its answer could not be trusted. `reason` is a word."""

    source: str
    asked_at: datetime
    reason: str


LookupAnswer: TypeAlias = Found | NoneFound | NameDiffers | SourceOutage
StatusAnswer: TypeAlias = Known | NoneFound | SourceOutage

_WORDS = {
    Found: "found",
    Known: "known",
    NoneFound: "none_found",
    NameDiffers: "name_differs",
    SourceOutage: "source_outage",
}


def answer_record(answer: LookupAnswer | StatusAnswer) -> dict[str, JsonValue]:
    """The answer as the snapshot keeps it."""
    listed: tuple[SourcedLicense, ...] = ()
    if isinstance(answer, Found):
        listed = answer.licenses
    elif isinstance(answer, Known):
        listed = (answer.license,)
    return {
        "source": answer.source,
        "asked_at": time_text(answer.asked_at),
        "answer": _WORDS[type(answer)],
        "reason": answer.reason if isinstance(answer, SourceOutage) else None,
        "licenses": [item.record() for item in listed],
    }
