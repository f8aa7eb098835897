"""`fsck` of the materials room: rows against records, and every stored byte.

Each row is compared with the records of its thing, and with the rows that must
agree with it; every file is read, decrypted and hashed again. It changes nothing
and may run beside a server: what is made meanwhile may be missed, never reported.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Column, bindparam, func, select

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from kernel.errors import CodedError
from kernel.ids import IdKind
from ledger.errors import EntryUnknown, RecordErased
from ledger.fsck_reading import UNREADABLE, WHOLE, Findings, Share
from ledger.problems import Problem, Progress, quiet
from ledger.records import OpenedRecord, Row
from ledger.tables import ledger_entries
from materials_api.fsck.cases import CaseCheck
from materials_api.fsck.grants import GrantCheck
from materials_api.fsck.objects import ContentsAway, ObjectCheck, content_of
from materials_api.fsck.retention import retention_of
from materials_api.fsck.sentences import SENTENCES
from materials_api.fsck.things import ThingCheck
from materials_api.fsck.uses import UseCheck
from materials_api.materials.lifecycle import MaterialState
from materials_api.room import MaterialsRoom
from materials_api.tables import (
    case_documents,
    cases,
    erasures,
    grants,
    imported_rows,
    material_files,
    material_parties,
    materials,
    party_events,
    register_facts,
    tasks,
    tickets,
    uploads,
    verifications,
)
from storage.database import ReadTx
from storage.database.prepared import Prepared
from storage.tables import objects

_REGISTERED = "material.registered"
# Things with records of their own.
_THINGS: tuple[tuple[IdKind, "Column[Any]"], ...] = (
    (IdKind.MATERIAL, materials.c.material_id),
    (IdKind.CASE, cases.c.case_id),
    (IdKind.TASK, tasks.c.task_id),
    (IdKind.GRANT, grants.c.grant_id),
    (IdKind.VERIFICATION, verifications.c.verification_id),
)
_PARTIES = Prepared(
    select(material_parties).where(material_parties.c.material_id == bindparam("material"))
)
_FILES = Prepared(
    select(material_files)
    .where(material_files.c.material_id == bindparam("material"))
    .order_by(material_files.c.position)
)


def fsck(
    room: MaterialsRoom,
    progress: Progress = quiet,
    *,
    contents: bool = True,
    share: Share = WHOLE,
) -> list[Problem]:
    """Every problem of this room; an empty list means clean.

    Without `contents` the stored bytes are not read: rows and records alone.
    `progress("materials" | "objects", done, total)` is called as it goes.
    """
    found = Findings(SENTENCES, share)
    total = stored = 0
    with found.guarded("materials"), room.database.read() as tx:
        counted = (materials, cases, grants, tasks, objects, uploads)  # see `tell` below
        rows = {one: int(tx.scalar(select(func.count()).select_from(one))) for one in counted}
        total, stored = sum(rows.values()), rows[objects]
    done = hashed = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress("materials", done, max(done, total))
        content.hash_waiting()

    def read(more: int) -> None:
        nonlocal hashed
        hashed += more
        progress("objects", hashed, max(hashed, stored))

    content = ObjectCheck(room, found, contents=contents, tell=read)
    with suppress(ContentsAway):
        _check(room, found, content, tell)
    return found.problems


def _check(
    room: MaterialsRoom, found: Findings, content: ObjectCheck, tell: Callable[[int], None]
) -> None:
    database = room.database
    kept = _MaterialCheck(room, found, content)
    case = CaseCheck(room, found)
    grant = GrantCheck(room, found)
    thing = ThingCheck(room, found)
    if found.share.first:
        _lost(room, found, grant, thing)
    found.each(database, materials.c.material_id, kept.material, tell)
    found.each(database, cases.c.case_id, case.case, tell)
    found.each(database, grants.c.grant_id, grant.grant, tell)
    found.each(database, tickets.c.ticket_id, grant.ticket)
    found.each(database, tasks.c.task_id, thing.task, tell)
    found.each(database, party_events.c.entry_id, thing.party_event)
    found.each(database, register_facts.c.entry_id, thing.register_fact)
    found.each(database, imported_rows.c.row_key, thing.imported_row)
    found.each(database, erasures.c.material_id, thing.erasure)
    found.each(database, objects.c.object_key, content.object, tell)
    found.each(database, uploads.c.upload_id, content.upload, tell)
    content.hash_waiting()  # where a table could not be read to its end


class _MaterialCheck:
    def __init__(self, room: MaterialsRoom, found: Findings, content: ObjectCheck) -> None:
        self._room = room
        self._found = found
        self._content = content

    def material(self, tx: ReadTx, row: Row) -> None:
        """One material with its parties and files."""
        material_id = row["material_id"]
        try:
            history = self._room.ledger.records.history(tx, material_id)
        except EntryUnknown:
            return  # named already, as a row without a record
        except RecordErased:
            self._erased(tx, row)
            return
        except CodedError as error:
            self._found.add("material_record", material_id, error.code)
            return
        first = history[0]
        if first.kind != _REGISTERED:
            self._found.add("material_record", material_id, "kind")
            return
        expected = {**_row(first), "version": len(history)}
        expected["status"] = history[-1].body.get("status")
        wrong = [name for name, told in expected.items() if row[name] != told]
        wrong += self._parties(tx, first) + self._files(tx, first)
        wrong += self._retention(tx, row)
        self._found.columns("material_row", material_id, wrong)

    def _retention(self, tx: ReadTx, row: Row) -> list[str]:
        try:
            bounds = retention_of(self._room, tx, row)
        except (CodedError, *UNREADABLE):
            return []  # a case or catalogue is not what it was, and is named itself
        return [] if bounds.hold(row["retain_until"]) else ["retain_until"]

    def _parties(self, tx: ReadTx, first: OpenedRecord) -> list[str]:
        rows = _PARTIES.all(tx, {"material": first.entity})
        stored = {(one["party_id"], one["role"]) for one in rows}
        told = {(one["party"], one["role"]) for one in _list(first.body["parties"])}
        return [] if stored == told else ["parties"]

    def _files(self, tx: ReadTx, first: OpenedRecord) -> list[str]:
        rows = _FILES.all(tx, {"material": first.entity})
        files = _list(first.body["files"])
        if len(rows) != len(files):
            return ["files"]
        wrong: dict[str, None] = {}
        for position, (row, file) in enumerate(zip(rows, files, strict=True), start=1):
            told = {
                "position": position,
                "size": file["size"],
                "media_type": file["media_type"],
            }
            wrong |= {f"files.{name}": None for name, value in told.items() if row[name] != value}
            self._content.expect(content_of(first, position, row["object_key"], file))
        return list(wrong)

    def _erased(self, tx: ReadTx, row: Row) -> None:
        """Records that are gone must be gone because somebody erased the material."""
        material_id = row["material_id"]
        sealed_at = tx.scalar(
            select(erasures.c.sealed_at).where(erasures.c.material_id == material_id)
        )
        if row["status"] != MaterialState.ERASED or sealed_at is None:
            self._found.add("material_record", material_id, "record_erased")
        columns = ledger_entries.c
        entries = tx.all(
            select(columns.entry_id, columns.at)
            .where(columns.entity == material_id, columns.public.is_(False))
            .order_by(columns.position)
        )
        # All that the ledger still knows; its own check proves when it was erased.
        expected = {
            "entry_id": entries[0]["entry_id"],
            "registered_at": entries[0]["at"],
            "version": len(entries),
        }
        wrong = [name for name, told in expected.items() if row[name] != told]
        wrong += self._retention(tx, row)
        keys = tx.all(
            select(material_files.c.object_key, objects.c.erased_at)
            .outerjoin(objects, objects.c.object_key == material_files.c.object_key)
            .where(material_files.c.material_id == material_id)
        )
        if not keys or any(one["erased_at"] is None for one in keys):
            wrong.append("files")
        self._found.columns("material_row", material_id, wrong)


def _row(first: OpenedRecord) -> dict[str, object]:
    """The row of a material, as its registering record tells it."""
    body = first.body
    return {
        "type": body["type"],
        "case_id": body["case"],
        "project": body["project"],
        "provenance": body["provenance"],
        "form": body["form"],
        "issued_at": _time(body["issued_at"]),
        "valid_until": _time(body["valid_until"]),
        "supersedes": body["supersedes"],
        "registered_at": first.at,
        "entry_id": first.entry_id,
    }


def _lost(room: MaterialsRoom, found: Findings, grant: GrantCheck, thing: ThingCheck) -> None:
    """What no row's own check sees: the database is asked for it, a whole table at a time."""
    for kind, key in _THINGS:
        found.strays(room.database, kind, key)
    with found.guarded("case_documents"), room.database.read() as tx:
        # Commitments and letters have records of their own; slips and notices share theirs.
        found.lost_things(tx, IdKind.DOCUMENT, case_documents.c.document_id)
    UseCheck(room, found).strays()
    grant.lost_tickets()
    thing.lost_facts()
    thing.catalogues()
    thing.lost_imports()
    thing.lost_erasures()


def _list(value: JsonValue) -> list[Mapping[str, JsonValue]]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return [one for one in value if isinstance(one, dict)]


def _time(value: JsonValue) -> Any:
    return None if value is None else parse_time(str(value))
