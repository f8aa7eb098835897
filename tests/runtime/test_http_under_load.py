"""Many callers at once against a real server: one-time grants, memory, and what is logged."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from kernel.ids import IdKind, new_id
from runtime.demo import people
from tests.runtime.edge import CASE, MIB, NAMES, PDF, Window, assert_refused, until

CASES = 100


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run all jobs in threads of their own that begin together."""
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        gate.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.fixture(scope="module")
def text_file(window: Window) -> str:
    """A small material of the company that may be reused."""
    items = window.made("GET", "/v1/materials?type=other&limit=200", "representative")["items"]
    for one in items:
        told = window.made("GET", f"/v1/materials/{one['material_id']}", "representative")
        if told["files"][0]["name"].endswith(".txt"):
            return str(one["material_id"])
    raise AssertionError("the story has lost its text file")


def test_a_one_time_grant_serves_one_of_a_hundred_cases(window: Window, text_file: str) -> None:
    cases = [window.opened() for _ in range(CASES)]
    grant = {"items": [text_file], "purpose": "食品经营许可", "use": "once"}
    grant_id = window.made("POST", "/v1/grants", "representative", json=grant)["grant_id"]

    def verification(case: str) -> dict[str, Any]:
        item = {"requirement": "other", "item": text_file, "grant": grant_id}
        with httpx2.Client(base_url=window.server.url, timeout=100) as own:
            token = window.server.tokens["window"]
            answer = own.post(
                "/v1/verifications",
                json={"case": case, "items": [item]},
                headers={"Authorization": f"Bearer {token}"},
            )
        assert answer.status_code == 201, answer.text
        (told,) = answer.json()["items"]
        return dict(told)

    told = at_once([lambda case=case: verification(case) for case in cases])  # type: ignore[misc]
    allowed = [case for case, one in zip(cases, told, strict=True) if one["outcome"] == "allowed"]
    assert len(allowed) == 1
    reasons = {one["reason"] for one in told if one["outcome"] == "denied"}
    assert reasons <= {"grant_other_case", "grant_spent"}
    assert len({one["verification"] for one in told}) == CASES
    # Inside that case the grant goes on serving; in no other one does it.
    assert verification(allowed[0])["outcome"] == "allowed"
    assert verification(next(case for case in cases if case not in allowed))["outcome"] == "denied"
    shown = window.made("GET", f"/v1/grants/{grant_id}", "representative")
    assert (shown["status"], shown["case_id"]) == ("spent", allowed[0])


