"""Capacities on a real ledger: begin, end, and what ends them by law."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from kernel.identifiers import citizen_check_character
from kernel.principals import Capacity
from parties import HolderRef
from parties.capacity import EndReason, MayAct, MayNotAct, PartyEvent, WhyNot
from parties.errors import (
    CapacityEnded,
    CapacityInvalid,
    CapacityRecordMismatch,
    CapacityUnknown,
    PartyUnknown,
)
from parties.tables import capacities

REP, MANAGER, OPERATOR = (
    Capacity.LEGAL_REPRESENTATIVE,
    Capacity.LICENSE_MANAGER,
    Capacity.OPERATOR,
)


@pytest.fixture
def company(store):
    """The company of the story, its representative and its operator."""
    holder, shen, zhou = (store.ensure(ref) for ref in (store.COMPANY, store.SHEN, store.ZHOU))
    rep = register(store, holder, shen, REP, "registration")
    operator = register(store, holder, zhou, OPERATOR, "power_of_attorney")
    return {"holder": holder, "shen": shen, "zhou": zhou, "rep": rep, "operator": operator}


def register(store, holder, person, capacity, basis, valid_until=None):
    return store.write(
        lambda tx: store.parties.register_capacity(
            tx, store.clock.now(), holder, person, capacity, basis, valid_until
        )
    )


def in_force(store, person, holder):
    return store.read(lambda tx: store.parties.capacities(tx, store.clock.now(), person, holder))


def test_registered_capacities_are_in_force_for_their_holder_only(store, company):
    assert in_force(store, company["shen"], company["holder"]) == {REP}
    assert in_force(store, company["zhou"], company["holder"]) == {OPERATOR}
    assert in_force(store, company["zhou"], company["shen"]) == frozenset()


def test_a_person_is_themselves_and_an_organisation_never_acts(store, company):
    assert in_force(store, company["shen"], company["shen"]) == {Capacity.SELF}
    assert in_force(store, company["holder"], company["holder"]) == frozenset()


def test_an_ended_capacity_stays_ended_and_its_end_is_recorded(store, company):
    at = store.advance(days=3)
    end = company["operator"]
    store.write(lambda tx: store.parties.end_capacity(tx, at, end, "withdrawn"))
    assert in_force(store, company["zhou"], company["holder"]) == frozenset()
    facts = store.read(lambda tx: store.parties.capacity(tx, end))
    assert (facts.ended_at, facts.ended_reason) == (at, EndReason.WITHDRAWN)
    with pytest.raises(CapacityEnded):
        store.write(lambda tx: store.parties.end_capacity(tx, at, end, "withdrawn"))
    history = store.read(lambda tx: store.ledger.records.history(tx, end))
    assert [record.body["status"] for record in history] == ["in_force", "ended"]
    # What was done before the end stays done with authority.
    acted = store.read(
        lambda tx: store.parties.may_act(
            tx, at - timedelta(days=1), company["zhou"], company["holder"], OPERATOR
        )
    )
    assert acted == MayAct(OPERATOR, end)


def test_a_change_of_representative_ends_the_whole_chain(store, company):
    manager = register(store, company["holder"], company["zhou"], MANAGER, "power_of_attorney")
    at = store.advance(days=1)
    ended = store.write(
        lambda tx: store.parties.end_for_event(
            tx, at, company["holder"], PartyEvent.REPRESENTATIVE_CHANGED
        )
    )
    assert set(ended) == {company["rep"], company["operator"], manager}
    for person in ("shen", "zhou"):
        assert in_force(store, company[person], company["holder"]) == frozenset()
    register(store, company["holder"], company["zhou"], REP, "registration")
    assert in_force(store, company["zhou"], company["holder"]) == {REP}


def test_a_death_ends_what_the_person_held_and_what_others_held_for_them(store, company):
    agent = register(store, company["shen"], company["zhou"], Capacity.AGENT, "power_of_attorney")
    at = store.advance(days=1)
    ended = store.write(
        lambda tx: store.parties.end_for_event(tx, at, company["shen"], PartyEvent.DEATH)
    )
    assert set(ended) == {company["rep"], agent}
    assert in_force(store, company["zhou"], company["holder"]) == {OPERATOR}


def test_a_dissolution_ends_all_that_is_held_for_the_organisation(store, company):
    agent = register(store, company["shen"], company["zhou"], Capacity.AGENT, "power_of_attorney")
    at = store.advance(days=1)
    ended = store.write(
        lambda tx: store.parties.end_for_event(tx, at, company["holder"], PartyEvent.DISSOLUTION)
    )
    assert set(ended) == {company["rep"], company["operator"]}
    assert store.read(lambda tx: store.parties.capacity(tx, agent)).ended_at is None


def test_a_guardian_of_a_child_ends_on_the_childs_birthday(store):
    body = "31019920101201001"
    child = store.ensure(HolderRef("111", body + citizen_check_character(body), "沈小云"))
    parent = store.ensure(store.SHEN)
    register(store, child, parent, Capacity.GUARDIAN, "kinship")
    assert in_force(store, parent, child) == {Capacity.GUARDIAN}
    store.clock.set(store.NOON.replace(year=2028, month=11, day=30, hour=15, minute=59))
    assert in_force(store, parent, child) == {Capacity.GUARDIAN}
    store.advance(minutes=1)  # midnight of 1 December 2028 in China
    assert in_force(store, parent, child) == frozenset()
    with pytest.raises(CapacityInvalid) as refused:
        register(store, child, parent, Capacity.GUARDIAN, "kinship")
    assert refused.value.details == {"reason": "ward_is_of_age"}


@pytest.mark.parametrize(
    ("capacity", "basis"), [(REP, "kinship"), (REP, "hearsay"), (Capacity.GUARDIAN, "kinship")]
)
def test_a_refused_capacity_leaves_nothing_behind(store, company, capacity, basis):
    before = store.read(lambda tx: len(tx.all(select(capacities))))
    with pytest.raises(CapacityInvalid):
        register(store, company["holder"], company["zhou"], capacity, basis)
    assert store.read(lambda tx: len(tx.all(select(capacities)))) == before


def test_unknown_parties_and_capacities_are_not_found(store, company):
    with pytest.raises(PartyUnknown):
        register(store, company["holder"], "pty_" + "0" * 26, REP, "registration")
    with pytest.raises(CapacityUnknown):
        store.write(
            lambda tx: store.parties.end_capacity(
                tx, store.clock.now(), "cap_" + "0" * 26, "withdrawn"
            )
        )
    with pytest.raises(CapacityInvalid):
        store.write(
            lambda tx: store.parties.end_capacity(tx, store.clock.now(), company["rep"], "bored")
        )


def test_an_edited_row_is_not_believed(store, company):
    at = store.clock.now()
    store.write(lambda tx: store.parties.end_capacity(tx, at, company["operator"], "withdrawn"))
    row = capacities.c.capacity_id == company["operator"]
    edits = [
        {"ended_at": None},
        {"ended_at": at, "person": company["shen"]},
        {"person": company["zhou"], "capacity": REP.value},
        {"capacity": OPERATOR.value, "valid_until": at + timedelta(days=900)},
    ]
    for edit in edits:
        store.write(lambda tx, edit=edit: tx.execute(update(capacities).where(row).values(**edit)))
        with pytest.raises(CapacityRecordMismatch):
            store.read(lambda tx: store.parties.capacity(tx, company["operator"]))
    store.write(lambda tx: tx.execute(update(capacities).where(row).values(valid_until=None)))
    decision = store.read(
        lambda tx: store.parties.may_act(tx, at, company["zhou"], company["holder"], OPERATOR)
    )
    assert decision == MayNotAct(WhyNot.ENDED)
