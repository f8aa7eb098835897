"""The routes: contract, statuses, receipts, idempotency, documents."""

import io
import json
import re
from datetime import timedelta

import httpx2
import pypdf
from sqlalchemy import select

from kernel.ids import IdKind, new_id
from materials_api.documents.stored import documents_of
from storage.tables import audit, idempotency


def case_body(hall, **changes: object) -> dict[str, object]:
    return {
        "matter": "11310199MB2Y01016G4000131014000",
        "variant": "moved",
        "channel": "window",
        "applicant": {"type": "001", "code": hall.COMPANY.code, "name": hall.COMPANY.name},
        "acting": {
            "type": "111",
            "code": hall.ZHOU.code,
            "name": hall.ZHOU.name,
            "capacity": "operator",
        },
    } | changes


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def submit_lease(served, client: httpx2.Client, case: str, **more: object) -> dict:
    upload = new_id(IdKind.UPLOAD)
    assert client.put(f"/v1/uploads/{upload}", content=served.hall.pdf("lease")).is_success
    answer = client.post(
        f"/v1/cases/{case}/materials",
        json={
            "requirement": "lease_contract",
            "type": "lease_contract",
            "title": "房屋租赁合同",
            "provenance": "certified_copy",
            "parties": [{"type": "111", "code": served.hall.LANDLORD.code, "name": "顾明远"}],
            "files": [{"upload": upload, "name": "合同.pdf"}],
        }
        | more,
        headers={"Prefer": "wait=10"},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_case_from_opening_to_filing(served) -> None:
    hall = served.hall
    window, department = served.client("window"), served.client("department")
    opened = window.post("/v1/cases", json=case_body(hall))
    assert opened.status_code == 201, opened.text
    case = opened.json()["case_id"]
    assert opened.json()["matter_name"]["zh"] == "食品经营许可（迁址新办）"
    assert len(opened.json()["missing"]) == 8
    made = submit_lease(served, window, case)
    assert made["receipt"]["status"] == "ready"
    receipt = made["receipt"]["receipt"]
    assert receipt["type"] == "mianjiao.receipt/v1"
    assert receipt["record"]["entity"] == made["material_id"]
    committed = window.post(
        f"/v1/cases/{case}/commitments", json={"requirement": "food_safety_rules"}
    )
    assert committed.status_code == 201, committed.text
    twice = window.post(f"/v1/cases/{case}/commitments", json={"requirement": "food_safety_rules"})
    assert code_of(twice) == (409, "requirement_already_met")
    wrong = window.post(f"/v1/cases/{case}/commitments", json={"requirement": "layout_plan"})
    assert code_of(wrong) == (409, "route_not_offered")
    for client, event in [
        (window, {"event": "submit"}),
        (department, {"event": "accept", "with_gaps": True, "note": "其余三日内补齐"}),
        (department, {"event": "approve", "with_gaps": True, "note": "已现场核查"}),
        (department, {"event": "close"}),
        (served.client("archivist"), {"event": "file"}),
    ]:
        answer = client.post(f"/v1/cases/{case}/events", json=event)
        assert answer.status_code == 201, answer.text
    detail = served.client("archivist").get(f"/v1/cases/{case}").json()
    assert detail["state"] == "filed"
    assert detail["outcome"] == "approved"
    assert detail["applicant_party"]["name"] == hall.COMPANY.name
    assert detail["applicant_party"]["code_masked"] == "9131**********2D1G"
    met = {item["requirement"]: item["met"] for item in detail["requirements"] if item["met"]}
    assert met["lease_contract"]["item"] == made["material_id"]
    assert met["food_safety_rules"]["route"] == "notified_commitment"
    documents = window.get(f"/v1/cases/{case}/documents").json()["items"]
    assert [document["kind"] for document in documents] == [
        "commitment",
        "acceptance_notice",
        "decision_notice",
    ]
    pdfs = [window.get(document["href"]) for document in documents]
    assert all(pdf.headers["content-type"] == "application/pdf" for pdf in pdfs)
    assert all("attachment" in pdf.headers["content-disposition"] for pdf in pdfs)
    commitment = "".join(
        page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdfs[0].content)).pages
    )
    assert "告知承诺书" in commitment
    assert hall.COMPANY.name in commitment
    assert window.get(documents[0]["href"]).content == pdfs[0].content
    acceptance = pypdf.PdfReader(io.BytesIO(pdfs[1].content)).pages[0].extract_text()
    assert "容缺受理" in acceptance
    assert "其余三日内补齐" in acceptance


