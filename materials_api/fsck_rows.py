"""The part of `fsck` that compares cases, states and ids with the ledger's records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, RowMapping, Table, select

from kernel.canonical import JsonValue
from kernel.errors import CodedError
from kernel.ids import IdKind
from ledger.errors import EntryUnknown, RecordErased
from ledger.problems import Problem
from ledger.tables import ledger_entries
from materials_api.fsck_sentences import problem
from materials_api.room import MaterialsRoom
from materials_api.tables import (
    case_documents,
    case_events,
    cases,
    grants,
    material_files,
    materials,
    tasks,
    verifications,
)
from storage.database import ReadTx
from storage.tables import objects

_CASE_FIELDS = (
    "number",
    "matter",
    "variant",
    "applicant",
    "person",
    "capacity",
    "project",
    "channel",
    "window_org",
    "department",
    "origin",
)


@dataclass(frozen=True, slots=True)
class _Things:
    """Rows of one kind: where their id stands, and their state if they have one."""

    kind: IdKind
    table: Table
    key: "Column[Any]"
    state: "Column[Any] | None"


_THINGS = (
    _Things(IdKind.MATERIAL, materials, materials.c.material_id, materials.c.status),
    _Things(IdKind.CASE, cases, cases.c.case_id, cases.c.state),
    _Things(IdKind.TASK, tasks, tasks.c.task_id, tasks.c.state),
    _Things(IdKind.GRANT, grants, grants.c.grant_id, grants.c.status),
    _Things(IdKind.VERIFICATION, verifications, verifications.c.verification_id, None),
)


def check_cases(room: MaterialsRoom, problems: list[Problem]) -> None:
    """Every case against its first record, every event against its own."""
    with room.database.read() as tx:
        for row in tx.all(select(cases).order_by(cases.c.case_id)):
            _check_case(room, tx, row, problems)


def check_states(room: MaterialsRoom, problems: list[Problem]) -> None:
    """The state in a row is the `status` of the newest record, for everything that has one."""
    for things in _THINGS:
        if things.state is None:
            continue
        with room.database.read() as tx:
            query = select(things.key.label("id"), things.state.label("state"))
            for row in tx.all(query):
                _check_state(room, tx, row["id"], row["state"], problems)


def check_strays(room: MaterialsRoom, problems: list[Problem]) -> None:
    """Rows without records, records without rows, and claimed objects without a material."""
    for things in _THINGS:
        with room.database.read() as tx:
            entities = {
                row["entity"]
                for row in tx.all(
                    select(ledger_entries.c.entity)
                    .where(ledger_entries.c.entity.startswith(things.kind.value + "_"))
                    .distinct()
                )
            }
            rows = {row["id"] for row in tx.all(select(things.key.label("id")))}
        for missing in sorted(rows - entities):
            problems.append(problem("row_without_record", missing))
        for missing in sorted(entities - rows):
            problems.append(problem("record_without_row", missing))
    with room.database.read() as tx:
        for row in tx.all(
            select(case_documents.c.document_id, case_documents.c.entry_id).where(
                case_documents.c.entry_id.not_in(select(ledger_entries.c.entry_id))
            )
        ):
            problems.append(problem("row_without_record", row["document_id"]))
        unused = select(objects.c.object_key).where(
            objects.c.claimed_by.startswith(IdKind.MATERIAL.value + "_"),
            objects.c.object_key.not_in(select(material_files.c.object_key)),
        )
        for row in tx.all(unused):
            problems.append(problem("object_unused", row["object_key"]))


def _check_case(
    room: MaterialsRoom, tx: ReadTx, row: RowMapping, problems: list[Problem]
) -> None:
    case_id = row["case_id"]
    try:
        record = room.ledger.records.open(tx, row["entry_id"])
    except CodedError as error:
        problems.append(problem("case_record", case_id, error.code))
        return
    body: Mapping[str, JsonValue] = record.body
    same = (
        record.entity == case_id
        and record.at == row["opened_at"]
        and all(body.get(name) == row[name] for name in _CASE_FIELDS)
        and body.get("catalogue") == row["catalogue_sha256"].hex()
    )
    if not same:
        problems.append(problem("case_row", case_id))
    for event in tx.all(
        select(case_events).where(case_events.c.case_id == case_id).order_by(case_events.c.sequence)
    ):
        _check_event(room, tx, event, problems)


def _check_event(
    room: MaterialsRoom, tx: ReadTx, row: RowMapping, problems: list[Problem]
) -> None:
    where = f"{row['case_id']}/{row['sequence']}"
    try:
        record = room.ledger.records.open(tx, row["entry_id"])
    except CodedError as error:
        problems.append(problem("case_record", where, error.code))
        return
    # An imported case has one record for the two events that are known of it.
    imported = record.kind == "case.imported"
    agrees = (
        record.entity == row["case_id"]
        and record.at == row["at"]
        and (imported or record.body.get("status") == row["state"])
        and (record.body.get("event", "open") == row["event"] or imported)
    )
    if not agrees:
        problems.append(problem("case_event", where))


def _check_state(
    room: MaterialsRoom, tx: ReadTx, entity: str, state: str, problems: list[Problem]
) -> None:
    try:
        latest = room.ledger.records.latest(tx, entity)
    except (EntryUnknown, RecordErased):
        return  # named elsewhere: as a row without a record, or an erased material
    except CodedError as error:
        problems.append(problem("state_differs", entity, error.code))
        return
    if latest.body.get("status") != state:
        problems.append(problem("state_differs", entity, state))
