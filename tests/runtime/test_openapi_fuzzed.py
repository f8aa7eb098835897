"""Generated requests against every operation: the answers are what the document says.

Ids in paths are real ones half of the time, and callers have every role, so that
not only refusals are looked at.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.runtime.conftest import furnished
from tests.runtime.test_access_matrix import ACCESS, CALLERS

if TYPE_CHECKING:
    from tests.runtime.conftest import House

NEGATIVE = schemathesis.GenerationMode.NEGATIVE
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PAGES = {"/", "/docs", "/metrics", "/openapi.json", "/static/{name}", "/upload"}
OPERATIONS = sorted(
    (path, method)
    for (method, template) in ACCESS
    if (path := re.sub(r":\w+}", "}", template)) not in PAGES and method != "HEAD"
)
# Which real things a path may name.
REAL = {
    "capacity_id": ["capacity"],
    "case_id": ["case", "closed_case", "submitted_case", "strangers_case"],
    "document_id": ["document"],
    "entry_id": ["material_entry", "license_entry", "closed_case_entry", "document_entry"],
    "export_id": ["export"],
    "fact_id": ["fact"],
    "grant_id": ["grant", "asked_grant", "unbound_grant"],
    "license_id": ["license", "elders_license"],
    "material_id": ["material", "pending_material", "strangers_material"],
    "task_id": ["task"],
    "ticket": ["ticket", "own_ticket"],
    "upload_id": ["upload", "own_upload"],
    "verification_id": ["verification"],
}


class Fuzzed:
    def __init__(self, house: "House") -> None:
        self.house = house
        self.schema = schemathesis.openapi.from_asgi("/openapi.json", house.app)


@pytest.fixture(scope="module")
def fuzzed(played: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with furnished(played, tmp_path_factory.mktemp("fuzzed") / "store") as house:
        yield Fuzzed(house)


def test_every_operation_of_the_document_is_fuzzed(fuzzed: Fuzzed) -> None:
    found = sorted(
        (operation.ok().path, operation.ok().method.upper())
        for operation in fuzzed.schema.get_all_operations()
    )
    assert found == OPERATIONS


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_as_the_document_says(fuzzed: Fuzzed, path: str, method: str) -> None:
    operation = fuzzed.schema[path][method]
    house = fuzzed.house
    allowed = ACCESS[method, path.replace("{path}", "{path:path}")].split()
    # Mostly who may use it; strangers and the wrong role as well.
    callers = [who for role, who in CALLERS.items() if role in allowed] or ["window"]
    asked = 0

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy() | operation.as_strategy(generation_mode=NEGATIVE),
        who=st.sampled_from([*callers * 3, "other_department", "stranger"]),
        real=st.data(),
        known=st.booleans(),
    )
    def answers(case: Any, who: str, real: Any, known: bool) -> None:
        nonlocal asked
        for name in case.path_parameters or {}:
            if known and name in REAL:
                chosen = real.draw(st.sampled_from(REAL[name]))
                case.path_parameters[name] = house.ids[chosen]
        asked += 1
        headers = {"Authorization": f"Bearer {house.tokens[who]}"}
        case.call_and_validate(headers=headers, checks=CHECKS)

    answers()
    assert asked >= 1
