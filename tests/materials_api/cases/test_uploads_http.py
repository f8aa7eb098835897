"""Uploads over a real server: faults leave nothing, retries change nothing."""

import base64
import hashlib
import socket
import time
from collections.abc import Iterator

from sqlalchemy import select

from kernel.ids import IdKind, new_id
from materials_api.tables import uploads
from storage.tables import audit, objects

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 4096  # 1 MiB and a bit


def put(served, data, *, who: str = "window", upload: str | None = None, **headers: str):
    with served.client(who) as client:
        return client.put(
            f"/v1/uploads/{upload or new_id(IdKind.UPLOAD)}", content=data, headers=headers
        )


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def nothing_stored(served) -> bool:
    """No rows, and within a moment no files either."""
    with served.hall.room.database.read() as tx:
        rows = tx.all(select(uploads)) or tx.all(select(objects))
    deadline = time.monotonic() + 5
    while served.stored_files() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not rows and not served.stored_files()


def test_bytes_are_stored_with_their_digests(served) -> None:
    upload = new_id(IdKind.UPLOAD)
    answer = put(served, PDF, upload=upload, **{"Content-Digest": digest(PDF)})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["digests"]["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert len(body["digests"]["sm3"]) == 64
    assert (body["size"], body["media_type"]) == (len(PDF), "application/pdf")
    # The claimed type is never believed.
    with served.hall.room.database.read() as tx:
        row = tx.one(select(uploads).where(uploads.c.upload_id == upload))
        assert [item["action"] for item in tx.all(select(audit))] == ["upload.store"]
    assert row is not None
    assert row["media_type"] == "application/pdf"


def test_the_same_bytes_again_succeed_and_others_are_refused(served) -> None:
    upload = new_id(IdKind.UPLOAD)
    assert put(served, PDF, upload=upload).status_code == 201
    again = put(served, PDF, upload=upload)
    assert again.status_code == 200
    assert again.json()["digests"]["sha256"] == hashlib.sha256(PDF).hexdigest()
    for data, who in ((b"other", "window"), (PDF, "department")):
        answer = put(served, data, upload=upload, who=who)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_conflict")
    assert len(served.stored_files()) == 1


def test_a_retry_after_registration_still_succeeds(served) -> None:
    hall = served.hall
    upload = new_id(IdKind.UPLOAD)
    with served.client("window") as client:
        opened = client.post(
            "/v1/cases",
            json={
                "matter": hall.FOOD,
                "variant": "new",
                "channel": "window",
                "applicant": {"type": "001", "code": hall.COMPANY.code},
                "acting": {"type": "111", "code": hall.ZHOU.code, "capacity": "operator"},
            },
        ).json()
        data = hall.pdf("contract")
        assert put(served, data, upload=upload).status_code == 201
        made = client.post(
            f"/v1/cases/{opened['case_id']}/materials",
            json={
                "type": "lease_contract",
                "title": "合同",
                "files": [{"upload": upload, "name": "合同.pdf"}],
            },
        )
        assert made.status_code == 201, made.text
    assert put(served, data, upload=upload).status_code == 200
    assert put(served, data + b" ", upload=upload).status_code == 409


REFUSED = [
    (PDF, {"Content-Digest": digest(b"other")}, 422, "digest_mismatch"),
    (PDF, {"Content-Digest": "sha-256=:nonsense:"}, 422, "content_digest_invalid"),
    (PDF, {"Content-Digest": "sha-512=:AAAA:"}, 422, "content_digest_invalid"),
    (PDF, {"Content-Digest": "md5"}, 422, "content_digest_invalid"),
    (b"", {}, 422, "empty_file"),
    (bytes(3 * 1024 * 1024 + 1), {}, 413, "file_too_large"),
]


def test_a_refused_upload_leaves_nothing(served) -> None:
    for data, headers, status, code in REFUSED:
        answer = put(served, data, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert nothing_stored(served), code


def test_the_limit_also_holds_without_a_declared_size(served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(64 * 1024)

    answer = put(served, chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert nothing_stored(served)


def test_exactly_the_limit_is_accepted(served) -> None:
    assert put(served, bytes([1]) * (3 * 1024 * 1024)).status_code == 201


def test_a_malformed_id_is_refused(served) -> None:
    for upload in ("upl_short", "cas_" + "0" * 26, "upl_" + "i" * 26):
        answer = put(served, PDF, upload=upload)
        assert (answer.status_code, answer.json()["code"]) == (422, "upload_id_invalid")
    assert nothing_stored(served)


def test_only_senders_may_upload(served) -> None:
    assert put(served, PDF, who="archivist").status_code == 403
    served.tokens["nobody"] = "mj_" + "x" * 43
    assert put(served, PDF, who="nobody").status_code == 401
    assert nothing_stored(served)


def test_unregistered_uploads_are_bounded(served) -> None:
    for _ in range(20):
        assert put(served, b"text").status_code == 201
    answer = put(served, b"text")
    assert (answer.status_code, answer.json()["code"]) == (429, "uploads_pending")
    assert put(served, b"text", who="department").status_code == 201


def raw(served, length: int | None) -> socket.socket:
    """A connection that has sent the head of an upload."""
    connection = socket.create_connection(("127.0.0.1", served.port))
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    connection.sendall(
        (
            f"PUT /v1/uploads/{new_id(IdKind.UPLOAD)} HTTP/1.1\r\nHost: test\r\n"
            f"Authorization: Bearer {served.tokens['window']}\r\n{size}\r\n\r\n"
        ).encode()
    )
    return connection


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    parts = b""
    while part := connection.recv(65536):
        parts += part
    return parts


def test_a_cut_connection_leaves_nothing(served) -> None:
    for sent in (0, 1, 100_000, 1_000_000):
        connection = raw(served, 2_000_000)
        connection.sendall(PDF[:sent])
        time.sleep(0.05)
        connection.close()
    assert nothing_stored(served)
    assert put(served, PDF).status_code == 201


def test_a_stalled_sender_is_given_up(served) -> None:
    connection = raw(served, 2_000_000)
    connection.sendall(PDF[:500_000])
    began = time.monotonic()
    answer = read_all(connection)
    assert time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"sender_too_slow" in answer
    assert nothing_stored(served)


def test_a_trickling_sender_is_given_up(served) -> None:
    connection = raw(served, 2_000_000)
    began = time.monotonic()
    answer = b""
    connection.settimeout(0.2)
    while time.monotonic() - began < 10 and not answer:
        try:
            connection.sendall(b"x")
            answer = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
    assert time.monotonic() - began < 8
    assert answer.startswith(b"HTTP/1.1 408")
    assert nothing_stored(served)


def test_a_broken_chunk_leaves_nothing(served) -> None:
    connection = raw(served, None)
    connection.sendall(b"5\r\nhello\r\nzz\r\n")
    connection.close()
    assert nothing_stored(served)
    assert put(served, PDF).status_code == 201
