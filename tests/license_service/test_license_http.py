"""The licence routes over HTTP: who may do and see what."""

import json
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from kernel.errors import CodedError
from kernel.principals import Role
from license_service.http import routes
from license_service.lifecycle import Event
from license_service.tables import licenses
from parties.http import Access
from storage.tables import audit, idempotency

OLD = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.001.G"
NEW = "1.2.156.3005.2.11100000MB0143028R001.11310199MB2Y01016G.20240312000187.002.E"


@pytest.fixture
def app(store):
    app = FastAPI()
    app.include_router(
        routes(store.room, Access(store.room.database, store.room.clock, store.credentials))
    )

    # The real mapping to problem details is runtime's; here only the code matters.
    @app.exception_handler(CodedError)
    def coded(_request, error):
        return JSONResponse({"code": error.code}, 418)

    return app


@pytest.fixture
def web(app):
    return TestClient(app)


def token(store, role, **what):
    if role in (Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST):
        what.setdefault("org", store.MARKET)
    _, secret = store.write(
        lambda tx: store.credentials.issue(
            tx, store.now, role=role, expires_at=store.now + timedelta(days=900), **what
        )
    )
    return {"Authorization": f"Bearer {secret}"}


def body(store, **changes):
    return {
        "kind": "business_license",
        "holder": {
            "type": "001",
            "code": store.COMPANY.code,
            "name": store.COMPANY.name,
        },
        "issuer_name": "上海市云间区市场监督管理局",
        "number": "310199000187",
        "area_code": "310199",
        "identifier": OLD,
        "attributes": {"address": "云间路 88 号 101 室"},
        **changes,
    }


def owner(store, ref=None):
    """The person of a company would need a capacity; persons hold their own."""
    return token(store, Role.APPLICANT, person=store.ensure(ref or store.SHEN))


def test_a_licence_is_drafted_issued_changed_and_ended_over_http(store, web):
    headers = token(store, Role.DEPARTMENT)
    made = web.post("/v1/licenses", headers=headers, json=body(store))
    assert made.status_code == 201
    assert made.json()["status"] == "not_issued"
    path = f"/v1/licenses/{made.json()['license_id']}/events"
    issued = web.post(
        path, headers=headers, json={"event": "issue", "effective_at": "2024-03-12T00:00:00+08:00"}
    )
    assert (issued.status_code, issued.json()["status"]) == (201, "valid")
    assert issued.json()["receipt"] == f"/v1/receipts/{issued.json()['entry_id']}"
    change = {"event": "change", "successor": {"attributes": {"address": "云间路 88 号 205 室"}}}
    new = web.post(path, headers=headers, json=change).json()
    assert (new["identifier"], new["supersedes"]) == (NEW, made.json()["license_id"])
    seen = web.get(f"/v1/licenses/{new['license_id']}", headers=headers).json()
    assert seen["face"] == [
        {"key": "address", "zh": "住所", "en": "Registered address", "value": "云间路 88 号 205 室"}
    ]
    assert seen["holder"]["code"] == store.COMPANY.code
    assert [item["event"] for item in seen["history"]] == ["change"]
    revoked = web.post(
        f"/v1/licenses/{new['license_id']}/events", headers=headers, json={"event": "revoke"}
    )
    assert revoked.json()["status"] == "revoked"
    again = web.post(path, headers=headers, json={"event": "suspend"})
    assert again.json() == {"code": "license_transition_illegal"}


def test_answers_that_are_remembered_hold_nothing_personal(store, web):
    headers = {**token(store, Role.DEPARTMENT), "Idempotency-Key": "a"}
    first = web.post("/v1/licenses", headers=headers, json=body(store))
    second = web.post("/v1/licenses", headers=headers, json=body(store))
    assert first.content == second.content
    assert len(store.read(lambda tx: tx.all(select(licenses)))) == 1
    kept = store.read(lambda tx: tx.one(select(idempotency)))["reply"].decode()
    for personal in (store.COMPANY.code, store.COMPANY.name, "310199000187", "101 室"):
        assert personal not in kept


