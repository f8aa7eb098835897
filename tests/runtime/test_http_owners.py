"""Nobody reaches what is another's: every route that takes an id, called by outsiders.

Each call is made twice: with the id of a real thing and with one that stands for
nothing. Applicants and archivists get the very same answer; offices a 403 or 404. The store is
the same afterwards.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from runtime.openapi import described
from tests.runtime.test_access_matrix import ACCESS, GUARDED, UNKNOWN

if TYPE_CHECKING:
    from tests.runtime.conftest import House

# Applicants who have nothing to do with the company or its papers.
STRANGERS = ("stranger", "elder")
OFFICES = ("other_window", "other_department")
ITEM = "$material"
# Answers that say nothing about whose it is: the call was wrong, and so is its test.
TOO_EARLY = {"invalid_fields", "malformed_request", "role_not_allowed", "form_invalid"}
TOO_EARLY |= {"upload_unknown", "unsupported_media_type"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@dataclass(frozen=True)
class Try:
    """A call with somebody else's thing. `tested`: the name of the id that is theirs;
    the rest of the call belongs to the caller. `by`: who is not let in."""

    method: str
    template: str
    names: dict[str, str]
    by: tuple[str, ...]
    body: Any = None
    tested: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = "" if self.tested in self.names.values() or not self.tested else f" {self.tested}"
        return f"{self.method} {self.template}{inside}"

    @property
    def theirs(self) -> str:
        return self.tested or next(iter(self.names.values()))

    def path(self) -> str:
        return re.sub(r"\{([^}]+)\}", lambda match: "$" + self.names[match[1]], self.template)


def case(method: str, rest: str, by: tuple[str, ...], body: Any = None, **more: Any) -> Try:
    return Try(method, f"/v1/cases/{{case_id}}{rest}", {"case_id": "case"}, by, body, **more)


def grant(what: str) -> Try:
    path = f"/v1/grants/{{grant_id}}/{what}"
    return Try("POST", path, {"grant_id": "asked_grant"}, STRANGERS)


def material(what: str, by: tuple[str, ...], body: Any = None) -> Try:
    path = f"/v1/materials/{{material_id}}{what}"
    method = "POST" if what else "GET"
    return Try(method, path, {"material_id": "material"}, by, body)


# Archivists of another body, and of an archive office that keeps nobody's archives.
RECORD_ROOMS = ("other_record_room", "other_archive")
READERS = (*STRANGERS, *OFFICES, *RECORD_ROOMS, "archivist")
CLOSED = {"case_id": "closed_case"}
REGISTER = {
    "type": "application_form",
    "title": "申请书",
    "files": [{"upload": "$upload", "name": "a.pdf"}],
}
FORM_BODY = (
    b'--x\r\nContent-Disposition: form-data; name="type"\r\n\r\nother\r\n'
    b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nt\r\n'
    b'--x\r\nContent-Disposition: form-data; name="supersedes"\r\n\r\n@supersedes@\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n%PDF-1.4\r\n'
    b"--x--\r\n"
)
VERIFY = {"case": "$case", "items": [{"requirement": "other", "item": ITEM}]}
ASK = {"purpose": "试", "use": "once"}

TRIES = [
    # Cases and what stands in them.
    *(case("GET", rest, READERS) for rest in ("", "/materials", "/documents")),
    case("GET", "/exports", ("archivist",)),
    case("POST", "/exports", ("archivist",), {}),
    # A closed case, to archivists of others.
    *(
        Try("GET", f"/v1/cases/{{case_id}}{rest}", CLOSED, RECORD_ROOMS)
        for rest in ("", "/materials", "/documents", "/exports")
    ),
    Try("POST", "/v1/cases/{case_id}/exports", CLOSED, RECORD_ROOMS, {}),
    Try("POST", "/v1/cases/{case_id}/events", CLOSED, RECORD_ROOMS, {"event": "file"}),
    *(
        Try("GET", f"/v1/exports/{{export_id}}{rest}", {"export_id": "export"}, RECORD_ROOMS)
        for rest in ("", "/package", "/receipt")
    ),
    case("POST", "/events", (*STRANGERS, *OFFICES), {"event": "submit"}),
    case("POST", "/events", ("archivist",), {"event": "file"}),
    case("POST", "/materials", (*STRANGERS, *OFFICES), REGISTER),
    case("POST", "/materials/form", (*STRANGERS, "other_window"), FORM_BODY, headers=FORM),
    case("POST", "/exemptions", (*STRANGERS, "other_window")),
    case(
        "POST", "/commitments", (*STRANGERS, "other_window"), {"requirement": "food_safety_rules"}
    ),
    case("POST", "/assistance", OFFICES, {"requirement": "lease_contract", "question": "?"}),
    case("POST", "/data-checks", OFFICES, {"requirement": "identity_proof"}),
    case("POST", "/grants", ("other_window",), {**ASK, "items": [ITEM]}),
    case("POST", "/grants/redeem", ("other_window",), {"code": "00000000"}),
    Try(
        "GET",
        "/v1/cases/{case_id}/documents/{document_id}",
        {"case_id": "closed_case", "document_id": "document"},
        (*STRANGERS, *OFFICES, *RECORD_ROOMS),
        tested="document",
    ),
    Try(
        "GET",
        "/v1/cases/{case_id}/documents/{document_id}",
        {"case_id": "strangers_case", "document_id": "document"},
        ("stranger",),
        tested="document",
    ),
    Try(
        "GET",
        "/v1/cases/{case_id}/documents/{document_id}",
        {"case_id": "case", "document_id": "document"},
        ("archivist",),
        tested="case",
    ),
    Try(
        "POST",
        "/v1/cases/{case_id}/assistance/{document_id}/answer",
        {"case_id": "closed_case", "document_id": "document"},
        OFFICES,
        {"outcome": "confirmed"},
        tested="document",
    ),
    # Materials and licences.
    material("", READERS[:-1]),
    Try("GET", "/v1/materials/{material_id}", {"material_id": "pending_material"}, ("archivist",)),
    material("/stop-reuse", STRANGERS),
    material("/resume-reuse", STRANGERS),
    material("/erase", STRANGERS),
    material("/tickets", STRANGERS, {}),
    material("/invalidate", ("other_department", "civil"), {"reason": "forged"}),
    Try("GET", "/v1/licenses/{license_id}", {"license_id": "license"}, STRANGERS),
    Try(
        "POST",
        "/v1/licenses/{license_id}/events",
        {"license_id": "license"},
        ("other_department", "health"),
        {"event": "suspend", "reason": "inspection"},
    ),
    # Grants: also those who carry the company's papers may not decide for it.
    Try("GET", "/v1/grants/{grant_id}", {"grant_id": "asked_grant"}, (*STRANGERS, *OFFICES)),
    *(grant(what) for what in ("approve", "decline", "revoke", "code")),
    # Verifications, downloads, receipts, tasks.
    Try(
        "GET",
        "/v1/verifications/{verification_id}",
        {"verification_id": "verification"},
        (*STRANGERS, *OFFICES),
    ),
    Try(
        "POST",
        "/v1/verifications/{verification_id}/tickets",
        {"verification_id": "verification"},
        OFFICES,
        {},
    ),
    Try(
        "GET",
        "/v1/downloads/{ticket}",
        {"ticket": "ticket"},
        (*STRANGERS, *OFFICES, "representative"),
    ),
    Try("GET", "/v1/downloads/{ticket}", {"ticket": "own_ticket"}, ("window", "agent")),
    *(
        Try("GET", "/v1/receipts/{entry_id}", {"entry_id": f"{entity}_entry"}, by)
        for entity, by in (
            ("material", (*STRANGERS, *OFFICES, "archivist", "auditor", "operator")),
            ("license", (*STRANGERS, *OFFICES, "window", "archivist", "auditor", "operator")),
            ("grant", (*STRANGERS, *OFFICES, "archivist", "auditor", "operator")),
            ("closed_case", (*STRANGERS, *OFFICES, *RECORD_ROOMS, "auditor", "operator")),
            ("verification", (*STRANGERS, *OFFICES, "representative", "auditor")),
            ("document", (*STRANGERS, *OFFICES, *RECORD_ROOMS, "auditor", "operator")),
        )
    ),
    Try(
        "POST",
        "/v1/tasks/{task_id}/done",
        {"task_id": "task"},
        ("other_department", "civil"),
        {"conclusion": "无"},
    ),
    # Ids inside bodies.
    case(
        "POST",
        "/materials",
        ("window",),
        {**REGISTER, "files": [{"upload": "$own_upload", "name": "a.pdf"}]},
        tested="own_upload",
    ),
    case(
        "POST",
        "/materials",
        ("window",),
        {**REGISTER, "type": "other", "supersedes": "$strangers_material"},
        tested="strangers_material",
    ),
    Try(
        "POST",
        "/v1/cases/{case_id}/materials",
        {"case_id": "strangers_case"},
        ("stranger",),
        {
            "type": "other",
            "title": "其他",
            "files": [{"upload": "$strangers_upload", "name": "a.pdf"}],
            "supersedes": ITEM,
        },
        tested="material",
    ),
    Try(
        "POST",
        "/v1/cases/{case_id}/materials/form",
        {"case_id": "strangers_case"},
        ("stranger",),
        FORM_BODY,
        tested="material",
        headers=FORM,
    ),
    Try(
        "POST",
        "/v1/cases/{case_id}/events",
        {"case_id": "submitted_case"},
        ("civil",),
        {"event": "ask_correction", "items": [{"text": "补"}], "reject": ["$material"]},
        tested="material",
    ),
    case(
        "POST",
        "/grants",
        ("window",),
        {**ASK, "items": ["$strangers_material"]},
        tested="strangers_material",
    ),
    Try("POST", "/v1/grants", {}, STRANGERS, {**ASK, "items": [ITEM]}, tested="material"),
    Try("POST", "/v1/grants", {}, STRANGERS, {**ASK, "items": ["$license"]}, tested="license"),
    Try(
        "POST",
        "/v1/grants",
        {},
        ("stranger",),
        {**ASK, "items": ["$strangers_material"], "case": "$case"},
        tested="case",
    ),
    Try(
        "POST",
        "/v1/grants/{grant_id}/approve",
        {"grant_id": "asked_grant"},
        ("representative",),
        {"items": ["$strangers_material"]},
        tested="strangers_material",
    ),
    Try("POST", "/v1/verifications", {}, OFFICES, VERIFY, tested="case"),
    Try(
        "POST",
        "/v1/verifications",
        {},
        ("window", "department"),
        {"case": "$case", "items": [{"requirement": "other", "item": "$strangers_material"}]},
        tested="strangers_material",
    ),
    Try(
        "POST",
        "/v1/licenses",
        {},
        ("civil",),
        {
            "kind": "comprehensive_industry_permit",
            "holder": {"type": "001", "code": "91310199MA1Y7K2D1G"},
            "issuer_name": "云间区民政局",
            "number": "1",
            "area_code": "310199",
            "permits": ["$elders_license"],
        },
        tested="elders_license",
    ),
]

# Where a role has no owner to answer to, and why.
OPEN_TO = {
    ("POST", "/v1/capacities/{capacity_id}/end", "department"): "one register of capacities",
    ("POST", "/v1/capacities/{capacity_id}/end", "operator"): "one register of capacities",
    ("POST", "/v1/register-facts/{fact_id}/end", "operator"): "the operator loads registers",
    ("GET", "/v1/licenses/{license_id}", "window"): "status and dates of what is issued",
    ("GET", "/v1/licenses/{license_id}", "department"): "status and dates of what is issued",
    ("POST", "/v1/materials/{material_id}/erase", "operator"): "erases by law, whosever it is",
}
# Ids in bodies that no rule of ownership covers here, and why.
UNTESTED_IN_BODIES = {
    "POST /v1/verifications items.grant": "see the test below: it is decided, and recorded",
    "POST /v1/licenses/{license_id}/events successor.permits": "the rule of `POST /v1/licenses`",
    "POST /v1/licenses/{license_id}/events successor.source_case": "a word of the issuing body",
    "POST /v1/licenses source_case": "a word of the issuing body",
}


@pytest.mark.parametrize("one", TRIES, ids=str)
def test_what_is_anothers_is_as_good_as_unknown(house: "House", one: Try) -> None:
    before = house.fingerprint()
    for who in one.by:
        real = _sent(house, one, who, house.ids[one.theirs])
        unknown = _sent(house, one, who, _unknown(house.ids[one.theirs]))
        if one.tested != "own_upload":
            assert real.json()["code"] not in TOO_EARLY, (who, real.text)
        if house.roles[who] in ("applicant", "archivist"):
            assert real.status_code in (404, 409, 422), (who, real.text)
            assert _told(real, house.ids[one.theirs]) == _told(unknown, _unknown_like(house, one))
        elif one.tested in one.names.values() or not one.tested:
            assert real.status_code in (403, 404), (who, real.text)
            assert unknown.status_code in (403, 404), (who, unknown.text)
        else:
            # The case is the office's own: of other things in it, it learns nothing.
            assert real.status_code in (403, 404, 409, 422), (who, real.text)
            if real.status_code != 403:
                assert _told(real, house.ids[one.theirs]) == _told(
                    unknown, _unknown_like(house, one)
                )
    assert house.fingerprint() == before


def test_every_route_with_an_id_is_tried_by_every_role_or_open_for_a_reason() -> None:
    tried = {(one.method, one.template, _role_of(who)) for one in TRIES for who in one.by}
    missing = [
        (method, template, role)
        for method, template in GUARDED
        if "{" in template and template != "/v1/uploads/{upload_id}"
        for role in ACCESS[method, template].split()
        if (method, template, role) not in tried and (method, template, role) not in OPEN_TO
    ]
    assert missing == []


def test_every_id_in_a_body_is_tried_or_left_out_for_a_reason(house: "House") -> None:
    document = described(house.app)
    found = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                for place in _ids_in(document, body["schema"], ""):
                    found.add(f"{method.upper()} {path} {place}")
    tried = {
        f"{one.method} {one.template} {place}"
        for one in TRIES
        for place in _tested_places(one.body, one.theirs, "")
    }
    assert found - tried - set(UNTESTED_IN_BODIES) == set()
    assert set(UNTESTED_IN_BODIES) <= found


def test_an_upload_id_of_another_caller_cannot_be_taken_or_read(house: "House") -> None:
    before = house.fingerprint()
    for who in ("stranger", "representative", "other_window", "department"):
        for data in (
            b"%PDF-1.4 mine",
            b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
        ):
            answer = house.call(who, "PUT", "/v1/uploads/$upload", data)
            assert (answer.status_code, answer.json()["code"]) == (409, "upload_conflict")
    assert house.fingerprint() == before


def test_anothers_grant_helps_as_little_as_an_unknown_one(house: "House") -> None:
    answers = []
    for grant_id in (house.ids["strangers_grant"], UNKNOWN["grant_id"]):
        item = {"requirement": "business_license", "item": "$license", "grant": grant_id}
        call = house.made("window", "POST", "/v1/verifications", {"case": "$case", "items": [item]})
        (told,) = call["items"]
        for name in ("verification", "slip", "receipt"):
            del told[name]
        answers.append(told)
    house.settle()  # for the tests that come after
    assert answers[0] == answers[1]
    assert answers[0]["outcome"] == "denied"
    assert house.ids["strangers_grant"] not in json.dumps(answers)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/cases",
        "/v1/cases?number=$number",
        "/v1/grants",
        "/v1/grants?case=$case",
        "/v1/licenses",
        "/v1/materials",
        "/v1/tasks",
        "/v1/uses",
    ],
)
def test_lists_hold_nothing_of_others(house: "House", path: str) -> None:
    route = path.partition("?")[0]
    asked = 0
    for who in ("elder", *OFFICES, *RECORD_ROOMS):
        if house.roles[who] in ACCESS["GET", route].split():
            answer = house.call(who, "GET", path)
            assert answer.status_code == 200
            for name in ("case", "closed_case", "grant", "material", "license", "task"):
                assert house.ids[name] not in answer.text, who
            asked += 1
    assert asked


@pytest.mark.parametrize("who", ["window", "department", "other_window", "other_department"])
def test_a_licence_tells_offices_nothing_of_its_holder(house: "House", who: str) -> None:
    answer = house.call(who, "GET", "/v1/licenses/$license")
    assert answer.status_code == 200
    told = answer.json()
    if who != "department":  # the issuing body
        assert not {"holder", "number", "face", "identifier"} & set(told)
        assert "禾味" not in answer.text


def _sent(house: "House", one: Try, who: str, value: str) -> Any:
    kept = dict(house.ids)
    house.ids[one.theirs] = value
    try:
        body = one.body
        if isinstance(body, bytes):
            body = body.replace(b"@supersedes@", house.ids["material"].encode())
        return house.call(who, one.method, one.path(), body, **one.headers)
    finally:
        house.ids.clear()
        house.ids.update(kept)


def _unknown(real: str) -> str:
    return next(value for value in UNKNOWN.values() if value[:4] == real[:4])


def _unknown_like(house: "House", one: Try) -> str:
    return _unknown(house.ids[one.theirs])


def _told(answer: Any, asked: str) -> Any:
    """The answer without what differs in every answer; the id asked for is no news."""
    problem = json.loads(answer.text.replace(asked, "…"))
    del problem["request"]
    return answer.status_code, problem


def _role_of(who: str) -> str:
    names = {"stranger": "applicant", "elder": "applicant", "representative": "applicant"}
    names |= {"agent": "applicant", "other_window": "window", "other_department": "department"}
    names |= {"civil": "department", "health": "department"}
    names |= dict.fromkeys(RECORD_ROOMS, "archivist")
    return names.get(who, who)


def _ids_in(document: dict[str, Any], schema: dict[str, Any], place: str) -> Iterator[str]:
    """Places in a body that take an id: by its pattern, or an upload's by its name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from _ids_in(document, document["components"]["schemas"][name], place)
    if re.match(r"\^\(?[a-z]{3}(\||_)", schema.get("pattern", "")) and "_" in schema["pattern"]:
        yield place
    if place.endswith("upload"):
        yield place
    for name, inner in schema.get("properties", {}).items():
        yield from _ids_in(document, inner, f"{place}.{name}".lstrip("."))
    if "items" in schema:
        yield from _ids_in(document, schema["items"], place)
    for inner in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _ids_in(document, inner, place)


def _tested_places(body: Any, tested: str, place: str) -> Iterator[str]:
    if isinstance(body, dict):
        for name, inner in body.items():
            yield from _tested_places(inner, tested, f"{place}.{name}".lstrip("."))
    elif isinstance(body, list):
        for inner in body:
            yield from _tested_places(inner, tested, place)
    elif body == f"${tested}":
        yield place
