"""Data checks: a register's answer instead of a paper."""

from datetime import datetime

import pytest
from sqlalchemy import select, update

from materials_api.cases.requirements import ways_met
from materials_api.catalogue.errors import RegisterUnknown
from materials_api.errors import CaseStateForbids, RouteNotOffered, TextInvalid
from materials_api.grants.errors import (
    RegisterFactEnded,
    RegisterFactsInvalid,
    RegisterFactUnknown,
)
from materials_api.registers.register import (
    FactsFound,
    RegisterAnswer,
    RegisterOutage,
    end_facts,
    load_facts,
)
from materials_api.rules.reuse_facts import StatutoryDuty
from materials_api.tables import register_facts, uses, verifications

ADDRESS = "云间路88号205室"


def load(desk, register: str, holder, **facts: object) -> str:
    party = desk.hall.party(holder)
    fact_id, _ = desk.hall.write(
        lambda tx: load_facts(desk.room, tx, desk.now, desk.hall.operator, register, party, facts)
    )
    desk.hall.sequence()
    return fact_id


def reasons(answer) -> list[str]:
    return [reason["code"] for item in answer["items"] for reason in item["reasons"]]


def test_the_representatives_identity_is_checked_without_a_grant(desk) -> None:
    load(desk, "population", desk.hall.SHEN, name="沈云舟")
    case = desk.case()
    answer = desk.check(case.case_id, "identity_proof")
    assert answer["outcome"] == "allowed"
    item = answer["items"][0]
    assert (item["item_kind"], item["item_type"], item["route"]) == (
        "register",
        "population",
        "data_check",
    )
    met = desk.hall.read(lambda tx: ways_met(tx, case.case_id))
    assert [(one.requirement, one.route) for one in met] == [("identity_proof", "data_check")]
    with desk.room.database.read() as tx:
        assert [row["holder"] for row in tx.all(select(uses))] == [desk.hall.party(desk.hall.SHEN)]


def test_another_name_in_the_register_is_a_mismatch(desk) -> None:
    load(desk, "population", desk.hall.SHEN, name="沈云洲")
    assert reasons(desk.check(desk.case().case_id, "identity_proof")) == ["data_mismatch"]


def test_a_data_check_helps_where_a_co_owner_did_not_authorise(desk) -> None:
    certificate, case = desk.certificate(), desk.case()
    owner = desk.hall.LANDLORD
    load(desk, "real_estate", owner, owners=["顾明远", "陆静宜"], location=ADDRESS)
    denied = desk.verify(case.case_id, certificate, requirement="real_estate_certificate")
    assert denied["outcome"] == "denied"
    answer = desk.check(
        case.case_id,
        "real_estate_certificate",
        subject=owner,
        claims={"location": ADDRESS, "owners": ["陆静宜", "顾明远"]},
    )
    assert answer["outcome"] == "allowed"
    entry = answer["items"][0]["receipt"]["entry"]
    body = desk.hall.read(lambda tx: desk.room.ledger.records.open(tx, entry)).body
    assert body["fields"] == body["compared"] == ["owners", "location"]
    assert ADDRESS not in str(body)


def test_every_claim_must_agree(desk) -> None:
    desk.certificate()
    case, owner = desk.case(), desk.hall.LANDLORD
    load(desk, "real_estate", owner, owners=["顾明远", "陆静宜"], location=ADDRESS)

    def check(**claims: object) -> list[str]:
        return reasons(
            desk.check(case.case_id, "real_estate_certificate", subject=owner, claims=claims)
        )

    assert check(location="云间路88号101室") == ["data_mismatch"]
    assert check(owners=["顾明远"]) == ["data_mismatch"]
    # What nobody claims is taken from the register.
    assert check() == []


def test_the_subject_must_be_among_the_owners(desk) -> None:
    desk.certificate()
    load(desk, "real_estate", desk.hall.LANDLORD, owners=["陆静宜"], location=ADDRESS)
    answer = desk.check(desk.case().case_id, "real_estate_certificate", subject=desk.hall.LANDLORD)
    assert reasons(answer) == ["data_mismatch"]


def test_a_field_that_the_register_left_out_is_not_agreement(desk) -> None:
    desk.certificate()
    load(desk, "real_estate", desk.hall.LANDLORD, owners=["顾明远"])
    answer = desk.check(
        desk.case().case_id,
        "real_estate_certificate",
        subject=desk.hall.LANDLORD,
        claims={"location": ADDRESS},
    )
    assert reasons(answer) == ["data_incomplete"]


def test_somebody_whom_the_case_does_not_name_is_not_even_asked_about(desk) -> None:
    case = desk.case()
    load(desk, "population", desk.hall.ELDER, name="赵阿福")
    asked: list[str] = []

    class Listening:
        def ask(self, register: str, holder: str, at: datetime) -> RegisterAnswer:
            asked.append(holder)
            return FactsFound("test", {"name": "赵阿福"}, None, None)

    stranger = type(desk.hall.ELDER)("111", "310199199003072810")
    answers = [
        desk.check(case.case_id, "identity_proof", Listening(), subject=subject)
        for subject in (desk.hall.ELDER, stranger)
    ]
    assert asked == []
    for answer in answers:
        assert reasons(answer) == ["holder_mismatch", "data_no_record"]
        del answer["items"][0]["verification"], answer["items"][0]["slip"]
        del answer["items"][0]["receipt"], answer["call"]
    assert answers[0] == answers[1]
    with desk.room.database.read() as tx:
        assert tx.all(select(uses)) == []


