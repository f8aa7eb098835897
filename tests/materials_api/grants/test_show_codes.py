"""Show codes: short, once, for a minute, and not to be guessed."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from kernel.principals import Capacity
from materials_api.errors import CaseStateForbids
from materials_api.grants.errors import (
    GrantBound,
    GrantExpired,
    GrantUnknown,
    MayNotDecide,
    ShowCodeInvalid,
    ShowCodeTries,
)
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.grants.show_codes import WrongCode, redeem, show_code
from materials_api.rules.rule_errors import GrantTransitionIllegal
from materials_api.tables import code_tries, grants


def shown(desk, grant, by=None):
    who = by or desk.company()
    return desk.hall.write(lambda tx: show_code(desk.room, tx, desk.now, who, grant.grant_id))


def redeemed(desk, case_id, code, by=None):
    who = by or desk.hall.window
    return desk.hall.write(lambda tx: redeem(desk.room, tx, desk.now, who, case_id, code))


def test_a_shown_code_binds_the_grant_to_the_case_and_allows_there(desk) -> None:
    lease, case, other = desk.lease(), desk.case(), desk.case()
    grant = desk.make(desk.company(), (lease,))
    code = shown(desk, grant)
    assert len(code.code) == 8
    assert code.expires_at == desk.now + timedelta(seconds=60)
    typed = f" {code.code[:4].lower()}-{code.code[4:].lower()} "
    bound = redeemed(desk, case.case_id, typed)
    assert (bound.case_id, bound.audience, bound.state) == (
        case.case_id,
        desk.hall.HALL,
        GrantState.GRANTED,
    )
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    refused = desk.verify(other.case_id, lease, grant=grant.grant_id)
    assert "grant_other_case" in [reason["code"] for reason in refused["items"][0]["reasons"]]


def test_a_code_serves_once(desk) -> None:
    lease, case, other = desk.lease(), desk.case(), desk.case()
    code = shown(desk, desk.make(desk.company(), (lease,))).code
    redeemed(desk, case.case_id, code)
    for case_id in (case.case_id, other.case_id):
        assert redeemed(desk, case_id, code) == WrongCode()


def test_a_code_ends_on_the_instant_and_with_the_next_one(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.make(desk.company(), (lease,))
    first = shown(desk, grant)
    second = shown(desk, grant)
    assert redeemed(desk, case.case_id, first.code) == WrongCode()
    desk.hall.clock.set(second.expires_at)
    assert redeemed(desk, case.case_id, second.code) == WrongCode()
    third = shown(desk, grant)
    desk.hall.clock.set(third.expires_at - timedelta(milliseconds=1))
    assert redeemed(desk, case.case_id, third.code).case_id == case.case_id


def test_tries_are_limited_per_principal_and_come_back(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.make(desk.company(), (lease,))
    limits = desk.room.limits.grants
    for _ in range(limits.code_failures):
        found = redeemed(desk, case.case_id, "00000000")
        assert isinstance(found.error(), ShowCodeInvalid)
    code = shown(desk, grant).code
    blocked = redeemed(desk, case.case_id, code)
    assert isinstance(blocked.error(), ShowCodeTries)
    assert blocked.wait_seconds == limits.code_window
    # The right code is not even looked at: the grant is untouched.
    assert desk.grant(grant.grant_id).case_id is None
    assert redeemed(desk, case.case_id, code, desk.hall.other_clerk()).case_id == case.case_id
    desk.hall.advance(seconds=limits.code_window)
    again = shown(desk, desk.make(desk.company(), (lease,)))
    assert redeemed(desk, case.case_id, again.code).case_id == case.case_id
    with desk.room.database.read() as tx:
        assert tx.all(select(code_tries)) == []


def test_a_failed_try_is_counted_although_it_is_refused(desk) -> None:
    case = desk.case()
    redeemed(desk, case.case_id, "ABCDEFGH")
    redeemed(desk, case.case_id, "")
    with desk.room.database.read() as tx:
        assert [row["failures"] for row in tx.all(select(code_tries))] == [2]


def test_only_who_may_decide_shows_a_code(desk) -> None:
    lease = desk.lease()
    grant = desk.make(desk.company(), (lease,))
    with pytest.raises(MayNotDecide):
        shown(desk, grant, desk.company(Capacity.OPERATOR))
    with pytest.raises(GrantUnknown):
        shown(desk, grant, desk.hall.applicant(desk.hall.ELDER))


def test_only_an_unbound_grant_in_force_has_a_code(desk) -> None:
    lease, case = desk.lease(), desk.case()
    company = desk.company()
    with pytest.raises(GrantBound):
        shown(desk, desk.granted(case.case_id, lease))
    revoked = desk.make(company, (lease,))
    desk.revoke(revoked, company)
    with pytest.raises(GrantTransitionIllegal):
        shown(desk, revoked)
    short = desk.make(company, (lease,), expires_at=desk.now + timedelta(seconds=30))
    code = shown(desk, short)
    desk.hall.advance(seconds=30)
    assert redeemed(desk, case.case_id, code.code) == WrongCode()
    with pytest.raises(GrantExpired):
        shown(desk, short)


def test_a_revocation_takes_the_code_with_it(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.make(desk.company(), (lease,))
    code = shown(desk, grant)
    desk.revoke(grant, desk.company())
    assert redeemed(desk, case.case_id, code.code) == WrongCode()


def test_a_grant_for_another_body_or_matter_is_a_wrong_code(desk) -> None:
    lease, case = desk.lease(), desk.case()
    company = desk.company()
    for narrowed in ({"audience": desk.hall.MARKET}, {"matter": "elderly_allowance"}):
        code = shown(desk, desk.make(company, (lease,), **narrowed))
        assert redeemed(desk, case.case_id, code.code) == WrongCode()


def test_a_long_grant_stays_unbound_and_can_be_named(desk) -> None:
    lease, case, other = desk.lease(), desk.case(), desk.case()
    end = desk.now + timedelta(days=10)
    grant = desk.make(desk.company(), (lease,), use=GrantUse.UNTIL, expires_at=end)
    found = redeemed(desk, case.case_id, shown(desk, grant).code)
    assert found.case_id is None
    for case_id in (case.case_id, other.case_id):
        assert desk.verify(case_id, lease, grant=found.grant_id)["outcome"] == "allowed"


def test_codes_are_redeemed_for_open_cases_only_and_kept_nowhere(desk) -> None:
    lease, case = desk.lease(), desk.case()
    code = shown(desk, desk.make(desk.company(), (lease,))).code
    with desk.room.database.read() as tx:
        (row,) = tx.all(select(grants).where(grants.c.code_mac.is_not(None)))
    assert row["code_mac"] == desk.room.vault.mac("show-code", code.encode())
    for event in ("submit", "not_accept", "close"):
        desk.hall.event(case.case_id, event)
    with pytest.raises(CaseStateForbids):
        redeemed(desk, case.case_id, code)
    desk.room.database.close()
    assert code.encode() not in desk.hall.everything_on_disk()
