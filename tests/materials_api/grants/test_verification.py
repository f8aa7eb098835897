"""Verification: what is allowed, what is denied and why, and what each leaves behind."""

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import select, update

from kernel.principals import Principal, Role
from ledger.records import OpenedRecord
from materials_api.cases.requirements import ways_met
from materials_api.catalogue.terms import PartyEventKind, PartyRole, Provenance
from materials_api.documents.renderer import render_document
from materials_api.documents.stored import documents_of
from materials_api.errors import CaseOfOtherWindow, CaseStateForbids, CaseUnknown
from materials_api.grants.errors import (
    ItemUnknown,
    StatutoryDutyIncomplete,
    VerificationItemsInvalid,
    VerificationUnknown,
)
from materials_api.grants.granting import decline, list_grants
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.http.verifications import rendered
from materials_api.materials.control import stop_reuse
from materials_api.materials.invalidation import InvalidReason, invalidate
from materials_api.registers.party_events import record_event
from materials_api.rules.reuse_facts import Consent, StatutoryDuty
from materials_api.tables import grants, material_files, materials, uses, verifications
from materials_api.verification.facts import AskedItem
from materials_api.verification.reading import read_call
from materials_api.verification.verifying import Verify, verify
from storage.errors import IdempotencyMismatch
from storage.idempotency import RequestKey
from storage.tables import audit


def reasons(answer) -> list[str]:
    return [reason["code"] for item in answer["items"] for reason in item["reasons"]]


def happened(desk, party, event: PartyEventKind, at=None) -> None:
    party_id = desk.hall.party(party)
    desk.hall.write(
        lambda tx: record_event(
            desk.room, tx, desk.now, desk.hall.operator, party_id, event, at or desk.now
        )
    )


def record_of(desk, answer) -> OpenedRecord:
    entry = answer["items"][0]["receipt"]["entry"]
    return desk.hall.read(lambda tx: desk.room.ledger.records.open(tx, entry))