def test_a_correction_notice_says_what_to_correct(served) -> None:
    window, department = served.client("window"), served.client("department")
    case = window.post("/v1/cases", json=case_body(served.hall)).json()["case_id"]
    made = submit_lease(served, window, case)
    window.post(f"/v1/cases/{case}/events", json={"event": "submit"})
    asked = department.post(
        f"/v1/cases/{case}/events",
        json={
            "event": "ask_correction",
            "items": [{"requirement": "lease_contract", "text": "合同缺第三页"}],
            "reject": [made["material_id"]],
        },
    )
    assert asked.status_code == 201, asked.text
    assert "lease_contract" in asked.json()["missing"]
    notice = window.get(f"/v1/cases/{case}/documents").json()["items"][-1]
    text = pypdf.PdfReader(io.BytesIO(window.get(notice["href"]).content)).pages[0].extract_text()
    assert "补正告知书" in text
    assert "合同缺第三页" in text
    assert "租赁合同" in text


def test_assistance_is_asked_and_answered(served) -> None:
    hall = served.hall
    catalogue = hall.room.catalogue
    matter, rule = next(
        (matter, rule)
        for matter in catalogue.matters
        for rule in matter.requirements
        for route in rule.routes
        if route.route == "administrative_assistance"
    )
    holder = {"type": "111", "code": hall.ELDER.code, "name": hall.ELDER.name}
    if matter.holder == "organization":
        holder = {"type": "001", "code": hall.COMPANY.code}
    body = case_body(hall, matter=matter.code, applicant=holder)
    body["variant"] = (rule.variants or (matter.variants[0].key,))[0]
    if matter.holder != "organization":
        body.pop("acting")
    window = served.client("window")
    case = window.post("/v1/cases", json=body).json()["case_id"]
    letter = window.post(
        f"/v1/cases/{case}/assistance", json={"requirement": rule.key, "question": "是否属实？"}
    )
    assert letter.status_code == 201, letter.text
    document = letter.json()["document_id"]
    content = window.get(letter.json()["href"]).content
    assert "协查函" in pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()
    before = window.get(f"/v1/cases/{case}").json()
    assert {item["requirement"]: item["met"] for item in before["requirements"]}[rule.key] is None
    path = f"/v1/cases/{case}/assistance/{document}/answer"
    answered = window.post(path, json={"outcome": "confirmed"})
    assert answered.status_code == 201, answered.text
    after = window.get(f"/v1/cases/{case}").json()
    met = {item["requirement"]: item["met"] for item in after["requirements"]}[rule.key]
    assert met["route"] == "administrative_assistance"
    assert code_of(window.post(path, json={"outcome": "confirmed"})) == (
        409,
        "assistance_answered",
    )


def test_the_same_key_again_gets_the_first_answer(served) -> None:
    window = served.client("window")
    headers = {"Idempotency-Key": "open-1"}
    first = window.post("/v1/cases", json=case_body(served.hall), headers=headers)
    again = window.post("/v1/cases", json=case_body(served.hall), headers=headers)
    assert first.content == again.content
    other = window.post("/v1/cases", json=case_body(served.hall, project="P-1"), headers=headers)
    assert code_of(other) == (422, "idempotency_key_reused")
    assert len(window.get("/v1/cases").json()["items"]) == 1


def test_remembered_answers_hold_nothing_personal(served) -> None:
    hall, window = served.hall, served.client("window")
    case = window.post("/v1/cases", json=case_body(hall), headers={"Idempotency-Key": "a"}).json()[
        "case_id"
    ]
    upload = new_id(IdKind.UPLOAD)
    window.put(f"/v1/uploads/{upload}", content=hall.pdf("x"))
    window.post(
        f"/v1/cases/{case}/materials",
        json={
            "type": "other",
            "title": "很私密的标题",
            "files": [{"upload": upload, "name": "私密.pdf"}],
        },
        headers={"Idempotency-Key": "b"},
    )
    rows = hall.read(lambda tx: tx.all(select(idempotency)))
    assert len(rows) == 2
    replies = b"".join(row["reply"] for row in rows)
    for personal in ("私密", hall.COMPANY.name, hall.COMPANY.code, hall.ZHOU.code, "周文博"):
        assert personal.encode() not in replies


