"""Opening a case: for which matter, for whom, who acts in which capacity."""

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert

from kernel.canonical import JsonValue
from kernel.clock import china_date
from kernel.identifiers import parse_holder
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Channel, Principal, Role
from materials_api.cases.access import CaseView, load_case
from materials_api.cases.lifecycle import CaseState
from materials_api.cases.numbers import given_number, next_number
from materials_api.catalogue.model import Matter
from materials_api.errors import (
    ActingPersonInvalid,
    ActingPersonNeeded,
    ApplicantKindWrong,
    CapacityMissing,
    ChannelInvalid,
    HolderNotYours,
    ProjectInvalid,
)
from materials_api.room import MaterialsRoom
from materials_api.tables import case_events, cases
from parties import HolderRef
from parties.capacity import PartyKind
from storage import audit
from storage.database import WriteTx

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-._]{0,63}")
# A counter's system may enter a case that came in by any channel; holders at home
# or at a kiosk cannot claim to stand at a counter.
_CHANNELS = {
    Role.WINDOW: frozenset(Channel),
    Role.APPLICANT: frozenset({Channel.PC, Channel.MOBILE, Channel.KIOSK}),
}


@dataclass(frozen=True, slots=True)
class Acting:
    """The natural person who acts, and in which capacity."""

    person: HolderRef
    capacity: Capacity


@dataclass(frozen=True, slots=True)
class OpenCase:
    """What is asked for. `matter`: any length of matter code; `variant` None: the only one.

    `project`: a project code (同一项目), for reuse within the project.
    """

    matter: str
    applicant: HolderRef
    channel: Channel
    variant: str | None = None
    acting: Acting | None = None
    project: str | None = None
    number: str | None = None


def open_case(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, wanted: OpenCase
) -> CaseView:
    """Open a draft case; record, row, first event and audit in this transaction.

    A window names the applicant and who acts; a capacity other than `self`
    must be in the register (`CapacityMissing`). An applicant opens cases for
    the credential's own holder only (`HolderNotYours`).
    """
    matter = room.catalogue.matter(wanted.matter)
    variant = matter.variant(wanted.variant)
    if wanted.channel not in _CHANNELS.get(principal.role, frozenset()):
        raise ChannelInvalid(channel=wanted.channel.value)
    if wanted.project is not None and _PROJECT.fullmatch(wanted.project) is None:
        raise ProjectInvalid()
    _check_kind(at, matter, wanted.applicant)
    if principal.role is Role.APPLICANT:
        applicant, person, capacity = _own(room, tx, at, principal, wanted)
    else:
        applicant, person, capacity = _at_window(room, tx, at, wanted)
    number = (
        given_number(tx, wanted.number)
        if wanted.number is not None
        else next_number(
            tx,
            at,
            room.limits.case_number_pattern,
            matter=matter.code,
            department=matter.department,
        )
    )
    case_id = new_id(IdKind.CASE)
    body: dict[str, JsonValue] = {
        "number": number,
        "matter": matter.code,
        "variant": variant.key,
        "applicant": applicant,
        "person": person,
        "capacity": capacity.value,
        "project": wanted.project,
        "channel": wanted.channel.value,
        "window_org": principal.org if principal.role is Role.WINDOW else None,
        "window_unit": principal.unit,
        "officer": principal.officer,
        "department": matter.department,
        "catalogue": room.catalogue.sha256.hex(),
        "origin": "live",
        "status": CaseState.DRAFT.value,
    }
    entry = room.ledger.journal.record(tx, at, "case.opened", case_id, body)
    tx.execute(
        insert(cases),
        {
            "case_id": case_id,
            "number": number,
            "matter": matter.code,
            "variant": variant.key,
            "applicant": applicant,
            "person": person,
            "capacity": capacity.value,
            "project": wanted.project,
            "channel": wanted.channel.value,
            "window_org": body["window_org"],
            "department": matter.department,
            "state": CaseState.DRAFT.value,
            "version": 1,
            "catalogue_sha256": room.catalogue.sha256,
            "opened_at": at,
            "origin": "live",
            "entry_id": entry.entry_id,
        },
    )
    tx.execute(
        insert(case_events),
        {
            "case_id": case_id,
            "sequence": 1,
            "event": "open",
            "state": CaseState.DRAFT.value,
            "at": at,
            "role": principal.role.value,
            "entry_id": entry.entry_id,
        },
    )
    audit.note(tx, at, principal, "case.open", entity=case_id, case_id=case_id)
    return load_case(tx, case_id)


def _check_kind(at: datetime, matter: Matter, applicant: HolderRef) -> None:
    is_person = parse_holder(applicant.type, applicant.code, china_date(at)).is_person
    if matter.holder != "either" and (matter.holder == "person") != is_person:
        raise ApplicantKindWrong(kind=matter.holder)


def _own(
    room: MaterialsRoom, tx: WriteTx, at: datetime, principal: Principal, wanted: OpenCase
) -> tuple[str, str, Capacity]:
    if principal.holder is None or principal.person is None or principal.capacity is None:
        raise HolderNotYours()
    ref = wanted.applicant
    # Never registers anybody: whoever else is named, the answer is the same.
    if room.parties.find(tx, ref.type, ref.code, at=at) != principal.holder:
        raise HolderNotYours()
    room.parties.ensure(tx, at, ref)
    if wanted.acting is not None:
        who = wanted.acting.person
        found = room.parties.find(tx, who.type, who.code, at=at)
        if found != principal.person or wanted.acting.capacity is not principal.capacity:
            raise HolderNotYours()
        room.parties.ensure(tx, at, who)
    return principal.holder, principal.person, principal.capacity


def _at_window(
    room: MaterialsRoom, tx: WriteTx, at: datetime, wanted: OpenCase
) -> tuple[str, str, Capacity]:
    applicant = room.parties.ensure(tx, at, wanted.applicant)
    if wanted.acting is None:
        if room.parties.describe(tx, applicant).kind is not PartyKind.PERSON:
            raise ActingPersonNeeded()
        return applicant, applicant, Capacity.SELF
    capacity = wanted.acting.capacity
    ref = wanted.acting.person
    if not parse_holder(ref.type, ref.code, china_date(at)).is_person:
        raise ActingPersonInvalid()
    person = room.parties.ensure(tx, at, ref)
    if (capacity is Capacity.SELF) != (person == applicant):
        raise ActingPersonInvalid()
    if capacity is not Capacity.SELF and capacity not in room.parties.capacities(
        tx, at, person, applicant
    ):
        raise CapacityMissing(capacity=capacity.value)
    return applicant, person, capacity
