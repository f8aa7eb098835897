"""The archive's routes: export, find, fetch; and what a package that is kept leaves behind."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from archive.checks import check_package, verify_export_receipt
from archive.http import routes
from archive.package import clear_unfinished
from archive.reading import read_packed
from archive.records import forget_stale
from kernel.principals import Role
from ledger.policy import parse_policy
from ledger.receipts import Evidence
from materials_api.tables import case_documents, materials
from parties.http import Access
from runtime import problems
from storage.objects.erasure import finish_erasures
from storage.tables import audit, objects

ARCHIVE = "12310199MB2Y04049F"  # keeps the archives of the next, which decides the case
CIVIL_AFFAIRS = "11310199MB2Y050411"
OTHER_BODY = "11310199MB2Y01016G"  # whose window took the case in
OTHER_ARCHIVE = "12310199MB2Y080841"


@pytest.fixture
def client(office: Any) -> Iterator[TestClient]:
    """A client with an archivist's credential, on a store whose log is running."""
    store = office.store
    app = FastAPI()
    app.include_router(
        routes(store.archive, Access(store.database, store.clock, store.credentials))
    )
    problems.install(app)
    store.ledger.start()
    with TestClient(app, raise_server_exceptions=False) as made:
        made.headers["Authorization"] = f"Bearer {secret(office, Role.ARCHIVIST, ARCHIVE)}"
        yield made


def secret(office: Any, role: Role, org: str) -> str:
    at = office.clock.now()
    _, made = office.store.database.write(
        lambda tx: office.store.credentials.issue(
            tx, at, role=role, org=org, officer="某", expires_at=at + timedelta(days=30)
        )
    )
    return str(made)


@pytest.fixture
def case_id(office: Any) -> str:
    return str(office.closed_case())


def test_an_archivist_exports_a_case_and_fetches_a_package_that_verifies(
    office: Any, client: TestClient, case_id: str, tmp_path: Path
) -> None:
    answer = client.post(f"/v1/cases/{case_id}/exports")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert client.get(f"/v1/exports/{made['export_id']}").json() == made
    listed = client.get(f"/v1/cases/{case_id}/exports").json()
    assert (listed["items"], listed["next"]) == ([made], None)
    fetched = client.get(made["package"])
    assert fetched.status_code == 200
    assert fetched.headers["Content-Length"] == str(len(fetched.content))
    assert fetched.headers["X-Content-Type-Options"] == "nosniff"
    assert fetched.headers["Content-Disposition"] == f'attachment; filename="{case_id}.zip"'
    (tmp_path / "package.zip").write_bytes(fetched.content)
    package = read_packed(tmp_path / "package.zip")
    policy = parse_policy(office.store.ledger.policy_text().encode())
    report = check_package(package.members, package.texts, policy)
    assert [*package.findings, *report.findings] == []
    assert report.tagmanifest is not None
    assert report.tagmanifest.sha256 == made["tagmanifest_sha256"]
    receipt = client.get(made["receipt"])
    assert receipt.status_code == 200
    assert isinstance(verify_export_receipt(receipt.content, policy, report), Evidence)
    with zipfile.ZipFile(io.BytesIO(fetched.content)) as outside:
        assert outside.testzip() is None


