"""Gathers what a verification decides on: one snapshot of rows, and their records opened.

Immutable facts come from records that were opened and compared with their
leaf, states from the newest record of each thing; a row that tells another
story makes `record_agrees` False. Bytes and the log are looked at afterwards,
outside the snapshot: `verification.evidence`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from kernel.errors import Corrupt
from kernel.ids import IdKind, is_id
from kernel.principals import Principal
from ledger.errors import RecordErased
from ledger.records import OpenedRecord
from license_service.errors import LicenseRecordMismatch, LicenseUnknown
from license_service.model import LicenseFacts
from materials_api.catalogue.model import MaterialType, Requirement
from materials_api.catalogue.terms import (
    ConsentRule,
    MaterialForm,
    PartyRole,
    Provenance,
)
from materials_api.errors import RecordMismatch
from materials_api.grants.errors import ItemUnknown
from materials_api.grants.records import Grant
from materials_api.materials.access import FileFacts, read_material
from materials_api.materials.lifecycle import MaterialState
from materials_api.registers.party_events import events_of_party
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_facts import (
    GrantFacts,
    MaterialItem,
    PartyEvent,
    PartyShare,
    SourceCase,
)
from materials_api.verification.ahead import read_call_ahead
from materials_api.verification.case import CaseContext, gather_case, open_entry, source_case
from materials_api.verification.grants import gather_grants
from materials_api.verification.rows import (
    Row,
    file_rows,
    material_row,
    party_rows,
)
from storage.database import ReadTx
from storage.keyvault import WrappedKey
from storage.objects import ObjectRef


@dataclass(frozen=True, slots=True)
class AskedItem:
    """One item of a call: which requirement it is to meet, and a grant to rely on."""

    requirement: str
    item: str
    grant: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file to re-hash. `ref` None: its key was destroyed."""

    object_key: str
    size: int
    sha256: bytes
    ref: ObjectRef | None


