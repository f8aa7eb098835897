"""Issuing and changing licences on a real ledger."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from kernel.errors import InvalidInput
from kernel.identifier_errors import CheckCharacterWrong
from kernel.identifiers import parse_license_identifier
from kernel.principals import Principal, Role
from license_service.errors import (
    IllegalLicenseTransition,
    LicenseChangedMeanwhile,
    LicenseDraftInvalid,
    LicenseEventTimeInvalid,
    LicenseIdentifierMismatch,
    LicenseIdentifierTaken,
    LicenseKindUnknown,
    LicenseRecordMismatch,
    LicenseUnknown,
    NotIssuingAuthority,
    SuccessorNeeded,
)
from license_service.lifecycle import SUPERSEDING, EffectiveStatus, Event, Status
from license_service.model import MatterRef, Successor
from license_service.rows import update_license
from license_service.tables import license_events, licenses
from storage.tables import audit

DAY = timedelta(days=1)
OLD = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G"
NEW = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.002.E"
FOOD = "1.2.156.3005.2.11100000MB0143028R002.11310199MB2Y01016G.20260518000042.001.E"


def everything(store):
    """All rows of the room, to see that a refusal changed nothing."""
    return store.read(
        lambda tx: [
            [tuple(row) for row in tx.execute(select(table))]
            for table in (licenses, license_events, audit)
        ]
    )


def test_a_draft_is_not_issued_and_an_issued_licence_is_valid(store):
    draft = store.drafted()
    assert (draft.status, draft.identifier, draft.version) == (Status.DRAFTED, None, 1)
    assert store.facts(draft.license_id).status_at(store.now).status is EffectiveStatus.NOT_ISSUED
    view = store.apply(draft.license_id, Event.ISSUE)
    assert (view.status, view.version) == (Status.VALID, 2)
    identifier = parse_license_identifier(view.identifier)
    assert identifier.type_code == "11100000MB0143028R001"
    assert identifier.issuer == store.MARKET
    assert identifier.serial.startswith("20261124")
    assert identifier.version == "001"
    assert store.facts(view.license_id).status_at(store.now).valid


def test_the_issuing_record_has_the_metadata_and_no_name_or_code_of_the_holder(store):
    view = store.issued(matter=MatterRef("000131014000", "企业设立登记"))
    record = store.read(lambda tx: store.room.ledger.records.open(tx, view.entry_id))
    body = record.body
    assert record.kind == "license.issued"
    assert {key: body[key] for key in ("identifier", "number", "name", "version", "status")} == {
        "identifier": view.identifier,
        "number": "310199000187",
        "name": "营业执照",
        "version": "001",
        "status": "valid",
    }
    assert body["type"] == {"name": "营业执照", "code": "11100000MB0143028R001"}
    assert body["issuer"] == store.MARKET
    assert body["issuer_name"] == "上海市云间区市场监督管理局"
    assert body["issued_on"] == "2026-11-24"
    assert body["defining_authority"] == {
        "name": "国家市场监督管理总局",
        "code": "11100000MB0143028R",
    }
    assert body["valid_from"] == "2026-11-24T04:00:00.000Z"
    assert body["valid_until"] is None
    assert body["area_code"] == "310199"
    assert body["holder"] == view.holder
    assert body["matter"] == {"code": "000131014000", "name": "企业设立登记"}
    assert body["file"] is None
    assert store.COMPANY.code.encode() not in record.canonical
    assert store.COMPANY.name.encode() not in record.canonical


def test_a_given_identifier_is_checked_and_kept(store):
    assert store.issued(identifier=OLD).identifier == OLD
    with pytest.raises(LicenseIdentifierTaken):
        store.drafted(identifier=OLD)
    with pytest.raises(CheckCharacterWrong):
        store.drafted(identifier=NEW[:-1] + "F")
    with pytest.raises(LicenseIdentifierMismatch) as refused:
        store.drafted(identifier=FOOD)
    assert refused.value.details == {"part": "type"}
    other, wanted = store.department(store.ARCHIVE), store.business_license(identifier=NEW)
    with pytest.raises(LicenseIdentifierMismatch) as refused:
        store.write(lambda tx: store.licenses.draft(tx, store.now, other, wanted))
    assert refused.value.details == {"part": "issuer"}


def test_an_area_code_as_issuer_is_accepted_with_a_warning(store):
    from kernel.identifiers import build_license_identifier

    given = str(build_license_identifier("11100000MB0143028R001", "310199", "000016", 1))
    view = store.issued(identifier=given)
    assert store.facts(view.license_id).metadata["warnings"] == ["issuer_is_area_code"]


def test_a_given_serial_is_used_once(store):
    assert ".SN7." in store.issued(serial="SN7").identifier
    again = store.drafted(serial="SN7")
    with pytest.raises(LicenseIdentifierTaken):
        store.apply(again.license_id, Event.ISSUE)
    assert store.facts(again.license_id).status is Status.DRAFTED


def test_validity_comes_from_the_kind_unless_it_is_given(store):
    holder = store.ensure(store.SHEN)
    view = store.issued(kind="health_certificate", holder=holder, attributes={})
    assert (view.valid_from, view.valid_until) == (store.NOON, store.NOON.replace(year=2027))
    end = store.NOON + 90 * DAY
    view = store.issued(kind="health_certificate", holder=holder, attributes={}, valid_until=end)
    assert view.valid_until == end
    assert store.issued().valid_until is None


def test_an_older_licence_can_be_entered_with_the_day_it_was_issued(store):
    day = store.NOON.replace(year=2024, month=3, day=12)
    draft = store.drafted(identifier=OLD)
    view = store.apply(draft.license_id, Event.ISSUE, effective_at=day)
    facts = store.facts(view.license_id)
    assert facts.metadata["issued_on"] == "2024-03-12"
    assert facts.status_at(day).valid
    assert facts.status_at(day - timedelta(milliseconds=1)).status is EffectiveStatus.NOT_ISSUED


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "fishing_permit"}, LicenseKindUnknown),
        ({"kind": "health_certificate", "attributes": {}}, LicenseDraftInvalid),
        ({"number": ""}, LicenseDraftInvalid),
        ({"number": "x" * 65}, LicenseDraftInvalid),
        ({"number": "1\n2"}, LicenseDraftInvalid),
        ({"issuer_name": " 局"}, LicenseDraftInvalid),
        ({"area_code": "3101"}, LicenseDraftInvalid),
        ({"area_code": "３１０１９９"}, LicenseDraftInvalid),
        ({"attributes": {"colour": "red"}}, LicenseDraftInvalid),
        ({"attributes": {"address": "\u202e"}}, LicenseDraftInvalid),
        ({"attributes": {"address": "x" * 2001}}, LicenseDraftInvalid),
        ({"permits": ("lic_" + "0" * 26,)}, LicenseDraftInvalid),
        ({"serial": "no dots."}, LicenseDraftInvalid),
        ({"serial": "1", "identifier": OLD}, LicenseDraftInvalid),
        ({"matter": MatterRef("0001310140", "x")}, InvalidInput),
    ],
)
def test_what_cannot_be_a_licence_is_refused_and_leaves_nothing(store, changes, error):
    store.ensure(store.COMPANY)
    before = everything(store)
    with pytest.raises(error):
        store.drafted(**changes)
    assert everything(store) == before


def test_dates_in_the_wrong_order_are_refused(store):
    for end in (store.NOON, store.NOON - DAY):
        with pytest.raises(LicenseDraftInvalid):
            store.drafted(valid_from=store.NOON, valid_until=end)
    draft = store.drafted(valid_until=store.NOON)  # no start: it begins when issued
    with pytest.raises(LicenseDraftInvalid):
        store.apply(draft.license_id, Event.ISSUE)


def test_a_new_version_keeps_the_serial_and_names_what_it_supersedes(store):
    old = store.issued(identifier=OLD)
    store.advance(days=30)
    moved = Successor(attributes={"address": "云间路 88 号 205 室"})
    new = store.supersede(old.license_id, Event.CHANGE, moved)
    assert new.identifier == NEW
    assert (new.status, new.supersedes) == (Status.VALID, old.license_id)
    facts = store.facts(new.license_id)
    assert facts.metadata["supersedes"] == {"license": old.license_id, "identifier": OLD}
    assert dict(facts.attributes) == {
        "address": "云间路 88 号 205 室",
        "legal_representative": "沈云舟",
    }
    before = store.facts(old.license_id)
    assert before.status is Status.SUPERSEDED
    assert before.status_at(store.now).status is EffectiveStatus.SUPERSEDED
    assert before.status_at(store.now - DAY).valid
    assert not facts.status_at(store.now - DAY).valid
    assert facts.status_at(store.now).valid
    with pytest.raises(IllegalLicenseTransition):
        store.supersede(old.license_id, Event.CHANGE, moved)


def test_a_renewal_runs_on_from_the_old_end_and_a_change_keeps_it(store):
    holder = store.ensure(store.SHEN)
    old = store.issued(kind="health_certificate", holder=holder, attributes={})
    store.advance(days=300)
    renewed = store.supersede(old.license_id, Event.RENEW, Successor())
    assert renewed.valid_from == store.now
    assert renewed.valid_until == old.valid_until.replace(year=2028)
    changed = store.supersede(renewed.license_id, Event.REISSUE, Successor(number="H-2"))
    assert changed.valid_until == renewed.valid_until
    assert parse_license_identifier(changed.identifier).version == "003"
    store.room.clock.set(changed.valid_until)
    with pytest.raises(LicenseDraftInvalid):  # what has expired is renewed, not changed
        store.supersede(changed.license_id, Event.CHANGE, Successor())


def test_a_new_version_leaves_no_day_without_a_licence_and_counts_upwards(store):
    old = store.issued(identifier=NEW)
    with pytest.raises(LicenseDraftInvalid):
        store.supersede(old.license_id, Event.CHANGE, Successor(valid_from=store.now + DAY))
    with pytest.raises(LicenseIdentifierMismatch):
        store.supersede(old.license_id, Event.CHANGE, Successor(identifier=OLD))
    assert store.facts(old.license_id).status is Status.VALID


def test_superseding_events_come_with_a_successor_and_others_without(store):
    view = store.issued()
    for event in Event:
        if event in SUPERSEDING:
            with pytest.raises(SuccessorNeeded):
                store.apply(view.license_id, event)
        else:
            with pytest.raises(SuccessorNeeded):
                store.supersede(view.license_id, event, Successor())


def test_only_the_issuing_body_changes_a_licence(store):
    view = store.issued()
    strangers = [
        store.department(store.ARCHIVE),
        Principal("tok_" + "0" * 26, Role.WINDOW, store.MARKET),
        Principal("tok_" + "0" * 26, Role.OPERATOR),
        Principal("tok_" + "0" * 26, Role.APPLICANT, holder=view.holder),
    ]
    before = everything(store)
    for who in strangers:
        with pytest.raises(NotIssuingAuthority):
            store.apply(view.license_id, Event.REVOKE, by=who)
        with pytest.raises(NotIssuingAuthority):
            store.supersede(view.license_id, Event.CHANGE, Successor(), by=who)
    assert everything(store) == before


def test_events_take_effect_in_order_and_never_in_the_future(store):
    view = store.issued()
    store.advance(days=10)
    when = store.now - 3 * DAY
    store.apply(view.license_id, Event.SUSPEND, effective_at=when, reason="inspection_failed")
    facts = store.facts(view.license_id)
    assert facts.status_at(when).status is EffectiveStatus.SUSPENDED
    assert facts.status_at(when - timedelta(milliseconds=1)).valid
    for wrong in (when - timedelta(milliseconds=1), store.now + timedelta(milliseconds=1)):
        with pytest.raises(LicenseEventTimeInvalid):
            store.apply(view.license_id, Event.RESUME, effective_at=wrong)
    store.apply(view.license_id, Event.RESUME, effective_at=when)
    assert store.facts(view.license_id).status is Status.VALID


def test_a_bundle_lists_permits_of_the_same_holder(store):
    permit = store.issued(kind="food_business_permit", attributes={})
    other = store.issued(kind="health_certificate", holder=store.ensure(store.SHEN), attributes={})
    bundle = {"kind": "comprehensive_industry_permit", "attributes": {}}
    view = store.issued(**bundle, permits=(permit.license_id,))
    assert store.facts(view.license_id).permits == (permit.license_id,)
    for wrong in (
        (other.license_id,),
        ("lic_" + "0" * 26,),
        (permit.license_id, permit.license_id),
    ):
        with pytest.raises(LicenseDraftInvalid):
            store.drafted(**bundle, permits=wrong)


def test_licences_of_a_holder_are_listed_newest_first_in_pages(store):
    made = []
    for _ in range(5):
        made.append(store.issued().license_id)
        store.advance(seconds=1)
    made.append(store.issued(kind="food_business_permit", attributes={}).license_id)
    holder = store.ensure(store.COMPANY)
    made.reverse()

    def listed(**what):
        views = store.read(lambda tx: store.licenses.of_holder(tx, holder, **what))
        return [view.license_id for view in views]

    assert listed() == made
    assert listed(limit=2) == made[:2]
    assert listed(after=made[1], limit=3) == made[2:5]
    assert listed(kind="food_business_permit") == made[:1]
    draft = store.drafted().license_id
    assert draft in listed()
    assert draft not in listed(drafts=False)
    strange = store.issued(
        kind="health_certificate", holder=store.ensure(store.SHEN), attributes={}
    )
    with pytest.raises(LicenseUnknown):
        listed(after=strange.license_id)


def test_reminders_name_valid_licences_that_end_soon(store):
    holder = store.ensure(store.SHEN)

    def certificate(days):
        return store.issued(
            kind="health_certificate",
            holder=holder,
            attributes={},
            valid_until=store.NOON + days * DAY,
        ).license_id

    later, soon, at_the_edge = certificate(31), certificate(10), certificate(30)
    revoked = certificate(5)
    store.apply(revoked, Event.REVOKE)
    store.issued()  # without an end

    def reminded(at, days):
        return [
            view.license_id for view in store.read(lambda tx: store.licenses.expiring(tx, at, days))
        ]

    assert reminded(store.NOON, 30) == [soon, at_the_edge]
    assert reminded(store.NOON + 10 * DAY, 30) == [at_the_edge, later]
    assert reminded(store.NOON, 0) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "suspended"),
        ("identifier", NEW),
        ("kind", "food_business_permit"),
        ("issuer", "12310199MB2Y04049F"),
        ("valid_until", "later"),
        ("source_case", "cas_" + "0" * 26),
        ("holder", "other"),
        ("entry_id", "draft"),
    ],
)
def test_an_edited_row_is_named_and_blocks_every_change(store, column, value):
    draft = store.drafted()
    view = store.apply(draft.license_id, Event.ISSUE)
    special = {
        "later": store.NOON + DAY,
        "other": store.ensure(store.SHEN),
        "draft": draft.entry_id,
    }
    store.write(
        lambda tx: tx.execute(
            update(licenses)
            .where(licenses.c.license_id == view.license_id)
            .values({column: special.get(value, value)})
        )
    )
    facts = store.facts(view.license_id)
    assert facts.disagreements == (column,)
    assert facts.status is Status.VALID  # the record's word, not the row's
    with pytest.raises(LicenseRecordMismatch):
        store.apply(view.license_id, Event.REVOKE)


def test_edited_events_are_named(store):
    view = store.issued()
    store.advance(days=1)
    store.apply(view.license_id, Event.SUSPEND)
    of_it = license_events.c.license_id == view.license_id
    edits = [
        update(license_events).where(of_it).values(at=store.NOON - DAY),
        update(license_events).where(of_it).values(event="haunt"),
        license_events.delete().where(of_it, license_events.c.sequence == 2),
    ]
    for edit in edits:
        store.write(lambda tx, edit=edit: tx.execute(edit))
        assert store.facts(view.license_id).disagreements == ("events",)
    store.write(
        lambda tx: tx.execute(
            update(licenses)
            .where(licenses.c.license_id == view.license_id)
            .values(status="nonsense")
        )
    )
    with pytest.raises(LicenseRecordMismatch):
        store.facts(view.license_id)


def test_a_row_that_moved_on_meanwhile_is_not_overwritten(store):
    view = store.issued()
    store.apply(view.license_id, Event.SUSPEND)
    with pytest.raises(LicenseChangedMeanwhile):
        store.write(
            lambda tx: update_license(tx, view.license_id, view.version, {"status": "valid"})
        )
    assert store.facts(view.license_id).status is Status.SUSPENDED
    assert store.facts(view.license_id).disagreements == ()


def test_a_dropped_record_breaks_the_course(store):
    from ledger.tables import ledger_entries

    view = store.issued()
    store.apply(view.license_id, Event.SUSPEND)
    store.apply(view.license_id, Event.RESUME)
    store.write(
        lambda tx: tx.execute(
            ledger_entries.delete().where(ledger_entries.c.kind == "license.suspended")
        )
    )
    with pytest.raises(LicenseRecordMismatch):
        store.facts(view.license_id)


def test_an_unknown_licence_is_not_found(store):
    for call in (
        lambda: store.facts("lic_" + "0" * 26),
        lambda: store.apply("lic_" + "0" * 26, Event.ISSUE),
        lambda: store.read(lambda tx: store.licenses.get(tx, "lic_" + "0" * 26)),
    ):
        with pytest.raises(LicenseUnknown):
            call()
