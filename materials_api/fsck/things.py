"""The part of `fsck` for the smaller things: tasks, events, registers, catalogues, back files."""

from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Column, bindparam, func, select

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from kernel.errors import CodedError
from ledger.errors import EntryUnknown
from ledger.fsck_reading import Findings, entries_of, places
from ledger.records import OpenedRecord, Row
from ledger.tables import ledger_entries
from materials_api.back_files.rows import ORIGIN
from materials_api.materials.lifecycle import MaterialState
from materials_api.room import MaterialsRoom
from materials_api.tables import (
    cases,
    catalogue_versions,
    erasures,
    imported_rows,
    material_files,
    materials,
    party_events,
    register_facts,
)
from storage.database import ReadTx
from storage.database.prepared import Prepared

_HAPPENED = "party.event"
_LOADED = "register.loaded"
_ADOPTED = "catalogue.changed"
_ERASE = "material.erase"
_KEY_BYTES = 32
_IMPORTED = Prepared(
    select(materials.c.registered_at.label("at"), func.sum(material_files.c.size).label("bytes"))
    .join(material_files, material_files.c.material_id == materials.c.material_id)
    .where(materials.c.material_id == bindparam("material"))
    .group_by(materials.c.registered_at)
)
_ENTRIES = Prepared(
    select(ledger_entries.c.kind, ledger_entries.c.at, ledger_entries.c.erased_at)
    .where(ledger_entries.c.entity == bindparam("entity"), ledger_entries.c.public.is_(False))
    .order_by(ledger_entries.c.position)
)


