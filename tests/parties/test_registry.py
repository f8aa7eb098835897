"""The register of parties, on a real ledger: found by a keyed digest, believed from records."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from kernel.identifier_errors import BirthDateInFuture, CheckCharacterWrong, IdentifierMalformed
from kernel.identifiers import HolderType, citizen_check_character
from ledger.errors import ErasurePending
from ledger.tables import ledger_entries
from parties import HolderRef
from parties.capacity import PartyKind
from parties.errors import (
    HolderNameDiffers,
    NameMalformed,
    PartyErased,
    PartyRecordMismatch,
    PartyUnknown,
)
from parties.tables import parties


def named(ref, name):
    return HolderRef(ref.type, ref.code, name)


def test_the_same_holder_is_registered_once_and_found_again(store):
    first = store.ensure(store.SHEN)
    assert store.ensure(store.SHEN) == first
    assert store.read(lambda tx: store.parties.find(tx, "111", store.SHEN.code)) == first
    assert store.read(lambda tx: store.parties.find(tx, "111", store.ZHOU.code)) is None
    assert store.ensure(store.ZHOU) != first


def test_facts_come_back_from_the_record(store):
    company, person = store.ensure(store.COMPANY), store.ensure(store.SHEN)
    facts = store.read(lambda tx: store.parties.describe(tx, company))
    assert (facts.kind, facts.type, facts.code, facts.name, facts.born) == (
        PartyKind.ORGANIZATION,
        HolderType.ORGANIZATION,
        store.COMPANY.code,
        store.COMPANY.name,
        None,
    )
    facts = store.read(lambda tx: store.parties.describe(tx, person))
    assert facts.kind is PartyKind.PERSON
    assert facts.born is not None
    assert facts.born.isoformat() == "1988-02-29"


def test_codes_and_names_stand_nowhere_in_plain(store):
    store.ensure(store.COMPANY)
    store.ensure(store.SHEN)
    disk = store.everything_on_disk()
    for ref in (store.COMPANY, store.SHEN):
        assert ref.code.encode() not in disk
        assert ref.name.encode() not in disk
    assert b"party.registered" in disk  # the search can find things


@pytest.mark.parametrize(
    ("known", "given"),
    [
        ("禾味（上海）有限公司", "禾味(上海)有限公司"),
        ("阿依古丽·买买提", "阿依古丽•买买提"),
        ("阿依古丽·买买提", "阿依古丽买买提"),
        ("张喆", "张吉吉"),
        ("Anna Smith", "ANNA SMITH"),
        ("\u00e9va", "e\u0301va"),
    ],
)
def test_names_that_look_alike_are_not_guessed_to_be_the_same(store, known, given):
    party = store.ensure(named(store.SHEN, known))
    with pytest.raises(HolderNameDiffers) as refused:
        store.ensure(named(store.SHEN, given))
    assert refused.value.details == {"party": party}
    assert store.read(lambda tx: store.parties.describe(tx, party)).name == known


def test_a_missing_name_is_no_difference_and_is_learnt_later(store):
    party = store.ensure(named(store.SHEN, None))
    assert store.ensure(named(store.SHEN, None)) == party
    assert store.read(lambda tx: store.parties.describe(tx, party)).name is None
    assert store.ensure(store.SHEN) == party
    assert store.ensure(named(store.SHEN, None)) == party
    facts = store.read(lambda tx: store.parties.describe(tx, party))
    assert facts.name == "沈云舟"
    history = store.read(lambda tx: store.ledger.records.history(tx, party))
    assert [record.kind for record in history] == ["party.registered", "party.renamed"]


def test_a_change_of_name_keeps_the_former_one_in_its_record(store):
    party = store.ensure(store.COMPANY)

    def rename(name):
        at = store.advance(days=1)
        return store.write(lambda tx: store.parties.rename(tx, at, party, name, "registration"))

    first = rename("上海云间禾香餐饮管理有限公司")
    second = rename("上海云间禾香餐饮集团有限公司")
    assert rename("上海云间禾香餐饮集团有限公司") == second != first
    facts = store.read(lambda tx: store.parties.describe(tx, party))
    assert (facts.name, facts.entry_id) == ("上海云间禾香餐饮集团有限公司", second)
    assert facts.code == store.COMPANY.code
    names = [
        record.body["name"]
        for record in store.read(lambda tx: store.ledger.records.history(tx, party))
    ]
    assert names == [
        store.COMPANY.name,
        "上海云间禾香餐饮管理有限公司",
        "上海云间禾香餐饮集团有限公司",
    ]
    with pytest.raises(HolderNameDiffers):
        store.ensure(store.COMPANY)


@pytest.mark.parametrize(
    "name",
    ["", " 沈云舟", "沈云舟 ", "沈\u200b云舟", "沈\n云舟", "沈\u202e云舟", "沈" * 201, "\x00"],
)
def test_a_name_that_cannot_be_read_is_refused(store, name):
    with pytest.raises(NameMalformed):
        store.ensure(named(store.SHEN, name))


@pytest.mark.parametrize(
    ("type_", "code", "error"),
    [
        ("111", "310199198802299065", CheckCharacterWrong),
        ("111", "31019919880229906", IdentifierMalformed),
        ("001", "91310199MA1Y7K2D1H", CheckCharacterWrong),
    ],
)
def test_a_wrong_code_registers_nobody(store, type_, code, error):
    with pytest.raises(error):
        store.ensure(HolderRef(type_, code, "某人"))
    assert store.read(lambda tx: tx.all(select(parties))) == []


def test_a_birth_date_after_today_in_china_is_refused(store):
    body = "31019920261125001"  # tomorrow
    newborn = HolderRef("111", body + citizen_check_character(body))
    with pytest.raises(BirthDateInFuture):
        store.ensure(newborn)
    store.advance(hours=12)  # past midnight in China, still the 24th in UTC
    store.ensure(newborn)


def test_an_edited_row_is_not_believed(store):
    party, other = store.ensure(store.SHEN), store.ensure(store.ZHOU)
    entry = store.read(lambda tx: store.parties.describe(tx, other)).entry_id
    before = store.read(lambda tx: tx.one(select(parties).where(parties.c.party_id == party)))
    for change in ({"entry_id": entry}, {"lookup": b"\x01" * 32}):
        store.write(
            lambda tx, change=change: tx.execute(
                update(parties).where(parties.c.party_id == party).values(**change)
            )
        )
        with pytest.raises(PartyRecordMismatch):
            store.read(lambda tx: store.parties.describe(tx, party))
        store.write(
            lambda tx: tx.execute(
                update(parties)
                .where(parties.c.party_id == party)
                .values(entry_id=before["entry_id"], lookup=before["lookup"])
            )
        )
    assert store.read(lambda tx: store.parties.describe(tx, party)).name == "沈云舟"


def test_an_erased_party_is_gone_and_cannot_be_found(store):
    party = store.ensure(store.SHEN)
    with pytest.raises(ErasurePending):
        store.write(lambda tx: store.parties.erase(tx, store.clock.now(), party))
    assert store.read(lambda tx: store.parties.describe(tx, party)).name == "沈云舟"
    store.ledger.sequence(store.clock.now())
    store.write(lambda tx: store.parties.erase(tx, store.clock.now(), party))
    with pytest.raises(PartyErased):
        store.read(lambda tx: store.parties.describe(tx, party))
    assert store.read(lambda tx: store.parties.find(tx, "111", store.SHEN.code)) is None
    sealed = store.read(
        lambda tx: tx.all(
            select(ledger_entries.c.sealed, ledger_entries.c.wrapped_key).where(
                ledger_entries.c.entity == party, ledger_entries.c.public.is_(False)
            )
        )
    )
    assert [tuple(row.values()) for row in sealed] == [(None, None)]
    again = store.ensure(store.SHEN)
    assert again != party


def test_an_unknown_party_is_not_found(store):
    for call in (
        lambda tx: store.parties.describe(tx, "pty_" + "0" * 26),
        lambda tx: store.parties.erase(tx, store.NOON + timedelta(1), "pty_" + "0" * 26),
    ):
        with pytest.raises(PartyUnknown):
            store.write(call)
