"""A grant (授权) as its records tell it. Every record of a grant holds the whole grant.

So the newest record alone says what the grant is good for: which items of which
holder, for which case, decided by whom in which capacity, once or until when.
Its row repeats what queries need and is compared before it is believed. Body of
`grant.requested`, `grant.granted`, `grant.declined`, `grant.lapsed`, `grant.bound`,
`grant.spent`, `grant.revoked`:

    holder, items [{item, kind, type, requirement}], approved [id, …],
    case, bound_by_use, audience, matter, use, purpose,
    requested_at, wanted_until, expires_at, asked_by {role, org, unit, officer} or null,
    person, capacity, capacity_id, decided_at, spent_at,
    by {role, org, unit, officer, person, capacity}: who caused this record,
    status: one of `GrantState`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, literal_column, select, update

from kernel.canonical import JsonValue, Record
from kernel.clock import parse_time, time_text
from kernel.principals import Capacity, Principal
from ledger.merkle import leaf_hash
from ledger.records import OpenedRecord, Row
from ledger.tables import ledger_entries
from materials_api.errors import RecordMismatch, RowChanged
from materials_api.grants.errors import GrantUnknown
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.room import MaterialsRoom
from materials_api.tables import cases, grant_items, grants
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared

_BY_ID = select(grants).where(grants.c.grant_id == bindparam("grant"))
_LOCKED = _BY_ID.with_for_update()
_FIRST = Prepared(
    select(ledger_entries.c.leaf, ledger_entries.c.shard, ledger_entries.c.leaf_index)
    .where(ledger_entries.c.entity == bindparam("entity"), ledger_entries.c.public.is_(False))
    .order_by(ledger_entries.c.position)
    .limit(literal_column("1"))
    .offset(literal_column("0"))  # SQLite's dialect would make a parameter of it
)


@dataclass(frozen=True, slots=True)
class GrantItem:
    """`kind` is `material` or `license`; `type` the material type or licence kind."""

    item: str
    kind: str
    type: str
    requirement: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """`items`: what was asked for. `approved`: what the holder agreed to.

    `expires_at` ends the request while it is one, and the grant afterwards;
    `wanted_until` is the end that the asker wants. `version` is the row's,
    `entry_id` that of the newest record.
    """

    grant_id: str
    holder: str
    items: tuple[GrantItem, ...]
    approved: frozenset[str]
    case_id: str | None
    bound_by_use: bool
    audience: str | None
    matter: str | None
    use: GrantUse
    purpose: str
    state: GrantState
    requested_at: datetime
    wanted_until: datetime | None
    expires_at: datetime | None
    asked_by: Mapping[str, JsonValue] | None
    person: str | None = None
    capacity: Capacity | None = None
    capacity_id: str | None = None
    decided_at: datetime | None = None
    spent_at: datetime | None = None
    version: int = 1
    entry_id: str = ""

    def body(self, by: Record) -> dict[str, JsonValue]:
        return {
            "holder": self.holder,
            "items": [
                {"item": one.item, "kind": one.kind, "type": one.type,
                 "requirement": one.requirement}
                for one in self.items
            ],
            "approved": [one.item for one in self.items if one.item in self.approved],
            "case": self.case_id,
            "bound_by_use": self.bound_by_use,
            "audience": self.audience,
            "matter": self.matter,
            "use": self.use.value,
            "purpose": self.purpose,
            "requested_at": time_text(self.requested_at),
            "wanted_until": _text(self.wanted_until),
            "expires_at": _text(self.expires_at),
            "asked_by": None if self.asked_by is None else dict(self.asked_by),
            "person": self.person,
            "capacity": None if self.capacity is None else self.capacity.value,
            "capacity_id": self.capacity_id,
            "decided_at": _text(self.decided_at),
            "spent_at": _text(self.spent_at),
            "by": by,
            "status": self.state.value,
        }  # fmt: skip

    def columns(self, entry_id: str) -> dict[str, Any]:
        """The row, as the record `entry_id` makes it; of the bodies of its case see `bodies`."""
        return {
            "holder": self.holder,
            "person": self.person,
            "capacity": None if self.capacity is None else self.capacity.value,
            "case_id": self.case_id,
            "audience": self.audience,
            "matter": self.matter,
            "use": self.use.value,
            "status": self.state.value,
            "version": self.version,
            "requested_at": self.requested_at,
            "decided_at": self.decided_at,
            "expires_at": self.expires_at,
            "spent_at": self.spent_at,
            "entry_id": entry_id,
        }

    def bodies(self) -> dict[str, Any]:
        """The columns that repeat whose case it is, to be read from the case's row."""
        own = cases.c.case_id == self.case_id
        return {
            name: select(cases.c[name]).where(own).scalar_subquery()
            for name in ("window_org", "department")
        }


def officer_of(principal: Principal) -> dict[str, JsonValue]:
    """Who asked, as slips and holders see it."""
    return {
        "role": principal.role.value,
        "org": principal.org,
        "unit": principal.unit,
        "officer": principal.officer,
    }


def actor_of(principal: Principal) -> dict[str, JsonValue]:
    """Who caused a record: office, or natural person with capacity."""
    return {
        **officer_of(principal),
        "person": principal.person,
        "capacity": principal.capacity.value if principal.capacity else None,
    }


