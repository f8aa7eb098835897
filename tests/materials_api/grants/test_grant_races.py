"""Many at once, and changes in the middle: real threads, a real database."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from ledger.tables import ledger_entries
from materials_api.errors import CaseStateForbids
from materials_api.grants.errors import VerificationContended
from materials_api.grants.lifecycle import GrantState
from materials_api.grants.limits import GrantLimits
from materials_api.limits import Limits
from materials_api.materials.control import stop_reuse
from materials_api.tables import cases, grants, materials, verifications

pytestmark = pytest.mark.both_engines


class Interruption:
    """An object store that does something once, in the middle of a verification: after
    rows were gathered, before anything is written."""

    def __init__(self, store, act, times: int = 1) -> None:
        self._store = store
        self._act = act
        self._left = times

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def read(self, *arguments, **named):
        if self._left > 0:
            self._left -= 1
            self._act()
        return self._store.read(*arguments, **named)


def interrupt(desk, act, times: int = 1) -> None:
    desk.room.objects.store = Interruption(desk.room.objects.store, act, times)


def test_of_a_hundred_cases_at_once_exactly_one_is_allowed(desk) -> None:
    lease = desk.lease()
    grant = desk.make(desk.company(), (lease,))
    opened = [desk.case().case_id for _ in range(100)]
    barrier = threading.Barrier(20)

    def tries(case_ids) -> list[dict]:
        barrier.wait()
        return [desk.verify(case_id, lease, grant=grant.grant_id) for case_id in case_ids]

    with ThreadPoolExecutor(20) as pool:
        answers = [one for part in pool.map(tries, [opened[n::20] for n in range(20)])
                   for one in part]  # fmt: skip
    assert Counter(answer["outcome"] for answer in answers) == {"allowed": 1, "denied": 99}
    (winner,) = [answer["case"] for answer in answers if answer["outcome"] == "allowed"]
    assert {answer["items"][0]["reason"] for answer in answers if answer["case"] != winner} == {
        "grant_spent"
    }
    spent = desk.grant(grant.grant_id)
    assert (spent.state, spent.case_id) == (GrantState.SPENT, winner)
    with desk.room.database.read() as tx:
        assert len(tx.all(select(verifications))) == 100


def test_a_grant_is_spent_once_by_two_processes_too(desk) -> None:
    """The second opens the same store: another writer, other readers."""
    lease = desk.lease()
    grant = desk.make(desk.company(), (lease,))
    opened = [desk.case().case_id for _ in range(40)]
    other = type(desk)(desk.hall.reopen())
    barrier = threading.Barrier(8)

    def tries(number: int) -> list[str]:
        own = (desk, other)[number % 2]
        barrier.wait()
        return [
            own.verify(case_id, lease, grant=grant.grant_id)["outcome"]
            for case_id in opened[number::8]
        ]

    try:
        with ThreadPoolExecutor(8) as pool:
            outcomes = [one for part in pool.map(tries, range(8)) for one in part]
    finally:
        other.room.database.close()
    assert Counter(outcomes) == {"allowed": 1, "denied": 39}
    with desk.room.database.read() as tx:
        assert len(tx.all(select(verifications))) == 40


def test_a_revocation_during_a_verification_wins(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    company = desk.company()
    interrupt(desk, lambda: desk.revoke(grant, company))
    answer = desk.verify(case.case_id, lease)
    assert [reason["code"] for reason in answer["items"][0]["reasons"]] == ["grant_revoked"]
    assert desk.grant(grant.grant_id).state is GrantState.REVOKED
    with desk.room.database.read() as tx:
        assert len(tx.all(select(verifications))) == 1


def test_a_revocation_wins_also_over_a_repeat_that_spends_nothing(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    company = desk.company()
    interrupt(desk, lambda: desk.revoke(grant, company))
    answer = desk.verify(case.case_id, lease)
    assert [reason["code"] for reason in answer["items"][0]["reasons"]] == ["grant_revoked"]


def test_a_material_stopped_during_a_verification_is_denied(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    company = desk.company()
    interrupt(
        desk,
        lambda: desk.hall.write(lambda tx: stop_reuse(desk.room, tx, desk.now, company, lease)),
    )
    answer = desk.verify(case.case_id, lease)
    assert [reason["code"] for reason in answer["items"][0]["reasons"]] == ["material_stopped"]


def test_a_case_decided_during_a_verification_verifies_nothing(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    interrupt(desk, lambda: desk.hall.event(case.case_id, "withdraw"))
    with pytest.raises(CaseStateForbids):
        desk.verify(case.case_id, lease)
    with desk.room.database.read() as tx:
        assert tx.all(select(verifications)) == []


@pytest.mark.parametrize("table", [grants, materials, cases])
def test_a_raised_version_makes_it_gather_again(desk, table) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    times = []

    def raise_version() -> None:
        times.append(1)
        desk.hall.write(lambda tx: tx.execute(update(table).values(version=table.c.version + 1)))

    interrupt(desk, raise_version)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    assert times == [1]
    with desk.room.database.read() as tx:
        assert len(tx.all(select(verifications))) == 1


def test_what_keeps_changing_is_given_up_with_a_named_error(make_desk) -> None:
    limits = Limits(grants=GrantLimits(verification_attempts=1))
    desk = make_desk(limits=limits)
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)

    def raise_version() -> None:
        desk.hall.write(lambda tx: tx.execute(update(grants).values(version=grants.c.version + 1)))

    interrupt(desk, raise_version)
    with pytest.raises(VerificationContended):
        desk.verify(case.case_id, lease)
    assert desk.grant(grant.grant_id).state is GrantState.GRANTED
    with desk.room.database.read() as tx:
        assert tx.all(select(verifications)) == []


def test_several_items_of_one_call_spend_their_grant_once(desk) -> None:
    lease, second = desk.lease(), desk.lease(data=desk.hall.pdf("second"))
    case = desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease, second))
    desk.approve(asked, desk.company())
    answer = desk.verify(case.case_id, lease, second)
    assert answer["outcome"] == "allowed"
    history = desk.hall.read(lambda tx: desk.room.ledger.records.history(tx, asked.grant_id))
    assert [record.kind for record in history] == [
        "grant.requested",
        "grant.granted",
        "grant.spent",
    ]


def test_verifications_and_revocations_at_once_never_allow_after_the_revocation(desk) -> None:
    """Whatever the interleaving: no allowed verification is recorded after the revocation."""
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    company = desk.company()
    start = threading.Barrier(5)

    def verify() -> None:
        start.wait()
        for _ in range(6):
            desk.verify(case.case_id, lease)

    def revoke() -> None:
        start.wait()
        desk.revoke(grant, company)

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(verify) for _ in range(4)] + [pool.submit(revoke)]:
            done.result()
    with desk.room.database.read() as tx:
        kinds = [
            row["kind"]
            for row in tx.all(select(ledger_entries).order_by(ledger_entries.c.position))
        ]
    after = kinds[kinds.index("grant.revoked") :]
    assert "verification.allowed" not in after
