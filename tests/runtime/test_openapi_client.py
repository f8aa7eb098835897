"""A client generated from the OpenAPI document works against a real server."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from kernel.ids import IdKind, new_id
from runtime.demo import people
from tests.runtime.edge import PDF, Window

if TYPE_CHECKING:
    from tests.runtime.conftest import Served

PACKAGE = "generated_client"


@pytest.fixture(scope="module")
def generated(window: Window, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, generated and importable."""
    folder = tmp_path_factory.mktemp("generated")
    document = folder / "openapi.json"
    document.write_bytes(window.http.get("/openapi.json").content)
    tools = Path(sys.executable).parent  # the generator formats with the ruff beside it
    done = subprocess.run(
        [
            tools / "openapi-python-client",
            "generate",
            *("--path", document, "--output-path", folder / PACKAGE, "--meta", "none"),
        ],
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # It has no reader for these two kinds; their operations answer with plain bytes.
    left_out = re.findall(r"^(?:WARNING|ERROR|Unable).*", said, re.MULTILINE)
    kinds = re.findall(r"Unsupported content_type (\S+)\)", said)
    assert len(left_out) == len(kinds), said
    assert set(kinds) <= {"application/pdf", "application/zip"}, said
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{name}")


def call(name: str, client: Any, **named: Any) -> Any:
    """The parsed answer of an operation, e.g. `cases.cases_open`."""
    return part(f"api.{name}").sync_detailed(client=client, **named)


def test_every_operation_has_a_function(generated: Path) -> None:
    document = json.loads((generated.parent / "openapi.json").read_text(encoding="utf-8"))
    made = {path.stem for path in (generated / "api").rglob("*.py")} - {"__init__"}
    wanted = {
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    }
    assert made == wanted


def test_a_case_is_opened_filled_and_listed(generated: Path, server: "Served") -> None:
    models, types = part("models"), part("types")
    client = part("client").AuthenticatedClient(server.url, server.tokens["window"])

    body = models.CaseIn(
        matter=people.FOOD_MATTER,
        variant="moved",
        applicant=models.HolderIn.from_dict(people.COMPANY.ref()),
        acting=models.ActingIn.from_dict(people.ACTS_FOR_COMPANY),
        channel=models.CaseInChannel.WINDOW,
    )
    opened = call("cases.cases_open", client, body=body, idempotency_key=new_id(IdKind.REQUEST))
    assert (opened.status_code, opened.parsed.state) == (201, "draft")
    case = opened.parsed.case_id

    upload = new_id(IdKind.UPLOAD)
    file = types.File(payload=io.BytesIO(PDF))
    stored = call("uploads.uploads_put", client, upload_id=upload, body=file).parsed
    assert (stored.size, stored.media_type) == (len(PDF), "application/pdf")

    registered = call(
        "materials.materials_register",
        client,
        case_id=case,
        prefer="wait=10",
        body=models.MaterialIn(
            type_="application_form",
            requirement="application_form",
            title="食品经营许可申请书",
            files=[models.FileIn(upload=upload, name="申请书.pdf")],
        ),
    ).parsed
    assert registered.receipt.status == "ready"
    assert registered.receipt.receipt.to_dict()["type"] == "mianjiao.receipt/v1"

    listed = call("materials.materials_of_case", client, case_id=case).parsed
    assert [one.material_id for one in listed.items] == [registered.material_id]
    read = call("materials.materials_one", client, material_id=registered.material_id).parsed
    assert (read.title, read.files[0].name) == ("食品经营许可申请书", "申请书.pdf")

    exempt = call("cases.cases_exemptions", client, case_id=case).parsed
    assert (exempt.exemptible, exempt.required) == (6, 8)
    page = call("cases.cases_list", client, limit=1).parsed
    following = call("cases.cases_list", client, limit=1, cursor=page.next_).parsed
    assert page.items[0].case_id != following.items[0].case_id


def test_refusals_come_as_problems(generated: Path, server: "Served") -> None:
    problem = part("models").Problem
    client = part("client").AuthenticatedClient(server.url, server.tokens["window"])
    unknown = call("cases.cases_one", client, case_id="cas_" + "0" * 26)
    assert unknown.status_code == 404
    assert isinstance(unknown.parsed, problem)
    assert (unknown.parsed.code, unknown.parsed.zh) == ("case_unknown", "找不到办件")
    client = part("client").AuthenticatedClient(server.url, "mj_nobody")
    refused = call("cases.cases_list", client)
    assert (refused.status_code, refused.parsed.code) == (401, "credential_unknown")
    public = part("client").Client(server.url)
    kinds = call("licenses.licenses_license_kinds", public).parsed
    assert any(kind.key == "business_license" for kind in kinds.items)