@pytest.mark.parametrize(
    "changes",
    [
        {"surplus": 1},
        {"issuer": "11310199MB2Y01016G"},
        {"number": 310199000187},
        {"valid_until": 1795449600},
        {"area_code": "31"},
        {"kind": "Business"},
        {"permits": "lic_1"},
        {"attributes": {"address": 5}},
        {"holder": None},
    ],
)
def test_bodies_are_strict(store, web, changes):
    headers = token(store, Role.DEPARTMENT)
    answer = web.post("/v1/licenses", headers=headers, json=body(store, **changes))
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"identifier": OLD[:-1] + "H"}, "check_character_wrong"),
        ({"identifier": "1.2.3"}, "identifier_malformed"),
        ({"kind": "fishing_permit"}, "license_kind_unknown"),
        ({"attributes": {"colour": "red"}}, "license_draft_invalid"),
        (
            {"holder": {"type": "111", "code": "310199198802309060"}},
            "birth_date_impossible",
        ),
        ({"matter": {"code": "001131014000", "name": "x"}}, "matter_kind_unknown"),
    ],
)
def test_bad_content_gets_its_code_and_leaves_nothing(store, web, changes, code):
    headers = token(store, Role.DEPARTMENT)
    answer = web.post("/v1/licenses", headers=headers, json=body(store, **changes))
    assert answer.json() == {"code": code}
    assert store.read(lambda tx: tx.all(select(licenses))) == []


def test_other_bodies_can_not_change_a_licence(store, web):
    view = store.issued()
    path = f"/v1/licenses/{view.license_id}/events"
    stranger = token(store, Role.DEPARTMENT, org=store.ARCHIVE)
    assert web.post(path, headers=stranger, json={"event": "revoke"}).json() == {
        "code": "not_issuing_authority"
    }
    for role in (Role.WINDOW, Role.ARCHIVIST, Role.AUDITOR, Role.OPERATOR):
        headers = token(store, role)
        answer = web.post(path, headers=headers, json={"event": "revoke"})
        assert answer.json() == {"code": "role_not_allowed"}
    assert store.facts(view.license_id).status.value == "valid"


def test_a_holder_sees_only_their_own_licences(store, web):
    mine = store.issued(kind="health_certificate", holder=store.ensure(store.SHEN), attributes={})
    other = store.issued()
    headers = owner(store)
    page = web.get("/v1/licenses", headers=headers).json()
    assert [item["license_id"] for item in page["items"]] == [mine.license_id]
    own = web.get(f"/v1/licenses/{mine.license_id}", headers=headers).json()
    assert own["holder"]["code"] == store.SHEN.code
    refused = web.get(f"/v1/licenses/{other.license_id}", headers=headers)
    unknown = web.get("/v1/licenses/lic_" + "0" * 26, headers=headers)
    assert refused.json() == unknown.json() == {"code": "license_unknown"}
    cursor = web.get("/v1/licenses", headers=headers, params={"cursor": other.license_id})
    assert cursor.json() == {"code": "license_unknown"}


