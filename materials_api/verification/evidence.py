"""Looks at what rows cannot tell: the bytes, the log, and the licence's source.

Outside any snapshot or transaction, because bytes may be large and a source slow.
"""

from dataclasses import dataclass, field
from datetime import datetime

from ledger.errors import (
    InclusionInvalid,
    LogMissing,
    NotInLog,
    NotYetLogged,
    TileCorrupt,
    TileMissing,
)
from ledger.records import OpenedRecord
from license_service.answers import Known, SourceOutage, StatusAnswer
from license_service.lifecycle import EffectiveStatus, Status, StatusAt
from license_service.model import LicenseFacts
from materials_api.errors import RecordMismatch
from materials_api.room import MaterialsRoom
from materials_api.rules.license_standing import license_standing
from materials_api.rules.reuse_facts import (
    Basis,
    FileOutcome,
    Item,
    LicenseItem,
    LicenseStanding,
    ProofFacts,
    ProofOutcome,
    ReuseFacts,
)
from materials_api.verification.case import CaseContext
from materials_api.verification.facts import GatheredItem, StoredFile
from storage.errors import KeyMissing, ObjectCorrupt, ObjectMissing


@dataclass(slots=True)
class Looked:
    """What was found already in this call: a retry after a changed row hashes nothing twice."""

    files: dict[tuple[str, bytes], FileOutcome] = field(default_factory=dict)
    answers: dict[str, StatusAnswer] = field(default_factory=dict)


def reuse_facts(
    room: MaterialsRoom,
    at: datetime,
    case: CaseContext,
    gathered: GatheredItem,
    basis: Basis,
    looked: Looked,
) -> ReuseFacts:
    """The facts of one item, with its bytes re-hashed and its record proved in the log."""
    return ReuseFacts(
        requirement=gathered.requirement,
        type=gathered.type,
        consent=gathered.consent,
        case=case.facts,
        item=_item(room, at, gathered, looked),
        basis=basis,
        capacity=case.capacity,
        grants=gathered.grant_facts,
        events=gathered.events,
        files=None
        if gathered.license is not None
        else tuple(_content(room, file, looked) for file in gathered.files),
        proof=prove(room, gathered.record),
    )


def prove(room: MaterialsRoom, record: OpenedRecord | None) -> ProofFacts:
    """Where the record stands in the published log, proved by its tiles."""
    if record is None:
        return ProofFacts(ProofOutcome.ABSENT)
    try:
        found = room.ledger.records.prove(record)
    except (NotYetLogged, LogMissing):
        return ProofFacts(ProofOutcome.PENDING)
    except (NotInLog, InclusionInvalid, TileCorrupt, TileMissing):
        return ProofFacts(ProofOutcome.ABSENT)
    return ProofFacts(ProofOutcome.PROVED, found.shard, found.index, found.size)


def file_outcome(room: MaterialsRoom, file: StoredFile) -> FileOutcome:
    """Read, decrypt and hash a stored file, and compare it with its record."""
    if file.ref is None:
        return FileOutcome.MISMATCH
    try:
        digests = room.objects.rehash(file.ref)
    except ObjectMissing:
        return FileOutcome.MISSING
    except (ObjectCorrupt, KeyMissing):
        return FileOutcome.MISMATCH
    same = (digests.size, digests.sha256) == (file.size, file.sha256)
    return FileOutcome.MATCH if same else FileOutcome.MISMATCH


def _content(room: MaterialsRoom, file: StoredFile, looked: Looked) -> FileOutcome:
    key = (file.object_key, file.sha256)
    if key not in looked.files:
        looked.files[key] = file_outcome(room, file)
    return looked.files[key]


def _item(room: MaterialsRoom, at: datetime, gathered: GatheredItem, looked: Looked) -> Item:
    if gathered.material is not None:
        return gathered.material
    if gathered.license is None:
        raise RecordMismatch(entity=gathered.asked.item)
    return _license(room, at, gathered.license, looked)


def _license(room: MaterialsRoom, at: datetime, facts: LicenseFacts, looked: Looked) -> LicenseItem:
    """A licence by its own records and by what its source says now: the worse counts."""
    own = facts.status_at(at)
    issued = facts.valid_from
    if issued is None and facts.history:
        issued = facts.history[0].effective_at
    return LicenseItem(
        item=facts.license_id,
        kind=facts.kind,
        holder=facts.holder,
        standing=_worse(_standing(own), _asked(room, at, facts, looked)),
        issued_at=issued,
        valid_from=facts.valid_from,
        valid_until=facts.valid_until,
        record_agrees=not facts.disagreements,
    )


def _asked(
    room: MaterialsRoom, at: datetime, facts: LicenseFacts, looked: Looked
) -> LicenseStanding:
    if facts.identifier is None:
        return LicenseStanding.NOT_ISSUED  # a draft: there is nobody to ask
    answer = looked.answers.get(facts.license_id)
    if answer is None:
        answer = room.license_source.status(facts.identifier, at)
        looked.answers[facts.license_id] = answer
    if isinstance(answer, Known):
        return _standing(answer.license.status)
    if isinstance(answer, SourceOutage):
        return LicenseStanding.UNKNOWN
    return LicenseStanding.NOT_ISSUED


def _standing(status: StatusAt) -> LicenseStanding:
    # Dates are judged on their own, so a licence past its last day is "in force" here.
    if status.status in (EffectiveStatus.EXPIRED, EffectiveStatus.NOT_YET_VALID):
        return license_standing(Status.VALID, tainted=status.tainted)
    if status.status is EffectiveStatus.NOT_ISSUED:
        return license_standing(Status.DRAFTED)
    return license_standing(Status(status.status.value), tainted=status.tainted)


_BADNESS = (
    LicenseStanding.IN_FORCE,
    LicenseStanding.UNKNOWN,
    LicenseStanding.SUSPENDED,
    LicenseStanding.SUPERSEDED,
    LicenseStanding.NOT_ISSUED,
    LicenseStanding.ENDED,
    LicenseStanding.TAINTED,
)


def _worse(one: LicenseStanding, other: LicenseStanding) -> LicenseStanding:
    return max(one, other, key=_BADNESS.index)