def test_a_fetch_that_broke_off_can_go_on(client: TestClient, case_id: str) -> None:
    made = client.post(f"/v1/cases/{case_id}/exports").json()
    whole = client.get(made["package"])
    etag = whole.headers["ETag"]
    rest = client.get(made["package"], headers={"Range": "bytes=1000-", "If-Range": etag})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    size = len(whole.content)
    assert rest.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
    other = client.get(made["package"], headers={"Range": "bytes=1000-", "If-Range": '"x"'})
    assert (other.status_code, other.content) == (200, whole.content)
    beyond = client.get(made["package"], headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416


def test_nothing_readable_stays_in_the_store(
    office: Any, client: TestClient, case_id: str, tmp_path: Path
) -> None:
    client.post(f"/v1/cases/{case_id}/exports")
    assert list((tmp_path / "data" / "exports").iterdir()) == []
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert "赵阿福".encode() not in data, path
            assert b"310199194803219179" not in data, path


def test_what_a_killed_export_left_is_removed_at_the_next_start(
    office: Any, client: TestClient, case_id: str, tmp_path: Path
) -> None:
    left = tmp_path / "data" / "exports" / ".exp_00000000000000000000000000.part" / "data"
    left.mkdir(parents=True)
    (left / "readable.pdf").write_bytes(b"x")
    assert clear_unfinished(office.store.archive) == 1
    assert list((tmp_path / "data" / "exports").iterdir()) == []
    assert clear_unfinished(office.store.archive) == 0


def test_what_another_process_builds_is_left_alone(office: Any, tmp_path: Path) -> None:
    place = tmp_path / "data" / "exports" / ".exp_00000000000000000000000000.part"
    building = (
        "import sys; from pathlib import Path; from archive.package import _workplace\n"
        "with _workplace(Path(sys.argv[1])): print('built', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", building, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"built\n"
        assert clear_unfinished(office.store.archive) == 0
        assert place.is_dir()
    finally:
        other.kill()
        other.communicate()
    assert clear_unfinished(office.store.archive) == 1
    assert not place.exists()


def test_the_audit_row_is_committed_before_the_package_is_fetched(
    office: Any, client: TestClient, case_id: str
) -> None:
    made = client.post(f"/v1/cases/{case_id}/exports").json()
    client.get(made["package"])
    client.get(made["package"])
    with office.store.database.read() as tx:
        rows = tx.all(select(audit).where(audit.c.action == "export.fetch"))
    assert len(rows) == 2
    assert {row["entity"] for row in rows} == {made["export_id"]}


def test_the_same_key_makes_one_export(office: Any, client: TestClient, case_id: str) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post(f"/v1/cases/{case_id}/exports", headers=headers)
    again = client.post(f"/v1/cases/{case_id}/exports", headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(client.get(f"/v1/cases/{case_id}/exports").json()["items"]) == 1


def test_an_incomplete_case_is_refused_with_every_reason(
    office: Any, client: TestClient, case_id: str, tmp_path: Path
) -> None:
    office.store.database.write(lambda tx: tx.execute(case_documents.delete()))
    answer = client.post(f"/v1/cases/{case_id}/exports")
    assert answer.status_code == 409
    body = answer.json()
    assert body["code"] == "package_incomplete"
    assert body["details"]["reasons"] == [
        "acceptance_notice_missing:accept",
        "decision_notice_missing:approve",
    ]
    assert client.get(f"/v1/cases/{case_id}/exports").json()["items"] == []
    assert list((tmp_path / "data" / "exports").iterdir()) == []


def test_open_and_unknown_cases_and_exports_are_refused(office: Any, client: TestClient) -> None:
    draft = office.open()
    assert client.post(f"/v1/cases/{draft}/exports").status_code == 404
    unknown = "0" * 26
    assert client.post(f"/v1/cases/cas_{unknown}/exports").status_code == 404
    assert client.get(f"/v1/exports/exp_{unknown}").status_code == 404
    assert client.get(f"/v1/exports/exp_{unknown}/package").status_code == 404
    assert client.get(f"/v1/exports/exp_{unknown}/receipt").status_code == 404
    assert client.get("/v1/exports/..%2f..%2fetc").status_code in (404, 422)


@pytest.mark.parametrize("role", [Role.WINDOW, Role.DEPARTMENT, Role.AUDITOR, Role.OPERATOR])
def test_only_the_archive_may_use_these_routes(
    office: Any, client: TestClient, case_id: str, role: Role
) -> None:
    made = client.post(f"/v1/cases/{case_id}/exports").json()
    headers = {"Authorization": f"Bearer {secret(office, role, '11310199MB2Y050411')}"}
    for method, path in (
        ("POST", f"/v1/cases/{case_id}/exports"),
        ("GET", f"/v1/cases/{case_id}/exports"),
        ("GET", f"/v1/exports/{made['export_id']}"),
        ("GET", made["package"]),
        ("GET", made["receipt"]),
    ):
        assert client.request(method, path, headers=headers).status_code == 403, path


def test_only_the_own_record_room_and_the_archive_that_keeps_it_reach_exports(
    office: Any, client: TestClient, case_id: str
) -> None:
    made = client.post(f"/v1/cases/{case_id}/exports").json()
    nothing = {case_id: "cas_" + "0" * 26, made["export_id"]: "exp_" + "0" * 26}
    paths = [
        ("POST", f"/v1/cases/{case_id}/exports"),
        ("GET", f"/v1/cases/{case_id}/exports"),
        ("GET", f"/v1/exports/{made['export_id']}"),
        ("GET", made["package"]),
        ("GET", made["receipt"]),
    ]
    own = {"Authorization": f"Bearer {secret(office, Role.ARCHIVIST, CIVIL_AFFAIRS)}"}
    for method, path in paths:
        assert client.request(method, path, headers=own).status_code in (200, 201), path
    draft = office.open()
    paths.append(("POST", f"/v1/cases/{draft}/exports"))
    nothing[draft] = "cas_" + "0" * 26
    for body in (OTHER_BODY, OTHER_ARCHIVE):
        headers = {"Authorization": f"Bearer {secret(office, Role.ARCHIVIST, body)}"}
        for method, path in paths:
            real = client.request(method, path, headers=headers)
            for known, unknown in nothing.items():
                path = path.replace(known, unknown)
            none = client.request(method, path, headers=headers)
            assert real.status_code == none.status_code == 404, path
            assert told(real) == told(none), path
    for headers in (own, {}):
        answer = client.post(f"/v1/cases/{draft}/exports", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "case_unknown")


def told(answer: Any) -> Any:
    return {name: value for name, value in answer.json().items() if name != "request"}


def test_unknown_fields_are_errors(client: TestClient, case_id: str) -> None:
    answer = client.post(f"/v1/cases/{case_id}/exports", json={"case": "other"})
    assert answer.status_code == 422


def test_a_kept_package_is_gone_after_its_time_and_its_bytes_too(
    office: Any, client: TestClient, case_id: str
) -> None:
    made = client.post(f"/v1/cases/{case_id}/exports").json()
    office.clock.set(office.clock.now() + timedelta(days=7) - timedelta(milliseconds=1))
    assert client.get(made["package"]).status_code == 200
    office.clock.set(office.clock.now() + timedelta(milliseconds=1))
    gone = client.get(made["package"])
    assert (gone.status_code, gone.json()["code"]) == (409, "package_gone")
    assert client.get(f"/v1/exports/{made['export_id']}").json()["package"] is None
    room = office.store.archive
    assert forget_stale(room, office.clock.now()) == 1
    assert forget_stale(room, office.clock.now()) == 0
    done = finish_erasures(
        office.store.database, office.store.object_store, office.store.vault, office.clock.now()
    )
    assert len(done.done) + len(done.pending) == 1
    with office.store.database.read() as tx:
        row = tx.one(select(objects).where(objects.c.claimed_by == made["export_id"]))
    assert row is not None
    assert row["wrapped_key"] is None
    assert client.get(f"/v1/exports/{made['export_id']}").status_code == 200


def test_a_package_that_holds_something_erased_is_not_released(
    office: Any, client: TestClient, case_id: str
) -> None:
    made = client.post(f"/v1/cases/{case_id}/exports").json()
    with office.store.database.read() as tx:
        material = tx.scalar(select(materials.c.material_id).limit(1))
    office.store.database.write(
        lambda tx: tx.execute(
            update(materials).where(materials.c.material_id == material).values(status="erased")
        )
    )
    assert client.get(made["package"]).json()["code"] == "package_gone"
    assert forget_stale(office.store.archive, office.clock.now()) == 1
