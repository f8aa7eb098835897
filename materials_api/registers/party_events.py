"""What happened to a party and ends the freshness of older materials: a move, a new name.

A death, a dissolution or a change of representative also ends the authority of
those who act for the party. Body of `party.event`, about an `evt_…` id:
`party`, `event`, `happened_at`, `by` (role and body), `status` "recorded".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import insert

from kernel.canonical import JsonValue
from kernel.clock import time_text
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from materials_api.catalogue.terms import PartyEventKind
from materials_api.grants.errors import PartyEventInvalid
from materials_api.grants.records import officer_of
from materials_api.room import MaterialsRoom
from materials_api.tables import party_events
from parties.capacity import PartyEvent as AuthorityEvent
from storage import audit
from storage.database import WriteTx

ENDS_AUTHORITY: Mapping[PartyEventKind, AuthorityEvent] = MappingProxyType(
    {
        PartyEventKind.DECEASED: AuthorityEvent.DEATH,
        PartyEventKind.DISSOLVED: AuthorityEvent.DISSOLUTION,
        PartyEventKind.REPRESENTATIVE_CHANGED: AuthorityEvent.REPRESENTATIVE_CHANGED,
    }
)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """`ended`: ids of the capacities that ended with it."""

    event_id: str
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
    event_id = new_id(IdKind.PARTY_EVENT)
    body: dict[str, JsonValue] = {
        "party": party,
        "event": event.value,
        "happened_at": time_text(happened_at),
        "by": officer_of(principal),
        "status": "recorded",
    }
    entry = room.ledger.journal.record(tx, at, "party.event", event_id, body)
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
        entity=event_id,
        detail={"event": event.value, "ended": len(ended)},
    )
    return RecordedEvent(event_id, entry.entry_id, party, tuple(ended))
