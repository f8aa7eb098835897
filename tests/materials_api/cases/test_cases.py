"""Cases: opening, who may touch which, events, corrections, retention, reusability."""

from datetime import UTC, datetime

import pytest

from kernel.errors import CodedError
from kernel.principals import Capacity, Channel, Principal, Role
from materials_api.cases.access import case_for, events_of, list_cases
from materials_api.cases.events import EventRequest, apply_event
from materials_api.cases.lifecycle import CaseEvent
from materials_api.cases.opening import Acting
from materials_api.catalogue.errors import MatterUnknown, VariantUnknown
from materials_api.documents.stored import documents_of
from materials_api.errors import (
    ActingPersonInvalid,
    ActingPersonNeeded,
    ApplicantKindWrong,
    CapacityMissing,
    CaseNumberInvalid,
    CaseNumberTaken,
    CaseOfOtherDepartment,
    CaseOfOtherWindow,
    CaseStateForbids,
    CaseUnknown,
    ChannelInvalid,
    CorrectionEmpty,
    CorrectionTooLate,
    EventNotYours,
    HolderNotYours,
    MaterialNotOfCase,
    NoteNeeded,
    RecordMismatch,
    RequirementsUnmet,
)
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.rule_errors import CaseTransitionIllegal, CorrectionAlreadyAsked
from materials_api.tables import cases
from parties import HolderRef
from parties.errors import HolderNameDiffers


def test_a_window_opens_a_case_with_a_number_of_the_day(hall) -> None:
    first, second = hall.open_case(), hall.open_case()
    assert first.number == "11310199MB2Y01016G-20261124-000001"
    assert second.number.endswith("000002")
    record = hall.read(lambda tx: hall.room.ledger.records.open(tx, first.entry_id))
    assert record.kind == "case.opened"
    assert record.body["status"] == "draft"
    assert record.body["applicant"] == first.applicant
    assert hall.read(lambda tx: events_of(tx, first.case_id))[0].event == "open"


def test_numbers_given_by_hand_are_unique_and_stepped_over(hall) -> None:
    hall.open_case(number="11310199MB2Y01016G-20261124-000001")
    assert hall.open_case().number.endswith("000002")
    with pytest.raises(CaseNumberTaken):
        hall.open_case(number="11310199MB2Y01016G-20261124-000001")
    for bad in ("", "a b", "x" * 65, "a\nb"):
        with pytest.raises(CaseNumberInvalid):
            hall.open_case(number=bad)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"matter": "999999999999"}, MatterUnknown),
        ({"matter": "nonsense"}, MatterUnknown),
        ({"variant": "elsewhere"}, VariantUnknown),
        ({"person": None}, ActingPersonNeeded),
        ({"capacity": Capacity.AGENT}, CapacityMissing),
        ({"capacity": Capacity.SELF}, ActingPersonInvalid),
        ({"project": "no spaces"}, CodedError),
    ],
)
def test_an_impossible_case_is_refused(hall, changes, error) -> None:
    with pytest.raises(error):
        hall.open_case(**changes)
    assert hall.read(lambda tx: tx.all(cases.select())) == []


def test_only_the_kind_of_holder_that_the_matter_is_for(hall) -> None:
    with pytest.raises(ApplicantKindWrong):
        hall.open_case(applicant=hall.SHEN, person=None)


def test_a_wrong_check_character_or_another_name_is_refused(hall) -> None:
    hall.open_case()
    with pytest.raises(CodedError) as refused:
        hall.open_case(applicant=HolderRef("001", "91310199MA1Y7K2D1H", "某公司"))
    assert refused.value.code == "check_character_wrong"
    with pytest.raises(HolderNameDiffers):
        hall.open_case(applicant=HolderRef("001", "91310199MA1Y7K2D1G", "另一公司"))


def test_an_applicant_opens_own_cases_only(hall) -> None:
    zhou = hall.applicant(hall.COMPANY, hall.ZHOU, Capacity.OPERATOR)
    case = hall.open_case(principal=zhou, person=None, channel=Channel.PC)
    assert (case.applicant, case.person) == (zhou.holder, zhou.person)
    assert case.window_org is None
    with pytest.raises(HolderNotYours):
        hall.open_case(
            matter="elderly_allowance",
            applicant=hall.ELDER,
            person=None,
            principal=zhou,
            channel=Channel.PC,
        )
    assert hall.read(lambda tx: hall.room.parties.find(tx, "111", hall.ELDER.code)) is None
    with pytest.raises(HolderNotYours):
        hall.open_case(
            principal=zhou,
            channel=Channel.PC,
            acting=Acting(hall.SHEN, Capacity.LEGAL_REPRESENTATIVE),
        )
    with pytest.raises(ChannelInvalid):
        hall.open_case(principal=zhou, person=None, channel=Channel.WINDOW)


