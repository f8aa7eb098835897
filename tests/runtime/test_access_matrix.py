"""Who may use which route: one explicit table, and calls generated from it.

A route that stands in no table, one that is not marked, or one whose roles
changed fails. So does one that lets a role in that the table does not name.
"""

import re
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from kernel.principals import Role
from parties.http import access_of

if TYPE_CHECKING:
    from tests.runtime.conftest import House

PUBLIC = "public"
MONITORING = "monitoring"  # on this computer, or with a token of its own
EVERYBODY = "applicant archivist auditor department operator window"
CASE_READERS = "applicant archivist department window"
CASE_WORKERS = "applicant department window"

ACCESS = {
    ("GET", "/"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/health/live"): PUBLIC,
    ("GET", "/health/evidence"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/log/{shard}/checkpoint"): PUBLIC,
    ("GET", "/log/{shard}/tile/{path:path}"): PUBLIC,
    ("GET", "/log/evidence/sha256/{digest}"): PUBLIC,
    ("GET", "/metrics"): MONITORING,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/static/{name:path}"): PUBLIC,
    ("GET", "/upload"): PUBLIC,
    ("GET", "/v1/cases"): CASE_READERS,
    ("GET", "/v1/cases/{case_id}"): CASE_READERS,
    ("GET", "/v1/cases/{case_id}/documents"): CASE_READERS,
    ("GET", "/v1/cases/{case_id}/documents/{document_id}"): CASE_READERS,
    ("GET", "/v1/cases/{case_id}/exports"): "archivist",
    ("GET", "/v1/cases/{case_id}/materials"): CASE_READERS,
    ("GET", "/v1/catalogue/material-types"): PUBLIC,
    ("GET", "/v1/catalogue/matters"): PUBLIC,
    ("GET", "/v1/catalogue/matters/{code}"): PUBLIC,
    ("GET", "/v1/downloads/{ticket}"): CASE_WORKERS,
    ("GET", "/v1/exports/{export_id}"): "archivist",
    ("GET", "/v1/exports/{export_id}/package"): "archivist",
    ("GET", "/v1/exports/{export_id}/receipt"): "archivist",
    ("GET", "/v1/grants"): CASE_WORKERS,
    ("GET", "/v1/grants/{grant_id}"): CASE_WORKERS,
    ("GET", "/v1/license-kinds"): PUBLIC,
    ("GET", "/v1/licenses"): "applicant",
    ("GET", "/v1/licenses/{license_id}"): CASE_WORKERS,
    ("GET", "/v1/materials"): "applicant",
    ("GET", "/v1/materials/{material_id}"): CASE_READERS,
    ("GET", "/v1/receipts/{entry_id}"): EVERYBODY,
    ("GET", "/v1/tasks"): "department",
    ("GET", "/v1/uses"): "applicant",
    ("GET", "/v1/verifications/{verification_id}"): CASE_WORKERS,
    ("HEAD", "/"): PUBLIC,
    ("HEAD", "/docs"): PUBLIC,
    ("HEAD", "/log/{shard}/checkpoint"): PUBLIC,
    ("HEAD", "/log/{shard}/tile/{path:path}"): PUBLIC,
    ("HEAD", "/log/evidence/sha256/{digest}"): PUBLIC,
    ("HEAD", "/static/{name:path}"): PUBLIC,
    ("HEAD", "/upload"): PUBLIC,
    ("POST", "/v1/capacities"): "department operator",
    ("POST", "/v1/capacities/{capacity_id}/end"): "department operator",
    ("POST", "/v1/cases"): "applicant window",
    ("POST", "/v1/cases/{case_id}/assistance"): "department window",
    ("POST", "/v1/cases/{case_id}/assistance/{document_id}/answer"): "department window",
    ("POST", "/v1/cases/{case_id}/commitments"): "applicant window",
    ("POST", "/v1/cases/{case_id}/data-checks"): "department window",
    ("POST", "/v1/cases/{case_id}/events"): CASE_READERS,
    ("POST", "/v1/cases/{case_id}/exemptions"): "applicant window",
    ("POST", "/v1/cases/{case_id}/exports"): "archivist",
    ("POST", "/v1/cases/{case_id}/grants"): "window",
    ("POST", "/v1/cases/{case_id}/grants/redeem"): "window",
    ("POST", "/v1/cases/{case_id}/materials"): CASE_WORKERS,
    ("POST", "/v1/cases/{case_id}/materials/form"): "applicant window",
    ("POST", "/v1/grants"): "applicant",
    ("POST", "/v1/grants/{grant_id}/approve"): "applicant",
    ("POST", "/v1/grants/{grant_id}/code"): "applicant",
    ("POST", "/v1/grants/{grant_id}/decline"): "applicant",
    ("POST", "/v1/grants/{grant_id}/revoke"): "applicant",
    ("POST", "/v1/licenses"): "department",
    ("POST", "/v1/licenses/status"): "auditor department window",
    ("POST", "/v1/licenses/{license_id}/events"): "department",
    ("POST", "/v1/materials/{material_id}/erase"): "applicant operator",
    ("POST", "/v1/materials/{material_id}/invalidate"): "department",
    ("POST", "/v1/materials/{material_id}/resume-reuse"): "applicant",
    ("POST", "/v1/materials/{material_id}/stop-reuse"): "applicant",
    ("POST", "/v1/materials/{material_id}/tickets"): "applicant",
    ("POST", "/v1/party-events"): "department operator",
    ("POST", "/v1/register-facts"): "operator",
    ("POST", "/v1/register-facts/{fact_id}/end"): "operator",
    ("POST", "/v1/tasks/{task_id}/done"): "department",
    ("POST", "/v1/verifications"): "department window",
    ("POST", "/v1/verifications/{verification_id}/tickets"): "department window",
    ("PUT", "/v1/uploads/{upload_id}"): CASE_WORKERS,
}

GUARDED = sorted(key for key, who in ACCESS.items() if who not in (PUBLIC, MONITORING))
# One caller of the played store for every role.
CALLERS = {
    Role.APPLICANT: "representative",
    Role.WINDOW: "window",
    Role.DEPARTMENT: "department",
    Role.ARCHIVIST: "archivist",
    Role.AUDITOR: "auditor",
    Role.OPERATOR: "operator",
}
# Ids in the right form that stand for nothing.
UNKNOWN = {
    "capacity_id": "cap_" + "0" * 26,
    "case_id": "cas_" + "0" * 26,
    "code": "no_such_matter",
    "digest": "0" * 64,
    "document_id": "doc_" + "0" * 26,
    "entry_id": "ent_" + "0" * 26,
    "export_id": "exp_" + "0" * 26,
    "fact_id": "fct_" + "0" * 26,
    "grant_id": "grt_" + "0" * 26,
    "license_id": "lic_" + "0" * 26,
    "material_id": "mat_" + "0" * 26,
    "name:path": "app.css",
    "path:path": "0/000",
    "shard": "1999",
    "task_id": "tsk_" + "0" * 26,
    "ticket": "mjt_" + "0" * 43,
    "upload_id": "upl_" + "0" * 26,
    "verification_id": "vrf_" + "0" * 26,
}


def found_access(app: FastAPI) -> dict[tuple[str, str], str]:
    """The table as the application has it; a route without a mark reads `unmarked`."""
    found = {}
    for route in iter_route_contexts(app.routes):
        # Mounts and plain routes have no dependant: nothing guards them.
        dependant = getattr(route, "dependant", None)
        access = None if dependant is None else access_of(dependant)
        if access is None:
            who = "unmarked"
        elif access.public:
            who = PUBLIC
        elif access.monitoring:
            who = MONITORING
        else:
            who = " ".join(sorted(access.roles))
        for method in route.methods or {"*"}:
            found[method, str(route.path)] = who
    return found


def unknown_path(template: str) -> str:
    return re.sub(r"\{([^}]+)\}", lambda match: UNKNOWN[match[1]], template)


def sent(house: "House", who: str | None, method: str, template: str, **headers: str) -> Any:
    """The route with ids that stand for nothing and an empty body."""
    body = {} if method == "POST" and not template.endswith("/form") else None
    return house.call(who, method, unknown_path(template), body, **headers)


def test_every_route_stands_in_the_table_with_exactly_its_roles(house: "House") -> None:
    assert found_access(house.app) == ACCESS


def test_an_unmarked_or_unlisted_route_is_seen() -> None:
    app = FastAPI()

    @app.get("/forgotten")
    def forgotten() -> None: ...

    found = found_access(app)
    assert found["GET", "/forgotten"] == "unmarked"
    assert ("GET", "/forgotten") not in ACCESS


@pytest.mark.parametrize(("method", "template"), GUARDED)
def test_without_a_good_credential_nobody_gets_in(
    house: "House", method: str, template: str
) -> None:
    house.tokens["unknown"] = "mj_" + "A" * 43
    house.tokens["garbage"] = "eyJhbGciOiJub25lIn0.e30."
    for who, code in (
        (None, "credential_missing"),
        ("unknown", "credential_unknown"),
        ("garbage", "credential_unknown"),
        ("expired", "credential_expired"),
        ("revoked", "credential_revoked"),
    ):
        answer = sent(house, who, method, template)
        assert answer.status_code == 401, (who, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == code
        asked = answer.headers["www-authenticate"]
        assert asked.startswith('Bearer realm="mianjiao"')
        assert ('error="invalid_token"' in asked) == (who is not None)
    basic = sent(house, None, method, template, Authorization="Basic d2luZG93OnB3")
    assert (basic.status_code, basic.json()["code"]) == (401, "credential_missing")


@pytest.mark.parametrize(("method", "template"), GUARDED)
def test_exactly_the_listed_roles_get_in(house: "House", method: str, template: str) -> None:
    allowed = ACCESS[method, template].split()
    before = house.fingerprint()
    for role, who in CALLERS.items():
        answer = sent(house, who, method, template)
        if role in allowed:
            assert answer.status_code not in (401, 500), (who, answer.text)
            assert "role_not_allowed" not in answer.text, who
        else:
            assert answer.status_code == 403, (who, answer.text)
            problem = answer.json()
            assert problem["code"] == "role_not_allowed"
            assert sorted(problem["details"]["allowed"]) == allowed
    assert house.fingerprint() == before


@pytest.mark.parametrize(
    ("method", "template"), sorted(key for key, who in ACCESS.items() if who == PUBLIC)
)
def test_public_routes_ask_for_no_credential(house: "House", method: str, template: str) -> None:
    house.tokens["garbage"] = "garbage"
    for who in (None, "garbage"):
        assert sent(house, who, method, template).status_code in (200, 404)