BAD_CASES: list[tuple[dict[str, object], int, str]] = [
    ({"matter": "000000000000"}, 422, "matter_unknown"),
    ({"variant": "nowhere"}, 422, "variant_unknown"),
    ({"surprise": 1}, 422, "invalid_fields"),
    ({"channel": "fax"}, 422, "invalid_fields"),
    (
        {"applicant": {"type": "001", "code": "91310199MA1Y7K2D1H"}},
        422,
        "check_character_wrong",
    ),
    (
        {"applicant": {"type": "001", "code": "91310199MA1Y7K2D1G", "name": "别名"}},
        409,
        "holder_name_differs",
    ),
    ({"acting": None}, 422, "acting_person_needed"),
]


def test_bad_cases_get_their_code(served) -> None:
    client = served.client("window")
    for changes, status, code in BAD_CASES:
        answer = client.post("/v1/cases", json=case_body(served.hall, **changes))
        assert code_of(answer) == (status, code), changes
        assert served.hall.COMPANY.code not in answer.text
        assert "91310199MA1Y7K2D1H" not in answer.text


def test_impossible_dates_and_unknown_fields_of_materials(served) -> None:
    window = served.client("window")
    case = window.post("/v1/cases", json=case_body(served.hall)).json()["case_id"]
    base = {"type": "other", "title": "x", "files": [{"upload": "upl_" + "0" * 26, "name": "a"}]}
    for changes in (
        {"issued_at": "2026-02-30"},
        {"issued_at": 20260101},
        {"certified_at": "2026-01-01T00:00:00"},
        {"provenance": "hearsay"},
        {"extra": True},
        {"files": []},
        {"title": ""},
    ):
        answer = window.post(f"/v1/cases/{case}/materials", json=base | changes)
        assert code_of(answer) == (422, "invalid_fields"), changes
    answer = window.post(f"/v1/cases/{case}/materials", json=base)
    assert code_of(answer) == (422, "upload_unknown")


def answers_as_unknown(served, who: str, path: str, id_: str, rest: str = "") -> None:
    """The very same answer as for an id that stands for nothing: 404."""
    nothing = f"{id_[:4]}{'0' * 26}"
    client = served.client(who)
    known, unknown = client.get(f"{path}{id_}{rest}"), client.get(f"{path}{nothing}{rest}")
    assert known.status_code == 404, (who, path, known.text)
    drop = re.compile(r'"request":"[^"]*"')
    assert drop.sub("", known.text).replace(id_, nothing) == drop.sub("", unknown.text)


def test_closed_cases_are_seen_by_their_own_record_room_and_archive_alone(served) -> None:
    hall = served.hall
    closed, lease = hall.approved_case()
    hall.event(closed.case_id, "close")
    document = hall.read(lambda tx: documents_of(tx, closed.case_id))[0].document_id
    for who in ("record_room", "archivist"):
        client = served.client(who)
        listed = client.get("/v1/cases").json()["items"]
        assert [one["case_id"] for one in listed] == [closed.case_id], who
        for path in (
            f"/v1/cases/{closed.case_id}",
            f"/v1/cases/{closed.case_id}/materials",
            f"/v1/cases/{closed.case_id}/documents",
            f"/v1/cases/{closed.case_id}/documents/{document}",
            f"/v1/materials/{lease}",
        ):
            assert client.get(path).status_code == 200, (who, path)
    other = served.client("other_record_room")
    assert other.get("/v1/cases").json()["items"] == []
    for rest in ("", "/materials", "/documents", f"/documents/{document}"):
        answers_as_unknown(served, "other_record_room", "/v1/cases/", closed.case_id, rest)
    answers_as_unknown(served, "other_record_room", "/v1/materials/", lease)
    filing = f"/v1/cases/{closed.case_id}/events"
    assert other.post(filing, json={"event": "file"}).status_code == 404
    assert served.client("record_room").post(filing, json={"event": "file"}).status_code == 201