def test_who_sees_which_case(hall) -> None:
    case = hall.open_case()
    other = Principal("tok_x", Role.WINDOW, org="11310199MB2Y060215")

    def see(who: Principal) -> str:
        return hall.read(lambda tx: case_for(tx, who, case.case_id)).case_id

    assert see(hall.window) == see(hall.department) == case.case_id
    assert see(hall.applicant(hall.COMPANY, hall.SHEN, Capacity.LEGAL_REPRESENTATIVE))
    refusals = [
        (other, CaseOfOtherWindow),
        (Principal("tok_x", Role.DEPARTMENT, org=hall.HALL), CaseOfOtherDepartment),
        (hall.archivist, CaseUnknown),
        (Principal("tok_x", Role.ARCHIVIST, org=hall.MARKET), CaseUnknown),
        (hall.applicant(hall.ELDER), CaseUnknown),
        (hall.operator, CaseUnknown),
    ]
    for who, error in refusals:
        with pytest.raises(error):
            see(who)
        listed = hall.read(lambda tx, who=who: list_cases(tx, who, limit=10))
        assert listed.items == ()
    with pytest.raises(CaseUnknown):
        hall.read(lambda tx: case_for(tx, hall.window, "cas_" + "0" * 26))


def test_an_archivist_sees_and_lists_closed_cases_of_its_own_body_and_of_those_it_keeps(
    hall,
) -> None:
    closed, _ = hall.approved_case()
    hall.event(closed.case_id, "close")
    still_open = hall.open_case()
    for event in ("submit", "accept", "approve"):
        hall.event(still_open.case_id, event)

    def archivist(org: str, *keeps: str) -> Principal:
        return Principal("tok_x", Role.ARCHIVIST, org=org, keeps=frozenset(keeps))

    city = "12310199MB2Y080841"
    for who, sees in [
        (archivist(hall.MARKET), True),
        (archivist(city, hall.HALL, hall.MARKET), True),
        (hall.archivist, True),
        (archivist(hall.HALL), False),  # its window took the case in: that is not enough
        (archivist(city, hall.HALL), False),
        (archivist(city), False),
        (Principal("tok_x", Role.ARCHIVIST, keeps=frozenset({hall.MARKET})), False),
    ]:
        listed = hall.read(lambda tx, who=who: list_cases(tx, who, limit=10)).items
        assert [case.case_id for case in listed] == [closed.case_id] * sees, who
        for case, visible in ((closed, sees), (still_open, False)):
            if visible:
                assert hall.read(lambda tx, who=who: case_for(tx, who, closed.case_id))
                continue
            with pytest.raises(CaseUnknown):
                hall.read(lambda tx, who=who, case=case: case_for(tx, who, case.case_id))


