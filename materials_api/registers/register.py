"""Registers of other bodies (登记库): the port of data checks, and our own store behind it.

The operator loads what a register says; the facts stand sealed in records. Body
of `register.loaded`, about an `fct_…` id: `register`, `holder`, `facts` {field:
text or list of texts}, `by`, `status` "current". Later `register.replaced` and
`register.ended` with their status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from sqlalchemy import RowMapping, insert, select, update

from kernel.canonical import JsonValue
from kernel.errors import Corrupt
from kernel.ids import IdKind, new_id
from kernel.principals import Principal
from ledger.errors import EntryUnknown
from ledger.records import OpenedRecord
from materials_api.grants.errors import (
    RegisterFactEnded,
    RegisterFactsInvalid,
    RegisterFactUnknown,
)
from materials_api.grants.records import officer_of
from materials_api.room import MaterialsRoom
from materials_api.tables import register_facts
from materials_api.texts import clean_text
from storage import audit
from storage.database import ReadTx, WriteTx

CURRENT = "current"
REPLACED = "replaced"
ENDED = "ended"
Facts: TypeAlias = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class FactsFound:
    """The register holds an entry. `record`: where it stands in our log, None for an
    answer from outside. `agrees`: whether rows and records tell the same. `closed`:
    what the row alone says, to notice a change before the commit."""

    source: str
    facts: Facts
    entity: str | None
    record: OpenedRecord | None
    agrees: bool = True
    ended: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class NoFacts:
    """The register was asked and has nothing about this holder."""

    source: str


@dataclass(frozen=True, slots=True)
class RegisterOutage:
    """It could not be asked, or its answer not be trusted. `reason` is a stable word."""

    source: str
    reason: str


RegisterAnswer: TypeAlias = FactsFound | NoFacts | RegisterOutage


class DataSource(Protocol):
    """A body of registers, ours or somebody else's.

    `ask` only reads, answers within a time limit of its own, and turns every
    failure into `RegisterOutage`; it never guesses. Safe from many threads. Not
    to be called inside a write transaction: a remote register may take seconds.
    """

    def ask(self, register: str, holder: str, at: datetime) -> RegisterAnswer:
        """What `register` (a catalogue key) says of the party `holder` at `at`."""
        ...


@dataclass(frozen=True, slots=True)
class LocalRegisters:
    """What the operator loaded, read from its records."""

    room: MaterialsRoom

    def ask(self, register: str, holder: str, at: datetime) -> RegisterAnswer:
        with self.room.database.read() as tx:
            row = _newest(tx, register, holder, at)
            if row is None:
                return NoFacts("local")
            try:
                return _answer(self.room, tx, row)
            except Corrupt as error:
                return RegisterOutage("local", error.code)


def load_facts(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    register: str,
    holder: str,
    facts: Facts,
) -> tuple[str, str]:
    """Load what a register says of a holder, in place of what it said before.

    Returns the id and the entry. `RegisterUnknown`, `RegisterFactsInvalid`.
    """
    checked = _checked(room, register, facts)
    for row in _live(tx, register, holder):
        _close(room, tx, at, principal, row, REPLACED)
    fact_id = new_id(IdKind.REGISTER_FACT)
    body: dict[str, JsonValue] = {
        "register": register,
        "holder": holder,
        "facts": checked,
        "by": officer_of(principal),
        "status": CURRENT,
    }
    entry = room.ledger.journal.record(tx, at, "register.loaded", fact_id, body)
    tx.execute(
        insert(register_facts),
        {"entry_id": entry.entry_id, "register": register, "holder": holder, "at": at},
    )
    audit.note(tx, at, principal, "register.load", entity=fact_id, detail={"register": register})
    return fact_id, entry.entry_id


def end_facts(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, fact_id: str
) -> None:
    """The registration ended (注销): `RegisterFactUnknown`, `RegisterFactEnded`."""
    try:
        latest = room.ledger.records.latest(tx, fact_id)
        first = room.ledger.records.remaining(tx, fact_id)[0]
    except EntryUnknown:
        raise RegisterFactUnknown() from None
    if first.kind != "register.loaded":
        raise RegisterFactUnknown()
    if latest.body.get("status") != CURRENT:
        raise RegisterFactEnded()
    row = tx.one(select(register_facts).where(register_facts.c.entry_id == first.entry_id))
    if row is None:
        raise RegisterFactUnknown()
    _close(room, tx, at, principal, row, ENDED)
    audit.note(tx, at, principal, "register.end", entity=fact_id)


def _close(
    room: MaterialsRoom,
    tx: WriteTx,
    at: datetime,
    principal: Principal,
    row: RowMapping,
    status: str,
) -> None:
    entity = room.ledger.records.open(tx, row["entry_id"]).entity
    room.ledger.journal.record(
        tx, at, f"register.{status}", entity, {"by": officer_of(principal), "status": status}
    )
    tx.execute(
        update(register_facts)
        .where(register_facts.c.entry_id == row["entry_id"])
        .values(ended_at=at)
    )


def _live(tx: ReadTx, register: str, holder: str) -> Sequence[RowMapping]:
    return tx.all(
        select(register_facts)
        .where(
            register_facts.c.register == register,
            register_facts.c.holder == holder,
            register_facts.c.ended_at.is_(None),
        )
        .with_for_update()
    )


def _newest(tx: ReadTx, register: str, holder: str, at: datetime) -> RowMapping | None:
    return tx.one(
        select(register_facts)
        .where(
            register_facts.c.register == register,
            register_facts.c.holder == holder,
            register_facts.c.at <= at,
        )
        .order_by(
            register_facts.c.ended_at.is_(None).desc(),
            register_facts.c.at.desc(),
            register_facts.c.entry_id,
        )
        .limit(1)
    )


def _answer(room: MaterialsRoom, tx: ReadTx, row: RowMapping) -> FactsFound:
    record = room.ledger.records.open(tx, row["entry_id"])
    latest = room.ledger.records.only_stop(tx, record.entity)
    status = latest.body.get("status")
    told, body = record.body.get("facts"), record.body
    facts: dict[str, str | list[str]] = {}
    for name, value in told.items() if isinstance(told, dict) else ():
        if isinstance(value, str):
            facts[name] = value
        elif isinstance(value, list):
            facts[name] = [one for one in value if isinstance(one, str)]
    agrees = (
        record.kind == "register.loaded"
        and (body.get("register"), body.get("holder")) == (row["register"], row["holder"])
        and record.at == row["at"]
        and (row["ended_at"] is None) == (status == CURRENT)
    )
    return FactsFound(
        "local",
        facts,
        record.entity,
        record,
        agrees,
        ended=status != CURRENT,
        closed=row["ended_at"] is not None,
    )


def _checked(room: MaterialsRoom, register: str, facts: Facts) -> dict[str, JsonValue]:
    """Known fields with clean texts only."""
    known = room.catalogue.register_of(register).fields
    limits = room.limits.grants
    if not 1 <= len(facts) <= limits.register_fields:
        raise RegisterFactsInvalid(problem="count")
    checked: dict[str, JsonValue] = {}
    for name, value in facts.items():
        if name not in known:
            raise RegisterFactsInvalid(problem="field")
        if isinstance(value, str):
            checked[name] = clean_text(name, value, limits.register_chars)
            continue
        if not 1 <= len(value) <= limits.register_values:
            raise RegisterFactsInvalid(problem="values")
        checked[name] = [clean_text(name, one, limits.register_chars) for one in value]
    return checked
