"""Browser forms: streamed, limited, and all or nothing."""

import json
from collections.abc import Iterator

import httpx2
import pytest
from sqlalchemy import select

from materials_api.tables import materials, uploads
from storage.tables import objects

FIELDS = {"type": "lease_contract", "title": "房屋租赁合同", "requirement": ""}


def open_case(served) -> str:
    hall = served.hall
    with served.client("window") as client:
        answer = client.post(
            "/v1/cases",
            json={
                "matter": hall.FOOD,
                "variant": "new",
                "channel": "window",
                "applicant": {"type": "001", "code": hall.COMPANY.code},
                "acting": {"type": "111", "code": hall.ZHOU.code, "capacity": "operator"},
            },
        )
        return str(answer.json()["case_id"])


def send(served, case: str, parts: list[tuple], **headers: str) -> httpx2.Response:
    """`parts`: (name, value) or (name, file name, bytes), in the order sent."""
    body = bytearray()
    for part in parts:
        body += b'--XX\r\nContent-Disposition: form-data; name="' + part[0].encode() + b'"'
        if len(part) == 3:
            body += b'; filename="' + part[1].encode() + b'"\r\nContent-Type: image/png'
        value = part[-1]
        body += b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    body += b"--XX--\r\n"
    return post(served, case, bytes(body), **headers)


def post(served, case: str, body: bytes | Iterator[bytes], **headers: str) -> httpx2.Response:
    with served.client("window") as client:
        return client.post(
            f"/v1/cases/{case}/materials/form",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=XX"} | headers,
        )


def nothing_stored(served) -> bool:
    with served.hall.room.database.read() as tx:
        rows = [*tx.all(select(uploads)), *tx.all(select(materials)), *tx.all(select(objects))]
    return not rows and not served.stored_files()


@pytest.mark.parametrize("file_first", [True, False])
def test_fields_may_stand_before_or_after_the_files(served, file_first) -> None:
    case, hall = open_case(served), served.hall
    files = [
        ("file", "合同 第1页.pdf", hall.pdf("1")),
        ("file", "合同 第2页.pdf", hall.pdf("2")),
        ("file", "", b""),  # a file field that was left empty
    ]
    fields = [
        *FIELDS.items(),
        ("provenance", "certified_copy"),
        ("issued_at", "2026-01-05"),
        (
            "parties",
            json.dumps([{"type": "111", "code": hall.LANDLORD.code, "name": "顾明远"}]),
        ),
    ]
    answer = send(served, case, [*files, *fields] if file_first else [*fields, *files])
    assert answer.status_code == 201, answer.text
    facts = hall.material(answer.json()["material_id"])
    assert [file.name for file in facts.files] == ["合同 第1页.pdf", "合同 第2页.pdf"]
    assert {file.media_type for file in facts.files} == {"application/pdf"}
    assert facts.title == "房屋租赁合同"
    assert hall.read(lambda tx: tx.all(select(uploads)))[0]["used_at"] is not None


def test_a_repeat_with_the_same_key_changes_nothing(served) -> None:
    case, hall = open_case(served), served.hall
    parts = [*FIELDS.items(), ("file", "a.pdf", hall.pdf("a"))]
    first = send(served, case, parts, **{"Idempotency-Key": "k1"})
    again = send(served, case, parts, **{"Idempotency-Key": "k1"})
    assert first.json()["material_id"] == again.json()["material_id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(served.stored_files()) == 1
    other = send(
        served,
        case,
        [*FIELDS.items(), ("file", "a.pdf", hall.pdf("b"))],
        **{"Idempotency-Key": "k1"},
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(served.stored_files()) == 1


PDF = b"%PDF-1.4 small"
GOOD = [*FIELDS.items(), ("file", "a.pdf", PDF)]


REFUSED: list[tuple[list[tuple], int, str]] = [
    ([*GOOD, ("surprise", "x")], 422, "form_invalid"),
    ([*GOOD, ("title", "twice")], 422, "form_invalid"),
    ([*GOOD, ("parties", "[{")], 422, "form_invalid"),
    ([*GOOD, ("parties", '[{"kind":"x"}]')], 422, "invalid_fields"),
    ([*GOOD, ("issued_at", "2026-02-30")], 422, "invalid_fields"),
    ([*GOOD[1:]], 422, "invalid_fields"),
    ([*FIELDS.items()], 422, "files_invalid"),
    ([*FIELDS.items(), ("attachment", "a.pdf", PDF)], 422, "form_invalid"),
    ([*FIELDS.items(), ("file", "a.pdf", b"")], 422, "empty_file"),
    ([*FIELDS.items(), ("file", "a.pdf", b"no pdf")], 415, "content_type_not_accepted"),
    ([*GOOD, ("reason", "x" * 20_000)], 413, "form_too_large"),
    ([*GOOD, *((f"f{n}", "x") for n in range(70))], 422, "form_invalid"),
    ([*FIELDS.items(), ("file", "a.pdf", PDF + bytes(4 << 20))], 413, "file_too_large"),
    (
        [*FIELDS.items(), ("file", "a", PDF + bytes(2 << 20)), ("file", "b", bytes(2 << 20))],
        413,
        "file_too_large",
    ),
]


def test_a_refused_form_leaves_nothing(served) -> None:
    case = open_case(served)
    for parts, status, code in REFUSED:
        answer = send(served, case, parts)
        assert (answer.status_code, answer.json()["code"]) == (status, code), parts[-1][:2]
        assert nothing_stored(served), code


def test_a_body_that_is_no_form_is_refused(served) -> None:
    case = open_case(served)
    whole = b'--XX\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n--XX--\r\n'
    for body in (b"", b"nonsense", whole[:-6], b"--YY\r\n\r\n"):
        answer = post(served, case, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "form_invalid")
    with served.client("window") as client:
        answer = client.post(f"/v1/cases/{case}/materials/form", json={})
    assert answer.json()["code"] == "form_invalid"
    assert nothing_stored(served)


def test_all_files_together_are_limited_without_a_declared_size(served) -> None:
    case = open_case(served)

    def body() -> Iterator[bytes]:
        for name, text in FIELDS.items():
            head = f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            yield f"{head}{text}\r\n".encode()
        for n in range(2):
            yield (
                f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{n}.pdf"\r\n\r\n'
            ).encode()
            yield PDF + bytes(2 << 20) + b"\r\n"
        yield b"--XX--\r\n"

    answer = post(served, case, body())
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert nothing_stored(served)