def test_the_same_request_sent_twenty_times_at_once_happens_once(window: Window) -> None:
    key = {"Idempotency-Key": new_id(IdKind.REQUEST)}

    def opened() -> httpx2.Response:
        return Window(window.server).send("POST", "/v1/cases", json=CASE, headers=key)

    answers = at_once([opened] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count(None) == 1


def test_whatever_is_sent_memory_stays_bounded(window: Window) -> None:
    def blocks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield bytes(MIB)

    def send(method: str, path: str, kind: str) -> int:
        return (
            Window(window.server)
            .send(method, path, content=blocks(48), headers={"Content-Type": kind})
            .status_code
        )

    def upload() -> int:
        return send("PUT", f"/v1/uploads/{new_id(IdKind.UPLOAD)}", "application/octet-stream")

    def body() -> int:
        return send("POST", "/v1/cases", "application/json")

    def form() -> int:
        case = "cas_" + "0" * 26
        return send("POST", f"/v1/cases/{case}/materials/form", "multipart/form-data; boundary=x")

    def endless(head: bytes, piece: bytes) -> int:
        with socket.create_connection(("127.0.0.1", window.server.port)) as connection:
            connection.settimeout(20)
            try:
                connection.sendall(head)
                for _ in range(48):
                    connection.sendall(piece * (MIB // len(piece)))
            except OSError:
                pass  # cut off, as it should be
            try:
                return int(connection.recv(4096).split()[1])
            except (OSError, IndexError):
                return 0

    get = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    chunked = b"POST /v1/cases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    jobs: list[Callable[[], int]] = [
        *[upload] * 8,
        *[body] * 8,
        *[form] * 4,
        lambda: endless(get + b"X: ", b"a"),
        lambda: endless(get, b"A: b\r\n"),
        lambda: endless(b"GET /?", b"q"),
        lambda: endless(chunked + b"1;", b"x"),
        lambda: endless(chunked + b"0\r\n", b"A: b\r\n"),
    ]
    before = window.server.peak_rss()
    answers = at_once(jobs)
    grown = window.server.peak_rss() - before
    # 25 senders of 48 MiB each: 1.2 GiB would not fit.
    assert grown < 160 * MIB, f"{grown / MIB:.0f} MiB"
    assert set(answers[:20]) == {413} | set(answers[16:20])
    assert set(answers[16:20]) <= {400, 413, 415, 422}
    assert set(answers[20:]) <= {0, 401, 431}
    assert window.http.get("/health/ready").status_code == 200


def test_a_download_ends_when_its_client_is_gone(window: Window) -> None:
    items = window.made("GET", "/v1/materials?type=other&limit=200", "representative")["items"]
    sizes = {}
    for one in items:
        told = window.made("GET", f"/v1/materials/{one['material_id']}", "representative")
        sizes[told["files"][0]["size"]] = told["material_id"]
    path = f"/v1/materials/{sizes[max(sizes)]}/tickets"
    href = window.made("POST", path, "representative", json={})["href"]
    token = window.server.tokens["representative"]
    before = len(window.server.log.read_text().splitlines())
    with socket.create_connection(("127.0.0.1", window.server.port)) as connection:
        head = f"GET {href} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(16).startswith(b"HTTP/1.1 200")

    def lines() -> list[str]:
        new = window.server.log.read_text().splitlines()[before:]
        return [line for line in new if "/v1/downloads/{ticket}" in line]

    until(lambda: bool(lines()))
    assert "client_gone" in lines()[0]


def test_the_log_names_nobody_and_holds_no_secret(window: Window) -> None:
    name, code = people.LEGAL_REPRESENTATIVE.name, people.LEGAL_REPRESENTATIVE.code
    before = len(window.server.log.read_text().splitlines())
    case = window.opened()
    upload = window.uploaded(PDF)
    window.made(
        "POST",
        f"/v1/cases/{case}/materials",
        json={
            "type": "application_form",
            "requirement": "application_form",
            "title": f"{name}的申请书",
            "files": [{"upload": upload, "name": f"{name}{code}.pdf"}],
            "parties": [{"type": "111", "code": code, "name": name}],
        },
    )
    window.made("GET", f"/v1/cases/{case}")
    window.made("GET", f"/v1/cases?number={quote(name)}")
    wrong = {**CASE, "applicant": {"type": "111", "code": code, "name": "另一人"}, "channel": "pc"}
    assert window.send("POST", "/v1/cases", json=wrong).status_code in (409, 422)
    for body in (f'{{"{name}": "{code}"}}', f'{{"matter": "{name}', f'{{"a":"{code}","a":1}}'):
        answer = window.send(
            "POST", "/v1/cases", content=body.encode(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422)
    for path in (f"/v1/cases/{quote(name)}", f"/{code}", f"/v1/{quote(name)}?{code}"):
        assert window.send("GET", path).status_code in (404, 422)
    key = {"Idempotency-Key": code, "X-Name": code, "User-Agent": code}
    window.made("POST", "/v1/cases", json=CASE, headers=key)
    refused = window.http.get("/v1/cases", headers={"Authorization": f"Bearer {code}"})
    assert_refused(refused, 401, "credential_unknown")
    until(lambda: len(window.server.log.read_text().splitlines()) >= before + 14)
    text = window.server.log.read_text()
    told = [json.loads(line) for line in text.splitlines()]
    assert ("POST", "/v1/cases", 201) in {
        (line.get("method"), line.get("route"), line.get("status")) for line in told
    }
    assert 422 in {line.get("status") for line in told}
    for secret in (
        *NAMES,
        code,
        people.ELDER.code,
        people.COMPANY.code,
        "%E6%B2%88",
        "mj_",
        "mjt_",
    ):
        assert secret not in text, secret
    assert json.dumps(name)[1:-1] not in text