def test_an_authorised_item_is_allowed_with_every_check_passed(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    answer = desk.verify(case.case_id, lease)
    assert reasons(answer) == []
    item = answer["items"][0]
    assert (answer["outcome"], item["outcome"], item["reason"]) == ("allowed", "allowed", None)
    assert all(check["passed"] for check in item["checks"])
    checked = {check["check"] for check in item["checks"] if check["result"] == "passed"}
    assert checked >= {"holder", "capacity", "grant", "consent", "type", "provenance", "freshness",
                       "source_case", "status", "record", "content", "log"}  # fmt: skip
    assert item["grants"] == [grant.grant_id]


def test_what_was_allowed_is_recorded_by_ids_alone(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    answer = desk.verify(case.case_id, lease)
    record = record_of(desk, answer)
    assert record.kind == "verification.allowed"
    assert record.body["grants"] == record.body["spent"] == [grant.grant_id]
    assert record.body["evidence"]["entry"] == desk.hall.material(lease).record.entry_id
    text = record.canonical.decode()
    facts = desk.hall.material(lease)
    for personal in ("租赁合同", "沈云舟", "顾明远", "3101991", facts.files[0].sha256.hex()):
        assert personal not in text


def test_an_allowed_item_meets_its_requirement_and_leaves_slip_use_and_audit(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    answer = desk.verify(case.case_id, lease)
    verification = answer["items"][0]["verification"]
    met = desk.hall.read(lambda tx: ways_met(tx, case.case_id))
    assert [(one.requirement, one.route, one.item, one.verification_id) for one in met] == [
        ("lease_contract", "historic_material", lease, verification)
    ]
    slips = desk.hall.read(lambda tx: documents_of(tx, case.case_id))
    assert [slip.verification_id for slip in slips] == [verification]
    assert answer["items"][0]["slip"].endswith(slips[0].document_id)
    pdf = desk.hall.read(lambda tx: render_document(desk.room, tx, slips[0]))
    assert pdf.startswith(b"%PDF")
    with desk.room.database.read() as tx:
        used = tx.all(select(uses).where(uses.c.verification_id == verification))
        noted = tx.one(select(audit).where(audit.c.entity == verification))
    assert {row["holder"] for row in used} == {
        desk.hall.party(desk.hall.COMPANY),
        desk.hall.party(desk.hall.LANDLORD),
    }
    assert {row["action"] for row in used} == {"verified"}
    assert noted is not None
    assert noted["outcome"] == "allowed"


def test_a_denied_item_meets_nothing_but_leaves_slip_use_and_record(desk) -> None:
    lease, case = desk.lease(), desk.case()
    answer = desk.verify(case.case_id, lease)
    assert reasons(answer) == ["grant_missing"]
    assert answer["items"][0]["reasons"][0]["remedy"]["code"] == "ask_grant"
    assert record_of(desk, answer).kind == "verification.denied"
    assert desk.hall.read(lambda tx: ways_met(tx, case.case_id)) == []
    assert len(desk.hall.read(lambda tx: documents_of(tx, case.case_id))) == 1
    with desk.room.database.read() as tx:
        assert {row["action"] for row in tx.all(select(uses.c.action))} == {"denied"}


def test_failures_stand_first(desk) -> None:
    lease, certificate, case = desk.lease(), desk.certificate(), desk.case()
    desk.granted(case.case_id, lease)
    wanted = [("lease_contract", lease), ("real_estate_certificate", certificate)]
    items = tuple(AskedItem(requirement, item) for requirement, item in wanted)
    reply = verify(
        desk.room, desk.now, desk.hall.window, Verify(case.case_id, items, Consent()), rendered
    )
    answer = json.loads(reply.body)
    assert [item["outcome"] for item in answer["items"]] == ["denied", "allowed"]
    assert answer["outcome"] == "denied"
    checks = answer["items"][0]["checks"]
    assert [check["passed"] for check in checks] == sorted(check["passed"] for check in checks)


def test_repeats_inside_the_case_are_idempotent_for_the_grant(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    spent = desk.grant(grant.grant_id)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    assert desk.grant(grant.grant_id) == spent
    assert spent.state is GrantState.SPENT


def test_another_case_is_refused_a_grant_bound_to_one(desk) -> None:
    lease, case, other = desk.lease(), desk.case(), desk.case()
    grant = desk.granted(case.case_id, lease)
    assert "grant_other_case" in reasons(desk.verify(other.case_id, lease, grant=grant.grant_id))
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    answer = desk.verify(other.case_id, lease, grant=grant.grant_id)
    assert "grant_other_case" in reasons(answer)
    assert "grant_missing" in reasons(desk.verify(other.case_id, lease))


def test_the_first_case_binds_an_unbound_once_grant(desk) -> None:
    lease, case, other = desk.lease(), desk.case(), desk.case()
    grant = desk.make(desk.company(), (lease,))
    assert desk.verify(case.case_id, lease, grant=grant.grant_id)["outcome"] == "allowed"
    bound = desk.grant(grant.grant_id)
    assert (bound.state, bound.case_id, bound.bound_by_use) == (
        GrantState.SPENT,
        case.case_id,
        True,
    )
    assert "grant_spent" in reasons(desk.verify(other.case_id, lease, grant=grant.grant_id))
    for body in (desk.hall.window, desk.hall.department):
        seen = desk.hall.read(lambda tx, body=body: list_grants(desk.room, tx, body, limit=9))
        assert [one.grant_id for one in seen.items] == [grant.grant_id]


def test_an_unbound_grant_serves_nobody_whom_the_holder_did_not_tell(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.make(desk.company(), (lease,))
    assert reasons(desk.verify(case.case_id, lease)) == ["grant_missing"]


def test_a_strangers_grant_is_the_same_as_none(desk) -> None:
    lease, certificate, case = desk.lease(), desk.certificate(), desk.case()
    strangers = desk.make(desk.hall.applicant(desk.hall.CO_OWNER), (certificate,))
    for grant_id in (strangers.grant_id, "grt_" + "0" * 26):
        assert reasons(desk.verify(case.case_id, lease, grant=grant_id)) == ["grant_missing"]


def test_a_grant_until_a_date_serves_several_cases_and_ends_on_the_instant(desk) -> None:
    lease, case, other = desk.lease(), desk.case(), desk.case()
    end = desk.now + timedelta(days=30)
    desk.make(desk.company(), (lease,), use=GrantUse.UNTIL, expires_at=end, audience=desk.hall.HALL)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    assert desk.verify(other.case_id, lease)["outcome"] == "allowed"
    desk.hall.clock.set(end - timedelta(milliseconds=1))
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    desk.hall.clock.set(end)
    assert reasons(desk.verify(case.case_id, lease)) == ["grant_expired"]


def test_grant_pending_declined_and_revoked_are_told_apart(desk) -> None:
    lease, case = desk.lease(), desk.case()
    (asked,) = desk.ask(case.case_id, items=(lease,))
    assert reasons(desk.verify(case.case_id, lease)) == ["grant_pending"]
    company = desk.company()
    desk.hall.write(lambda tx: decline(desk.room, tx, desk.now, company, asked.grant_id))
    assert reasons(desk.verify(case.case_id, lease)) == ["grant_declined"]
    grant = desk.granted(case.case_id, lease)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    desk.revoke(grant, company)
    assert "grant_revoked" in reasons(desk.verify(case.case_id, lease))


def test_a_move_ends_the_freshness_of_an_older_lease(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"
    happened(desk, desk.hall.COMPANY, PartyEventKind.ADDRESS_CHANGED)
    answer = desk.verify(case.case_id, lease)
    assert reasons(answer) == ["address_changed_since"]
    assert answer["items"][0]["reasons"][0]["zh"] == "与现登记住所不一致"


def test_every_co_owner_has_to_authorise_a_certificate(desk) -> None:
    certificate, case = desk.certificate(), desk.case()
    grants = desk.ask(case.case_id, requirements=("real_estate_certificate",))
    by_holder = {grant.holder: grant for grant in grants}
    landlord = desk.hall.applicant(desk.hall.LANDLORD)
    co_owner = desk.hall.applicant(desk.hall.CO_OWNER)
    assert set(by_holder) == {landlord.holder, co_owner.holder}
    desk.approve(by_holder[landlord.holder], landlord)
    check = {"requirement": "real_estate_certificate"}
    answer = desk.verify(case.case_id, certificate, **check)
    assert "co_owner_consent_missing" in reasons(answer)
    assert [route["route"] for route in answer["items"][0]["alternatives"]] == ["data_check"]
    assert desk.grant(by_holder[landlord.holder].grant_id).state is GrantState.GRANTED
    desk.approve(by_holder[co_owner.holder], co_owner)
    answer = desk.verify(case.case_id, certificate, **check)
    assert reasons(answer) == []
    assert set(answer["items"][0]["grants"]) == {grant.grant_id for grant in grants}
    for grant in grants:
        assert desk.grant(grant.grant_id).state is GrantState.SPENT


def flip(desk, material_id: str, offset: int = 200) -> None:
    key = desk.hall.material(material_id).files[0].object_key
    path = next(desk.hall.path.rglob(key))
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))


def test_one_flipped_byte_is_found_and_its_return_forgiven(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    flip(desk, lease)
    answer = desk.verify(case.case_id, lease)
    assert reasons(answer) == ["content_mismatch"]
    assert answer["items"][0]["reasons"][0]["zh"] == "内容与存证不一致"
    flip(desk, lease)
    assert desk.verify(case.case_id, lease)["outcome"] == "allowed"


def test_missing_bytes_are_named(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    key = desk.hall.material(lease).files[0].object_key
    next(desk.hall.path.rglob(key)).unlink()
    assert reasons(desk.verify(case.case_id, lease)) == ["content_missing"]


def test_bytes_of_another_object_under_the_files_row_are_refused(desk) -> None:
    lease, other, case = desk.lease(), desk.lease(data=desk.hall.pdf("other")), desk.case()
    desk.granted(case.case_id, lease)
    key = desk.hall.material(other).files[0].object_key
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(
            update(material_files)
            .where(material_files.c.material_id == lease)
            .values(object_key=key)
        )
    assert "content_mismatch" in reasons(desk.verify(case.case_id, lease))


def test_a_stopped_material_is_denied_though_authorised(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    company = desk.company()
    desk.hall.write(lambda tx: stop_reuse(desk.room, tx, desk.now, company, lease))
    assert reasons(desk.verify(case.case_id, lease)) == ["material_stopped"]


def test_an_invalidated_material_is_denied(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    desk.hall.write(
        lambda tx: invalidate(
            desk.room, tx, desk.now, desk.hall.department, lease, InvalidReason.FORGED
        )
    )
    assert reasons(desk.verify(case.case_id, lease)) == ["material_invalidated"]


def test_a_weak_provenance_is_denied(desk) -> None:
    lease, case = desk.lease(provenance=Provenance.UNCHECKED_COPY), desk.case()
    desk.granted(case.case_id, lease)
    assert reasons(desk.verify(case.case_id, lease)) == ["provenance_too_weak"]


def test_an_undecided_source_case_and_a_pending_proof_are_denied(desk) -> None:
    source, case = desk.hall.open_case(), desk.case()
    made = desk.hall.register(source.case_id, requirement="lease_contract", parties=(
        (desk.hall.COMPANY, PartyRole.TENANT),))  # fmt: skip
    desk.granted(case.case_id, made.material_id)
    found = reasons(desk.verify(case.case_id, made.material_id))
    assert "not_yet_logged" in found
    assert "source_case_state" in found
    desk.hall.sequence()
    assert "not_yet_logged" not in reasons(desk.verify(case.case_id, made.material_id))


def test_a_verification_waits_for_the_log_while_it_runs(desk) -> None:
    source, case = desk.hall.open_case(), desk.case()
    ledger = desk.room.ledger
    ledger.start()
    try:
        made = desk.hall.register(source.case_id, requirement="lease_contract", parties=(
            (desk.hall.COMPANY, PartyRole.TENANT),))  # fmt: skip
        desk.granted(case.case_id, made.material_id)
        found = reasons(desk.verify(case.case_id, made.material_id))
    finally:
        ledger.stop()
    assert found == ["source_case_state"]


def test_a_refused_source_case_does_not_count(desk) -> None:
    source, case = desk.hall.open_case(), desk.case()
    made = desk.hall.register(source.case_id, requirement="lease_contract", parties=(
        (desk.hall.COMPANY, PartyRole.TENANT),))  # fmt: skip
    for event in ("submit", "accept", "refuse", "close"):
        desk.hall.event(source.case_id, event)
    desk.hall.sequence()
    desk.granted(case.case_id, made.material_id)
    assert "source_case_outcome" in reasons(desk.verify(case.case_id, made.material_id))


def test_a_material_of_another_type_and_an_expired_one_are_denied(desk) -> None:
    lease, case = desk.lease(valid_until=date(2026, 11, 24)), desk.case()
    desk.granted(case.case_id, lease)
    wrong = desk.verify(case.case_id, lease, requirement="real_estate_certificate")
    assert "type_mismatch" in reasons(wrong)
    desk.hall.advance(days=1)
    assert reasons(desk.verify(case.case_id, lease)) == ["expired"]


def test_a_row_that_tells_another_story_than_its_record_is_not_believed(desk) -> None:
    lease, case = desk.lease(provenance=Provenance.UNCHECKED_COPY), desk.case()
    desk.granted(case.case_id, lease)
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(
            update(materials)
            .where(materials.c.material_id == lease)
            .values(provenance=Provenance.AUTHORITY_ISSUED.value)
        )
    assert reasons(desk.verify(case.case_id, lease)) == ["provenance_too_weak", "record_mismatch"]


def test_a_grant_row_set_back_to_granted_is_not_believed(desk) -> None:
    lease, case = desk.lease(), desk.case()
    grant = desk.granted(case.case_id, lease)
    desk.revoke(grant, desk.company())
    with desk.room.database.writer_engine.begin() as connection:
        connection.execute(
            update(grants).where(grants.c.grant_id == grant.grant_id).values(status="granted")
        )
    assert {"record_mismatch", "grant_revoked"} <= set(reasons(desk.verify(case.case_id, lease)))


def test_the_operators_authority_ends_with_the_representative(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    happened(desk, desk.hall.COMPANY, PartyEventKind.REPRESENTATIVE_CHANGED)
    assert "capacity_ended" in reasons(desk.verify(case.case_id, lease))


def test_death_of_the_holder_ends_the_authorisation(desk) -> None:
    certificate, case = desk.certificate(), desk.case()
    for party in (desk.hall.LANDLORD, desk.hall.CO_OWNER):
        who = desk.hall.applicant(party)
        grants = desk.ask(case.case_id, items=(certificate,))
        desk.approve(next(one for one in grants if one.holder == who.holder), who)
    happened(desk, desk.hall.LANDLORD, PartyEventKind.DECEASED)
    answer = desk.verify(case.case_id, certificate, requirement="real_estate_certificate")
    assert "holder_ended" in reasons(answer)


def test_statutory_duty_needs_no_grant_and_names_the_officer_in_the_record_only(desk) -> None:
    lease, case = desk.lease(), desk.case()
    duty = StatutoryDuty("林知远", "沪市监-0107", "食品许可审查")
    answer = desk.verify(case.case_id, lease, basis=duty, by=desk.hall.department)
    assert answer["outcome"] == "allowed"
    assert answer["items"][0]["basis"] == "statutory_duty"
    assert record_of(desk, answer).body["basis"]["officer"] == "林知远"
    assert "林知远" not in str(answer)
    desk.room.database.close()
    # The officers named in this store's other records are sealed as well.
    assert "林知远".encode() not in desk.hall.everything_on_disk()


def test_statutory_duty_without_an_officer_is_refused(desk) -> None:
    lease, case = desk.lease(), desk.case()
    for duty in (StatutoryDuty(" ", "1", "x"), StatutoryDuty("林", "", "x")):
        with pytest.raises(StatutoryDutyIncomplete):
            desk.verify(case.case_id, lease, basis=duty)


def test_another_holders_item_is_the_same_as_unknown_and_audited(desk) -> None:
    case = desk.hall.open_case("elderly_allowance", desk.hall.ELDER, None, variant=None)
    lease = desk.lease()
    elderly = desk.room.catalogue.matter("elderly_allowance").requirements[0].key
    seen = []
    for item in (lease, "mat_" + "0" * 26, "lic_" + "0" * 26):
        with pytest.raises(ItemUnknown) as refused:
            desk.verify(case.case_id, item, requirement=elderly)
        seen.append(str(refused.value))
    assert len(set(seen)) == 1
    with desk.room.database.read() as tx:
        outcomes = [
            row["outcome"]
            for row in tx.all(select(audit.c.outcome).where(audit.c.entity == case.case_id))
        ]
        assert tx.all(select(verifications)) == []
    assert outcomes.count("item_unknown") == 3


def test_another_windows_case_is_refused_before_any_decision(desk) -> None:
    lease, case = desk.lease(), desk.case()
    other = Principal("tok_" + "0" * 26, Role.WINDOW, org="12310199MB2Y04049F")
    with pytest.raises(CaseOfOtherWindow):
        desk.verify(case.case_id, lease, by=other)
    with pytest.raises(CaseUnknown):
        desk.verify("cas_" + "0" * 26, lease)
    with desk.room.database.read() as tx:
        assert tx.all(select(verifications)) == []


def test_a_decided_case_verifies_nothing_more(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    for event in ("submit", "accept", "approve"):
        desk.hall.event(case.case_id, event)
    with pytest.raises(CaseStateForbids):
        desk.verify(case.case_id, lease)


def test_a_call_names_each_item_once_and_not_too_many(desk) -> None:
    lease, case = desk.lease(), desk.case()
    for items in ((), (lease, lease), tuple(f"mat_{n:026d}" for n in range(51))):
        with pytest.raises(VerificationItemsInvalid):
            desk.verify(case.case_id, *items)


def test_the_same_idempotency_key_answers_the_same_and_spends_nothing_more(desk) -> None:
    lease, case = desk.lease(), desk.case()
    desk.granted(case.case_id, lease)
    key = RequestKey.of(
        desk.room.vault, desk.hall.window.subject, "POST /v1/verifications", "k1", b"body"
    )
    first = desk.verify(case.case_id, lease, key=key)
    for event in ("submit", "accept", "approve"):
        desk.hall.event(case.case_id, event)
    assert desk.verify(case.case_id, lease, key=key) == first
    with desk.room.database.read() as tx:
        assert len(tx.all(select(verifications))) == 1
    other = RequestKey.of(
        desk.room.vault, desk.hall.window.subject, "POST /v1/verifications", "k1", b"other"
    )
    with pytest.raises(IdempotencyMismatch):
        desk.verify(case.case_id, lease, key=other)


def test_a_call_is_read_again_by_its_bodies_and_by_the_holders_only(desk) -> None:
    lease, case = desk.lease(), desk.case()
    answer = desk.verify(case.case_id, lease)
    one = answer["items"][0]["verification"]

    def read(principal, known_as):
        return desk.hall.read(lambda tx: read_call(desk.room, tx, principal, known_as))

    for who in (desk.hall.window, desk.hall.department, desk.company(),
                desk.hall.applicant(desk.hall.LANDLORD)):  # fmt: skip
        assert read(who, answer["call"]) == read(who, one)
        assert read(who, one).items[0].body["outcome"] == "denied"
    with pytest.raises(VerificationUnknown):
        read(desk.hall.applicant(desk.hall.ELDER), one)
    with pytest.raises(VerificationUnknown):
        read(desk.hall.window, "vrf_" + "0" * 26)
    other = Principal("tok_" + "0" * 26, Role.WINDOW, org="12310199MB2Y04049F")
    with pytest.raises(CaseOfOtherWindow):
        read(other, one)
