"""What happened to a party and ends the freshness of older materials: a move, a new name.

A death, a dissolution or a change of representative also ends the authority of
those who act for the party. Body of `party.event`, about the `evt_…` id of its
party: `party`, `event`, `happened_at`, `by` (role and body), `status` "recorded".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import bindparam, insert, select

from kernel.canonical import JsonValue
from kernel.clock import parse_time, time_text
from kernel.ids import IdKind
from kernel.principals import Principal
from ledger.errors import EntryUnknown
from ledger.records import OpenedRecord, asked_history
from materials_api.catalogue.terms import PartyEventKind
from materials_api.errors import RecordMismatch
from materials_api.grants.errors import PartyEventInvalid
from materials_api.grants.records import officer_of
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_facts import PartyEvent
from materials_api.tables import party_events
from parties.capacity import PartyEvent as AuthorityEvent
from storage import audit
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared, Wanted

ENDS_AUTHORITY: Mapping[PartyEventKind, AuthorityEvent] = MappingProxyType(
    {
        PartyEventKind.DECEASED: AuthorityEvent.DEATH,
        PartyEventKind.DISSOLVED: AuthorityEvent.DISSOLUTION,
        PartyEventKind.REPRESENTATIVE_CHANGED: AuthorityEvent.REPRESENTATIVE_CHANGED,
    }
)

_EVENTS = Prepared(
    select(party_events.c.entry_id, party_events.c.event, party_events.c.at).where(
        party_events.c.party_id == bindparam("party")
    )
)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """`ended`: ids of the capacities that ended with it."""

    entry_id: str
    party: str
    ended: tuple[str, ...]


def record_event(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    party: str,
    event: PartyEventKind,
    happened_at: datetime,
) -> RecordedEvent:
    """Record that something happened to a party; `PartyEventInvalid` for the future."""
    if happened_at > at:
        raise PartyEventInvalid()
    entity = events_id(party)
    body: dict[str, JsonValue] = {
        "party": party,
        "event": event.value,
        "happened_at": time_text(happened_at),
        "by": officer_of(principal),
        "status": "recorded",
    }
    entry = room.ledger.journal.record(tx, at, "party.event", entity, body)
    tx.execute(
        insert(party_events),
        {
            "entry_id": entry.entry_id,
            "party_id": party,
            "event": event.value,
            "at": happened_at,
        },
    )
    authority = ENDS_AUTHORITY.get(event)
    ended = [] if authority is None else room.parties.end_for_event(tx, at, party, authority)
    audit.note(
        tx,
        at,
        principal,
        "party.event",
        entity=entity,
        detail={"event": event.value, "ended": len(ended)},
    )
    return RecordedEvent(entry.entry_id, party, tuple(ended))


def events_id(party: str) -> str:
    """The entity of all events of a party: what happened to it is one history in the ledger."""
    return f"{IdKind.PARTY_EVENT.value}_{party.partition('_')[2]}"


def asked_events(party: str) -> list[Wanted]:
    """What `events_of_party` asks, for `read_ahead`."""
    return [asked_history(events_id(party)), (_EVENTS, {"party": party})]


def events_of_party(room: MaterialsRoom, tx: ReadTx, party: str) -> tuple[PartyEvent, ...]:
    """All that happened to the party, as the ledger's records tell it.

    `RecordMismatch` unless the rows tell exactly the same: a lost row would make
    an old lease fresh again, and a lost entry would too.
    """
    try:
        history = room.ledger.records.history(tx, events_id(party))
    except EntryUnknown:
        room.ledger.records.require_unknown(events_id(party))
        history = []
    told = {record.entry_id: _event(party, record) for record in history}
    rows = {row["entry_id"]: (row["event"], row["at"]) for row in _EVENTS.all(tx, {"party": party})}
    if rows != {entry: (event.event.value, event.at) for entry, event in told.items()}:
        raise RecordMismatch(entity=party)
    return tuple(told.values())


def _event(party: str, record: OpenedRecord) -> PartyEvent:
    body = record.body
    happened_at, event = body.get("happened_at"), body.get("event")
    if body.get("party") != party or not isinstance(happened_at, str):
        raise RecordMismatch(entity=party)
    return PartyEvent(party, PartyEventKind(str(event)), parse_time(happened_at))
