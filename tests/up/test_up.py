"""The services of docker-compose.yml, run as `make up` runs them, and what breaks in them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from kernel.ids import IdKind, new_id
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from runtime.demo import people
from scripts.up.programs import ProgramMissing, minio, nginx
from scripts.up.services import Services
from tests.conftest import ROOT

PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
PATIENCE = 60.0

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("up")]


def missing() -> str | None:
    for program in (minio, nginx):
        try:
            program()
        except ProgramMissing as error:
            return str(error)
    return None


@dataclass(frozen=True)
class Up:
    """The running services, and everybody's tokens."""

    services: Services
    tokens: dict[str, str]
    http: httpx2.Client

    def send(self, method: str, path: str, who: str = "window", **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.tokens[who]}", **more.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **more)

    def made(self, method: str, path: str, who: str = "window", **more: Any) -> Any:
        answer = self.send(method, path, who, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def case(self) -> Any:
        return self.made("POST", "/v1/cases", json=CASE)

    def uploaded(self, data: bytes) -> str:
        upload = new_id(IdKind.UPLOAD)
        self.made("PUT", f"/v1/uploads/{upload}", content=data)
        return upload

    def ledgered(self, receipt: str) -> bytes | None:
        answer = self.send("GET", receipt, headers={"Prefer": "wait=5"})
        assert answer.status_code in (200, 202), answer.text
        return answer.content if answer.status_code == 200 else None

    def kill(self, name: str) -> int:
        """SIGKILL all of it; its process id."""
        pid = self.services.running[name].pid
        os.killpg(pid, signal.SIGKILL)
        self.services.running[name].wait()
        return pid

    def command(self, *arguments: str) -> str:
        """A `mianjiao` command with the services' settings."""
        done = subprocess.run(
            [
                sys.executable, "-m", "runtime.cli", *arguments,
                "--data", str(self.services.folder / "store"),
            ],
            cwd=ROOT,
            env={**os.environ, **self.services.plan.store_environment()},
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


CASE = {
    "matter": people.FOOD_MATTER,
    "variant": "moved",
    "applicant": people.COMPANY.ref(),
    "acting": people.ACTS_FOR_COMPANY,
    "channel": "window",
}


def until(met: Callable[[], object], what: str, each: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline, what
        each()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """All services, started once for this module."""
    lacking = missing()
    if lacking is not None:
        assert not os.environ.get("CI"), lacking
        pytest.skip(lacking)
    # Short and open to PostgreSQL's user, which pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="mj-up-"))
    folder.chmod(0o755)
    services = Services(folder)
    try:
        services.start()
        yield _with_tokens(services)
    finally:
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _with_tokens(services: Services) -> Up:
    data = services.folder / "store"
    made = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, json; from pathlib import Path\n"
            "from runtime.demo.cast import issue_tokens\n"
            "print(json.dumps({one.key: one.token for one in issue_tokens(Path(sys.argv[1]))}))",
            str(data),
        ],
        cwd=ROOT,
        env={**os.environ, **services.plan.store_environment()},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    return Up(services, json.loads(made.stdout), httpx2.Client(base_url=services.url, timeout=60))


def test_the_page_is_there_and_inner_pages_are_not(up: Up) -> None:
    page = up.http.get("/")
    assert page.status_code == 200
    assert "免交" in page.text
    inner = up.http.get("/metrics")
    assert (inner.status_code, inner.json()["code"]) == (404, "not_found")
    large = up.http.post("/v1/cases", content=bytes(3 << 20))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    assert large.json()["request"] not in ("", "$safe_request_id")
    assert up.http.get("/health/ready").json() == {"status": "ready"}


def test_what_goes_in_at_the_proxy_is_ledgered_and_comes_back(up: Up) -> None:
    case = up.case()
    upload = up.uploaded(PDF + bytes(200_000))
    material = up.made(
        "POST",
        f"/v1/cases/{case['case_id']}/materials",
        json={
            "type": "other",
            "requirement": "other",
            "title": "其他材料",
            "provenance": "certified_copy",
            "files": [{"upload": upload, "name": "材料.pdf"}],
        },
    )
    receipt = up.ledgered(material["receipt"]["href"])
    assert receipt is not None
    policy = parse_policy(up.command("log", "policy").encode())
    assert isinstance(verify_receipt(receipt, policy), Evidence)
    # Object and log lie in the bucket alone.
    names = {path.name for path in (up.services.folder / "store").iterdir()}
    assert "log" not in names
    assert "mianjiao.sqlite3" not in names
    # The licence service answers behind the same address.
    assert up.made("GET", "/v1/license-kinds")["items"]


def test_one_api_process_may_die(up: Up) -> None:
    for name in ("materials-api-1", "materials-api-2"):
        pid = up.kill(name)
        for _ in range(4):
            assert up.send("GET", "/v1/license-kinds").status_code == 200
            up.case()  # the other one answers
        up.services.look()
        assert up.services.running[name].pid != pid
        until(lambda name=name: up.services.healthy(name), "not healthy again")  # type: ignore[misc]
        time.sleep(1.5)  # for so long the proxy passes over a server that failed


@pytest.mark.parametrize("name", ["sequencer-1", "postgres-1", "minio-1", "license-service-1"])
def test_a_killed_service_comes_back_and_everything_completes(up: Up, name: str) -> None:
    before = up.case()
    up.kill(name)
    refused = up.send("POST", "/v1/cases", json=CASE)
    assert refused.status_code in (201, 503), refused.text
    if refused.status_code == 503:
        assert refused.json()["code"]
        assert "retry-after" in refused.headers
    up.services.look()
    names = list(up.services.running)
    until(lambda: all(map(up.services.healthy, names)), "not all healthy", up.services.look)
    after = up.case()
    for case in (before, after):
        until(lambda case=case: up.ledgered(case["receipt"]["href"]), "not ledgered")  # type: ignore[misc]


def test_nothing_is_wrong_in_the_end(up: Up) -> None:
    assert json.loads(up.command("fsck", "--json"))["problems"] == []
