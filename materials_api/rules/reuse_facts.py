"""The facts on which a reuse is decided. Plain frozen values, gathered by the caller.

Immutable facts come from records that were opened and checked against the log,
states from the latest record of the entity. `record_agrees` says whether the
rows told the same; when it is False the decision is always Denied. All times
are aware; validity periods are [start, end).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from kernel.principals import Capacity
from materials_api.cases.lifecycle import CaseOutcome
from materials_api.catalogue.model import MaterialType, Requirement
from materials_api.catalogue.terms import (
    ConsentRule,
    MaterialForm,
    PartyEventKind,
    PartyRole,
    Provenance,
)
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.materials.lifecycle import MaterialState


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """`person` may act for `holder` in `capacity` during [valid_from, valid_until),
    cut short at `ended_at` (exclusive). Acting for oneself needs no such fact."""

    holder: str
    person: str
    capacity: Capacity
    valid_from: datetime
    valid_until: datetime | None = None
    ended_at: datetime | None = None

    def holds_at(self, moment: datetime) -> bool:
        return self.valid_from <= moment and not self.over_at(moment)

    def over_at(self, moment: datetime) -> bool:
        ends = [end for end in (self.valid_until, self.ended_at) if end is not None]
        return bool(ends) and moment >= min(ends)


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """The case that wants to use the item.

    `applicant`: party id on whose behalf. `person`: party id of the natural
    person who acts. `people`: natural persons who count as the applicant's own:
    the applicant if a person, who acts, and the legal representative of an
    organisation. `organizations`: credit codes of the case's handling chain, its
    window and its reviewing departments. `asking`: the credit code of the body
    whose officer asks now.
    """

    case_id: str
    matter: str  # 12-digit basic code
    applicant: str
    person: str
    people: frozenset[str]
    organizations: frozenset[str]
    asking: str
    project: str | None = None


@dataclass(frozen=True, slots=True)
class PartyShare:
    party: str
    role: PartyRole


@dataclass(frozen=True, slots=True)
class SourceCase:
    """The case in which a material was handed in. `outcome` None: not decided yet."""

    case_id: str
    applicant: str
    outcome: CaseOutcome | None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class MaterialItem:
    """A stored material. `parties`: whose it is; empty means its source case's applicant.
    `issued_at`: the date of the document itself, None when it bears none."""

    item: str
    type: str
    form: MaterialForm
    state: MaterialState
    provenance: Provenance
    parties: tuple[PartyShare, ...]
    source: SourceCase
    registered_at: datetime
    issued_at: datetime | None = None
    valid_until: datetime | None = None
    record_agrees: bool = True

    @property
    def party_ids(self) -> tuple[str, ...]:
        ids = tuple(dict.fromkeys(share.party for share in self.parties))
        return ids or (self.source.applicant,)


class LicenseStanding(StrEnum):
    """What the source says of a licence at the time of the request, dates aside."""

    NOT_ISSUED = "not_issued"  # drafted
    IN_FORCE = "in_force"  # issued, changed, renewed, reissued, inspected, resumed
    SUSPENDED = "suspended"
    SUPERSEDED = "superseded"
    ENDED = "ended"  # withdrawn, revoked, deregistered
    TAINTED = "tainted"  # rescinded or annulled: reaches back
    UNKNOWN = "unknown"  # the source did not answer


@dataclass(frozen=True, slots=True)
class LicenseItem:
    """An e-licence. Its provenance is `authority_issued` by definition."""

    item: str
    kind: str
    holder: str
    standing: LicenseStanding
    issued_at: datetime | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    record_agrees: bool = True

    @property
    def party_ids(self) -> tuple[str, ...]:
        return (self.holder,)


Item: TypeAlias = MaterialItem | LicenseItem


@dataclass(frozen=True, slots=True)
class GrantFacts:
    """A grant of one holder that the asker relies on or that could serve.

    `case_id` None: unbound, binds at first use. `bound_by_use`: it was made
    unbound and got its case from its first use. `items`: what was approved.
    `audience`, `matter` None: no limit. `decided_at`: from when it holds.
    `person`: the natural person who decided; `capacity`: why that person could,
    None when it is the holder in person (`person == holder`) or not known.
    """

    grant_id: str
    holder: str
    person: str | None
    state: GrantState
    use: GrantUse
    items: frozenset[str]
    decided_at: datetime | None
    expires_at: datetime | None = None
    case_id: str | None = None
    bound_by_use: bool = False
    audience: str | None = None
    matter: str | None = None
    capacity: CapacityFacts | None = None
    record_agrees: bool = True


@dataclass(frozen=True, slots=True)
class PartyEvent:
    party: str
    event: PartyEventKind
    at: datetime


class FileOutcome(StrEnum):
    """What re-hashing one stored file found."""

    MATCH = "match"
    MISMATCH = "mismatch"  # also: cannot be decrypted
    MISSING = "missing"


class ProofOutcome(StrEnum):
    """Whether the item's record was found in the log, under a trusted checkpoint."""

    PROVED = "proved"
    PENDING = "pending"  # recorded, not sequenced yet
    ABSENT = "absent"  # the proof fails, or the leaf is another


@dataclass(frozen=True, slots=True)
class ProofFacts:
    outcome: ProofOutcome
    shard: str | None = None
    index: int | None = None
    size: int | None = None  # of the tree that the proof was checked against


@dataclass(frozen=True, slots=True)
class Consent:
    """The holders' own authorisation."""


@dataclass(frozen=True, slots=True)
class StatutoryDuty:
    """依职能查验: the law lets this officer look. All three must be named."""

    officer: str
    number: str
    role: str

    @property
    def complete(self) -> bool:
        return all(part.strip() for part in (self.officer, self.number, self.role))


Basis: TypeAlias = Consent | StatutoryDuty


@dataclass(frozen=True, slots=True)
class ReuseFacts:
    """Everything `decide_reuse` looks at.

    `type`: the material type that `requirement.type` names. `consent`: the rule
    that counts (`Catalogue.consent_of`). `capacity`: why the case's person acts for the
    applicant; None when that is not known, and not needed when they are one.
    `grants`: all that were named or could serve, of every party of the item.
    `files`: one outcome per file, in order; None for a licence, which has no
    file yet. `events`: of the applicant and of the item's parties, in any order.
    """

    requirement: Requirement
    type: MaterialType
    consent: ConsentRule
    case: CaseFacts
    item: Item
    basis: Basis
    capacity: CapacityFacts | None
    grants: tuple[GrantFacts, ...]
    events: tuple[PartyEvent, ...]
    files: tuple[FileOutcome, ...] | None
    proof: ProofFacts


class RegisterOutcome(StrEnum):
    """How a register answered."""

    FOUND = "found"
    NO_RECORD = "no_record"
    ENDED = "ended"  # found, but the registration has ended
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class DataCheckFacts:
    """Everything `decide_data_check` looks at.

    `register_key`: the register that was asked. `subject`: the party asked about.
    `named`: parties that the case's own or offered materials name (a landlord, a
    co-owner, a child), beside the applicant's own people. `agreed`: per field that was
    compared, whether the register's answer agrees; a field that the answer lacks
    is left out. `record_agrees`: the rows about the register's facts agree with
    their record. `proof`: of that record; None for an answer that came from
    outside and is recorded with the verification itself.
    """

    requirement: Requirement
    case: CaseFacts
    basis: Basis
    capacity: CapacityFacts | None
    register_key: str
    subject: str
    named: frozenset[str]
    outcome: RegisterOutcome
    agreed: Mapping[str, bool]
    record_agrees: bool = True
    proof: ProofFacts | None = None