def test_cases_and_materials_of_others_stay_closed(served) -> None:
    window = served.client("window")
    case = window.post("/v1/cases", json=case_body(served.hall)).json()["case_id"]
    material = submit_lease(served, window, case)["material_id"]
    for who, status in [
        ("other_window", 403),
        ("other_department", 403),
        ("archivist", 404),
        ("record_room", 404),
        ("elder", 404),
        ("operator", 403),
        ("auditor", 403),
    ]:
        client = served.client(who)
        for path in (
            f"/v1/cases/{case}",
            f"/v1/cases/{case}/documents",
            f"/v1/materials/{material}",
        ):
            assert client.get(path).status_code == status, (who, path)
    for who in ("archivist", "record_room", "elder"):
        for path, id_ in (("cases", case), ("materials", material)):
            answers_as_unknown(served, who, f"/v1/{path}/", id_)
    unknown = served.client("elder").get("/v1/materials/mat_" + "0" * 26)
    known = served.client("elder").get(f"/v1/materials/{material}")
    drop = re.compile(r'"request":"[^"]*"')
    assert drop.sub("", unknown.text) == drop.sub("", known.text)
    own = served.client("landlord").get(f"/v1/materials/{material}").json()
    assert own["title"] == "房屋租赁合同"
    assert (
        served.client("landlord").get("/v1/materials").json()["items"][0]["material_id"] == material
    )
    assert window.get(f"/v1/materials/{material}").json()["files"][0]["name"] == "合同.pdf"
    views = served.hall.read(
        lambda tx: tx.all(select(audit).where(audit.c.action == "material.view"))
    )
    assert [row["entity"] for row in views] == [material]


def test_stopping_invalidating_and_erasing_over_http(served, engine) -> None:
    hall, window = served.hall, served.client("window")
    department, landlord = served.client("department"), served.client("landlord")
    case = window.post("/v1/cases", json=case_body(hall)).json()["case_id"]
    material = submit_lease(served, window, case)["material_id"]
    stopped = landlord.post(f"/v1/materials/{material}/stop-reuse")
    assert stopped.json() == {"material_id": material, "status": "stopped_pending"}
    resumed = landlord.post(f"/v1/materials/{material}/resume-reuse")
    assert resumed.json()["status"] == "pending"
    path = f"/v1/materials/{material}/invalidate"
    assert code_of(served.client("other_department").post(path, json={"reason": "forged"})) == (
        403,
        "material_of_other_department",
    )
    done = department.post(path, json={"reason": "forged", "note": "印章不符"}).json()
    assert [item["case_id"] for item in done["cases"]] == [case]
    tasks = department.get("/v1/tasks", params={"state": "open"}).json()["items"]
    assert [task["task_id"] for task in tasks] == done["tasks"]
    closed = department.post(
        f"/v1/tasks/{done['tasks'][0]}/done", json={"conclusion": "撤销原决定"}
    )
    assert closed.json()["state"] == "done"
    assert served.client("other_department").get("/v1/tasks").json()["items"] == []
    erased = landlord.post(f"/v1/materials/{material}/erase")
    # PostgreSQL keeps old versions of rows for a while, and nothing is called gone too early.
    told = (200, "done") if engine.is_sqlite else (202, "pending")
    assert (erased.status_code, erased.json()["erasure"]) == told, erased.text
    shown = landlord.get(f"/v1/materials/{material}").json()
    assert shown["status"] == "erased"
    assert "title" not in shown


def test_retention_is_told_when_erasing_is_refused(served) -> None:
    window, department = served.client("window"), served.client("department")
    case = window.post("/v1/cases", json=case_body(served.hall)).json()["case_id"]
    material = submit_lease(served, window, case)["material_id"]
    window.post(f"/v1/cases/{case}/events", json={"event": "submit"})
    department.post(f"/v1/cases/{case}/events", json={"event": "accept", "with_gaps": True})
    answer = served.client("landlord").post(f"/v1/materials/{material}/erase")
    assert code_of(answer) == (409, "retention_runs")
    assert answer.json()["details"]["until"] == "2036-11-24"


def test_pages_of_cases(served) -> None:
    window = served.client("window")
    for _ in range(5):
        window.post("/v1/cases", json=case_body(served.hall))
        served.hall.clock.set(served.hall.now + timedelta(seconds=1))
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = window.get("/v1/cases", params=query).json()
        seen += [item["case_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert code_of(window.get("/v1/cases", params={"cursor": "bad"})) == (422, "cursor_invalid")
    assert window.get("/v1/cases", params={"limit": 201}).status_code == 422
    assert served.client("zhou").get("/v1/cases").json()["items"]
    assert served.client("elder").get("/v1/cases").json()["items"] == []


def test_without_waiting_the_receipt_is_pending(served) -> None:
    answer = served.client("window").post("/v1/cases", json=case_body(served.hall)).json()
    assert answer["receipt"]["status"] == "pending"
    assert answer["receipt"]["href"] == f"/v1/receipts/{answer['receipt']['entry']}"
    assert json.dumps(answer["receipt"]["receipt"]) == "null"
