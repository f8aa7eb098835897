"""`fsck` of the parties room names every row that is not what its records say."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from kernel.principals import Capacity, Role
from parties.fsck import fsck
from parties.tables import capacities, credentials, parties


@pytest.fixture
def people(store: Any) -> Any:
    """A company with its representative, an elder with another name, a capacity that ended."""
    store.company, store.boss = store.ensure(store.COMPANY), store.ensure(store.SHEN)
    store.elder = store.ensure(store.ELDER)
    at = store.advance(hours=1)

    def work(tx: Any) -> str:
        add = store.parties.register_capacity
        add(tx, at, store.company, store.boss, Capacity.LEGAL_REPRESENTATIVE, "registration")
        return str(add(tx, at, store.company, store.elder, Capacity.OPERATOR, "operator"))

    store.ended = store.write(work)
    at = store.advance(hours=1)
    store.write(lambda tx: store.parties.end_capacity(tx, at, store.ended, "withdrawn"))
    store.write(lambda tx: store.parties.rename(tx, at, store.elder, "赵阿富", "registration"))
    store.token = store.write(
        lambda tx: store.credentials.issue(
            tx,
            at,
            role=Role.APPLICANT,
            person=store.boss,
            holder=store.company,
            capacity=Capacity.LEGAL_REPRESENTATIVE,
            expires_at=at + timedelta(days=1),
        )
    )[0]
    return store


def found(store: Any) -> set[tuple[str, str]]:
    problems = fsck(store.database, store.vault, store.ledger.records)
    assert all(one.zh and one.en for one in problems)
    return {(one.code, one.where) for one in problems}


def test_people_with_changes_of_name_and_ends_are_clean(people: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    told = fsck(people.database, people.vault, people.ledger.records, lambda *s: seen.append(s))
    assert told == []
    assert seen[-1] == ("parties", 6, 6)  # three parties, two capacities, a credential


def test_an_erased_party_is_clean_and_stays_erased(people: Any) -> None:
    stranger = people.ensure(people.ZHOU)
    people.ledger.sequence(people.clock.now())
    at = people.advance(hours=1)
    people.write(lambda tx: people.parties.erase(tx, at, stranger))
    assert found(people) == set()
    here = parties.c.party_id == stranger
    for values in ({"erased_at": None}, {"lookup": b"x" * 32}, {"entry_id": "ent_x"}):
        before = people.read(lambda tx: dict(tx.one(parties.select().where(here))))
        people.write(
            lambda tx, values=values: tx.execute(update(parties).where(here).values(values))
        )
        assert found(people) == {("party_row", stranger)}
        people.write(lambda tx, row=before: tx.execute(update(parties).where(here).values(row)))
    assert found(people) == set()


def test_a_party_found_by_another_code_is_named(people: Any) -> None:
    """The look-up is computed once more with the vault's key: nobody can make one without."""
    elder, boss = parties.c.party_id == people.elder, parties.c.party_id == people.boss
    digest = people.read(lambda tx: tx.scalar(parties.select().with_only_columns(
        parties.c.lookup).where(elder)))  # fmt: skip
    people.write(lambda tx: tx.execute(update(parties).where(elder).values(lookup=b"y" * 32)))
    people.write(lambda tx: tx.execute(update(parties).where(boss).values(lookup=digest)))
    assert found(people) == {("party_row", people.elder), ("party_row", people.boss)}


@pytest.mark.parametrize(
    "values",
    [
        {"ended_at": None, "ended_reason": None},
        {"ended_reason": "death"},
        {"capacity": "agent"},
        {"basis": "kinship"},
        {"valid_until": None, "valid_from": None},
    ],
    ids=str,
)
def test_a_changed_capacity_is_named(people: Any, values: dict[str, Any]) -> None:
    if "valid_from" in values:
        values = {"valid_from": people.NOON}
    here = capacities.c.capacity_id == people.ended
    people.write(lambda tx: tx.execute(update(capacities).where(here).values(values)))
    assert found(people) == {("capacity_row", people.ended)}


def test_lost_rows_are_named(people: Any) -> None:
    people.write(
        lambda tx: tx.execute(delete(capacities).where(capacities.c.capacity_id == people.ended))
    )
    assert found(people) == {("record_without_row", people.ended)}


@pytest.mark.parametrize(
    "values",
    [
        {"role": "operator"},
        {"role": "nobody"},
        {"capacity": "self"},
        {"capacity": "guardian"},
        {"holder": None},
        {"org": "11310199MB2Y01016X"},
        {"version": 2},
        {"secret_sha256": b"short"},
    ],
    ids=str,
)
def test_a_credential_that_none_was_issued_like_is_named(
    people: Any, values: dict[str, Any]
) -> None:
    people.write(lambda tx: tx.execute(update(credentials).values(values)))
    assert found(people) == {("credential_row", people.token)}


def test_a_revocation_that_is_taken_back_is_named(people: Any) -> None:
    at = people.clock.now()
    people.write(lambda tx: people.credentials.revoke(tx, at, people.token))
    assert found(people) == set()
    people.write(lambda tx: tx.execute(update(credentials).values(revoked_at=None)))
    assert found(people) == {("credential_row", people.token)}