def test_no_record_ended_and_outage_are_told_apart(desk) -> None:
    case = desk.case()
    assert reasons(desk.check(case.case_id, "identity_proof")) == ["data_no_record"]
    fact_id = load(desk, "population", desk.hall.SHEN, name="沈云舟")
    desk.hall.write(lambda tx: end_facts(desk.room, tx, desk.now, desk.hall.operator, fact_id))
    assert reasons(desk.check(case.case_id, "identity_proof")) == ["data_ended"]

    class Down:
        def ask(self, register: str, holder: str, at: datetime) -> RegisterAnswer:
            return RegisterOutage("test", "timeout")

    assert reasons(desk.check(case.case_id, "identity_proof", Down())) == ["source_outage"]


def test_an_answer_from_outside_needs_no_place_in_our_log(desk) -> None:
    class Outside:
        def ask(self, register: str, holder: str, at: datetime) -> RegisterAnswer:
            return FactsFound("test", {"name": "沈云舟"}, None, None)

    answer = desk.check(desk.case().case_id, "identity_proof", Outside())
    assert answer["outcome"] == "allowed"
    log = next(one for one in answer["items"][0]["checks"] if one["check"] == "log")
    assert log["result"] == "not_applicable"


def test_facts_that_are_not_logged_yet_or_whose_row_differs_are_denied(desk) -> None:
    party = desk.hall.party(desk.hall.SHEN)
    desk.hall.write(
        lambda tx: load_facts(
            desk.room, tx, desk.now, desk.hall.operator, "population", party, {"name": "沈云舟"}
        )
    )
    case = desk.case()
    assert reasons(desk.check(case.case_id, "identity_proof")) == ["not_yet_logged"]
    desk.hall.sequence()
    assert reasons(desk.check(case.case_id, "identity_proof")) == []
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(update(register_facts).values(ended_at=desk.now))
    assert "record_mismatch" in reasons(desk.check(case.case_id, "identity_proof"))


def test_newer_facts_replace_older_ones(desk) -> None:
    load(desk, "population", desk.hall.SHEN, name="沈云洲")
    desk.hall.advance(minutes=1)
    load(desk, "population", desk.hall.SHEN, name="沈云舟")
    assert reasons(desk.check(desk.case().case_id, "identity_proof")) == []
    with desk.room.database.read() as tx:
        rows = tx.all(select(register_facts.c.ended_at))
    assert sorted(row["ended_at"] is None for row in rows) == [False, True]


def test_facts_replaced_while_the_register_was_asked_are_asked_for_again(desk) -> None:
    load(desk, "population", desk.hall.SHEN, name="沈云舟")
    from materials_api.registers.register import LocalRegisters

    class Slow:
        def __init__(self) -> None:
            self.asked = 0

        def ask(self, register: str, holder: str, at: datetime) -> RegisterAnswer:
            self.asked += 1
            found = LocalRegisters(desk.room).ask(register, holder, at)
            if self.asked == 1:
                load(desk, "population", desk.hall.SHEN, name="沈云洲")
            return found

    slow = Slow()
    assert reasons(desk.check(desk.case().case_id, "identity_proof", slow)) == ["data_mismatch"]
    assert slow.asked == 2
    with desk.room.database.read() as tx:
        assert len(tx.all(select(verifications))) == 1


def test_only_a_requirement_with_that_route_is_checked_and_only_while_undecided(desk) -> None:
    case = desk.case()
    with pytest.raises(RouteNotOffered):
        desk.check(case.case_id, "lease_contract")
    desk.hall.event(case.case_id, "withdraw")
    with pytest.raises(CaseStateForbids):
        desk.check(case.case_id, "identity_proof")


def test_a_statutory_duty_is_recorded_with_the_check(desk) -> None:
    load(desk, "population", desk.hall.SHEN, name="沈云舟")
    duty = StatutoryDuty("林知远", "0107", "审查")
    answer = desk.check(desk.case().case_id, "identity_proof", basis=duty)
    assert answer["items"][0]["basis"] == "statutory_duty"


def test_facts_are_known_fields_with_clean_texts(desk) -> None:
    party = desk.hall.party(desk.hall.SHEN)

    def load_raw(register: str, facts: dict) -> None:
        desk.hall.write(
            lambda tx: load_facts(
                desk.room, tx, desk.now, desk.hall.operator, register, party, facts
            )
        )

    with pytest.raises(RegisterUnknown):
        load_raw("nothing", {"name": "x"})
    for facts in ({}, {"nonsense": "x"}, {"name": []}):
        with pytest.raises(RegisterFactsInvalid):
            load_raw("population", facts)
    with pytest.raises(TextInvalid):
        load_raw("population", {"name": "a\u202eb"})
    fact_id = load(desk, "population", desk.hall.SHEN, name="沈云舟")
    operator = desk.hall.operator
    desk.hall.write(lambda tx: end_facts(desk.room, tx, desk.now, operator, fact_id))
    with pytest.raises(RegisterFactEnded):
        desk.hall.write(lambda tx: end_facts(desk.room, tx, desk.now, operator, fact_id))
    for unknown in ("fct_" + "0" * 26, desk.case().case_id):
        with pytest.raises(RegisterFactUnknown):
            desk.hall.write(
                lambda tx, unknown=unknown: end_facts(desk.room, tx, desk.now, operator, unknown)
            )
