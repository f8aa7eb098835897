"""Guards and routes of the parties room, over HTTP."""

from datetime import timedelta
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import select

from kernel.errors import CodedError
from kernel.principals import Principal, Role
from parties.http import Access, PartiesRoom, access_of, routes
from storage.tables import audit, idempotency


@pytest.fixture
def web(store):
    access = Access(store.database, store.clock, store.credentials)
    app = FastAPI()
    room = PartiesRoom(store.clock, store.database, store.vault, store.parties)
    app.include_router(routes(room, access))

    @app.get("/desk")
    def desk(
        principal: Annotated[Principal, Depends(access.require(Role.WINDOW, Role.DEPARTMENT))],
    ) -> str:
        return principal.subject

    @app.get("/open", dependencies=[Depends(access.public)])
    def opened() -> str:
        return "open"

    @app.get("/forgotten")
    def forgotten() -> str:
        return "forgotten"

    # The real mapping to problem details is runtime's; here only the code matters.
    @app.exception_handler(CodedError)
    def coded(_request, error):
        return JSONResponse({"code": error.code, **error.details}, 418)

    return TestClient(app)


def token(store, role, **what):
    if role in (Role.WINDOW, Role.DEPARTMENT, Role.ARCHIVIST):
        what.setdefault("org", store.MARKET)
    if role is Role.APPLICANT:
        what.setdefault("person", store.ensure(store.SHEN))
    expires = store.clock.now() + timedelta(days=1)
    credential, secret = store.write(
        lambda tx: store.credentials.issue(
            tx, store.clock.now(), role=role, expires_at=expires, **what
        )
    )
    return credential, {"Authorization": f"Bearer {secret}"}


def test_only_the_named_roles_come_in(store, web):
    for role in Role:
        credential, headers = token(store, role)
        answer = web.get("/desk", headers=headers)
        if role in (Role.WINDOW, Role.DEPARTMENT):
            assert answer.json() == credential
        else:
            assert answer.json() == {
                "code": "role_not_allowed",
                "allowed": ["window", "department"],
            }


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "credential_missing"),
        ({"Authorization": "Basic bWo6bWo="}, "credential_missing"),
        ({"Authorization": "Bearer"}, "credential_missing"),
        ({"Authorization": "Bearer mj_" + "x" * 43}, "credential_unknown"),
        ({"Authorization": "Bearer mj_short"}, "credential_unknown"),
        ({"Authorization": "Bearer \xe9\xe9"}, "credential_unknown"),
    ],
)
def test_bad_credentials_are_refused_with_their_code(web, headers, code):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert web.get("/desk", headers=encoded).json() == {"code": code}


def test_public_routes_ask_for_nothing(web):
    assert web.get("/open").json() == "open"


def test_the_access_of_every_route_can_be_read_back(store):
    access = Access(store.database, store.clock, store.credentials)
    app = FastAPI()

    @app.get("/a", dependencies=[Depends(access.require(Role.ARCHIVIST, Role.AUDITOR))])
    def a() -> None: ...

    @app.get("/b", dependencies=[Depends(access.public)])
    def b() -> None: ...

    @app.get("/c")
    def c() -> None: ...

    found = {
        route.path: access_of(route.dependant)
        for route in app.routes
        if hasattr(route, "dependant")
    }
    assert found["/a"].roles == {Role.ARCHIVIST, Role.AUDITOR}
    assert not found["/a"].public
    assert found["/b"].public
    assert found["/c"] is None
    document = app.openapi()
    assert document["paths"]["/a"]["get"]["security"] == [{"bearer": ["archivist", "auditor"]}]
    assert "security" not in document["paths"]["/b"]["get"]
    with pytest.raises(ValueError, match="roles"):
        access.require()


def body(store, **changes):
    return {
        "holder": {"type": "001", "code": store.COMPANY.code, "name": store.COMPANY.name},
        "person": {"type": "111", "code": store.ZHOU.code, "name": "周文博"},
        "capacity": "operator",
        "basis": "power_of_attorney",
        "valid_until": "2027-11-24T00:00:00+08:00",
        **changes,
    }


def test_a_department_registers_and_ends_a_capacity(store, web):
    _, headers = token(store, Role.DEPARTMENT)
    answer = web.post("/v1/capacities", headers=headers, json=body(store))
    assert answer.status_code == 201
    made = answer.json()
    assert made["valid_until"] == "2027-11-23T16:00:00.000Z"
    assert made["ended_at"] is None
    for secret in (store.COMPANY.code, store.ZHOU.code, "周文博", store.COMPANY.name):
        assert secret not in answer.text
    path = f"/v1/capacities/{made['capacity_id']}/end"
    ended = web.post(path, headers=headers, json={"reason": "withdrawn"})
    assert ended.status_code == 200
    assert ended.json()["ended_reason"] == "withdrawn"
    again = web.post(path, headers=headers, json={"reason": "withdrawn"})
    assert again.json() == {"code": "capacity_ended"}
    actions = [
        row["action"] for row in store.read(lambda tx: tx.all(select(audit).order_by(audit.c.id)))
    ]
    assert actions == ["capacity.register", "capacity.end"]


@pytest.mark.parametrize("role", [Role.APPLICANT, Role.WINDOW, Role.ARCHIVIST, Role.AUDITOR])
def test_other_roles_register_no_capacity(store, web, role):
    _, headers = token(store, role)
    for path in ("/v1/capacities", "/v1/capacities/cap_" + "0" * 26 + "/end"):
        answer = web.post(path, headers=headers, json=body(store))
        assert answer.json()["code"] in ("role_not_allowed",)


@pytest.mark.parametrize(
    "changes",
    [
        {"surplus": 1},
        {"capacity": "self"},
        {"basis": "hearsay"},
        {"valid_until": 1795449600},
        {"valid_until": "2027-11-24"},
        {"valid_until": "2027-11-24T00:00:00"},
        {"valid_until": "9999-12-31T23:59:59-12:00"},
        {"holder": "001:91310199MA1Y7K2D1G"},
        {"person": {"type": 111, "code": "310199199207089155"}},
    ],
)
def test_bodies_are_strict(store, web, changes):
    _, headers = token(store, Role.OPERATOR)
    answer = web.post("/v1/capacities", headers=headers, json=body(store, **changes))
    assert answer.status_code == 422


def test_a_repeated_key_gets_the_first_answer_and_registers_once(store, web):
    _, headers = token(store, Role.OPERATOR)
    headers["Idempotency-Key"] = "k1"
    first = web.post("/v1/capacities", headers=headers, json=body(store))
    second = web.post("/v1/capacities", headers=headers, json=body(store))
    assert first.json() == second.json()
    assert second.status_code == 201
    assert second.headers["Idempotency-Replayed"] == "true"
    other = web.post("/v1/capacities", headers=headers, json=body(store, capacity="agent"))
    assert other.json() == {"code": "idempotency_key_reused"}
    kept = store.read(lambda tx: tx.one(select(idempotency)))
    assert store.COMPANY.code.encode() not in kept["reply"]
    too_long = {**headers, "Idempotency-Key": "k" * 129}
    assert web.post("/v1/capacities", headers=too_long, json=body(store)).status_code == 422
