"""What bad input gets, over a real server process: a clear problem, and nothing stored.

Every refusal is a problem document with a stable code in both languages. Beside
it the rows and the files of the store are counted, before and after.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from kernel.ids import IdKind, new_id
from runtime.demo import people
from tests.runtime.edge import (
    CASE,
    MIB,
    PDF,
    Window,
    assert_raw_refused,
    assert_refused,
    nothing_stored,
    read_answer,
    received,
    stored,
)

# --- Materials ---


def material(window: Window, case: str, data: bytes = PDF, **more: Any) -> httpx2.Response:
    upload = window.uploaded(data)
    body = {
        "type": "application_form",
        "requirement": "application_form",
        "title": "食品经营许可申请书",
        "files": [{"upload": upload, "name": "申请书.pdf"}],
        **more,
    }
    before = stored(window.server)
    answer = window.send("POST", f"/v1/cases/{case}/materials", json=body)
    if answer.status_code >= 400:
        assert stored(window.server) == before
    return answer


@pytest.mark.parametrize("data", [b"MZ\x90\x00" + bytes(2000), b"<html><script>1</script></html>"])
def test_content_that_its_type_does_not_take_is_refused(
    window: Window, case: str, data: bytes
) -> None:
    assert_refused(material(window, case, data), 415, "content_type_not_accepted")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"issued_at": "2026-02-30"}, "invalid_fields"),
        ({"issued_at": "2026-13-01"}, "invalid_fields"),
        ({"issued_at": "20260101"}, "invalid_fields"),
        ({"issued_at": 20260101}, "invalid_fields"),
        ({"issued_at": "9999-12-31"}, "date_impossible"),
        ({"issued_at": "2026-01-02", "valid_until": "2026-01-01"}, "date_impossible"),
        ({"certified_at": "2026-01-01T00:00:00"}, "invalid_fields"),
        ({"title": "一\u202e二"}, "text_invalid"),
        ({"title": ""}, "invalid_fields"),
        ({"type": "lease_contract"}, "type_not_of_requirement"),
        ({"surprise": 1}, "invalid_fields"),
        ({"files": []}, "invalid_fields"),
        ({"parties": [{"type": "111", "code": "310199198802299065"}]}, "check_character_wrong"),
        ({"supersedes": "mat_" + "0" * 26}, "supersedes_invalid"),
    ],
)
def test_fields_that_cannot_be_are_refused(
    window: Window, case: str, fields: dict[str, Any], code: str
) -> None:
    assert_refused(material(window, case, **fields), 422, code)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"matter": "no_such_matter"}, 422, "matter_unknown"),
        ({"matter": "11310199MB2Y01016G4009991314000"}, 422, "matter_unknown"),
        ({"variant": "no_such_variant"}, 422, "variant_unknown"),
        (
            {"applicant": {"type": "001", "code": "91310199MA1Y7K2D1H"}},
            422,
            "check_character_wrong",
        ),
        (
            {"applicant": {"type": "111", "code": "310199198802309069"}},
            422,
            "birth_date_impossible",
        ),
        ({"applicant": {"type": "999", "code": "1"}}, 422, "holder_type_unknown"),
        ({"number": "a b"}, 422, "case_number_invalid"),
        ({"channel": "carrier-pigeon"}, 422, "invalid_fields"),
        ({"matter": None}, 422, "invalid_fields"),
    ],
)
def test_a_case_that_cannot_be_is_not_opened(
    window: Window, fields: dict[str, Any], status: int, code: str
) -> None:
    with nothing_stored(window.server):
        assert_refused(window.send("POST", "/v1/cases", json={**CASE, **fields}), status, code)


def test_a_licence_identifier_with_a_wrong_check_character_is_refused(window: Window) -> None:
    wrong = people.NEW_LICENSE[:-1] + "F"
    answer = window.send("POST", "/v1/licenses/status", json={"identifier": wrong})
    assert_refused(answer, 422, "check_character_wrong")


def test_another_bodys_case_and_anothers_item_are_refused(window: Window, case: str) -> None:
    with nothing_stored(window.server):
        answer = window.send("GET", f"/v1/cases/{case}", "civil")
        assert_refused(answer, 403, "case_of_other_department")
        answer = window.send("GET", f"/v1/cases/{case}", "elder")
        assert_refused(answer, 404, "case_unknown")
        items = [{"requirement": "other", "item": "mat_" + "0" * 26}]
        answer = window.send("POST", "/v1/verifications", json={"case": case, "items": items})
        assert_refused(answer, 404, "item_unknown")


# --- Idempotency ---


def test_the_same_key_replays_the_answer_and_refuses_another_body(window: Window) -> None:
    key = {"Idempotency-Key": new_id(IdKind.REQUEST)}
    first = window.send("POST", "/v1/cases", json=CASE, headers=key)
    assert first.status_code == 201
    with nothing_stored(window.server):
        again = window.send("POST", "/v1/cases", json=CASE, headers=key)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        other = window.send("POST", "/v1/cases", json={**CASE, "variant": "new"}, headers=key)
        assert_refused(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "k" * 129, b"\xe9", "a\tb"])
def test_a_key_of_another_form_is_refused(window: Window, key: str | bytes) -> None:
    with nothing_stored(window.server):
        answer = window.send("POST", "/v1/cases", json=CASE, headers={"Idempotency-Key": key})
        assert_refused(answer, 422, "invalid_fields")


# --- Bodies ---


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_fields"),
        (b"{", 400, "malformed_request"),
        (b"null", 422, "invalid_fields"),
        (b"[]", 422, "invalid_fields"),
        (b'"x"', 422, "invalid_fields"),
        (b'{"matter":"\xff"}', 400, "malformed_request"),
        (b"[" * 100_000, 400, "malformed_request"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "malformed_request"),
        (b'{"matter":' + b"9" * 5_000 + b"}", 400, "malformed_request"),
        (b'{"matter":NaN}', 422, "invalid_fields"),
        (b'{"matter":"\\ud800"}', 422, "invalid_fields"),
        (b'{"\\ud800":1}', 422, "invalid_fields"),
        (b'{"matter":"a","matter":"b"}', 422, "field_twice"),
        (b'{"applicant":{"type":"111","type":"001"}}', 422, "field_twice"),
        (b'{"' + b"k" * 100_000 + b'":1}', 422, "invalid_fields"),
        (b"\x1f\x8b\x08\x00", 400, "malformed_request"),
    ],
    ids=lambda value: str(value[:24]) if isinstance(value, bytes) else None,
)
def test_a_body_that_cannot_be_read_is_refused(
    window: Window, body: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    with nothing_stored(window.server):
        answer = window.send("POST", "/v1/cases", content=body, headers=headers)
        assert_refused(answer, status, code)
        assert len(answer.content) < 4_096


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_a_body_of_another_kind_is_refused(window: Window, kind: str) -> None:
    body = json.dumps(CASE).encode()
    with nothing_stored(window.server):
        answer = window.send("POST", "/v1/cases", content=body, headers={"Content-Type": kind})
        assert_refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_whether_declared_or_not(window: Window, chunked: bool) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (MIB // 4)

    headers = {"Content-Type": "application/json"}
    content = blocks() if chunked else b" " * (16 * MIB)
    with nothing_stored(window.server):
        answer = window.send("POST", "/v1/cases", content=content, headers=headers)
        assert_refused(answer, 413, "body_too_large")


def test_unknown_fields_are_named_without_their_values(window: Window) -> None:
    secret = "310199198802299064"
    answer = window.send("POST", "/v1/cases", json={**CASE, "surprise": secret, "channel": secret})
    problem = assert_refused(answer, 422, "invalid_fields")
    assert {"field": "surprise", "rule": "extra_forbidden"} in problem["fields"]
    assert secret not in answer.text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"x", "multipart/form-data"),
        (b"x", ""),
    ],
)
def test_a_browser_form_that_cannot_be_read_is_refused(
    window: Window, case: str, body: bytes, kind: str
) -> None:
    path = f"/v1/cases/{case}/materials/form"
    with nothing_stored(window.server):
        answer = window.send("POST", path, content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 415, 422), answer.text
        assert_refused(answer, answer.status_code, answer.json()["code"])


# --- Addresses, methods, headers, queries ---


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/cases/", "//", "/v2/cases", "/.git/config"])
def test_an_unknown_path_is_404(window: Window, path: str) -> None:
    assert_raw_refused(window.raw(f"GET {path} HTTP/1.1\r\nConnection: close"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/cases", "GET, OPTIONS, POST"),
        ("PATCH", "/v1/materials/mat_" + "0" * 26, "GET, OPTIONS"),
        ("HEAD", "/v1/cases", "GET, OPTIONS, POST"),
        ("POST", "/v1/uses", "GET, OPTIONS"),
        ("GET", "/v1/uploads/upl_" + "0" * 26, "OPTIONS, PUT"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_and_names_what_is_allowed(
    window: Window, method: str, path: str, allowed: str
) -> None:
    answer = window.send(method, path)
    if method != "HEAD":
        assert_refused(answer, 405, "method_not_allowed")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    options = window.http.request("OPTIONS", path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")
    assert window.http.request("OPTIONS", "/v1/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/", "/docs", "/log/2026/checkpoint"])
def test_pages_and_the_log_answer_head_like_get_without_a_body(window: Window, path: str) -> None:
    got, head = window.http.get(path), window.http.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/cases?cursor=eyJhIjoxfQ", "cursor_invalid"),
        ("/v1/cases?cursor=%ff%00", "cursor_invalid"),
        ("/v1/cases?cursor=" + "a" * 300, "invalid_fields"),
        ("/v1/cases?limit=0", "invalid_fields"),
        ("/v1/cases?limit=201", "invalid_fields"),
        ("/v1/cases?limit=many", "invalid_fields"),
        ("/v1/cases?limit=99999999999999999999", "invalid_fields"),
        ("/v1/cases?state=lost", "invalid_fields"),
        ("/v1/grants?case=cas_x", "invalid_fields"),
        ("/v1/cases?number=%00", "invalid_fields"),
        ("/v1/cases?number=%D0%96", "invalid_fields"),
        ("/v1/cases/%00%ff", "invalid_fields"),
        ("/v1/cases/CAS_" + "0" * 26, "invalid_fields"),
        ("/v1/catalogue/matters?cursor=nobody", "cursor_invalid"),
    ],
)
def test_a_query_or_id_of_another_form_is_refused(window: Window, path: str, code: str) -> None:
    assert_raw_refused(window.raw(f"GET {path} HTTP/1.1\r\nConnection: close"), 422, code)


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=abc", "wait=-1", "wait=99999999", ";;;", "wait=1.5"]
)
def test_a_preference_that_makes_no_sense_is_ignored(window: Window, prefer: str) -> None:
    # RFC 7240 section 2: what is not understood is ignored.
    answer = window.send("POST", "/v1/cases", json=CASE, headers={"Prefer": prefer})
    assert answer.status_code == 201
    assert answer.json()["receipt"]["status"] == "pending"


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /办件 HTTP/1.1",
        "GET /\udcff HTTP/1.1",
        "BREW / HTTP/1.1",
        "\x16\x03\x01",
        "GET / HTTP/9.9",
    ],
)
def test_what_is_no_http_gets_a_problem_too(window: Window, request_line: str) -> None:
    assert_raw_refused(window.raw(f"{request_line}\r\nA: b"), 400, "malformed_request")


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 99999999999999999999999",
    ],
)
def test_a_body_whose_length_is_in_doubt_is_refused(window: Window, lines: str) -> None:
    data = window.raw(f"POST /v1/cases HTTP/1.1\r\n{lines}")
    assert_raw_refused(data, 400, "malformed_request")


def test_a_head_that_is_too_large_is_refused(window: Window) -> None:
    one = window.raw("GET /health/live HTTP/1.1\r\nX: " + "a" * 70_000)
    assert_raw_refused(one, 431, "head_too_large")
    many = window.raw("GET /health/live HTTP/1.1\r\n" + "\r\n".join(["A: b"] * 40_000))
    assert_raw_refused(many, 431, "head_too_large")
    long = window.raw("GET /health/live?" + "q" * 70_000 + " HTTP/1.1")
    assert_raw_refused(long, 431, "head_too_large")
    fits = window.raw("GET /health/live HTTP/1.1\r\nConnection: close\r\nX: " + "a" * 60_000)
    assert read_answer(fits)[0] == 200


@pytest.mark.parametrize("host", ["[::1", "办件", "", "a b", "x" * 5_000])
def test_a_strange_host_changes_nothing(window: Window, host: str) -> None:
    token = window.server.tokens["window"]
    with socket.create_connection(("127.0.0.1", window.server.port)) as connection:
        connection.settimeout(20)
        head = f"GET /v1/cases HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        connection.sendall((head + "Connection: close\r\n\r\n").encode())
        assert read_answer(received(connection))[0] == 200