def read_grant(row: Row, record: OpenedRecord) -> tuple[Grant, bool]:
    """The grant of the newest record, and whether the row tells the same.

    `RecordMismatch` when the record is no grant's.
    """
    body = record.body
    try:
        grant = Grant(
            grant_id=record.entity,
            holder=_str(body["holder"]),
            items=tuple(_item(one) for one in _list(body["items"])),
            approved=frozenset(_str(one) for one in _list(body["approved"])),
            case_id=_optional(body["case"]),
            bound_by_use=body["bound_by_use"] is True,
            audience=_optional(body["audience"]),
            matter=_optional(body["matter"]),
            use=GrantUse(_str(body["use"])),
            purpose=_str(body["purpose"]),
            state=GrantState(_str(body["status"])),
            requested_at=parse_time(_str(body["requested_at"])),
            wanted_until=_time(body["wanted_until"]),
            expires_at=_time(body["expires_at"]),
            asked_by=_mapping(body["asked_by"]),
            person=_optional(body["person"]),
            capacity=None if body["capacity"] is None else Capacity(_str(body["capacity"])),
            capacity_id=_optional(body["capacity_id"]),
            decided_at=_time(body["decided_at"]),
            spent_at=_time(body["spent_at"]),
            version=row["version"],
            entry_id=record.entry_id,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordMismatch(entity=record.entity) from error
    stated = grant.columns(record.entry_id)
    agrees = record.entity == row["grant_id"] and all(
        row[name] == value for name, value in stated.items()
    )
    return grant, agrees


def open_grant(room: MaterialsRoom, tx: ReadTx, grant_id: str, *, lock: bool = False) -> Grant:
    """The grant, opened and compared with its row: `GrantUnknown`, `RecordMismatch`.

    `lock`: against other writers, to the end of the transaction.
    """
    row = tx.one(_LOCKED if lock else _BY_ID, {"grant": grant_id})
    if row is None:
        raise GrantUnknown()
    grant, agrees = read_grant(row, room.ledger.records.only_stop(tx, grant_id))
    if not agrees:
        raise RecordMismatch(entity=grant_id)
    return grant


def add_grant(
    room: MaterialsRoom, tx: WriteTx, at: datetime, kind: str, by: Record, grant: Grant
) -> Grant:
    """Record a new grant and insert its rows; the grant with its entry."""
    entry = room.ledger.journal.record(tx, at, kind, grant.grant_id, grant.body(by))
    tx.execute(
        insert(grants).values(
            grant_id=grant.grant_id, **grant.columns(entry.entry_id), **grant.bodies()
        )
    )
    tx.insert_many(
        grant_items,
        [
            {
                "grant_id": grant.grant_id,
                "item": one.item,
                "approved": one.item in grant.approved,
            }
            for one in grant.items
        ],
    )
    return replace(grant, entry_id=entry.entry_id)


def save_grant(
    room: MaterialsRoom, tx: WriteTx, at: datetime, kind: str, by: Record, grant: Grant
) -> Grant:
    """Record the changed grant and update its row; `grant.version` is what it was.
    Returns the grant as it is now.

    Compare-and-swap on the version: `RowChanged` if somebody else was faster.
    A show code that is still out serves no longer.
    """
    entry = room.ledger.journal.record(tx, at, kind, grant.grant_id, grant.body(by))
    values = grant.columns(entry.entry_id) | {"version": grant.version + 1}
    done = tx.execute(
        update(grants)
        .where(grants.c.grant_id == grant.grant_id, grants.c.version == grant.version)
        .values(code_mac=None, code_expires_at=None, **values, **grant.bodies())
    )
    if done.rowcount != 1:
        raise RowChanged()
    return replace(grant, version=grant.version + 1, entry_id=entry.entry_id)


def publish_end(
    room: MaterialsRoom, tx: WriteTx, at: datetime, reason: str, ended: OpenedRecord
) -> None:
    """The public `ended` leaf of a grant that was spent or revoked, so that a restore
    from an older copy can honour it. Names the record, and the first one of the grant,
    which every copy has that knows the grant at all: each by its place in the log, or
    by its leaf hash while it has none. Both tell nothing to outsiders."""
    body: dict[str, JsonValue] = {"reason": reason}
    first = _FIRST.all(tx, {"entity": ended.entity})[0]
    named = {one["leaf"]: one for one in (first, _place(ended))}
    placed = [one for one in named.values() if one["leaf_index"] is not None]
    for shard in sorted({str(one["shard"]) for one in placed})[-1:]:
        indexes: list[JsonValue] = [one["leaf_index"] for one in placed if one["shard"] == shard]
        body |= {"shard": shard, "indexes": indexes}
    rest = [one for one in named.values() if one not in placed or one["shard"] != body["shard"]]
    if rest:
        body |= {"leaves": [leaf_hash(one["leaf"]).hex() for one in rest]}
    room.ledger.journal.publish(tx, at, "ended", body, entity=ended.entity)


def _place(record: OpenedRecord) -> dict[str, Any]:
    return {"leaf": record.leaf, "shard": record.shard, "leaf_index": record.leaf_index}


def _item(value: JsonValue) -> GrantItem:
    entry = _mapping(value)
    if entry is None:
        raise TypeError("not an object")
    return GrantItem(
        _str(entry["item"]),
        _str(entry["kind"]),
        _str(entry["type"]),
        _optional(entry["requirement"]),
    )


def _text(value: datetime | None) -> str | None:
    return None if value is None else time_text(value)


def _time(value: JsonValue) -> datetime | None:
    return None if value is None else parse_time(_str(value))


def _str(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _optional(value: JsonValue) -> str | None:
    return None if value is None else _str(value)


def _mapping(value: JsonValue) -> Mapping[str, JsonValue] | None:
    if value is not None and not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list(value: JsonValue) -> Sequence[JsonValue]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