def test_a_holders_pages_end_and_leave_out_drafts_and_other_kinds(store, web):
    holder = store.ensure(store.SHEN)
    made = []
    for _ in range(5):
        made.append(
            store.issued(kind="health_certificate", holder=holder, attributes={}).license_id
        )
        store.advance(seconds=1)
    store.drafted(kind="health_certificate", holder=holder, attributes={})
    headers, seen, cursor = owner(store), [], None
    for _ in range(9):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = web.get("/v1/licenses", headers=headers, params=params).json()
        seen += [item["license_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made[::-1]
    none = web.get("/v1/licenses", headers=headers, params={"kind": "identity_card"}).json()
    assert none == {"items": [], "next": None}
    assert web.get("/v1/licenses", headers=headers, params={"limit": 201}).status_code == 422


def test_a_draft_is_seen_by_its_maker_only(store, web):
    draft = store.drafted(kind="health_certificate", holder=store.ensure(store.SHEN), attributes={})
    path = f"/v1/licenses/{draft.license_id}"
    assert web.get(path, headers=token(store, Role.DEPARTMENT)).status_code == 200
    for headers in (
        owner(store),
        token(store, Role.WINDOW),
        token(store, Role.DEPARTMENT, org=store.ARCHIVE),
    ):
        assert web.get(path, headers=headers).json() == {"code": "license_unknown"}


def test_windows_and_other_departments_see_status_and_dates_and_nothing_of_the_holder(store, web):
    view = store.issued()
    facts = store.facts(view.license_id)
    for headers in (
        token(store, Role.WINDOW),
        token(store, Role.DEPARTMENT, org=store.ARCHIVE),
    ):
        answer = web.get(f"/v1/licenses/{view.license_id}", headers=headers)
        assert answer.json()["status"] == "valid"
        for hidden in (
            store.COMPANY.code,
            store.COMPANY.name,
            facts.number,
            view.identifier,
            "101 室",
            view.holder,
        ):
            assert hidden not in answer.text


def test_an_officers_view_of_personal_data_is_audited_before_it_is_answered(store, web):
    view = store.issued()
    web.get(f"/v1/licenses/{view.license_id}", headers=token(store, Role.DEPARTMENT))
    rows = store.read(lambda tx: tx.all(select(audit).where(audit.c.action == "license.view")))
    assert [row["entity"] for row in rows] == [view.license_id]


def test_the_status_of_a_licence_is_told_by_its_identifier(store, web):
    view = store.issued(identifier=OLD)
    store.advance(days=2)
    store.apply(view.license_id, Event.SUSPEND)
    headers = token(store, Role.WINDOW)

    def status(**what):
        return web.post("/v1/licenses/status", headers=headers, json={"identifier": OLD, **what})

    assert status().json()["status"] == "suspended"
    earlier = status(at="2026-11-25T12:00:00+08:00").json()
    assert (earlier["status"], earlier["at"]) == ("valid", "2026-11-25T04:00:00.000Z")
    assert status(at="2026-11-23T12:00:00+08:00").json()["status"] == "not_issued"
    assert store.COMPANY.code not in status().text
    assert status(identifier=NEW).json() == {"code": "license_unknown"}
    assert status(identifier=OLD[:-1] + "H").json() == {"code": "check_character_wrong"}
    rows = store.read(lambda tx: tx.all(select(audit).where(audit.c.action == "license.status")))
    assert [row["outcome"] for row in rows] == ["known"] * 4 + ["nonefound"]


def test_what_cannot_be_relied_on_is_not_shown(store, web):
    view = store.issued(identifier=OLD)
    store.write(
        lambda tx: tx.execute(
            update(licenses)
            .where(licenses.c.license_id == view.license_id)
            .values(valid_until=store.now + timedelta(days=9))
        )
    )
    seen = web.get(f"/v1/licenses/{view.license_id}", headers=token(store, Role.DEPARTMENT))
    assert seen.json() == {"code": "license_record_mismatch"}
    told = web.post(
        "/v1/licenses/status", headers=token(store, Role.WINDOW), json={"identifier": OLD}
    )
    assert told.json() == {"code": "license_source_unavailable"}


def test_a_bundle_shows_each_permit_with_its_own_status(store, web):
    permits = [
        store.issued(kind="food_business_permit", attributes={}),
        store.issued(kind="public_place_hygiene_permit", attributes={}),
    ]
    bundle = store.issued(
        kind="comprehensive_industry_permit",
        attributes={"industry": "餐饮"},
        permits=tuple(permit.license_id for permit in permits),
    )
    store.apply(permits[1].license_id, Event.REVOKE)
    seen = web.get(
        f"/v1/licenses/{bundle.license_id}", headers=token(store, Role.DEPARTMENT)
    ).json()
    assert seen["status"] == "valid"
    assert [(item["kind"], item["status"]) for item in seen["permits"]] == [
        ("food_business_permit", "valid"),
        ("public_place_hygiene_permit", "revoked"),
    ]


def test_the_kinds_are_public(web):
    answer = web.get("/v1/license-kinds")
    assert answer.status_code == 200
    kinds = {kind["key"]: kind for kind in answer.json()["items"]}
    assert kinds["food_business_permit"]["months"] == 60
    assert kinds["business_license"]["type_code"] == "11100000MB0143028R001"


def test_every_route_of_the_room_is_guarded_and_documented(app):
    document = app.openapi()
    json.dumps(document)
    expected = {
        ("/v1/license-kinds", "GET"): None,
        ("/v1/licenses", "POST"): {Role.DEPARTMENT},
        ("/v1/licenses/{license_id}/events", "POST"): {Role.DEPARTMENT},
        ("/v1/licenses", "GET"): {Role.APPLICANT},
        ("/v1/licenses/{license_id}", "GET"): {Role.APPLICANT, Role.DEPARTMENT, Role.WINDOW},
        ("/v1/licenses/status", "POST"): {Role.WINDOW, Role.DEPARTMENT, Role.AUDITOR},
    }
    for (path, method), roles in expected.items():
        operation = document["paths"][path][method.lower()]
        if roles is None:
            assert "security" not in operation
        else:
            assert operation["security"][0]["bearer"] is not None
            assert set(operation["security"][0]["bearer"]) == {role.value for role in roles}


def test_a_name_that_differs_issues_nothing(store, web):
    store.ensure(store.COMPANY)
    other = {"type": "001", "code": store.COMPANY.code, "name": "上海云间禾味餐饮管理（有限）公司"}
    answer = web.post(
        "/v1/licenses", headers=token(store, Role.DEPARTMENT), json=body(store, holder=other)
    )
    assert answer.json() == {"code": "holder_name_differs"}
