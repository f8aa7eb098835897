"""Reads a licence from its records and compares its rows with them.

The records decide. Rows and events that differ are named, not believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kernel.canonical import JsonValue
from kernel.clock import parse_time
from ledger.records import OpenedRecord, Records
from license_service.errors import LicenseRecordMismatch
from license_service.lifecycle import LIFECYCLE, Event, Happened, Status
from license_service.model import LicenseFacts, LicenseView
from license_service.rows import event_rows, read_view
from storage.database import ReadTx

DRAFTED = "license.drafted"
ISSUED = "license.issued"
# What an event is called in the ledger: the past form.
KIND_OF: Mapping[Event, str] = {
    Event.ISSUE: ISSUED,
    Event.INSPECT: "license.inspected",
    Event.CHANGE: "license.changed",
    Event.RENEW: "license.renewed",
    Event.REISSUE: "license.reissued",
    Event.SUSPEND: "license.suspended",
    Event.RESUME: "license.resumed",
    Event.WITHDRAW: "license.withdrawn",
    Event.RESCIND: "license.rescinded",
    Event.REVOKE: "license.revoked",
    Event.DEREGISTER: "license.deregistered",
    Event.ANNUL: "license.annulled",
}


def read_facts(
    tx: ReadTx, records: Records, license_id: str, *, to_end: bool = False
) -> LicenseFacts:
    """Open every record of a licence. Raises `LicenseUnknown`, what `Records` raises for
    records that do not open, and `LicenseRecordMismatch` for ones that tell no licence.
    `to_end`: of what a restore left of them, to end the licence and for nothing else."""
    view = read_view(tx, license_id)
    history = (records.remaining if to_end else records.history)(tx, license_id)
    main = history[0] if len(history) == 1 else _issuing(history)
    happened = tuple(_happened(record) for record in history if record.kind != DRAFTED)
    _check_course(license_id, history, happened)
    body = main.body
    facts = LicenseFacts(
        license_id=license_id,
        kind=_text(body, "license_kind"),
        identifier=_optional(body, "identifier"),
        number=_text(body, "number"),
        holder=_text(body, "holder"),
        holder_record=_text(body, "holder_record"),
        issuer=_text(body, "issuer"),
        issuer_name=_text(body, "issuer_name"),
        area_code=_text(body, "area_code"),
        valid_from=_time(body, "valid_from"),
        valid_until=_time(body, "valid_until"),
        supersedes=_superseded(body),
        source_case=_optional(body, "source_case"),
        attributes=_texts(body.get("attributes")),
        permits=_list(body.get("permits")),
        status=happened[-1].status if happened else Status.DRAFTED,
        history=happened,
        row_version=view.version,
        entry_id=main.entry_id,
        status_entry_id=history[-1].entry_id,
        metadata=body,
        disagreements=(),
    )
    return _compared(facts, view, event_rows(tx, license_id))


def _issuing(history: Sequence[OpenedRecord]) -> OpenedRecord:
    for record in history[:2]:
        if record.kind == ISSUED:
            return record
    raise LicenseRecordMismatch(license=history[0].entity)


def _check_course(
    license_id: str, history: Sequence[OpenedRecord], happened: Sequence[Happened]
) -> None:
    """The records must be a legal course of the lifecycle: a dropped one breaks it."""
    drafted = sum(record.kind == DRAFTED for record in history)
    status = Status.DRAFTED
    legal = drafted <= 1 and (drafted == 0 or history[0].kind == DRAFTED)
    for item, record in zip(happened, history[drafted:], strict=False):
        event = Event.ISSUE if record.kind == ISSUED else item.event
        after = LIFECYCLE.transitions.get((status, event))
        legal = legal and after is item.status and record.kind == KIND_OF[event]
        status = item.status
    if not legal:
        raise LicenseRecordMismatch(license=license_id)


def _happened(record: OpenedRecord) -> Happened:
    at = _time(record.body, "effective_at")
    if at is None:
        raise LicenseRecordMismatch(license=record.entity)
    try:
        event, status = Event(_text(record.body, "event")), Status(_text(record.body, "status"))
    except ValueError:
        raise LicenseRecordMismatch(license=record.entity) from None
    return Happened(event, status, at, record.entry_id)


def _compared(
    facts: LicenseFacts, view: LicenseView, events: tuple[tuple[str, str, datetime, str], ...]
) -> LicenseFacts:
    recorded_events = tuple(
        (item.event.value, item.status.value, item.effective_at, item.entry_id)
        for item in facts.history
    )
    pairs = {
        "identifier": (facts.identifier, view.identifier),
        "kind": (facts.kind, view.kind),
        "holder": (facts.holder, view.holder),
        "issuer": (facts.issuer, view.issuer),
        "status": (facts.status, view.status),
        "valid_from": (facts.valid_from, view.valid_from),
        "valid_until": (facts.valid_until, view.valid_until),
        "supersedes": (facts.supersedes, view.supersedes),
        "source_case": (facts.source_case, view.source_case),
        "entry_id": (facts.entry_id, view.entry_id),
        "events": (recorded_events, events),
    }
    differing = tuple(name for name, (recorded, row) in pairs.items() if recorded != row)
    return replace(facts, disagreements=differing)


def _text(body: Mapping[str, JsonValue], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise LicenseRecordMismatch(license=_optional(body, "entity"))
    return value


def _optional(body: Mapping[str, JsonValue], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) else None


def _time(body: Mapping[str, JsonValue], key: str) -> datetime | None:
    value = body.get(key)
    return parse_time(value) if isinstance(value, str) else None


def _superseded(body: Mapping[str, JsonValue]) -> str | None:
    value = body.get("supersedes")
    return _optional(value, "license") if isinstance(value, Mapping) else None


def _texts(value: JsonValue) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)}


def _list(value: JsonValue) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value if isinstance(item, str))
