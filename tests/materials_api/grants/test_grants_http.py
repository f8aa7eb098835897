"""The routes over a real server process' stack: the demo's path, and what callers may not do."""

import hashlib
import json
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection, IncompleteRead

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from kernel.principals import Capacity, Role
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from materials_api.grants.limits import GrantLimits
from materials_api.http import routes
from materials_api.http.verification_models import CallOut
from materials_api.limits import Limits
from parties.http import Access
from runtime import problems
from storage.tables import audit, idempotency

UNKNOWN_CASE = "cas_" + "0" * 26


class Web:
    """An application over a desk's room, and credentials for its people."""

    def __init__(self, desk) -> None:
        self.desk = desk
        access = Access(desk.room.database, desk.hall.clock, desk.hall.credentials)
        self.app = FastAPI()
        self.app.include_router(routes(desk.room, access))
        problems.install(self.app)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        hall = desk.hall
        self.window = self.token(Role.WINDOW, org=hall.HALL, unit="综窗3号", officer="陈晓岚")
        self.other_window = self.token(Role.WINDOW, org="12310199MB2Y04049F")
        self.department = self.token(Role.DEPARTMENT, org=hall.MARKET, officer="林知远")
        self.operator = self.token(Role.OPERATOR)
        self.auditor = self.token(Role.AUDITOR)
        company, shen = hall.party(hall.COMPANY), hall.party(hall.SHEN)
        self.company = self.token(
            Role.APPLICANT,
            person=shen,
            holder=company,
            capacity=Capacity.LEGAL_REPRESENTATIVE,
        )
        self.clerk_of_company = self.token(
            Role.APPLICANT,
            person=hall.party(hall.ZHOU),
            holder=company,
            capacity=Capacity.OPERATOR,
        )
        self.landlord = self.token(Role.APPLICANT, person=hall.party(hall.LANDLORD))
        self.elder = self.token(Role.APPLICANT, person=hall.party(hall.ELDER))

    def token(self, role: Role, **what: object) -> str:
        hall = self.desk.hall
        _, secret = hall.write(
            lambda tx: hall.credentials.issue(
                tx, hall.now, role=role, expires_at=hall.now + timedelta(days=900), **what
            )
        )
        return secret

    def send(self, who: str, method: str, path: str, body=None, **headers: str):
        return self.client.request(
            method,
            path,
            content=None if body is None else json.dumps(body),
            headers={
                "Authorization": f"Bearer {who}",
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )

    def post(self, who: str, path: str, body=None, **headers: str):
        return self.send(who, "POST", path, body, **headers)

    def get(self, who: str, path: str, **headers: str):
        return self.send(who, "GET", path, None, **headers)

    def authorised(self) -> tuple[str, str, str]:
        """A lease, a case, and a grant of the company for it."""
        lease, case = self.desk.lease(), self.desk.case()
        asked = self.post(
            self.window,
            f"/v1/cases/{case.case_id}/grants",
            {"purpose": "食品经营许可", "requirements": ["lease_contract"]},
        )
        assert asked.status_code == 201, asked.text
        (grant,) = asked.json()["items"]
        approved = self.post(self.company, f"/v1/grants/{grant['grant_id']}/approve")
        assert approved.status_code == 200, approved.text
        return lease, case.case_id, grant["grant_id"]

    def verify(self, case_id: str, lease: str, who: str | None = None, **headers: str):
        body = {"case": case_id, "items": [{"requirement": "lease_contract", "item": lease}]}
        return self.post(who or self.window, "/v1/verifications", body, **headers)


@pytest.fixture
def web(desk) -> Web:
    return Web(desk)


def test_the_path_of_the_demo(web) -> None:
    lease, case = web.desk.lease(), web.desk.case()
    window, company = web.window, web.company
    asked = web.post(
        window,
        f"/v1/cases/{case.case_id}/grants",
        {"purpose": "食品经营许可（迁址新办）", "requirements": ["lease_contract"]},
    )
    (grant,) = asked.json()["items"]
    # The window learns types, not ids, before the holder agrees.
    assert grant["status"] == "requested"
    assert grant["items"] == [
        {"item": None, "kind": "material", "type": "lease_contract",
         "requirement": "lease_contract", "approved": False}
    ]  # fmt: skip
    preview = web.get(company, f"/v1/grants/{grant['grant_id']}").json()
    assert preview["purpose"] == "食品经营许可（迁址新办）"
    assert preview["asked_by"] == {
        "org": web.desk.hall.HALL, "unit": "综窗3号", "officer": "陈晓岚"
    }  # fmt: skip
    assert preview["case"]["number"] == case.number
    assert preview["case"]["matter"]["zh"] == "食品经营许可（迁址新办）"
    assert preview["case"]["handled_by"] == [web.desk.hall.HALL, web.desk.hall.MARKET]
    (shown,) = preview["preview"]
    assert shown["item"] == lease
    assert shown["material"]["title"] == "房屋租赁合同"
    assert shown["material"]["files"][0]["name"] == "合同.pdf"
    assert web.get(window, f"/v1/grants/{grant['grant_id']}").json()["preview"] is None
    assert web.post(company, f"/v1/grants/{grant['grant_id']}/approve").status_code == 200
    told = web.get(window, f"/v1/grants?case={case.case_id}").json()["items"][0]
    assert told["items"][0]["item"] == lease

    verified = web.verify(case.case_id, lease)
    assert verified.status_code == 201
    answer = verified.json()
    assert answer["outcome"] == "allowed"
    item = answer["items"][0]

    ticket = web.post(window, f"/v1/verifications/{item['verification']}/tickets", {"position": 1})
    assert ticket.status_code == 201
    assert ticket.headers["cache-control"] == "no-store"
    content = web.get(window, ticket.json()["href"])
    assert content.status_code == 200
    data = web.desk.hall.pdf("lease")
    digest = hashlib.sha256(data)
    assert content.content == data
    assert content.headers["etag"] == f'"{digest.hexdigest()}"'
    assert content.headers["repr-digest"] == f"sha-256=:{b64encode(digest.digest()).decode()}:"
    assert content.headers["content-digest"] == content.headers["repr-digest"]
    assert content.headers["content-length"] == str(len(data))
    assert content.headers["content-type"] == "application/pdf"
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
    assert content.headers["content-disposition"] == (
        "attachment; filename=\"download.pdf\"; filename*=UTF-8''%E5%90%88%E5%90%8C.pdf"
    )
    again = web.get(window, ticket.json()["href"])
    assert (again.status_code, again.json()["code"]) == (403, "ticket_used")

    history = web.get(company, "/v1/uses").json()["items"]
    assert sorted(use["action"] for use in history) == ["downloaded", "verified"]
    assert history[0]["by"]["org"] == web.desk.hall.HALL
    assert history[0]["case_number"] == case.number

    revoked = web.post(company, f"/v1/grants/{grant['grant_id']}/revoke")
    assert revoked.json()["status"] == "revoked"
    denied = web.verify(case.case_id, lease).json()["items"][0]
    assert (denied["outcome"], denied["reason"]) == ("denied", "grant_revoked")


def test_a_receipt_waits_for_its_checkpoint_and_verifies_offline(web) -> None:
    lease, case_id, _ = web.authorised()
    receipt = web.verify(case_id, lease).json()["items"][0]["receipt"]
    pending = web.get(web.window, receipt["href"])
    assert pending.status_code == 202
    assert pending.headers["retry-after"] == "1"
    assert pending.json()["status"] == "pending"
    web.desk.room.ledger.start()
    try:
        ready = web.get(web.window, receipt["href"], Prefer="wait=10")
    finally:
        web.desk.room.ledger.stop()
    assert ready.status_code == 200
    found = verify_receipt(ready.content, parse_policy(web.desk.room.ledger.policy_text().encode()))
    assert isinstance(found, Evidence)
    assert found.record["outcome"] == "allowed"
    for who in (web.company, web.elder, web.other_window, web.auditor, web.operator):
        refused = web.get(who, receipt["href"])
        assert (refused.status_code, refused.json()["code"]) == (404, "entry_unknown")
    unknown = web.get(web.window, "/v1/receipts/ent_" + "0" * 26)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "entry_unknown")


