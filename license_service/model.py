"""Values of the licence room: what is asked for, and what is known. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kernel.canonical import JsonValue
from license_service.lifecycle import Happened, Status, StatusAt, status_at


@dataclass(frozen=True, slots=True)
class MatterRef:
    """The matter that a licence results from."""

    code: str  # 12, 31 or 33 characters
    name: str


@dataclass(frozen=True, slots=True)
class DraftLicense:
    """What an issuing body wants to issue. The body itself is the acting principal's.

    `holder` is a party id. `identifier` is given for a licence that has one
    already; otherwise it is built when the licence is issued. `issuer_name` is
    the body's name as the licence shows it. Validity is
    [valid_from, valid_until); without a start it begins with issuing, without
    an end it lasts as the kind says. `permits` are the licence ids that a
    bundle (一业一证) lists.
    """

    kind: str
    holder: str
    issuer_name: str
    number: str
    area_code: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    identifier: str | None = None
    serial: str | None = None
    matter: MatterRef | None = None
    source_case: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    permits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Successor:
    """What differs in a new version; None keeps what the old version had.

    Without dates a renewal runs on from the old end for the kind's validity;
    a change or reissue keeps the old end. `attributes` replace those of the
    same keys.
    """

    number: str | None = None
    issuer_name: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    identifier: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    permits: tuple[str, ...] | None = None
    matter: MatterRef | None = None
    source_case: str | None = None


@dataclass(frozen=True, slots=True)
class LicenseView:
    """The row of a licence: for lists and references. Holds no personal data.

    A decision uses `LicenseFacts` instead.
    """

    license_id: str
    identifier: str | None
    kind: str
    holder: str
    issuer: str
    status: Status
    version: int  # of the row: raised by every event
    valid_from: datetime | None
    valid_until: datetime | None
    supersedes: str | None
    source_case: str | None
    created_at: datetime
    entry_id: str


@dataclass(frozen=True, slots=True)
class LicenseFacts:
    """A licence as its records tell it, opened and checked; personal data inside.

    `disagreements` names the columns in which row and events differ from the
    records: a licence with any is not to be relied on.
    """

    license_id: str
    kind: str
    identifier: str | None
    number: str
    holder: str  # party id
    holder_record: str  # the party's record whose name the licence shows
    issuer: str
    issuer_name: str
    area_code: str
    valid_from: datetime | None
    valid_until: datetime | None
    supersedes: str | None
    source_case: str | None
    attributes: Mapping[str, str]
    permits: tuple[str, ...]
    status: Status
    history: tuple[Happened, ...]  # without the drafting
    row_version: int
    entry_id: str  # the issuing record, or the drafting one before
    status_entry_id: str  # the record that gave the status
    metadata: Mapping[str, JsonValue]  # GB/T 36903 items of the issuing record
    disagreements: tuple[str, ...]

    def status_at(self, at: datetime) -> StatusAt:
        return status_at(self.history, self.valid_from, self.valid_until, at)
