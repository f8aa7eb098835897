"""The part of `fsck` for the smaller things: tasks, events, registers, catalogues, back files."""

from collections import Counter
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Column, func, select

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from kernel.errors import CodedError
from ledger.errors import EntryUnknown
from ledger.fsck_reading import Findings, entries_of, places
from ledger.records import OpenedRecord
from ledger.tables import ledger_entries
from materials_api.back_file_rows import ORIGIN
from materials_api.material_lifecycle import MaterialState
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
    tasks,
)
from storage.database import ReadTx

_HAPPENED = "party.event"
_LOADED = "register.loaded"
_ADOPTED = "catalogue.changed"
_ERASE = "material.erase"
_KEY_BYTES = 32


class ThingCheck:
    def __init__(self, room: MaterialsRoom, found: Findings) -> None:
        self._records = room.ledger.records
        self._database = room.database
        self._found = found

    def task(self, tx: ReadTx, task_id: str) -> None:
        row = tx.one(select(tasks).where(tasks.c.task_id == task_id))
        if row is None:
            return  # gone since it was listed
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
            "created_at": history[0].at,
            "done_at": history[1].at if len(history) > 1 else None,
            "entry_id": history[0].entry_id,
        }
        self._found.compare("task_row", task_id, row, expected)

    def party_event(self, tx: ReadTx, entry_id: str) -> None:
        row = tx.one(select(party_events).where(party_events.c.entry_id == entry_id))
        record = self._open(tx, entry_id, f"party_events/{entry_id}")
        if row is None or record is None:
            return
        body = record.body
        expected = {
            "party_id": body.get("party"),
            "event": body.get("event"),
            "at": _time(body.get("happened_at")),
        }
        self._found.compare("party_event", record.entity, row, expected)

    def register_fact(self, tx: ReadTx, entry_id: str) -> None:
        row = tx.one(select(register_facts).where(register_facts.c.entry_id == entry_id))
        record = self._open(tx, entry_id, f"register_facts/{entry_id}")
        if row is None or record is None:
            return
        history = self._records.history(tx, record.entity)
        expected = {
            "entry_id": history[0].entry_id,
            "register": record.body.get("register"),
            "holder": record.body.get("holder"),
            "at": record.at,
            "ended_at": history[1].at if len(history) > 1 else None,
        }
        self._found.compare("register_fact", record.entity, row, expected)

    def lost_facts(self) -> None:
        """Events and register entries whose row is gone: without it nothing heeds them."""
        pairs: tuple[tuple[str, Column[Any]], ...] = (
            (_HAPPENED, party_events.c.entry_id),
            (_LOADED, register_facts.c.entry_id),
        )
        for kind, key in pairs:
            with self._found.guarded(key.table.name), self._database.read() as tx:
                rows = set(tx.execute(select(key)).scalars())
                for entry_id in sorted(entries_of(tx, kind) - rows):
                    self._found.add("record_without_row", f"{key.table.name}/{entry_id}")

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

    def imported_row(self, tx: ReadTx, row_key: bytes) -> None:
        row = tx.one(select(imported_rows).where(imported_rows.c.row_key == row_key))
        if row is None:
            return
        material_id = row["material_id"]
        size = tx.scalar(
            select(func.sum(material_files.c.size)).where(
                material_files.c.material_id == material_id
            )
        )
        at = tx.scalar(
            select(materials.c.registered_at).where(materials.c.material_id == material_id)
        )
        expected = {"bytes": size, "at": at}
        wrong = [name for name, value in expected.items() if row[name] != value]
        # Made with a secret key from paths that are not kept: only its form can be checked.
        wrong += [] if isinstance(row_key, bytes) and len(row_key) == _KEY_BYTES else ["row_key"]
        self._found.columns("import_row", f"imported_rows/{material_id}", wrong)

    def lost_imports(self) -> None:
        """Imported materials without their row, which would be imported a second time."""
        imported = (
            select(materials.c.material_id)
            .join(cases, cases.c.case_id == materials.c.case_id)
            .where(cases.c.origin == ORIGIN)
        )
        with self._found.guarded("imported_rows"), self._database.read() as tx:
            recorded = set(tx.execute(imported).scalars())
            rows = Counter(tx.execute(select(imported_rows.c.material_id)).scalars())
        for one in sorted(recorded - rows.keys()):
            self._found.add("import_row", f"imported_rows/{one}", "material_id")
        for one, times in rows.items():
            if times > 1 or one not in recorded:
                self._found.add("row_without_record", f"imported_rows/{one}")

    def erasure(self, tx: ReadTx, material_id: str) -> None:
        """What the ledger's rows say of when it was asked for and when it was sealed."""
        row = tx.one(select(erasures).where(erasures.c.material_id == material_id))
        if row is None:
            return
        columns = ledger_entries.c
        entries = tx.all(
            select(columns.kind, columns.at, columns.erased_at)
            .where(columns.entity == material_id, columns.public.is_(False))
            .order_by(columns.position)
        )
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