def test_a_denial_is_201_with_reason_and_remedy_in_both_languages(web) -> None:
    lease, case = web.desk.lease(), web.desk.case()
    answer = web.verify(case.case_id, lease)
    assert answer.status_code == 201
    item = answer.json()["items"][0]
    assert item["reasons"][0]["zh"] == "没有授权"
    assert item["reasons"][0]["remedy"]["zh"]
    assert item["checks"][0] == {
        "check": "grant",
        "zh": "授权",
        "en": "authorisation",
        "result": "failed",
        "passed": False,
        "code": "grant_missing",
        "reasons": item["reasons"],
    }


def test_the_answer_is_what_the_api_describes(web) -> None:
    lease, case_id, _ = web.authorised()
    for answer in (web.verify(case_id, lease), web.verify(web.desk.case().case_id, lease)):
        CallOut.model_validate_json(answer.content)
        again = web.get(web.window, f"/v1/verifications/{answer.json()['call']}")
        assert again.status_code == 200
        assert again.json() == answer.json()


def test_an_idempotency_key_is_honoured_per_body(web) -> None:
    lease, case_id, _ = web.authorised()
    first = web.verify(case_id, lease, Idempotency_Key="k")
    again = web.verify(case_id, lease, Idempotency_Key="k")
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    other = web.verify(UNKNOWN_CASE, lease, Idempotency_Key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    with web.desk.room.database.read() as tx:
        remembered = b"".join(row["reply"] for row in tx.all(select(idempotency)))
    for personal in ("沈云舟", "租赁合同", "顾明远"):
        assert personal.encode() not in remembered


def test_wrong_role_case_or_holder_is_refused_before_any_decision(web) -> None:
    lease, case_id, grant_id = web.authorised()
    tries = [
        (web.verify(case_id, lease, web.company), 403, "role_not_allowed"),
        (web.verify(case_id, lease, web.other_window), 403, "case_of_other_window"),
        (web.verify(UNKNOWN_CASE, lease), 404, "case_unknown"),
        (web.verify(case_id, "mat_" + "0" * 26), 404, "item_unknown"),
        (web.post(web.elder, f"/v1/grants/{grant_id}/revoke"), 404, "grant_unknown"),
        (web.get(web.elder, f"/v1/grants/{grant_id}"), 404, "grant_unknown"),
        (web.get(web.other_window, f"/v1/grants/{grant_id}"), 404, "grant_unknown"),
        (web.post(web.clerk_of_company, f"/v1/grants/{grant_id}/revoke"), 403,
         "capacity_may_not_grant"),
        (web.post(web.window, f"/v1/grants/{grant_id}/approve"), 403, "role_not_allowed"),
        (web.get(web.window, "/v1/uses"), 403, "role_not_allowed"),
        (web.post("mj_" + "A" * 43, f"/v1/grants/{grant_id}/approve"), 401, "credential_unknown"),
        (web.post(web.other_window, f"/v1/cases/{case_id}/exemptions"), 403,
         "case_of_other_window"),
        (web.post(web.elder, f"/v1/cases/{case_id}/exemptions"), 404, "case_unknown"),
        (web.post(web.elder, f"/v1/materials/{lease}/tickets", {"position": 1}), 404,
         "material_unknown"),
        (web.post(web.department, "/v1/register-facts", {}), 403, "role_not_allowed"),
    ]  # fmt: skip
    for answer, status, code in tries:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert web.verify(case_id, lease).json()["outcome"] == "allowed"


def test_bodies_are_strict(web) -> None:
    lease, case_id, _ = web.authorised()
    item = {"requirement": "lease_contract", "item": lease}
    for body in (
        {"case": case_id, "items": [item], "surplus": 1},
        {"case": case_id, "items": []},
        {"case": case_id, "items": [item] * 51},
        {"case": case_id, "items": [{**item, "item": 5}]},
        {"case": case_id, "items": [item], "basis": {"kind": "statutory_duty"}},
        {"case": case_id, "items": [item], "basis": {"kind": "curiosity"}},
        {"case": "../x", "items": [item]},
    ):
        assert web.post(web.window, "/v1/verifications", body).status_code == 422
    blank = {"kind": "statutory_duty", "officer": " ", "number": "1", "role": "r"}
    refused = web.post(
        web.department, "/v1/verifications", {"case": case_id, "items": [item], "basis": blank}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "statutory_basis_incomplete")


def test_what_need_not_be_brought(web) -> None:
    web.desk.lease()
    case = web.desk.case()
    answer = web.post(web.window, f"/v1/cases/{case.case_id}/exemptions")
    assert answer.status_code == 200
    found = answer.json()
    by_key = {one["requirement"]: one for one in found["requirements"]}
    lease = by_key["lease_contract"]
    assert lease["exemptible"]
    assert lease["candidates"] == [{"kind": "material", "type": "lease_contract", "count": 1}]
    assert lease["routes"][0]["open"]
    application = by_key["application_form"]
    assert application["missing"]
    assert found["share"] == 100 * found["exemptible"] // found["required"]
    assert "mat_" not in answer.text  # types and counts only
    certificate = by_key["real_estate_certificate"]["routes"][0]
    assert (certificate["open"], certificate["why"]["code"]) == (False, "no_candidate")
    web.desk.hall.event(case.case_id, "withdraw")
    assert web.post(web.window, f"/v1/cases/{case.case_id}/exemptions").status_code == 409


def test_show_codes_over_http(web) -> None:
    lease, case = web.desk.lease(), web.desk.case()
    made = web.post(web.company, "/v1/grants", {"items": [lease], "purpose": "迁址"})
    assert (made.status_code, made.json()["status"]) == (201, "granted")
    grant_id = made.json()["grant_id"]
    code = web.post(web.company, f"/v1/grants/{grant_id}/code")
    assert code.headers["cache-control"] == "no-store"
    redeem = f"/v1/cases/{case.case_id}/grants/redeem"
    wrong = web.post(web.window, redeem, {"code": "00000000"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "show_code_invalid")
    bound = web.post(web.window, redeem, {"code": code.json()["code"]})
    assert (bound.status_code, bound.json()["case_id"]) == (201, case.case_id)
    assert bound.json()["items"][0]["item"] == lease
    assert web.post(web.window, redeem, {"code": code.json()["code"]}).status_code == 422
    assert web.verify(case.case_id, lease).json()["outcome"] == "allowed"


def test_registers_events_and_data_checks_over_http(web) -> None:
    hall = web.desk.hall
    shen = {"type": "111", "code": hall.SHEN.code, "name": "沈云舟"}
    loaded = web.post(
        web.operator,
        "/v1/register-facts",
        {"register": "population", "holder": shen, "facts": {"name": "沈云舟"}},
    )
    assert loaded.status_code == 201, loaded.text
    hall.sequence()
    case = web.desk.case()
    check = f"/v1/cases/{case.case_id}/data-checks"
    passed = web.post(web.window, check, {"requirement": "identity_proof"})
    assert (passed.status_code, passed.json()["outcome"]) == (201, "allowed")
    named = web.post(
        web.department, check, {"requirement": "identity_proof", "subject": shen, "claims": {}}
    )
    assert named.json()["outcome"] == "allowed"
    fact_id = loaded.json()["fact_id"]
    assert web.post(web.operator, f"/v1/register-facts/{fact_id}/end").status_code == 200
    assert web.post(web.operator, f"/v1/register-facts/{fact_id}/end").status_code == 409
    ended = web.post(web.window, check, {"requirement": "identity_proof"}).json()["items"][0]
    assert ended["reason"] == "data_ended"
    company = {"type": "001", "code": hall.COMPANY.code}
    moved = web.post(
        web.department, "/v1/party-events", {"holder": company, "event": "address_changed"}
    )
    assert (moved.status_code, moved.json()["ended"]) == (201, [])
    future = {"holder": company, "event": "name_changed", "at": "2126-01-01T00:00:00Z"}
    assert web.post(web.department, "/v1/party-events", future).status_code == 422
    changed = web.post(
        web.operator, "/v1/party-events", {"holder": company, "event": "representative_changed"}
    )
    assert len(changed.json()["ended"]) == 2


def test_ranges_over_http(web) -> None:
    lease, case_id, _ = web.authorised()
    verification = web.verify(case_id, lease).json()["items"][0]["verification"]
    data = web.desk.hall.pdf("lease")
    href = web.post(
        web.window, f"/v1/verifications/{verification}/tickets", {"position": 1}
    ).json()["href"]
    beyond = web.get(web.window, href, Range=f"bytes={len(data)}-")
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    first = web.get(web.window, href, Range="bytes=0-9")
    assert (first.status_code, first.content) == (206, data[:10])
    assert first.headers["content-range"] == f"bytes 0-9/{len(data)}"
    assert "content-digest" not in first.headers
    assert first.headers["repr-digest"]
    rest = web.get(web.window, href, Range="bytes=10-", If_Range=first.headers["etag"])
    assert first.content + rest.content == data
    assert web.get(web.window, href, Range="bytes=10-").status_code == 403
    other = web.get(web.department, href)
    assert (other.status_code, other.json()["code"]) == (404, "ticket_unknown")


@pytest.fixture
def served(make_desk) -> Iterator[tuple[Web, int]]:
    """A real server on loopback, for what a test client cannot show."""
    desk = make_desk(limits=Limits(grants=GrantLimits(recheck_bytes=1 << 20)))
    web = Web(desk)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(web.app, port=port, log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield web, port
    server.should_exit = True
    thread.join()


def test_a_revocation_cuts_a_running_download_short(served) -> None:
    web, port = served
    desk = web.desk
    data = desk.hall.pdf("big") + bytes(24 << 20)
    lease, case = desk.lease(data=data), desk.case()
    grant = desk.granted(case.case_id, lease)
    verification = web.verify(case.case_id, lease).json()["items"][0]["verification"]
    href = web.post(
        web.window, f"/v1/verifications/{verification}/tickets", {"position": 1}
    ).json()["href"]
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", href, headers={"Authorization": f"Bearer {web.window}"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("Content-Length") == str(len(data))
    got = len(answer.read(64 << 10))
    desk.revoke(grant, desk.company())
    with pytest.raises(IncompleteRead) as cut:
        answer.read()
    assert got + len(cut.value.partial) < len(data)
    connection.close()
    with desk.room.database.read() as tx:
        (stopped,) = tx.all(select(audit).where(audit.c.action == "download.stop"))
    assert "grant_revoked" in stopped["detail"]


def test_a_large_download_arrives_whole(served) -> None:
    web, port = served
    desk = web.desk
    data = desk.hall.pdf("big") + bytes(5 << 20)
    lease = desk.lease(data=data)
    href = web.post(web.company, f"/v1/materials/{lease}/tickets", {"position": 1}).json()["href"]
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", href, headers={"Authorization": f"Bearer {web.company}"})
    assert connection.getresponse().read() == data
    connection.close()
