"""The checks of one licence: pure, all of them run, every failure has its code."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from license_service.answers import Known, NoneFound, SourcedLicense, SourceOutage
from license_service.lifecycle import EffectiveStatus, Event, Happened, Status, StatusAt
from license_service.model import LicenseFacts
from license_service.verification import Question, failures, verify_license

NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ISSUED = Happened(Event.ISSUE, Status.VALID, NOON, "ent_1")
GOOD = LicenseFacts(
    license_id="lic_1",
    kind="business_license",
    identifier="1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G",
    number="310199000187",
    holder="pty_1",
    holder_record="ent_0",
    issuer="11310199MB2Y01016G",
    issuer_name="局",
    area_code="310199",
    valid_from=NOON,
    valid_until=NOON + 10 * DAY,
    supersedes=None,
    source_case=None,
    attributes={},
    permits=(),
    status=Status.VALID,
    history=(ISSUED,),
    row_version=2,
    entry_id="ent_1",
    status_entry_id="ent_1",
    metadata={},
    disagreements=(),
)
ASKED = Question("pty_1", frozenset({"business_license"}), "11310199MB2Y01016G")


def sourced(status, tainted=False):
    told = SourcedLicense(
        "lic_1",
        GOOD.identifier,
        GOOD.kind,
        GOOD.number,
        GOOD.issuer,
        GOOD.issuer_name,
        GOOD.valid_from,
        GOOD.valid_until,
        StatusAt(status, NOON, tainted),
    )
    return Known("far", NOON, told)


def codes(facts=GOOD, asked=ASKED, at=NOON, answer=None):
    return {check.check: check.code for check in failures(verify_license(at, asked, facts, answer))}


def happened(event, status):
    return (ISSUED, Happened(event, status, NOON + DAY, "ent_2"))


def test_a_good_licence_passes_every_check():
    checks = verify_license(NOON, ASKED, GOOD, sourced(EffectiveStatus.VALID))
    assert [check.check for check in checks] == [
        "identifier",
        "record",
        "kind",
        "holder",
        "issuer",
        "status",
        "source",
    ]
    assert failures(checks) == ()


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"identifier": GOOD.identifier[:-1] + "H"}, {"identifier": "license_identifier_invalid"}),
        ({"identifier": None}, {"identifier": "license_identifier_invalid"}),
        ({"disagreements": ("status",)}, {"record": "license_record_mismatch"}),
        ({"kind": "food_business_permit"}, {"kind": "license_kind_differs"}),
        ({"holder": "pty_2"}, {"holder": "license_holder_differs"}),
        ({"issuer": "12310199MB2Y04049F"}, {"issuer": "license_issuer_differs"}),
        ({"history": ()}, {"status": "license_not_issued"}),
    ],
)
def test_each_wrong_thing_has_its_own_code(changes, failed):
    assert codes(replace(GOOD, **changes)) == failed


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (Event.SUSPEND, Status.SUSPENDED, "license_suspended"),
        (Event.CHANGE, Status.SUPERSEDED, "license_superseded"),
        (Event.WITHDRAW, Status.WITHDRAWN, "license_ended"),
        (Event.REVOKE, Status.REVOKED, "license_ended"),
        (Event.DEREGISTER, Status.DEREGISTERED, "license_ended"),
        (Event.RESCIND, Status.RESCINDED, "license_tainted"),
        (Event.ANNUL, Status.ANNULLED, "license_tainted"),
    ],
)
def test_each_status_is_reported_from_the_moment_it_takes_effect(event, status, code):
    facts = replace(GOOD, history=happened(event, status), status=status)
    assert codes(facts, at=NOON + DAY) == {"status": code}
    before = codes(facts, at=NOON + DAY - timedelta(milliseconds=1))
    assert before == ({"status": code} if code == "license_tainted" else {})


def test_both_edges_of_the_validity_are_checked():
    early = replace(GOOD, valid_from=NOON + DAY)
    milli = timedelta(milliseconds=1)
    assert codes(early, at=NOON + DAY - milli) == {"status": "license_not_yet_valid"}
    assert codes(early, at=NOON + DAY) == {}
    assert codes(at=NOON + 10 * DAY - milli) == {}
    assert codes(at=NOON + 10 * DAY) == {"status": "license_expired"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (SourceOutage("far", NOON, "timeout"), "source_outage"),
        (NoneFound("far", NOON), "license_unknown_to_source"),
        (sourced(EffectiveStatus.REVOKED), "license_ended"),
        (sourced(EffectiveStatus.VALID, tainted=True), "license_tainted"),
    ],
)
def test_a_source_that_is_down_or_says_no_fails_the_check(answer, code):
    assert codes(answer=answer) == {"source": code}


def test_the_issuer_is_checked_only_if_somebody_asks_for_it():
    asked = Question("pty_1", frozenset({"business_license", "food_business_permit"}))
    assert codes(replace(GOOD, issuer="12310199MB2Y04049F"), asked) == {}


wrong = st.fixed_dictionaries(
    {},
    optional={
        "identifier": st.none(),
        "disagreements": st.just(("status",)),
        "kind": st.just("other"),
        "holder": st.just("pty_2"),
        "issuer": st.just("other"),
        "history": st.just(()),
    },
)


@given(wrong)
def test_every_check_runs_whatever_else_failed(changes):
    named = {"disagreements": "record", "history": "status"}
    checks = verify_license(NOON, ASKED, replace(GOOD, **changes))
    assert {check.check for check in failures(checks)} == {named.get(key, key) for key in changes}
    assert len(checks) == 6
    assert all(check.zh and check.en for check in checks)
