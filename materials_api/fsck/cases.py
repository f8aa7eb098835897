"""The part of `fsck` that goes through a case: its row, events, verifications, documents.

Everything that hangs on a case is derived from records once more, and compared
with the rows: what differs, what is missing, and what no record explains.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Table, bindparam, select

from kernel.canonical import JsonValue
from kernel.errors import CodedError
from kernel.principals import Role
from ledger.errors import EntryUnknown, RecordErased
from ledger.fsck_reading import Findings, places
from ledger.records import OpenedRecord, Row
from materials_api.cases.assistance import AssistanceOutcome
from materials_api.cases.events import DOCUMENTS
from materials_api.cases.lifecycle import CaseEvent, CaseState
from materials_api.cases.requirements import UPLOAD
from materials_api.catalogue.terms import Route
from materials_api.documents.kinds import DocumentKind
from materials_api.fsck.uses import UseCheck
from materials_api.room import MaterialsRoom
from materials_api.tables import (
    case_documents,
    case_events,
    case_requirements,
    materials,
    verifications,
)
from storage.database import ReadTx
from storage.database.prepared import Prepared

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
_IMPORTED = "case.imported"
_SLIP = DocumentKind.VERIFICATION_SLIP.value
# Documents with records of their own: commitments, and letters with their answers.
_OWN = (DocumentKind.COMMITMENT.value, DocumentKind.ASSISTANCE_LETTER.value)


def _of_case(table: Table) -> Prepared:
    return Prepared(select(table).where(table.c.case_id == bindparam("case")))


_EVENTS = _of_case(case_events)
_VERIFICATIONS = _of_case(verifications)
_MATERIALS = _of_case(materials)
_DOCUMENTS = _of_case(case_documents)
_REQUIREMENTS = _of_case(case_requirements)


@dataclass(slots=True)
class _Told:
    """What the records of a case say must be in its other rows, collected on the way.

    `met`: by requirement and source (verification, material or document). `notices`
    by entry and kind. `unknown`: materials whose record was erased.
    """

    met: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    entry: dict[tuple[str, str], str] = field(default_factory=dict)
    documents: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    where: dict[tuple[str, str], str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


class CaseCheck:
    def __init__(self, room: MaterialsRoom, found: Findings) -> None:
        self._records = room.ledger.records
        self._found = found
        self._uses = UseCheck(room, found)

    def case(self, tx: ReadTx, row: Row) -> None:
        """Check one case with all that belongs to it, in one snapshot."""
        case_id = row["case_id"]
        try:
            history = self._records.history(tx, case_id)
        except EntryUnknown:
            return  # named already, as a row without a record
        except CodedError as error:
            self._found.add("case_record", case_id, error.code)
            return
        if history[-1].body.get("status") != row["state"]:
            self._found.add("state_differs", case_id, str(row["state"]))
        self._found.compare("case_row", case_id, row, _case(history))
        events = _events(history)
        self._events(tx, case_id, events)
        told = _Told()
        for number, event in enumerate(events, start=1):
            self._notice(told, case_id, number, event)
        self._verifications(tx, case_id, told)
        self._materials(tx, case_id, told)
        self._documents(tx, case_id, told)
        self._requirements(tx, case_id, told)

    def _events(self, tx: ReadTx, case_id: str, events: Sequence[Mapping[str, object]]) -> None:
        rows = _EVENTS.all(tx, {"case": case_id})
        by_number = {row["sequence"]: row for row in rows}
        for number, event in enumerate(events, start=1):
            row = by_number.pop(number, None)
            where = f"{case_id}/{number}"
            if row is None:
                self._found.add("record_without_row", where)
            else:
                self._found.compare("case_event", where, row, event)
        for number in by_number:
            self._found.add("row_without_record", f"{case_id}/{number}")

    def _notice(self, told: _Told, case_id: str, number: int, event: Mapping[str, object]) -> None:
        word = event["event"]
        kind = DOCUMENTS.get(CaseEvent(str(word))) if word in set(CaseEvent) else None
        if kind is not None:
            key = (kind.value, str(event["entry_id"]))
            told.documents[key] = {"requirement": None, "verification_id": None, "at": event["at"]}
            told.where[key] = f"{case_id}/{number}"

    def _verifications(self, tx: ReadTx, case_id: str, told: _Told) -> None:
        for row in _VERIFICATIONS.all(tx, {"case": case_id}):
            where = row["verification_id"]
            record = self._open(tx, row["entry_id"], where)
            if record is None:
                continue
            body = record.body
            self._found.compare("verification_row", where, row, _verification(record))
            self._uses.of_verification(tx, record)
            requirement = body.get("requirement")
            key = (_SLIP, record.entry_id)
            told.documents[key] = {
                "requirement": requirement,
                "verification_id": record.entity,
                "at": record.at,
            }
            told.where[key] = where
            if body.get("outcome") == "allowed":
                self._met(
                    told, record, str(requirement), record.entity, str(body.get("route")),
                    item=body.get("item"), verification_id=record.entity,
                )  # fmt: skip

    def _materials(self, tx: ReadTx, case_id: str, told: _Told) -> None:
        """Materials of this case that were brought to meet a requirement."""
        for row in _MATERIALS.all(tx, {"case": case_id}):
            material_id = row["material_id"]
            try:
                first = self._records.open(tx, row["entry_id"])
            except RecordErased:
                told.unknown.add(material_id)
                continue
            except CodedError:
                continue  # named where materials are checked
            body = first.body
            requirement = body.get("requirement")
            if requirement is not None and first.entity == material_id:
                self._met(
                    told, first, str(requirement), material_id, UPLOAD, item=material_id,
                    exemptible=body.get("exemptible"), reason=body.get("reason"),
                )  # fmt: skip

    def _documents(self, tx: ReadTx, case_id: str, told: _Told) -> None:
        left = dict(told.documents)
        for row in _DOCUMENTS.all(tx, {"case": case_id}):
            where = row["document_id"]
            if row["kind"] in _OWN:
                self._own_document(tx, case_id, row, told)
                continue
            expected = left.pop((row["kind"], row["entry_id"]), None)
            if expected is None:
                self._found.add("row_without_record", where)
            else:
                self._found.compare("document_row", where, row, expected)
        for key in left:
            self._found.add("record_without_row", f"{told.where[key]} {key[0]}")

    def _own_document(self, tx: ReadTx, case_id: str, row: Row, told: _Told) -> None:
        where = row["document_id"]
        record = self._open(tx, row["entry_id"], where)
        if record is None:
            return
        requirement = record.body.get("requirement")
        expected = {
            "document_id": record.entity,
            "case_id": record.body.get("case"),
            "kind": record.kind.removeprefix("document."),
            "requirement": requirement,
            "verification_id": None,
            "at": record.at,
        }
        self._found.compare("document_row", where, row, expected)
        source: OpenedRecord | None = record
        route = Route.NOTIFIED_COMMITMENT
        if row["kind"] == DocumentKind.ASSISTANCE_LETTER:
            source, route = self._answer(tx, where), Route.ADMINISTRATIVE_ASSISTANCE
        if source is not None and record.entity == where:
            self._met(told, source, str(requirement), where, route.value, item=where)

    def _answer(self, tx: ReadTx, document_id: str) -> OpenedRecord | None:
        """The record of an answer that meets the requirement, if there is one."""
        try:
            newest = self._records.latest(tx, document_id)
        except CodedError:
            return None  # its records are named by the check of the ledger
        confirmed = newest.body.get("outcome") == AssistanceOutcome.CONFIRMED
        return newest if confirmed else None

    def _requirements(self, tx: ReadTx, case_id: str, told: _Told) -> None:
        left = dict(told.met)
        rows = _REQUIREMENTS.all(tx, {"case": case_id})
        numbers: dict[str, list[tuple[int, int]]] = defaultdict(list)
        order = places(tx, list(told.entry.values()))
        for row in rows:
            requirement = row["requirement"]
            where = f"{case_id}/{requirement}/{row['sequence']}"
            key = (requirement, str(row["verification_id"] or row["item"]))
            expected = left.pop(key, None)
            if expected is not None:
                self._found.compare("requirement_row", where, row, expected)
                numbers[requirement].append((row["sequence"], order.get(told.entry[key], -1)))
            elif row["item"] not in told.unknown:
                self._found.add("row_without_record", where)
        for requirement, source in left:
            self._found.add("record_without_row", f"{case_id}/{requirement} {source}")
        if told.unknown:
            return  # what was erased may have had a number
        for requirement, pairs in numbers.items():
            by_number = sorted(pairs)
            steady = [number for number, _ in by_number] == list(range(1, len(pairs) + 1))
            if not steady or by_number != sorted(pairs, key=lambda pair: pair[1]):
                self._found.add("requirement_row", f"{case_id}/{requirement}", "sequence")

    def _met(
        self,
        told: _Told,
        record: OpenedRecord,
        requirement: str,
        source: str,
        route: str,
        *,
        item: JsonValue,
        verification_id: str | None = None,
        exemptible: JsonValue = True,
        reason: JsonValue = None,
    ) -> None:
        told.entry[(requirement, source)] = record.entry_id
        told.met[(requirement, source)] = {
            "route": route,
            "item": item,
            "verification_id": verification_id,
            "exemptible": exemptible,
            "reason": reason,
            "at": record.at,
        }

    def _open(self, tx: ReadTx, entry_id: str, where: str) -> OpenedRecord | None:
        try:
            return self._records.open(tx, entry_id)
        except EntryUnknown:
            self._found.add("row_without_record", where)
        except CodedError as error:
            self._found.add("record_unusable", where, error.code)
        return None


def _case(history: Sequence[OpenedRecord]) -> dict[str, object]:
    """The row of a case, but for its state: that is compared for everything that has one."""
    first = history[0]
    at: dict[str, datetime | None] = {record.kind: record.at for record in history}
    imported = first.at if first.kind == _IMPORTED else None
    return {
        **{name: first.body.get(name) for name in _CASE_FIELDS},
        "catalogue_sha256": bytes.fromhex(str(first.body["catalogue"])),
        "opened_at": first.at,
        "accepted_at": at.get("case.accept", imported),
        "closed_at": at.get("case.close", imported),
        "version": len(history),  # every record raises it by one
        "entry_id": first.entry_id,
    }


def _events(history: Sequence[OpenedRecord]) -> list[dict[str, object]]:
    """The process records of a case, by the records of the ledger."""
    first = history[0]
    common: dict[str, object] = {"at": first.at, "entry_id": first.entry_id}
    if first.kind == _IMPORTED:
        by = first.body.get("by")
        common["role"] = by.get("role") if isinstance(by, dict) else None
        events = [
            {**common, "event": "import", "state": first.body.get("outcome")},
            {**common, "event": "close", "state": CaseState.CLOSED.value},
        ]
    else:
        # Counters open cases for others, everybody else for themselves.
        counter = first.body.get("window_org") is not None
        common["role"] = (Role.WINDOW if counter else Role.APPLICANT).value
        events = [{**common, "event": "open", "state": first.body.get("status")}]
    for record in history[1:]:
        events.append(
            {
                "at": record.at,
                "entry_id": record.entry_id,
                "event": record.body.get("event"),
                "state": record.body.get("status"),
                "role": record.body.get("role"),
            }
        )
    return events


def _verification(record: OpenedRecord) -> dict[str, object]:
    body = record.body
    basis = body.get("basis")
    return {
        "verification_id": record.entity,
        "call_id": body.get("call"),
        "case_id": body.get("case"),
        "requirement": body.get("requirement"),
        "item": body.get("item"),
        "item_kind": body.get("item_kind"),
        "grant_id": _first(body.get("grants")),
        "basis": basis.get("kind") if isinstance(basis, dict) else None,
        "outcome": body.get("outcome"),
        "reason": _first(body.get("reasons")),
        "org": body.get("org"),
        "at": record.at,
    }


def _first(value: JsonValue) -> JsonValue:
    return value[0] if isinstance(value, list) and value else None
