"""Parties: the register, and in which capacity who acts for whom (代办关系).

Times and ids of a capacity stand in its records; its row is for queries and is
compared with them before it is believed.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import and_, bindparam, insert, or_, select, update

from kernel.canonical import JsonValue
from kernel.clock import parse_time, time_text
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity
from ledger.records import OpenedRecord, asked_history
from parties.capacity import (
    ENDS,
    Basis,
    CapacityFacts,
    EndReason,
    MayAct,
    MayNotAct,
    PartyEvent,
    PartyKind,
    Refusal,
    decide_acting,
    decide_registration,
)
from parties.errors import (
    CapacityEnded,
    CapacityInvalid,
    CapacityRecordMismatch,
    CapacityUnknown,
)
from parties.registry import Register
from parties.tables import capacities
from storage.database import ReadTx, WriteTx
from storage.database.prepared import Prepared, Wanted

# On every verification's path: compiled once.
_CAPACITY = Prepared(select(capacities).where(capacities.c.capacity_id == bindparam("capacity")))
_BETWEEN = Prepared(
    select(capacities.c.capacity_id).where(
        capacities.c.holder == bindparam("holder"), capacities.c.person == bindparam("person")
    )
)


def asked_capacity(capacity_id: str) -> list[Wanted]:
    """What `Parties.capacity` asks, for `read_ahead`."""
    return [(_CAPACITY, {"capacity": capacity_id}), asked_history(capacity_id)]


class Parties(Register):
    """The register of parties with the capacities between them."""

    def register_capacity(
        self,
        tx: WriteTx,
        at: datetime,
        holder: str,
        person: str,
        capacity: Capacity,
        basis: Basis | str,
        valid_until: datetime | None = None,
    ) -> str:
        """Let `person` act for `holder` from `at` on; both are party ids. Returns `cap_…`.

        Raises `CapacityInvalid` with the reason. A guardian's authority always
        ends with the ward's 18th birthday.
        """
        facts = self.describe(tx, holder)
        term = decide_registration(
            at,
            capacity,
            _basis(basis),
            same_party=holder == person,
            person_kind=self.describe(tx, person).kind,
            holder_kind=facts.kind,
            holder_born=facts.born,
            valid_until=valid_until,
        )
        if isinstance(term, Refusal):
            raise CapacityInvalid(reason=term.value)
        capacity_id = new_id(IdKind.CAPACITY)
        body: dict[str, JsonValue] = {
            "holder": holder,
            "person": person,
            "capacity": capacity.value,
            "basis": _basis(basis).value,
            "valid_from": time_text(term.valid_from),
            "valid_until": _time_or_none(term.valid_until),
            "status": "in_force",
        }
        entry = self._journal.record(tx, at, "capacity.registered", capacity_id, body)
        tx.execute(
            insert(capacities),
            {
                "capacity_id": capacity_id,
                "holder": holder,
                "person": person,
                "capacity": capacity.value,
                "basis": _basis(basis).value,
                "valid_from": term.valid_from,
                "valid_until": term.valid_until,
                "entry_id": entry.entry_id,
            },
        )
        return capacity_id

    def end_capacity(
        self, tx: WriteTx, at: datetime, capacity_id: str, reason: EndReason | str
    ) -> None:
        """End a capacity now, for good. Ending twice is `CapacityEnded`; one whose end was
        lost in a restore can be ended again."""
        try:
            why = EndReason(reason)
        except ValueError:
            raise CapacityInvalid(reason="unknown_reason") from None
        if self._capacity(tx, capacity_id, self._records.remaining).ended_at is not None:
            raise CapacityEnded()
        self._journal.record(
            tx,
            at,
            "capacity.ended",
            capacity_id,
            {"reason": why.value, "ended_at": time_text(at), "status": "ended"},
        )
        tx.execute(
            update(capacities)
            .where(capacities.c.capacity_id == capacity_id)
            .values(ended_at=at, ended_reason=why.value)
        )

    def end_for_event(
        self, tx: WriteTx, at: datetime, party_id: str, event: PartyEvent
    ) -> list[str]:
        """End every capacity that a death, dissolution or change of representative ends.

        Returns their ids. Credentials that rest on them stop working at once.
        """
        ends = ENDS[event]
        rows = tx.all(
            select(capacities.c.capacity_id)
            .where(
                capacities.c.ended_at.is_(None),
                or_(
                    and_(
                        capacities.c.holder == party_id,
                        capacities.c.capacity.in_([item.value for item in ends.as_holder]),
                    ),
                    and_(
                        capacities.c.person == party_id,
                        capacities.c.capacity.in_([item.value for item in ends.as_person]),
                    ),
                ),
            )
            .order_by(capacities.c.capacity_id)
        )
        ended = [str(row["capacity_id"]) for row in rows]
        for capacity_id in ended:
            self.end_capacity(tx, at, capacity_id, EndReason(event.value))
        return ended

    def capacity(self, tx: ReadTx, capacity_id: str) -> CapacityFacts:
        """One capacity from its records, compared with its row."""
        return self._capacity(tx, capacity_id, self._records.history)

    def _capacity(
        self,
        tx: ReadTx,
        capacity_id: str,
        records: Callable[[ReadTx, str], list[OpenedRecord]],
    ) -> CapacityFacts:
        row = _CAPACITY.one(tx, {"capacity": capacity_id})
        if row is None:
            raise CapacityUnknown()
        facts = _facts(records(tx, capacity_id))
        stated = (
            row["holder"],
            row["person"],
            row["capacity"],
            row["valid_from"],
            row["valid_until"],
            row["ended_at"],
        )
        recorded = (
            facts.holder,
            facts.person,
            facts.capacity.value,
            facts.valid_from,
            facts.valid_until,
            facts.ended_at,
        )
        if facts.capacity_id != capacity_id or stated != recorded:
            raise CapacityRecordMismatch(capacity=capacity_id)
        return facts

    def may_act(
        self, tx: ReadTx, at: datetime, person: str, holder: str, capacity: Capacity
    ) -> MayAct | MayNotAct:
        """The decision of `decide_acting` over what the records say."""
        facts = [] if capacity is Capacity.SELF else self._between(tx, person, holder)
        return decide_acting(at, person, holder, capacity, facts)

    def capacities(self, tx: ReadTx, at: datetime, person: str, holder: str) -> frozenset[Capacity]:
        """Every capacity in which `person` may act for `holder` at `at`."""
        if person == holder:
            is_person = self.describe(tx, person).kind is PartyKind.PERSON
            return frozenset({Capacity.SELF}) if is_person else frozenset()
        return frozenset(
            facts.capacity for facts in self._between(tx, person, holder) if facts.in_force(at)
        )

    def _between(self, tx: ReadTx, person: str, holder: str) -> list[CapacityFacts]:
        rows = _BETWEEN.all(tx, {"holder": holder, "person": person})
        return [self.capacity(tx, row["capacity_id"]) for row in rows]


def _basis(value: Basis | str) -> Basis:
    try:
        return Basis(value)
    except ValueError:
        raise CapacityInvalid(reason="unknown_basis") from None


def _time_or_none(value: datetime | None) -> str | None:
    return None if value is None else time_text(value)


def _facts(history: list[OpenedRecord]) -> CapacityFacts:
    """Read the records of one capacity: a registering one, then at most one that ends it."""
    kinds = [record.kind for record in history]
    if kinds not in (["capacity.registered"], ["capacity.registered", "capacity.ended"]):
        raise CapacityRecordMismatch(capacity=history[0].entity if history else None)
    body = history[0].body
    ended = history[1].body if len(history) == 2 else {}

    def time(value: JsonValue) -> datetime | None:
        return parse_time(value) if isinstance(value, str) else None

    start, reason = time(body["valid_from"]), ended.get("reason")
    if start is None:
        raise CapacityRecordMismatch(capacity=history[0].entity)
    return CapacityFacts(
        capacity_id=history[0].entity,
        holder=str(body["holder"]),
        person=str(body["person"]),
        capacity=Capacity(str(body["capacity"])),
        basis=Basis(str(body["basis"])),
        valid_from=start,
        valid_until=time(body["valid_until"]),
        ended_at=time(ended.get("ended_at")),
        ended_reason=EndReason(reason) if isinstance(reason, str) else None,
    )
