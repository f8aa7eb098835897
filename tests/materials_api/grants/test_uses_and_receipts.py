"""What holders see of every use, and who gets which receipt."""

import pytest
from sqlalchemy import select

from kernel.ids import IdKind, new_id
from kernel.principals import Principal, Role
from ledger.errors import EntryUnknown
from ledger.tables import ledger_entries
from materials_api.cases.commitments import commit
from materials_api.releases.receipts_access import check_receipt
from materials_api.releases.uses import uses_of
from materials_api.rules.reuse_facts import StatutoryDuty


def history(desk, who: Principal, limit: int = 50):
    found, cursor = [], None
    while True:
        page = desk.hall.read(
            lambda tx, cursor=cursor: uses_of(desk.room, tx, who.holder, cursor=cursor, limit=limit)
        )
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


def test_the_holder_sees_who_when_which_case_and_on_what_basis(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    desk.verify(case.case_id, lease)
    (use,) = history(desk, desk.company())
    assert (use.action, use.basis, use.org, use.unit) == (
        "verified",
        "consent",
        desk.hall.HALL,
        "综窗3号",
    )
    assert (use.case_id, use.case_number, use.at) == (case.case_id, case.number, desk.now)
    assert (use.item, use.item_type, use.requirement) == (lease, "lease_contract", "lease_contract")
    assert use.grants == (grant.grant_id,)
    assert history(desk, desk.hall.applicant(desk.hall.LANDLORD)) == [use]
    assert history(desk, desk.hall.applicant(desk.hall.ELDER)) == []


def test_refused_tries_and_statutory_checks_are_seen_without_the_officers_name(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.verify(case.case_id, lease)
    desk.hall.advance(seconds=1)
    duty = StatutoryDuty("林知远", "0107", "审查")
    desk.verify(case.case_id, lease, basis=duty, by=desk.hall.department)
    checked, refused = history(desk, desk.company())
    assert (refused.action, refused.reason) == ("denied", "grant_missing")
    assert (checked.basis, checked.officer_number, checked.officer_role) == (
        "statutory_duty",
        "0107",
        "审查",
    )
    assert "林知远" not in str(checked)


def test_the_history_comes_in_pages_without_gaps(desk) -> None:
    lease, case = desk.lease(), desk.case()
    for number in range(7):
        if number % 3:
            desk.hall.advance(seconds=1)
        desk.verify(case.case_id, lease)
    everything = history(desk, desk.company())
    assert len(everything) == 7
    assert history(desk, desk.company(), limit=2) == everything
    assert [use.at for use in everything] == sorted((use.at for use in everything), reverse=True)


def entries(desk, kind: str) -> list[str]:
    with desk.room.database.read() as tx:
        rows = tx.all(
            select(ledger_entries.c.entry_id)
            .where(ledger_entries.c.kind == kind)
            .order_by(ledger_entries.c.position.desc())
        )
    return [row["entry_id"] for row in rows]


def may(desk, who: Principal, entry_id: str) -> bool:
    try:
        desk.hall.read(lambda tx: check_receipt(desk.room, tx, who, entry_id))
    except EntryUnknown:
        return False
    return True


@pytest.fixture
def everybody(desk):
    stranger = "12310199MB2Y04049F"
    return {
        "holder": desk.company(),
        "co_party": desk.hall.applicant(desk.hall.LANDLORD),
        "other_holder": desk.hall.applicant(desk.hall.ELDER),
        "window": desk.hall.window,
        "other_window": Principal(new_id(IdKind.CREDENTIAL), Role.WINDOW, org=stranger),
        "department": desk.hall.department,
        "other_department": Principal(new_id(IdKind.CREDENTIAL), Role.DEPARTMENT, org=stranger),
        "archivist": desk.hall.archivist,
        "operator": desk.hall.operator,
        "auditor": Principal(new_id(IdKind.CREDENTIAL), Role.AUDITOR),
    }


def who_may(desk, everybody, entry_id: str) -> set[str]:
    return {name for name, who in everybody.items() if may(desk, who, entry_id)}


def test_receipts_go_to_those_whose_they_are(desk, everybody) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    answer = desk.verify(case.case_id, lease)
    desk.hall.write(
        lambda tx: commit(
            desk.room, tx, desk.now, desk.hall.window, case.case_id, "food_safety_rules"
        )
    )
    desk.hall.sequence()

    def of(kind: str) -> set[str]:
        return who_may(desk, everybody, entries(desk, kind)[0])

    assert of("material.registered") == {"holder", "co_party", "window"}
    assert of("grant.granted") == {"holder", "window", "department"}
    assert of("grant.spent") == {"holder", "window", "department"}
    verification = answer["items"][0]["receipt"]["entry"]
    assert who_may(desk, everybody, verification) == {"window", "department"}
    assert of("document.commitment") == {"holder", "window", "department"}
    assert of("case.opened") == {"holder", "window", "department"}
    assert of("capacity.registered") == set()
    assert who_may(desk, everybody, "ent_" + "0" * 26) == set()


def test_a_window_gets_no_record_of_what_another_body_registered(desk, everybody) -> None:
    source = desk.hall.open_case()
    made = desk.hall.register(source.case_id, principal=desk.hall.department)
    assert who_may(desk, everybody, made.entry_id) == {"holder", "department"}


def test_the_archive_sees_closed_cases(desk, everybody) -> None:
    case = desk.case()
    for event in ("submit", "accept", "approve"):
        desk.hall.event(case.case_id, event)
    entry = entries(desk, "case.approve")[0]
    assert "archivist" not in who_may(desk, everybody, entry)
    desk.hall.event(case.case_id, "close")
    assert "archivist" in who_may(desk, everybody, entry)


def test_a_party_has_the_receipt_of_its_own_record(desk) -> None:
    shen = desk.hall.applicant(desk.hall.SHEN)
    with desk.room.database.read() as tx:
        record = desk.room.ledger.records.latest(tx, shen.person)
    assert may(desk, shen, record.entry_id)
    assert may(desk, desk.company(), record.entry_id)  # the same person, acting for the company
    assert not may(desk, desk.hall.applicant(desk.hall.ELDER), record.entry_id)
