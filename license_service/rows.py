"""The rows of licences and their events: written beside the records, read for lists."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, func, insert, select, update

from ledger.journal import JournalEntry
from license_service.errors import LicenseChangedMeanwhile, LicenseRecordMismatch, LicenseUnknown
from license_service.lifecycle import Event, Status
from license_service.model import DraftLicense, LicenseView
from license_service.tables import license_events, licenses
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared

_BY_ID = Prepared(select(*licenses.c).where(licenses.c.license_id == bindparam("id")))
_BY_IDENTIFIER = Prepared(
    select(*licenses.c).where(licenses.c.identifier == bindparam("identifier"))
)
_EVENTS = Prepared(
    select(
        license_events.c.event,
        license_events.c.status,
        license_events.c.at,
        license_events.c.entry_id,
    )
    .where(license_events.c.license_id == bindparam("id"))
    .order_by(license_events.c.sequence)
)


def view_of(row: Mapping[str, Any] | RowMapping) -> LicenseView:
    try:
        status = Status(row["status"])
    except ValueError:
        raise LicenseRecordMismatch(license=row["license_id"], fields=["status"]) from None
    return LicenseView(
        license_id=row["license_id"],
        identifier=row["identifier"],
        kind=row["kind"],
        holder=row["holder"],
        issuer=row["issuer"],
        status=status,
        version=row["version"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        supersedes=row["supersedes"],
        source_case=row["source_case"],
        created_at=row["created_at"],
        entry_id=row["entry_id"],
    )


def read_view(tx: ReadTx, license_id: str) -> LicenseView:
    """The row of a licence, or `LicenseUnknown`."""
    row = _BY_ID.one(tx, {"id": license_id})
    if row is None:
        raise LicenseUnknown()
    return view_of(row)


def find_identifier(tx: ReadTx, identifier: str) -> LicenseView | None:
    row = _BY_IDENTIFIER.one(tx, {"identifier": identifier})
    return None if row is None else view_of(row)


def event_rows(tx: ReadTx, license_id: str) -> tuple[tuple[str, str, datetime, str], ...]:
    """Event, status, time of effect and entry id of every event, in order."""
    rows = _EVENTS.all(tx, {"id": license_id})
    return tuple((row["event"], row["status"], row["at"], row["entry_id"]) for row in rows)


def insert_license(
    tx: WriteTx,
    at: datetime,
    license_id: str,
    draft: DraftLicense,
    issuer: str,
    status: Status,
    supersedes: str | None,
    entry: JournalEntry,
) -> None:
    tx.execute(
        insert(licenses),
        {
            "license_id": license_id,
            "identifier": draft.identifier,
            "kind": draft.kind,
            "holder": draft.holder,
            "issuer": issuer,
            "status": status.value,
            "version": 1,
            "valid_from": draft.valid_from,
            "valid_until": draft.valid_until,
            "supersedes": supersedes,
            "source_case": draft.source_case,
            "created_at": at,
            "entry_id": entry.entry_id,
        },
    )


def update_license(
    tx: WriteTx, license_id: str, row_version: int, values: Mapping[str, Any]
) -> None:
    """Compare-and-swap on the row's version; `LicenseChangedMeanwhile` if it moved on."""
    done = tx.execute(
        update(licenses)
        .where(licenses.c.license_id == license_id, licenses.c.version == row_version)
        .values(version=row_version + 1, **values)
    )
    if done.rowcount != 1:
        raise LicenseChangedMeanwhile()


def add_event(
    tx: WriteTx,
    license_id: str,
    event: Event,
    after: Status,
    when: datetime,
    entry: JournalEntry,
) -> None:
    last = tx.scalar(
        select(func.max(license_events.c.sequence)).where(license_events.c.license_id == license_id)
    )
    tx.execute(
        insert(license_events),
        {
            "license_id": license_id,
            "sequence": 1 if last is None else last + 1,
            "event": event.value,
            "status": after.value,
            "at": when,
            "entry_id": entry.entry_id,
        },
    )
