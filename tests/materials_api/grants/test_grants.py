"""Grants: who is asked, who may decide, and what a decision leaves behind."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from kernel.clock import time_text
from kernel.principals import Capacity, Principal, Role
from ledger.tables import ledger_entries
from materials_api.catalogue.terms import PartyEventKind, PartyRole
from materials_api.errors import CaseOfOtherWindow, CaseUnknown, RecordMismatch, RowChanged
from materials_api.grants.errors import (
    GrantItemsInvalid,
    GrantItemsNotAsked,
    GrantPeriodInvalid,
    GrantRequestLapsed,
    GrantUnknown,
    HolderEnded,
    ItemUnknown,
    MayNotDecide,
    NothingToAsk,
    SensitiveItem,
)
from materials_api.grants.granting import decline, grant_for, lapse_overdue, list_grants
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.grants.records import actor_of, open_grant, save_grant
from materials_api.registers.party_events import record_event
from materials_api.rules.rule_errors import GrantTransitionIllegal
from materials_api.tables import grant_items, grants
from parties.errors import NotActingForHolder

OTHER = "12310199MB2Y04049F"


def test_a_window_asks_for_requirements_and_the_store_chooses_the_newest_fitting_item(desk) -> None:
    desk.lease()
    newer = desk.lease(data=desk.hall.pdf("newer"), issued_at=desk.now.date())
    case = desk.case()
    (grant,) = desk.ask(case.case_id, requirements=("lease_contract",))
    assert [(one.item, one.requirement) for one in grant.items] == [(newer, "lease_contract")]
    assert grant.state is GrantState.REQUESTED
    assert (grant.case_id, grant.audience, grant.matter) == (
        case.case_id,
        desk.hall.HALL,
        case.matter,
    )


def test_only_the_holder_concerned_is_asked_where_any_will_do(desk) -> None:
    lease, case = desk.lease(), desk.case()
    (grant,) = desk.ask(case.case_id, items=(lease,))
    assert grant.holder == desk.hall.party(desk.hall.COMPANY)


def test_several_items_of_one_holder_are_one_grant(desk) -> None:
    lease, certificate, case = desk.lease(), desk.certificate(), desk.case()
    made = desk.ask(case.case_id, items=(lease, certificate))
    assert sorted(len(grant.items) for grant in made) == [1, 1, 1]
    again = desk.lease(data=desk.hall.pdf("second"))
    (one,) = desk.ask(case.case_id, items=(lease, again))
    assert {item.item for item in one.items} == {lease, again}


def test_nothing_stored_is_nothing_to_ask_for(desk) -> None:
    with pytest.raises(NothingToAsk):
        desk.ask(desk.case().case_id, requirements=("real_estate_certificate",))


def test_a_window_cannot_ask_for_what_its_case_has_nothing_to_do_with(desk) -> None:
    lease = desk.lease()
    case = desk.hall.open_case("elderly_allowance", desk.hall.ELDER, None, variant=None)
    for item in (lease, "mat_" + "0" * 26):
        with pytest.raises(ItemUnknown):
            desk.ask(case.case_id, items=(item,))
    with pytest.raises(GrantItemsInvalid):
        desk.ask(case.case_id)


def test_a_window_asks_for_its_own_cases_only(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.hall.window = Principal("tok_" + "0" * 26, Role.WINDOW, org="12310199MB2Y04049F")
    with pytest.raises(CaseOfOtherWindow):
        desk.ask(case.case_id, items=(lease,))


def test_the_holder_agrees_to_some_and_only_to_what_was_asked(desk) -> None:
    lease, second = desk.lease(), desk.lease(data=desk.hall.pdf("second"))
    third, case = desk.lease(data=desk.hall.pdf("third")), desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease, second))
    company = desk.company()
    with pytest.raises(GrantItemsNotAsked):
        desk.approve(asked, company, [third])
    with pytest.raises(GrantItemsInvalid):
        desk.approve(asked, company, [])
    granted = desk.approve(asked, company, [lease])
    assert granted.approved == {lease}
    assert desk.grant(asked.grant_id) == granted
    with desk.room.database.read() as tx:
        rows = tx.all(select(grant_items).where(grant_items.c.approved.is_(True)))
    assert [row["item"] for row in rows] == [lease]
    assert "grant_not_for_item" in [
        reason["code"] for reason in desk.verify(case.case_id, second)["items"][0]["reasons"]
    ]


def test_who_decided_and_in_which_capacity_is_recorded(desk) -> None:
    lease, case = desk.lease(), desk.case()
    company = desk.company()
    granted = desk.granted(case.case_id, lease, company)
    record = desk.hall.read(lambda tx: desk.room.ledger.records.latest(tx, granted.grant_id))
    assert record.kind == "grant.granted"
    assert record.body["person"] == company.person
    assert record.body["capacity"] == "legal_representative"
    assert record.body["capacity_id"] is not None
    assert record.body["decided_at"] == time_text(desk.now)
    assert record.body["purpose"] == "食品经营许可"


@pytest.mark.parametrize("capacity", [Capacity.OPERATOR, Capacity.AGENT])
def test_who_carries_papers_does_not_dispose_of_data(desk, capacity: Capacity) -> None:
    if capacity is Capacity.AGENT:
        desk.hall.register_capacity(desk.hall.COMPANY, desk.hall.ZHOU, capacity)
    lease, case = desk.lease(), desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease,))
    who = desk.hall.applicant(desk.hall.COMPANY, desk.hall.ZHOU, capacity)
    with pytest.raises(MayNotDecide):
        desk.approve(asked, who)
    with pytest.raises(MayNotDecide):
        desk.make(who, (lease,))
    assert desk.grant(asked.grant_id).state is GrantState.REQUESTED


def test_a_licence_manager_grants_what_is_not_sensitive(desk) -> None:
    desk.hall.register_capacity(desk.hall.COMPANY, desk.hall.ZHOU, Capacity.LICENSE_MANAGER)
    lease, case = desk.lease(), desk.case()
    who = desk.hall.applicant(desk.hall.COMPANY, desk.hall.ZHOU, Capacity.LICENSE_MANAGER)
    assert desk.granted(case.case_id, lease, who).capacity is Capacity.LICENSE_MANAGER
    health = next(
        type_.key
        for type_ in desk.room.catalogue.types
        if type_.sensitivity == "sensitive" and type_.form == "original"
    )
    source = desk.hall.open_case()
    sensitive = desk.hall.register(
        source.case_id, type=health, parties=((desk.hall.COMPANY, PartyRole.OWNER),),
        data=desk.hall.pdf("h"),
    )  # fmt: skip
    with pytest.raises(SensitiveItem):
        desk.make(who, (sensitive.material_id,))


def test_authority_is_asked_of_the_register_each_time(desk) -> None:
    capacity = desk.hall.register_capacity(
        desk.hall.COMPANY, desk.hall.ZHOU, Capacity.LICENSE_MANAGER
    )
    lease, case = desk.lease(), desk.case()
    who = desk.hall.applicant(desk.hall.COMPANY, desk.hall.ZHOU, Capacity.LICENSE_MANAGER)
    (asked,) = desk.ask(case.case_id, items=(lease,))
    desk.hall.write(lambda tx: desk.room.parties.end_capacity(tx, desk.now, capacity, "withdrawn"))
    with pytest.raises(NotActingForHolder):
        desk.approve(asked, who)
    pretender = desk.hall.applicant(
        desk.hall.COMPANY, desk.hall.ELDER, Capacity.LEGAL_REPRESENTATIVE
    )
    with pytest.raises(NotActingForHolder):
        desk.approve(asked, pretender)


def test_the_dead_authorise_nothing(desk) -> None:
    certificate = desk.certificate()
    landlord = desk.hall.applicant(desk.hall.LANDLORD)
    desk.hall.write(
        lambda tx: record_event(
            desk.room, tx, desk.now, desk.hall.operator, landlord.holder,
            PartyEventKind.DECEASED, desk.now,
        )
    )  # fmt: skip
    with pytest.raises(HolderEnded):
        desk.make(landlord, (certificate,))


def test_another_holders_grant_is_the_same_as_unknown(desk) -> None:
    lease, case = desk.lease(), desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease,))
    elder = desk.hall.applicant(desk.hall.ELDER)
    with pytest.raises(GrantUnknown):
        desk.approve(asked, elder)
    with pytest.raises(GrantUnknown):
        desk.revoke(asked, elder)

    def look(who: Principal, grant_id: str = asked.grant_id):
        return desk.hall.read(lambda tx: grant_for(desk.room, tx, who, grant_id))

    assert look(desk.company()) == look(desk.hall.window) == look(desk.hall.department) == asked
    other = Principal("tok_" + "0" * 26, Role.WINDOW, org="12310199MB2Y04049F")
    for who, grant_id in ((elder, asked.grant_id), (other, asked.grant_id),
                          (elder, "grt_" + "0" * 26)):  # fmt: skip
        with pytest.raises(GrantUnknown):
            look(who, grant_id)
    assert desk.hall.read(lambda tx: list_grants(desk.room, tx, elder, limit=10)).items == ()
    assert desk.hall.read(lambda tx: list_grants(desk.room, tx, other, limit=10)).items == ()


def test_grants_are_listed_in_pages_and_by_state(desk) -> None:
    lease, case = desk.lease(), desk.case()
    made = []
    for _ in range(5):
        desk.hall.advance(seconds=1)
        made += desk.ask(case.case_id, items=(lease,))
    desk.approve(made[2], desk.company())
    seen: list[str] = []
    cursor = None
    while True:
        page = desk.hall.read(
            lambda tx, cursor=cursor: list_grants(
                desk.room, tx, desk.company(), cursor=cursor, limit=2
            )
        )
        seen += [grant.grant_id for grant in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [grant.grant_id for grant in reversed(made)]
    granted = desk.hall.read(
        lambda tx: list_grants(
            desk.room, tx, desk.hall.window, state=GrantState.GRANTED,
            case_id=case.case_id, limit=10,
        )
    )  # fmt: skip
    assert [grant.grant_id for grant in granted.items] == [made[2].grant_id]


def test_bodies_list_each_grant_once_whatever_its_state_and_why_they_see_it(desk) -> None:
    lease, case = desk.lease(), desk.case()
    made = []
    for number in range(6):
        desk.hall.advance(seconds=1)
        if number == 3:  # meant for another body, and seen by those of its case all the same
            made.append(desk.make(desk.company(), (lease,), case=case.case_id, audience=OTHER))
        else:
            made += desk.ask(case.case_id, items=(lease,))
    desk.approve(made[1], desk.company())
    desk.revoke(desk.approve(made[4], desk.company()), desk.company())
    newest = [grant.grant_id for grant in reversed(made)]
    other = Principal("tok_" + "0" * 26, Role.WINDOW, org=OTHER)
    for who, seen in (
        (desk.hall.window, newest),
        (desk.hall.department, newest),
        (other, [made[3].grant_id]),
    ):
        for limit in (1, 2, 50):
            pages: list[list[str]] = []
            cursor = None
            while cursor is not None or not pages:
                page = desk.hall.read(
                    lambda tx, who=who, cursor=cursor, limit=limit: list_grants(
                        desk.room, tx, who, cursor=cursor, limit=limit
                    )
                )
                pages.append([grant.grant_id for grant in page.items])
                cursor = page.next
            assert [one for page in pages for one in page] == seen
            assert all(len(page) == limit for page in pages[:-1])
        of_case = desk.hall.read(
            lambda tx, who=who: list_grants(desk.room, tx, who, case_id=case.case_id, limit=50)
        )
        assert [grant.grant_id for grant in of_case.items] == seen


def test_a_request_lapses_on_the_instant(desk) -> None:
    lease, case = desk.lease(), desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease,))
    life = timedelta(seconds=desk.room.limits.grants.request_life)
    desk.hall.clock.set(asked.requested_at + life - timedelta(milliseconds=1))
    assert desk.hall.write(lambda tx: lapse_overdue(desk.room, tx, desk.now)) == 0
    desk.hall.clock.set(asked.requested_at + life)
    with pytest.raises(GrantRequestLapsed):
        desk.approve(asked, desk.company())
    assert desk.hall.write(lambda tx: lapse_overdue(desk.room, tx, desk.now)) == 1
    assert desk.grant(asked.grant_id).state is GrantState.LAPSED
    assert desk.hall.write(lambda tx: lapse_overdue(desk.room, tx, desk.now)) == 0
    with pytest.raises(GrantTransitionIllegal):
        desk.approve(asked, desk.company())


def test_an_approved_once_grant_outlives_its_request(desk) -> None:
    lease, case = desk.lease(), desk.case()
    granted = desk.granted(case.case_id, lease)
    desk.hall.advance(days=20)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    assert granted.expires_at == granted.decided_at + timedelta(
        seconds=desk.room.limits.grants.once_life
    )


def test_a_long_grant_names_its_end_and_not_too_far_away(desk) -> None:
    lease, case = desk.lease(), desk.case()
    for end in (None, desk.now, desk.now + timedelta(days=400)):
        with pytest.raises(GrantPeriodInvalid):
            desk.ask(case.case_id, items=(lease,), use=GrantUse.UNTIL, expires_at=end)
    (asked,) = desk.ask(
        case.case_id, items=(lease,), use=GrantUse.UNTIL, expires_at=desk.now + timedelta(days=30)
    )
    granted = desk.approve(asked, desk.company())
    assert granted.expires_at == asked.wanted_until


def test_a_holder_grants_for_an_own_case_only(desk) -> None:
    lease = desk.lease()
    case = desk.case()
    bound = desk.make(desk.company(), (lease,), case=case.case_id)
    assert (bound.case_id, bound.state) == (case.case_id, GrantState.GRANTED)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    elder = desk.hall.open_case("elderly_allowance", desk.hall.ELDER, None, variant=None)
    for other in (elder.case_id, "cas_" + "0" * 26):
        with pytest.raises(CaseUnknown):
            desk.make(desk.company(), (lease,), case=other)


def test_a_holder_grants_only_what_is_theirs(desk) -> None:
    certificate = desk.certificate()
    elder = desk.hall.applicant(desk.hall.ELDER)
    for item in (certificate, "mat_" + "0" * 26, "lic_" + "0" * 26):
        with pytest.raises(ItemUnknown):
            desk.make(elder, (item,))


def test_a_decision_stands(desk) -> None:
    lease, case = desk.lease(), desk.case()
    company = desk.company()
    (asked,) = desk.ask(case.case_id, items=(lease,))
    with pytest.raises(GrantTransitionIllegal):
        desk.revoke(asked, company)
    desk.hall.write(lambda tx: decline(desk.room, tx, desk.now, company, asked.grant_id))
    with pytest.raises(GrantTransitionIllegal):
        desk.approve(asked, company)
    granted = desk.granted(case.case_id, lease)
    desk.revoke(granted, company)
    with pytest.raises(GrantTransitionIllegal):
        desk.revoke(granted, company)
    with pytest.raises(GrantTransitionIllegal):
        desk.approve(granted, company)


def test_revoking_and_spending_publish_what_ended_for_a_restore(desk) -> None:
    lease, case = desk.lease(), desk.case()
    granted = desk.granted(case.case_id, lease)
    desk.hall.sequence()
    first, *_, record = desk.hall.read(
        lambda tx: desk.room.ledger.records.history(tx, granted.grant_id)
    )
    desk.verify(case.case_id, lease)
    desk.revoke(granted, desk.company())
    with desk.room.database.read() as tx:
        rows = tx.all(
            select(ledger_entries)
            .where(ledger_entries.c.kind == "ended", ledger_entries.c.public.is_(True))
            .order_by(ledger_entries.c.position)
        )
        opened = [desk.room.ledger.records.open(tx, row["entry_id"]).body for row in rows]
    assert [body["reason"] for body in opened] == ["spent", "revoked"]
    # The first record as well: whatever copy knows the grant has it.
    assert opened[0]["indexes"] == [first.leaf_index, record.leaf_index]
    assert opened[1]["indexes"] == [first.leaf_index]
    # The record of the spending has no place yet: it is named by its leaf hash.
    assert len(opened[1]["leaves"]) == 1
    assert granted.holder not in str(opened)


def test_a_changed_row_is_not_overwritten(desk) -> None:
    lease, case = desk.lease(), desk.case()
    granted = desk.granted(case.case_id, lease)
    desk.verify(case.case_id, lease)
    with pytest.raises(RowChanged):
        desk.hall.write(
            lambda tx: save_grant(
                desk.room, tx, desk.now, "grant.bound", actor_of(desk.hall.window), granted
            )
        )
    assert desk.hall.read(lambda tx: open_grant(desk.room, tx, granted.grant_id)).state == "spent"


def test_a_row_that_tells_another_story_decides_nothing(desk) -> None:
    lease, case = desk.lease(), desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease,))
    elder = desk.hall.applicant(desk.hall.ELDER)
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(update(grants).values(holder=elder.holder))
    with pytest.raises(RecordMismatch):
        desk.approve(asked, elder)


def test_names_and_purposes_stand_in_no_row(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.ask(case.case_id, items=(lease,), purpose="为沈云舟办理迁址")
    with desk.room.database.read() as tx:
        assert "沈云舟" not in str(tx.all(select(grants)))
    desk.room.database.close()
    assert "为沈云舟办理迁址".encode() not in desk.hall.everything_on_disk()