def test_lists_page_without_loss_or_repeat(hall) -> None:
    made = []
    for _ in range(7):
        made.append(hall.open_case().case_id)
        hall.advance(seconds=1)
    made += [hall.open_case().case_id, hall.open_case().case_id]  # the same instant
    seen: list[str] = []
    cursor = None
    while True:
        page = hall.read(lambda tx, at=cursor: list_cases(tx, hall.window, cursor=at, limit=2))
        seen += [case.case_id for case in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    assert seen[2:] == list(reversed(made[:7]))
    for bad in ("x", "%%%", "AAAA", "ü"):
        with pytest.raises(CodedError) as refused:
            hall.read(lambda tx, bad=bad: list_cases(tx, hall.window, cursor=bad, limit=2))
        assert refused.value.code == "cursor_invalid"


def test_the_whole_way_to_the_archive(hall) -> None:
    case = hall.open_case()
    lease = hall.register(case.case_id, requirement="lease_contract")
    for event, state in [
        ("submit", "submitted"),
        ("accept", "accepted"),
        ("approve", "approved"),
        ("close", "closed"),
        ("file", "filed"),
    ]:
        assert hall.event(case.case_id, event).state == state
    assert hall.material(lease.material_id).state is MaterialState.REUSABLE
    events = hall.read(lambda tx: events_of(tx, case.case_id))
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    for event in events[1:]:
        record = hall.read(
            lambda tx, entry=event.entry_id: hall.room.ledger.records.open(tx, entry)
        )
        assert record.body["status"] == event.state
        assert record.kind == f"case.{event.event}"
    kinds = [document.kind for document in hall.read(lambda tx: documents_of(tx, case.case_id))]
    assert kinds == ["acceptance_notice", "decision_notice"]


def test_wrong_role_wrong_state_and_missing_notes_are_refused(hall) -> None:
    case = hall.open_case()
    with pytest.raises(EventNotYours):
        hall.event(case.case_id, "submit", hall.department)
    with pytest.raises(CaseTransitionIllegal):
        hall.event(case.case_id, "accept")
    hall.event(case.case_id, "submit")
    with pytest.raises(EventNotYours):
        hall.event(case.case_id, "accept", hall.window)
    bare = EventRequest(CaseEvent.NOT_ACCEPT)
    with pytest.raises(NoteNeeded):
        hall.write(
            lambda tx: apply_event(hall.room, tx, hall.now, hall.department, case.case_id, bare)
        )
    assert hall.case(case.case_id).state == "submitted"


def test_accepting_with_gaps_must_be_meant(hall) -> None:
    case = hall.open_case()
    hall.event(case.case_id, "submit")
    with pytest.raises(RequirementsUnmet) as refused:
        hall.event(case.case_id, "accept", with_gaps=False)
    assert "layout_plan" in str(refused.value.details["requirements"])
    hall.event(case.case_id, "accept", with_gaps=True)
    record = hall.read(lambda tx: hall.room.ledger.records.latest(tx, case.case_id))
    assert "layout_plan" in record.body["gaps"]
    with pytest.raises(RequirementsUnmet):
        hall.event(case.case_id, "approve", with_gaps=False)
    # Accepted with gaps: what is missing still comes in, and is kept as long as the rest.
    late = hall.register(case.case_id, requirement="lease_contract")
    assert hall.material(late.material_id).retain_until is not None


def test_one_complete_correction_and_rejected_versions_stay_unusable(hall) -> None:
    case = hall.open_case()
    first = hall.register(case.case_id, requirement="lease_contract")
    other = hall.register(hall.open_case().case_id)
    hall.event(case.case_id, "submit")
    with pytest.raises(CorrectionEmpty):
        hall.event(case.case_id, "ask_correction")
    with pytest.raises(MaterialNotOfCase):
        hall.event(case.case_id, "ask_correction", items=("x",), reject=(other.material_id,))
    assert hall.material(other.material_id).state is MaterialState.PENDING
    hall.event(case.case_id, "ask_correction", items=("合同缺第3页",), reject=(first.material_id,))
    assert hall.material(first.material_id).state is MaterialState.REJECTED
    second = hall.register(case.case_id, requirement="lease_contract", supersedes=first.material_id)
    hall.event(case.case_id, "submit")
    with pytest.raises(CorrectionAlreadyAsked):
        hall.event(case.case_id, "ask_correction", items=("再补",))
    hall.event(case.case_id, "accept")
    hall.event(case.case_id, "approve")
    assert hall.material(first.material_id).state is MaterialState.REJECTED
    assert hall.material(second.material_id).state is MaterialState.REUSABLE


def test_a_correction_comes_within_five_working_days(hall) -> None:
    case, late = hall.open_case(), hall.open_case()
    hall.event(case.case_id, "submit")
    hall.event(late.case_id, "submit")
    # Submitted on a Tuesday; the fifth working day is the Tuesday after.
    hall.clock.set(datetime(2026, 12, 1, 15, 59, 59, tzinfo=UTC))
    hall.event(case.case_id, "ask_correction", items=("x",))
    hall.clock.set(datetime(2026, 12, 1, 16, 0, tzinfo=UTC))
    with pytest.raises(CorrectionTooLate):
        hall.event(late.case_id, "ask_correction", items=("x",))


def test_retention_starts_at_acceptance(hall) -> None:
    case = hall.open_case()
    lease = hall.register(case.case_id)
    assert hall.material(lease.material_id).retain_until is None
    hall.event(case.case_id, "submit")
    hall.advance(days=2)
    hall.event(case.case_id, "accept")
    until = hall.material(lease.material_id).retain_until
    # Ten years from the day of acceptance in China.
    assert until == datetime(2036, 11, 25, 16, tzinfo=UTC)


def test_a_withdrawn_case_makes_nothing_reusable_and_takes_nothing_more(hall) -> None:
    case = hall.open_case()
    lease = hall.register(case.case_id)
    hall.event(case.case_id, "submit")
    hall.event(case.case_id, "withdraw")
    assert hall.material(lease.material_id).state is MaterialState.PENDING
    with pytest.raises(CaseStateForbids):
        hall.register(case.case_id)


def test_a_row_that_was_changed_by_hand_is_not_believed(hall) -> None:
    case = hall.open_case()
    hall.event(case.case_id, "submit")
    hall.write(
        lambda tx: tx.execute(
            cases.update().where(cases.c.case_id == case.case_id).values(state="accepted")
        )
    )
    with pytest.raises(RecordMismatch):
        hall.event(case.case_id, "approve")