class ThingCheck:
    def __init__(self, room: MaterialsRoom, found: Findings) -> None:
        self._records = room.ledger.records
        self._database = room.database
        self._found = found

    def task(self, tx: ReadTx, row: Row) -> None:
        task_id = row["task_id"]
        try:
            history = self._records.history(tx, task_id)
        except EntryUnknown:
            return  # named already, as a row without a record
        except CodedError as error:
            self._found.add("record_unusable", task_id, error.code)
            return
        body = history[0].body
        expected = {
            "kind": body.get("task"),
            "case_id": body.get("case"),
            "item": body.get("item"),
            "department": body.get("department"),
            "state": history[-1].body.get("status"),
            "created_at": history[0].at,
            "done_at": history[1].at if len(history) > 1 else None,
            "entry_id": history[0].entry_id,
        }
        self._found.compare("task_row", task_id, row, expected)

    def party_event(self, tx: ReadTx, row: Row) -> None:
        record = self._open(tx, row["entry_id"], f"party_events/{row['entry_id']}")
        if record is None:
            return
        body = record.body
        expected = {
            "party_id": body.get("party"),
            "event": body.get("event"),
            "at": _time(body.get("happened_at")),
        }
        self._found.compare("party_event", f"party_events/{row['entry_id']}", row, expected)

    def register_fact(self, tx: ReadTx, row: Row) -> None:
        record = self._open(tx, row["entry_id"], f"register_facts/{row['entry_id']}")
        if record is None:
            return
        history = self._records.history(tx, record.entity)
        expected = {
            "entry_id": history[0].entry_id,
            "register": record.body.get("register"),
            "holder": record.body.get("holder"),
            "at": record.at,
            "ended_at": history[1].at if len(history) > 1 else None,
        }
        self._found.compare("register_fact", f"register_facts/{row['entry_id']}", row, expected)

    def lost_facts(self) -> None:
        """Events and register entries whose row is gone: without it nothing heeds them."""
        pairs: tuple[tuple[str, Column[Any]], ...] = (
            (_HAPPENED, party_events.c.entry_id),
            (_LOADED, register_facts.c.entry_id),
        )
        for kind, key in pairs:
            self._found.lost_entries(self._database, kind, key, f"{key.table.name}/")

    def catalogues(self) -> None:
        """Every catalogue that ever ruled, against the public leaves that announced it."""
        with self._found.guarded("catalogue_versions"), self._database.read() as tx:
            told = self._adopted(tx)
            for row in tx.all(select(catalogue_versions)):
                where = f"catalogue_versions/{row['sha256'].hex()}"
                record = told.pop(row["sha256"], None)
                if record is None:
                    self._found.add("row_without_record", where)
                    continue
                expected = {
                    "version": record.body.get("version"),
                    "entry_id": record.entry_id,
                    "adopted_at": record.at,
                }
                wrong = [name for name, value in expected.items() if row[name] != value]
                if sha256(row["content"]).digest() != row["sha256"]:
                    wrong.append("content")
                self._found.columns("catalogue_row", where, wrong)
            for digest in sorted(told):
                self._found.add("record_without_row", f"catalogue_versions/{digest.hex()}")

    def _adopted(self, tx: ReadTx) -> dict[bytes, OpenedRecord]:
        """The newest leaf of each catalogue, by the digest of its content."""
        order = places(tx, sorted(entries_of(tx, _ADOPTED)))
        found: dict[bytes, OpenedRecord] = {}
        for entry_id in sorted(order, key=order.__getitem__):
            record = self._open(tx, entry_id, f"catalogue_versions/{entry_id}")
            if record is not None:
                found[bytes.fromhex(str(record.body["sha256"]))] = record
        return found

    def imported_row(self, tx: ReadTx, row: Row) -> None:
        row_key, material_id = row["row_key"], row["material_id"]
        told = _IMPORTED.one(tx, {"material": material_id}) or {"at": None, "bytes": None}
        wrong = [name for name, value in told.items() if row[name] != value]
        # Made with a secret key from paths that are not kept: only its form can be checked.
        wrong += [] if isinstance(row_key, bytes) and len(row_key) == _KEY_BYTES else ["row_key"]
        self._found.columns("import_row", f"imported_rows/{material_id}", wrong)

    def lost_imports(self) -> None:
        """Imported materials without their row, which would be imported a second time; and
        rows of what was not imported, or that stand twice."""
        case_of = cases.c.case_id == materials.c.case_id
        row_of = imported_rows.c.material_id == materials.c.material_id
        # Joins, which both engines answer in one go: no index leads to the row of a material.
        lost = (
            select(materials.c.material_id)
            .join(cases, case_of)
            .outerjoin(imported_rows, row_of)
            .where(cases.c.origin == ORIGIN, imported_rows.c.material_id.is_(None))
            .order_by(materials.c.material_id)
        )
        strange = (
            select(imported_rows.c.material_id)
            .outerjoin(materials, row_of)
            .outerjoin(cases, case_of)
            .group_by(imported_rows.c.material_id)
            .having((func.count() > 1) | (func.coalesce(func.max(cases.c.origin), "") != ORIGIN))
            .order_by(imported_rows.c.material_id)
        )
        with self._found.guarded("imported_rows"), self._database.read() as tx:
            for one in tx.execute(lost).scalars():
                self._found.add("import_row", f"imported_rows/{one}", "material_id")
            for one in tx.execute(strange).scalars():
                self._found.add("row_without_record", f"imported_rows/{one}")

    def erasure(self, tx: ReadTx, row: Row) -> None:
        """What the ledger's rows say of when it was asked for and when it was sealed."""
        material_id = row["material_id"]
        entries = _ENTRIES.all(tx, {"entity": material_id})
        asked: list[datetime] = [one["at"] for one in entries if one["kind"] == _ERASE]
        expected = {
            "requested_at": asked[-1] if asked else None,
            "sealed_at": entries[-1]["erased_at"] if entries else None,
        }
        self._found.compare("erasure_row", f"erasures/{material_id}", row, expected)

    def lost_erasures(self) -> None:
        """Erased materials of which nothing says when that was asked for."""
        query = select(materials.c.material_id).where(
            materials.c.status == MaterialState.ERASED.value,
            materials.c.material_id.not_in(select(erasures.c.material_id)),
        )
        with self._found.guarded("erasures"), self._database.read() as tx:
            for material_id in tx.execute(query).scalars():
                self._found.add("record_without_row", f"erasures/{material_id}")

    def _open(self, tx: ReadTx, entry_id: str, where: str) -> OpenedRecord | None:
        try:
            return self._records.open(tx, entry_id)
        except EntryUnknown:
            self._found.add("row_without_record", where)
        except CodedError as error:
            self._found.add("record_unusable", where, error.code)
        return None


def _time(value: JsonValue) -> datetime | None:
    return parse_time(value) if isinstance(value, str) else None
