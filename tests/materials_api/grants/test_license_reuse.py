"""Licences verified with a grant: record, status now, and a source that may not answer."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from license_service.answers import NoneFound, SourceOutage, StatusAnswer
from license_service.lifecycle import Event
from license_service.model import DraftLicense
from license_service.tables import license_snapshots, licenses
from materials_api.cases.requirements import ways_met
from materials_api.grants.errors import ItemUnknown


def issue(desk, kind: str = "business_license", holder=None, **more: object) -> str:
    party = desk.hall.party(holder or desk.hall.COMPANY)
    draft = DraftLicense(
        kind=kind,
        holder=party,
        issuer_name="云间区市场监督管理局",
        number="A1",
        area_code="310199",
        **more,  # type: ignore[arg-type]
    )

    def work(tx) -> str:
        made = desk.room.licenses.draft(tx, desk.now, desk.hall.department, draft)
        desk.room.licenses.apply(tx, desk.now, desk.hall.department, made.license_id, Event.ISSUE)
        return made.license_id

    license_id = desk.hall.write(work)
    desk.hall.sequence()
    return license_id


def event(desk, license_id: str, what: Event) -> None:
    desk.hall.write(
        lambda tx: desk.room.licenses.apply(
            tx, desk.now, desk.hall.department, license_id, what, reason="test"
        )
    )


def reasons(answer) -> list[str]:
    return [reason["code"] for item in answer["items"] for reason in item["reasons"]]


def check(desk, case_id: str, license_id: str, requirement: str = "business_license"):
    return desk.verify(case_id, license_id, requirement=requirement)


class Source:
    """A source of licences that says what it is told to."""

    name = "test"

    def __init__(self, real, answer=None) -> None:
        self.real = real
        self.answer = answer
        self.asked: list[str] = []

    def lookup(self, holder, kind, at):
        return self.real.lookup(holder, kind, at)

    def status(self, identifier: str, at: datetime) -> StatusAnswer:
        self.asked.append(identifier)
        return self.real.status(identifier, at) if self.answer is None else self.answer


def with_source(desk, answer=None) -> Source:
    source = Source(desk.room.license_source, answer)
    desk.hall.room = replace(desk.room, license_source=source)
    return source


def test_a_licence_in_force_is_allowed_and_its_sources_answer_kept(desk) -> None:
    license_id, case = issue(desk), desk.case()
    desk.granted(case.case_id, license_id)
    source = with_source(desk)
    answer = check(desk, case.case_id, license_id)
    assert reasons(answer) == []
    item = answer["items"][0]
    assert (item["item_kind"], item["item_type"], item["route"]) == (
        "license",
        "business_license",
        "license",
    )
    assert len(source.asked) == 1
    met = desk.hall.read(lambda tx: ways_met(tx, case.case_id))
    assert [(one.route, one.item) for one in met] == [("license", license_id)]
    with desk.room.database.read() as tx:
        (kept,) = tx.all(select(license_snapshots))
        body = desk.room.ledger.records.open(tx, item["receipt"]["entry"]).body
    assert body["answer"] == kept["entry_id"]


def test_an_outage_is_a_denial_and_its_answer_is_kept_too(desk) -> None:
    license_id, case = issue(desk), desk.case()
    desk.granted(case.case_id, license_id)
    with_source(desk, SourceOutage("test", desk.now, "timeout"))
    answer = check(desk, case.case_id, license_id)
    assert reasons(answer) == ["source_outage"]
    with desk.room.database.read() as tx:
        assert len(tx.all(select(license_snapshots))) == 1


def test_a_licence_that_its_source_does_not_know_is_denied(desk) -> None:
    license_id, case = issue(desk), desk.case()
    desk.granted(case.case_id, license_id)
    with_source(desk, NoneFound("test", desk.now))
    assert reasons(check(desk, case.case_id, license_id)) == ["license_not_issued"]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (Event.SUSPEND, "license_suspended"),
        (Event.REVOKE, "license_ended"),
        (Event.RESCIND, "license_tainted"),
    ],
)
def test_what_happens_to_the_licence_counts_at_once(desk, what: Event, code: str) -> None:
    license_id, case = issue(desk), desk.case()
    desk.granted(case.case_id, license_id)
    assert check(desk, case.case_id, license_id)["outcome"] == "allowed"
    event(desk, license_id, what)
    assert reasons(check(desk, case.case_id, license_id)) == [code]


def test_a_licence_suspended_during_the_verification_is_denied(desk) -> None:
    license_id, case = issue(desk), desk.case()
    desk.granted(case.case_id, license_id)
    source = with_source(desk)
    ask = source.status

    def suspend_then_answer(identifier: str, at: datetime) -> StatusAnswer:
        answer = ask(identifier, at)
        if len(source.asked) == 1:
            event(desk, license_id, Event.SUSPEND)
        return answer

    source.status = suspend_then_answer  # type: ignore[method-assign]
    assert reasons(check(desk, case.case_id, license_id)) == ["license_suspended"]


def test_an_expired_licence_is_denied_from_the_instant(desk) -> None:
    end = desk.now + timedelta(days=10)
    license_id, case = issue(desk, valid_until=end), desk.case()
    desk.granted(case.case_id, license_id)
    desk.hall.clock.set(end - timedelta(milliseconds=1))
    assert check(desk, case.case_id, license_id)["outcome"] == "allowed"
    desk.hall.clock.set(end)
    assert reasons(check(desk, case.case_id, license_id)) == ["license_expired"]


def test_a_licence_row_that_tells_another_story_is_denied(desk) -> None:
    license_id, case = issue(desk), desk.case()
    desk.granted(case.case_id, license_id)
    event(desk, license_id, Event.SUSPEND)
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(update(licenses).values(status="valid"))
    assert {"record_mismatch", "license_suspended"} <= set(
        reasons(check(desk, case.case_id, license_id))
    )


def test_an_employees_licence_counts_by_their_own_authorisation(desk) -> None:
    """`related`: nobody of the case; known to the window only by the grant."""
    license_id = issue(desk, "health_certificate", desk.hall.ELDER)
    case = desk.case()
    with pytest.raises(ItemUnknown):
        check(desk, case.case_id, license_id, "health_certificate")
    elder = desk.hall.applicant(desk.hall.ELDER)
    grant = desk.make(elder, (license_id,))
    answer = desk.verify(
        case.case_id, license_id, requirement="health_certificate", grant=grant.grant_id
    )
    assert answer["outcome"] == "allowed"


def test_a_licence_without_a_grant_or_of_another_kind_is_denied(desk) -> None:
    license_id, case = issue(desk), desk.case()
    assert reasons(check(desk, case.case_id, license_id)) == ["grant_missing"]
    desk.granted(case.case_id, license_id)
    wrong = check(desk, case.case_id, license_id, "health_certificate")
    assert "type_mismatch" in reasons(wrong)


def test_licences_are_asked_for_by_requirement(desk) -> None:
    license_id, case = issue(desk), desk.case()
    (grant,) = desk.ask(case.case_id, requirements=("business_license",))
    assert [(one.item, one.kind) for one in grant.items] == [(license_id, "license")]
