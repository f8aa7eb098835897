"""Gathers a case for its package: rows and, for everything that people read, opened records.

All in one snapshot. Rows say which things belong to the case; what is said of
them comes from records that were opened and checked.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from archive.completeness import CaseFacts, DocumentFacts, RequirementFacts
from archive.errors import CaseNotExportable
from archive.gathered import (
    Gathered,
    GatheredLicense,
    GatheredMaterial,
    GatheredRequirement,
    GatheredVerification,
    Records,
)
from ledger.errors import RecordErased
from ledger.records import OpenedRecord
from license_service.tables import licenses
from materials_api.back_files.rows import ORIGIN
from materials_api.cases.access import (
    CaseEventView,
    CaseView,
    events_of,
    load_case,
    outcome,
    rules_of,
)
from materials_api.cases.requirements import currently_met
from materials_api.documents.stored import DocumentRow, documents_of
from materials_api.errors import RecordMismatch
from materials_api.materials.access import materials_of_case, open_material
from materials_api.record_checks import checked_state
from materials_api.room import MaterialsRoom
from materials_api.rules.visibility import ARCHIVED
from materials_api.tables import verifications
from storage.database import ReadTx
from storage.objects import registry


def gather(room: MaterialsRoom, tx: ReadTx, case_id: str) -> Gathered:
    """Collect the case. `CaseUnknown`; `CaseNotExportable` unless closed or filed;
    `RecordMismatch` or what the ledger raises when rows and records disagree."""
    case = load_case(tx, case_id)
    if case.state not in ARCHIVED:
        raise CaseNotExportable(state=case.state.value)
    checked_state(room, tx, case_id, case.state.value)
    catalogue, matter = rules_of(room, tx, case)
    events = events_of(tx, case_id)
    steps = _steps(room, tx, case, events)
    met = currently_met(tx, case, matter)
    requirements = tuple(
        GatheredRequirement(rule.key, catalogue.name_of(rule).zh, rule.mandatory, met.get(rule.key))
        for rule in matter.required(case.variant)
    )
    checked = _verifications(room, tx, case_id)
    materials, erased = _materials(room, tx, case_id, checked)
    documents = tuple((row, _of_document(room, tx, row)) for row in documents_of(tx, case_id))
    held = _licenses(room, tx, case, checked)
    grants = _grants(room, tx, case_id, checked)
    return Gathered(
        case=case,
        catalogue=catalogue,
        matter=matter,
        outcome=outcome(events),
        steps=steps,
        requirements=requirements,
        materials=materials,
        licenses=held,
        verifications=checked,
        answers=_answers(room, tx, checked),
        documents=documents,
        grants=grants,
        parties=_parties(room, tx, case, materials, held, grants),
        completeness=CaseFacts(
            outcome=None if (how := outcome(events)) is None else how.value,
            requirements=[_requirement_facts(item) for item in requirements],
            gaps=_gaps(steps),
            verifications={item.verification_id for item in checked},
            documents=[
                DocumentFacts(row.kind.value, row.requirement, row.verification_id, row.entry_id)
                for row, _ in documents
            ],
            events=[(event.event, event.entry_id) for event in events],
            erased=erased,
            imported=case.origin == ORIGIN,
        ),
    )


def _steps(
    room: MaterialsRoom, tx: ReadTx, case: CaseView, events: Sequence[CaseEventView]
) -> tuple[tuple[CaseEventView, OpenedRecord], ...]:
    """The process records. All that is known of a back file is that it was imported."""
    found = [(event, room.ledger.records.open(tx, event.entry_id)) for event in events]
    if case.origin == ORIGIN and found:
        event, record = found[-1]
        found = [(replace(event, sequence=1, event=ORIGIN), record)]
    return tuple(found)


def _requirement_facts(item: GatheredRequirement) -> RequirementFacts:
    met = item.met
    if met is None:
        return RequirementFacts(item.key, item.mandatory, None)
    return RequirementFacts(item.key, item.mandatory, met.route, met.verification_id)


def _gaps(steps: Sequence[tuple[CaseEventView, OpenedRecord]]) -> frozenset[str]:
    """What was named as missing when the case was approved all the same (容缺)."""
    for event, record in reversed(steps):
        if event.event == "approve":
            gaps = record.body.get("gaps")
            return frozenset(str(key) for key in gaps) if isinstance(gaps, list) else frozenset()
    return frozenset()


def _verifications(
    room: MaterialsRoom, tx: ReadTx, case_id: str
) -> tuple[GatheredVerification, ...]:
    rows = tx.all(
        select(verifications)
        .where(verifications.c.case_id == case_id)
        .order_by(verifications.c.at, verifications.c.verification_id)
    )
    found = []
    for row in rows:
        record = room.ledger.records.open(tx, row["entry_id"])
        stated = {name: record.body.get(name) for name in ("item", "outcome")}
        if record.entity != row["verification_id"] or stated != {
            "item": row["item"],
            "outcome": row["outcome"],
        }:
            raise RecordMismatch(entity=row["verification_id"])
        found.append(
            GatheredVerification(
                row["verification_id"], row["item"], row["item_kind"], row["outcome"], record
            )
        )
    return tuple(found)


def _materials(
    room: MaterialsRoom,
    tx: ReadTx,
    case_id: str,
    checked: Sequence[GatheredVerification],
) -> tuple[tuple[GatheredMaterial, ...], list[str]]:
    """Own materials in all versions, then those reused; and the ids of erased ones."""
    own = [row.material_id for row in materials_of_case(tx, case_id)]
    reused = [
        item.item
        for item in checked
        if item.outcome == "allowed" and item.item_kind == "material" and item.item not in own
    ]
    found: list[GatheredMaterial] = []
    erased: list[str] = []
    for material_id in dict.fromkeys([*own, *reused]):
        try:
            facts = open_material(room, tx, material_id)
            records = tuple(room.ledger.records.history(tx, material_id))
        except RecordErased:
            erased.append(material_id)
            continue
        if not facts.agrees:
            raise RecordMismatch(entity=material_id)
        refs = tuple(registry.ref(tx, file.object_key) for file in facts.files)
        found.append(GatheredMaterial(facts, material_id in own, records, refs))
    return tuple(found), erased


def _of_document(room: MaterialsRoom, tx: ReadTx, row: DocumentRow) -> Records:
    """The record that the document renders; with it all that were made about the document."""
    record = room.ledger.records.open(tx, row.entry_id)
    if record.entity == row.document_id:
        return tuple(room.ledger.records.history(tx, row.document_id))
    return (record,)


def _answers(room: MaterialsRoom, tx: ReadTx, checked: Sequence[GatheredVerification]) -> Records:
    """What licence sources answered when the verifications were made."""
    entries = [item.record.body.get("answer") for item in checked]
    return tuple(room.ledger.records.open(tx, entry) for entry in entries if isinstance(entry, str))


def _licenses(
    room: MaterialsRoom, tx: ReadTx, case: CaseView, checked: Sequence[GatheredVerification]
) -> tuple[GatheredLicense, ...]:
    """The licences that the case issued, then those that it used.

    Any body may name any case as the source of its licence: only those of the
    department that decided the case are its results.
    """
    issued = tx.all(
        select(licenses.c.license_id)
        .where(licenses.c.source_case == case.case_id, licenses.c.issuer == case.department)
        .order_by(licenses.c.created_at, licenses.c.license_id)
    )
    results = [row["license_id"] for row in issued]
    used = [
        item.item for item in checked if item.outcome == "allowed" and item.item_kind == "license"
    ]
    found = []
    for license_id in dict.fromkeys([*results, *used]):
        facts = room.licenses.facts(tx, license_id)
        if facts.disagreements:
            raise RecordMismatch(entity=license_id)
        records = tuple(room.ledger.records.history(tx, license_id))
        found.append(GatheredLicense(license_id, license_id in results, records))
    return tuple(found)


def _parties(
    room: MaterialsRoom,
    tx: ReadTx,
    case: CaseView,
    materials: Sequence[GatheredMaterial],
    held: Sequence[GatheredLicense],
    grants: Sequence[tuple[str, Records]],
) -> tuple[tuple[str, Records], ...]:
    """Whoever the package names by id. A party whose records were erased stays an id."""
    ids = [case.applicant, case.person]
    ids += [share.party for item in materials for share in item.facts.parties]
    ids += [_text(item.records[0], "holder") for item in held]
    ids += [_text(records[0], "holder") for _, records in grants]
    found = []
    for party in dict.fromkeys(ids):
        try:
            found.append((party, tuple(room.ledger.records.history(tx, party))))
        except RecordErased:
            continue
    return tuple(found)


def _grants(
    room: MaterialsRoom, tx: ReadTx, case_id: str, checked: Sequence[GatheredVerification]
) -> tuple[tuple[str, Records], ...]:
    """The authorisations that verifications relied on or, when denied, looked at.

    Of those merely looked at, only what is of this case: an unbound grant may
    have served another case since.
    """
    relied: dict[str, bool] = {}
    for item in checked:
        grants = item.record.body.get("grants")
        for grant in grants if isinstance(grants, list) else []:
            if isinstance(grant, str):
                relied[grant] = relied.get(grant, False) or item.outcome == "allowed"
    found = []
    for grant, needed in relied.items():
        records = tuple(room.ledger.records.history(tx, grant))
        if needed or records[-1].body.get("case") == case_id:
            found.append((grant, records))
    return tuple(found)


def _text(record: OpenedRecord, key: str) -> str:
    value = record.body.get(key)
    if not isinstance(value, str):
        raise RecordMismatch(entity=record.entity)
    return value
