"""The document that describes the API: valid, readable, and true."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis

from tests.runtime.test_access_matrix import ACCESS, PUBLIC

if TYPE_CHECKING:
    from tests.runtime.conftest import House

Json = dict[str, Any]
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture(scope="module")
def document(house: "House") -> Json:
    answer = house.client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def access(method: str, path: str) -> str:
    return ACCESS[method, path.replace("{path}", "{path:path}")]


def test_the_document_is_valid_openapi_3_1(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()
    broken = json.loads(json.dumps(document))
    broken["paths"]["/v1/cases"]["get"]["responses"] = "none"
    with pytest.raises(Exception, match="not of type"):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_reference_leads_somewhere(document: Json) -> None:
    found = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert found
    for reference in found:
        place: Any = document
        for name in reference.split("/"):
            place = place[name]


def test_operation_ids_are_unique_and_readable(document: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for one in ids:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", one), one
        assert len(one) < 40


def test_schemas_have_short_names_that_are_their_titles(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        assert re.fullmatch(r"[A-Z]\w+", name), name
        assert "__" not in name
        assert schema.get("title", name) == name
    assert "HTTPValidationError" not in schemas


def test_every_operation_is_told_in_both_languages(document: Json) -> None:
    for path, method, operation in operations(document):
        text = f"{operation['summary']} {operation.get('description', '')}"
        assert re.search(r"[\u4e00-\u9fff]", text), (method, path)
        assert re.search(r"[A-Za-z]+ [A-Za-z]+", text), (method, path)


def test_every_operation_names_its_roles(document: Json) -> None:
    for path, method, operation in operations(document):
        told = [scheme["bearer"] for scheme in operation.get("security", [])]
        wanted = access(method, path)
        if wanted == PUBLIC:
            assert told == [], path
        else:
            assert [sorted(roles) for roles in told] == [wanted.split()], path


def test_every_operation_documents_its_refusals_as_problems(document: Json) -> None:
    for path, method, operation in operations(document):
        refusals = {status for status in operation["responses"] if status[0] in "45"}
        assert {"500", "503"} <= refusals, (method, path)
        if access(method, path) != PUBLIC:
            assert {"401", "403"} <= refusals, (method, path)
        if "requestBody" in operation:
            assert {"400", "408", "413", "415", "422"} <= refusals, (method, path)
        for status in refusals:
            name = operation["responses"][status]["$ref"].rpartition("/")[2]
            response = document["components"]["responses"][name]
            assert response["content"] == PROBLEM
            assert re.search(r"[\u4e00-\u9fff].* / [a-z]", response["description"])


def test_every_success_says_what_it_holds(document: Json) -> None:
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            if status[0] == "2":
                for kind, content in response.get("content", {}).items():
                    assert content["schema"] or kind == "application/json", (method, path)


def test_real_answers_are_as_documented(house: "House", document: Json) -> None:
    seen = set()
    for method, path, status, told in tuple(house.answers):
        template, operation = _operation(document, method, path.partition("?")[0])
        content = operation["responses"][str(status)]["content"]["application/json"]
        validator = jsonschema_rs.validator_for(
            {**content["schema"], "components": document["components"]}
        )
        errors = [error.message for error in validator.iter_errors(json.loads(told))]
        assert errors == [], (method, template, errors)
        seen.add((method, template))
    assert len(seen) >= 18
    assert ("POST", "/v1/verifications") in seen


def test_an_answer_that_is_not_as_documented_is_seen(house: "House", document: Json) -> None:
    text = next(told for _, path, _, told in house.answers if path == "/v1/verifications")
    told = json.loads(text)
    schema = document["paths"]["/v1/verifications"]["post"]["responses"]["201"]["content"]
    whole = {**schema["application/json"]["schema"], "components": document["components"]}
    assert jsonschema_rs.is_valid(whole, told)
    assert not jsonschema_rs.is_valid(whole, {**told, "outcome": "perhaps"})
    assert not jsonschema_rs.is_valid(whole, {**told, "items": [{}]})


def _operation(document: Json, method: str, path: str) -> tuple[str, Json]:
    # A path without parameters goes before one with them, as in the router.
    for template in sorted(document["paths"], key=lambda one: one.count("{")):
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in document["paths"][template]:
            return template, document["paths"][template][method.lower()]
    raise AssertionError(f"{method} {path} is not documented")