@dataclass(frozen=True, slots=True)
class GatheredItem:
    """Everything of one item but its bytes and its place in the log.

    Exactly one of `material` and `license` is set. `record`: to be proved in
    the log; None when it could not be opened. `version`: of the item's row.
    `grants`: by id, with the version that was read.
    """

    asked: AskedItem
    requirement: Requirement
    type: MaterialType
    consent: ConsentRule
    kind: str
    item_type: str
    parties: tuple[str, ...]
    version: int
    record: OpenedRecord | None
    grants: dict[str, Grant]
    grant_facts: tuple[GrantFacts, ...]
    events: tuple[PartyEvent, ...]
    files: tuple[StoredFile, ...]
    material: MaterialItem | None = None
    license: LicenseFacts | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    case: CaseContext
    items: tuple[GatheredItem, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What an item is, before grants and events."""

    kind: str
    item_type: str
    parties: tuple[str, ...]
    owners: frozenset[str]
    project: str | None
    version: int
    record: OpenedRecord | None
    files: tuple[StoredFile, ...] = ()
    material: MaterialItem | None = None
    license: LicenseFacts | None = None


@dataclass(slots=True)
class _Seen:
    """What was read already in this snapshot: several items share cases and parties."""

    sources: dict[str, tuple[SourceCase, bool]] = field(default_factory=dict)
    events: dict[str, tuple[PartyEvent, ...]] = field(default_factory=dict)
    grants: dict[str, tuple[Grant, GrantFacts]] = field(default_factory=dict)


def gather(
    room: MaterialsRoom,
    tx: ReadTx,
    at: datetime,
    principal: Principal,
    case_id: str,
    asked: Iterable[AskedItem],
) -> Gathered:
    """Facts of every item, in the order asked, from one snapshot.

    The case must be the caller's and undecided. An item that the case has
    nothing to do with is `ItemUnknown`, the same as one that does not exist.
    """
    items = tuple(asked)
    read_call_ahead(tx, case_id, (one.item for one in items))
    case = gather_case(room, tx, at, principal, case_id)
    seen = _Seen()
    return Gathered(case, tuple(_item(room, tx, case, one, seen) for one in items))


def _item(
    room: MaterialsRoom, tx: ReadTx, case: CaseContext, asked: AskedItem, seen: _Seen
) -> GatheredItem:
    requirement = case.matter.requirement(case.view.variant, asked.requirement)
    if is_id(asked.item, IdKind.MATERIAL):
        found = _material(room, tx, asked.item, seen)
    elif is_id(asked.item, IdKind.LICENSE):
        found = _license(room, tx, asked.item)
    else:
        raise ItemUnknown()
    grants = gather_grants(room, tx, case, asked.item, asked.grant, found.owners, seen.grants)
    ours = case.facts.people | {case.facts.applicant}
    same_project = case.facts.project is not None and found.project == case.facts.project
    if not (same_project or grants or not ours.isdisjoint(found.owners)):
        raise ItemUnknown()
    holders = (grant.holder for grant, _ in grants)
    whose = dict.fromkeys((case.facts.applicant, *found.parties, *holders))
    return GatheredItem(
        asked=asked,
        requirement=requirement,
        type=case.catalogue.type(requirement.type),
        consent=case.catalogue.consent_of(requirement),
        kind=found.kind,
        item_type=found.item_type,
        parties=found.parties,
        version=found.version,
        record=found.record,
        grants={grant.grant_id: grant for grant, _ in grants},
        grant_facts=tuple(facts for _, facts in grants),
        events=tuple(event for party in whose for event in _events(room, tx, party, seen)),
        files=found.files,
        material=found.material,
        license=found.license,
    )


def _material(room: MaterialsRoom, tx: ReadTx, material_id: str, seen: _Seen) -> _Found:
    row = material_row(tx, material_id)
    if row is None:
        raise ItemUnknown()
    files, shares = file_rows(tx, material_id), party_rows(tx, material_id)
    source, source_agrees = source_case(room, tx, row["case_id"], seen.sources)
    record: OpenedRecord | None = None
    try:
        history = room.ledger.records.history(tx, material_id)
        record = history[0]
        if record.entry_id != row["entry_id"]:
            raise RecordMismatch(entity=material_id)
        facts = read_material(row, files, shares, record, history[-1])
    except RecordErased:
        erased = row["status"] == MaterialState.ERASED
        item = _from_row(row, shares, source, MaterialState.ERASED, agrees=erased)
        return _found(row, item, None, ())
    except Corrupt:
        # Named as a failed check, not as a failure of the service.
        item = _from_row(row, shares, source, MaterialState(row["status"]), agrees=False)
        return _found(row, item, record, ())
    item = MaterialItem(
        item=material_id,
        type=facts.type,
        form=facts.form,
        state=facts.state,
        provenance=facts.provenance,
        parties=facts.parties,
        source=source,
        registered_at=facts.registered_at,
        issued_at=facts.issued_at,
        valid_until=facts.valid_until,
        record_agrees=facts.agrees and source_agrees,
    )
    stored = tuple(_file(fact, file) for fact, file in zip(facts.files, files, strict=True))
    return _found(row, item, record, stored)


def _found(
    row: Row, item: MaterialItem, record: OpenedRecord | None, files: tuple[StoredFile, ...]
) -> _Found:
    return _Found(
        kind="material",
        item_type=item.type,
        parties=item.party_ids,
        owners=frozenset((*item.party_ids, item.source.applicant)),
        project=item.source.project,
        version=row["version"],
        record=record,
        files=files,
        material=item,
    )


def _from_row(
    row: Row, shares: list[Row], source: SourceCase, state: MaterialState, *, agrees: bool
) -> MaterialItem:
    """An item whose records cannot be opened: shown as its row tells it, never allowed."""
    return MaterialItem(
        item=row["material_id"],
        type=row["type"],
        form=MaterialForm(row["form"]),
        state=state,
        provenance=Provenance(row["provenance"]),
        parties=tuple(PartyShare(one["party_id"], PartyRole(one["role"])) for one in shares),
        source=source,
        registered_at=row["registered_at"],
        issued_at=row["issued_at"],
        valid_until=row["valid_until"],
        record_agrees=agrees,
    )


def _file(fact: FileFacts, row: Row) -> StoredFile:
    ref: ObjectRef | None = None
    if row["wrapped_key"] is not None and row["stored_size"] == fact.size:
        wrapped = WrappedKey(row["key_epoch"], row["wrapped_key"])
        ref = ObjectRef(
            row["object_key"], fact.size, row["cipher_size"], row["cipher_sha256"], wrapped
        )
    return StoredFile(row["object_key"], fact.size, fact.sha256, ref)


def _license(room: MaterialsRoom, tx: ReadTx, license_id: str) -> _Found:
    try:
        facts = room.licenses.facts(tx, license_id)
    except (LicenseUnknown, RecordErased):
        raise ItemUnknown() from None
    except LicenseRecordMismatch:
        raise RecordMismatch(entity=license_id) from None
    return _Found(
        kind="license",
        item_type=facts.kind,
        parties=(facts.holder,),
        owners=frozenset({facts.holder}),
        project=None,
        version=facts.row_version,
        record=open_entry(room, tx, facts.entry_id, license_id),
        license=facts,
    )


def _events(room: MaterialsRoom, tx: ReadTx, party: str, seen: _Seen) -> tuple[PartyEvent, ...]:
    if party not in seen.events:
        seen.events[party] = events_of_party(room, tx, party)
    return seen.events[party]
