"""The licence source port: our own store behind it, and answers kept as evidence."""

from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import select, update

from kernel.canonical import canonical_bytes
from kernel.identifier_errors import CheckCharacterWrong
from license_service.answers import (
    Found,
    Known,
    NameDiffers,
    NoneFound,
    SourceOutage,
    answer_record,
)
from license_service.lifecycle import EffectiveStatus, Event
from license_service.sources import LicenseSource, Snapshots
from license_service.tables import license_snapshots, licenses
from parties import HolderRef

NEVER = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G"


def test_a_holders_licences_are_found_by_kind_with_their_status(store):
    source: LicenseSource = store.room.source
    first, second = store.issued(), store.issued()
    store.drafted()
    store.issued(kind="food_business_permit", attributes={})
    store.apply(first.license_id, Event.SUSPEND)
    answer = source.lookup(store.COMPANY, "business_license", store.now)
    assert isinstance(answer, Found)
    assert {item.license_id: item.status.status for item in answer.licenses} == {
        first.license_id: EffectiveStatus.SUSPENDED,
        second.license_id: EffectiveStatus.VALID,
    }
    assert (answer.source, answer.asked_at) == ("local", store.now)


def test_holders_and_kinds_without_a_licence_are_answered_as_none(store):
    source = store.room.source
    assert source.lookup(store.COMPANY, "business_license", store.now) == NoneFound(
        "local", store.now
    )
    store.issued()
    none = NoneFound("local", store.now)
    assert source.lookup(store.COMPANY, "food_business_permit", store.now) == none
    assert source.lookup(store.SHEN, "business_license", store.now) == none


def test_a_name_that_differs_is_its_own_answer(store):
    store.issued()
    ref = HolderRef(store.COMPANY.type, store.COMPANY.code, "别的公司")
    source = store.room.source
    assert isinstance(source.lookup(ref, "business_license", store.now), NameDiffers)
    nameless = HolderRef(store.COMPANY.type, store.COMPANY.code)
    assert isinstance(source.lookup(nameless, "business_license", store.now), Found)


def test_the_status_is_told_for_the_time_asked_for(store):
    view = store.issued()
    store.advance(days=5)
    store.apply(view.license_id, Event.REVOKE)
    source = store.room.source
    now = source.status(view.identifier, store.now)
    before = source.status(view.identifier, store.now - timedelta(days=1))
    assert isinstance(now, Known)
    assert now.license.status.status is EffectiveStatus.REVOKED
    assert before.license.status.valid
    assert source.status(NEVER, store.now) == NoneFound("local", store.now)


def test_nobody_is_asked_about_an_identifier_that_cannot_exist(store):
    with pytest.raises(CheckCharacterWrong):
        store.room.source.status(NEVER[:-1] + "H", store.now)


def test_what_cannot_be_relied_on_is_an_outage_and_never_an_answer(store):
    view = store.issued()
    store.write(
        lambda tx: tx.execute(
            update(licenses)
            .where(licenses.c.license_id == view.license_id)
            .values(valid_until=store.now + timedelta(days=900))
        )
    )
    source, outage = store.room.source, SourceOutage("local", store.now, "license_record_mismatch")
    assert source.status(view.identifier, store.now) == outage
    assert source.lookup(store.COMPANY, "business_license", store.now) == outage


def test_an_answer_is_kept_with_its_digest_and_without_the_holder(store):
    view = store.issued()
    answer = store.room.source.status(view.identifier, store.now)
    snapshots = Snapshots(store.room.ledger.journal)
    question = {"identifier": view.identifier}
    kept = store.write(
        lambda tx: snapshots.keep(tx, store.now, question, answer, license_id=view.license_id)
    )
    record = store.read(lambda tx: store.room.ledger.records.open(tx, kept))
    assert record.kind == "license.answered"
    assert record.body["question"] == question
    assert record.body["answer"] == "known"
    assert record.body["licenses"][0]["license_status"] == "valid"
    assert store.COMPANY.code.encode() not in record.canonical
    row = store.read(lambda tx: tx.one(select(license_snapshots)))
    assert row["license_id"] == view.license_id
    assert row["answer_sha256"] == sha256(canonical_bytes(answer_record(answer))).digest()
    # It is no record of the licence itself: its status stays what it was.
    assert store.facts(view.license_id).disagreements == ()


@pytest.mark.parametrize(
    "answer_of",
    [
        lambda at: NoneFound("far", at),
        lambda at: NameDiffers("far", at),
        lambda at: SourceOutage("far", at, "timeout"),
    ],
)
def test_an_outage_and_a_none_are_kept_like_any_answer(store, answer_of):
    snapshots = Snapshots(store.room.ledger.journal)
    answer = answer_of(store.now)
    kept = store.write(lambda tx: snapshots.keep(tx, store.now, {"license_kind": "x"}, answer))
    body = store.read(lambda tx: store.room.ledger.records.open(tx, kept)).body
    assert body["licenses"] == []
    assert body["reason"] == ("timeout" if isinstance(answer, SourceOutage) else None)
