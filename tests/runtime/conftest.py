"""A store in which the story was played, its application, and everybody who might call it."""

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from kernel.identifiers import citizen_check_character
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Role
from parties import HolderRef
from parties.tables import credentials
from runtime.app import build_app
from runtime.demo import people
from runtime.demo.server import SERVE
from runtime.settings import Settings
from runtime.store import Store, open_store
from storage.database.metadata import metadata
from tests.runtime.edge import PDF, Window

ROOT = Path(__file__).parent.parent.parent
STRANGER = "310199199001010017"[:17]
STRANGER += citizen_check_character(STRANGER)
_ID_IN_PLACE = re.compile(r"\$([a-z_]+)")
# What refusals may write: the audit, and the count of wrong show codes.
_REFUSALS_WRITE = {"audit", "code_tries"}


@dataclass
class House:
    """The application over a copy of the played store; tokens by caller, ids by name."""

    store: Store
    app: FastAPI
    client: TestClient
    tokens: dict[str, str]
    roles: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[str, str, int, str]] = field(default_factory=list)
    """What `made` got: method, path, status, JSON text."""

    def call(
        self, who: str | None, method: str, path: str, body: Any = None, **headers: str
    ) -> Any:
        """One request; `$name` in path and body stands for `ids[name]`."""
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        content: bytes | None = None
        if isinstance(body, bytes):
            content = body
        elif body is not None:
            content = self.filled(json.dumps(body)).encode()
            headers["Content-Type"] = "application/json"
        return self.client.request(method, self.filled(path), content=content, headers=headers)

    def made(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.call(who, method, path, body, **headers)
        assert answer.status_code < 300, answer.text
        self.answers.append((method, self.filled(path), answer.status_code, answer.text))
        return answer.json()

    def filled(self, text: str) -> str:
        return _ID_IN_PLACE.sub(lambda found: self.ids[found[1]], text)

    def upload(self, who: str, data: bytes) -> str:
        upload = new_id(IdKind.UPLOAD)
        self.made(who, "PUT", f"/v1/uploads/{upload}", data)
        return upload

    def settle(self) -> None:
        """Wait until every entry has its place and nothing changes by itself any more."""
        entries = metadata.tables["ledger_entries"]
        with self.store.database.read() as tx:
            waiting = tx.execute(
                select(entries.c.entry_id).where(entries.c.leaf_index.is_(None))
            ).scalars()
            for entry in list(waiting):
                assert self.store.ledger.wait_for(entry, 10)
        # The head is marked as published a moment after the receipts are ready.
        while True:
            before = self.fingerprint()
            time.sleep(0.3)
            if self.fingerprint() == before:
                return

    def fingerprint(self) -> dict[str, str]:
        """A digest of every table that a refusal must leave alone."""
        found = {}
        with self.store.database.read() as tx:
            for table in metadata.sorted_tables:
                if table.name not in _REFUSALS_WRITE:
                    rows = sorted(map(str, tx.execute(select(table)).all()))
                    found[table.name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
        return found


@contextmanager
def furnished(played: Any, data: Path) -> Iterator[House]:
    """A house over a copy of the played store, with one real thing of every kind."""
    with open_store(played.copy(data)) as store:
        store.start()
        app = build_app(store, Settings())
        with TestClient(app, raise_server_exceptions=False) as client:
            made = House(store, app, client, dict(played.tokens), {})
            callers_and_things(made, played)
            made.settle()
            yield made


@pytest.fixture(scope="session")
def house(played: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Session-wide; tests that change what others rely on make things of their own."""
    with furnished(played, tmp_path_factory.mktemp("house") / "store") as made:
        yield made


def callers_and_things(house: House, played: Any) -> None:
    """Whoever else may call, and one real thing of every kind, in `house.ids`."""
    house.roles |= _roles(played)
    _more_callers(house)
    _things(house)


def come_strangers(house: House) -> None:
    """People who are no part of the story, and what one of them brings in."""
    _more_callers(house)
    _strangers_case(house)


def _roles(played: Any) -> dict[str, str]:
    told = json.loads((played.results / "tokens.json").read_text(encoding="utf-8"))
    return {one["key"]: one["role"] for one in told}


def _more_callers(house: House) -> None:
    store, at = house.store, house.store.clock.now()

    def issue(name: str, *, days: int = 1, **what: Any) -> str:
        credential, house.tokens[name] = store.database.write(
            lambda tx: store.credentials.issue(
                tx, at - timedelta(days=9), expires_at=at + timedelta(days=days), **what
            )
        )
        house.roles[name] = what["role"].value
        return credential

    person = store.database.write(
        lambda tx: store.parties.ensure(tx, at, HolderRef("111", STRANGER, "路人甲"))
    )
    issue("stranger", role=Role.APPLICANT, person=person)
    issue("other_window", role=Role.WINDOW, org=people.CIVIL_AFFAIRS)
    issue("other_department", role=Role.DEPARTMENT, org=people.ARCHIVE)
    issue("other_record_room", role=Role.ARCHIVIST, org=people.CIVIL_AFFAIRS)
    issue("other_archive", role=Role.ARCHIVIST, org=people.SERVICE_CENTRE)
    issue("expired", role=Role.WINDOW, org=people.SERVICE_CENTRE, days=-1)
    revoked = issue("revoked", role=Role.WINDOW, org=people.SERVICE_CENTRE)
    store.database.write(lambda tx: store.credentials.revoke(tx, at, revoked))


def _things(house: House) -> None:
    """One real thing of every kind that has an id."""
    ids, made = house.ids, house.made
    (ids["closed_case"],) = (
        one["case_id"]
        for one in made("department", "GET", "/v1/cases?state=closed&limit=200")["items"]
        if one["variant"] == "moved"
    )
    ids["number"] = made("department", "GET", "/v1/cases/$closed_case")["number"]
    ids["case"] = made(
        "window",
        "POST",
        "/v1/cases",
        {
            "matter": people.FOOD_MATTER,
            "variant": "moved",
            "applicant": people.COMPANY.ref(),
            "acting": people.ACTS_FOR_COMPANY,
            "channel": "window",
        },
    )["case_id"]
    own = made("representative", "GET", "/v1/materials?type=other&limit=200")["items"]
    details = [made("representative", "GET", f"/v1/materials/{one['material_id']}") for one in own]
    ids["material"] = next(
        one["material_id"]
        for one in details
        if one["files"][0]["name"].endswith(".txt") and one["status"] == "reusable"
    )
    ids["upload"] = house.upload("window", PDF)
    ids["own_upload"] = house.upload("representative", PDF + b"1")
    used = house.upload("window", PDF + b"2")
    ids["pending_material"] = made(
        "window",
        "POST",
        "/v1/cases/$case/materials",
        {
            "type": "application_form",
            "requirement": "application_form",
            "title": "食品经营许可申请书",
            "files": [{"upload": used, "name": "申请书.pdf"}],
        },
    )["material_id"]
    ids["license"] = made("representative", "GET", "/v1/licenses?kind=business_license")["items"][
        0
    ]["license_id"]
    ids["elders_license"] = made("elder", "GET", "/v1/licenses")["items"][0]["license_id"]
    _strangers_case(house)
    _grants(house)
    documents = made("window", "GET", "/v1/cases/$closed_case/documents")["items"]
    ids["document"] = next(one["document_id"] for one in documents if one["kind"] == "commitment")
    ids["task"] = made("department", "GET", "/v1/tasks")["items"][0]["task_id"]
    ids["export"] = made("archivist", "GET", "/v1/cases/$closed_case/exports")["items"][0][
        "export_id"
    ]
    with house.store.database.read() as tx:
        rows = tx.execute(select(metadata.tables["ledger_entries"])).mappings().all()
        ids["capacity"] = tx.scalar(select(metadata.tables["capacities"].c.capacity_id))
    ids["fact"] = next(row["entity"] for row in rows if row["entity"].startswith("fct_"))
    for entity in ("material", "license", "grant", "closed_case", "verification", "document"):
        ids[f"{entity}_entry"] = next(
            row["entry_id"] for row in rows if row["entity"] == ids[entity]
        )


def _strangers_case(house: House) -> None:
    """A case that a citizen opens at home, with a material that is nobody else's business."""
    ids, made = house.ids, house.made
    applicant = {"type": "111", "code": STRANGER, "name": "路人甲"}
    opened = {"matter": people.ELDERLY, "applicant": applicant, "channel": "pc"}
    ids["strangers_case"] = made("stranger", "POST", "/v1/cases", opened)["case_id"]
    ids["strangers_upload"] = house.upload("stranger", PDF + b"4")
    upload = house.upload("stranger", PDF + b"3")
    ids["strangers_material"] = made(
        "stranger",
        "POST",
        "/v1/cases/$strangers_case/materials",
        {"type": "other", "title": "其他材料", "files": [{"upload": upload, "name": "其他.pdf"}]},
    )["material_id"]
    granted = {"purpose": "自用", "use": "once", "items": ["$strangers_material"]}
    ids["strangers_grant"] = made("stranger", "POST", "/v1/grants", granted)["grant_id"]
    submitted = {**opened, "channel": "window", "applicant": people.ELDER.ref()}
    ids["submitted_case"] = made("window", "POST", "/v1/cases", submitted)["case_id"]
    made("window", "POST", "/v1/cases/$submitted_case/events", {"event": "submit"})


def _grants(house: House) -> None:
    ids, made = house.ids, house.made
    asked = {"purpose": "食品经营许可", "use": "once", "items": ["$material"]}
    (grant,) = made("window", "POST", "/v1/cases/$case/grants", asked)["items"]
    ids["grant"] = grant["grant_id"]
    made("representative", "POST", "/v1/grants/$grant/approve")
    (grant,) = made("window", "POST", "/v1/cases/$case/grants", {**asked, "items": ["$license"]})[
        "items"
    ]
    ids["asked_grant"] = grant["grant_id"]
    ids["unbound_grant"] = made("representative", "POST", "/v1/grants", asked)["grant_id"]
    call = made(
        "window",
        "POST",
        "/v1/verifications",
        {"case": "$case", "items": [{"requirement": "other", "item": "$material"}]},
    )
    assert call["outcome"] == "allowed", call
    ids["verification"] = call["items"][0]["verification"]
    ids["ticket"] = made("window", "POST", "/v1/verifications/$verification/tickets", {})["ticket"]
    ids["own_ticket"] = made("representative", "POST", "/v1/materials/$material/tickets", {})[
        "ticket"
    ]


@dataclass(frozen=True)
class Served:
    """A server process of its own: where it listens, its data, and what it logs."""

    url: str
    port: int
    pid: int
    data: Path
    log: Path
    tokens: dict[str, str]

    def peak_rss(self) -> int:
        """The most memory it ever held, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def objects(self) -> set[Path]:
        """Every stored file, unfinished ones too."""
        return {path for path in (self.data / "objects").rglob("*") if path.is_file()}


@contextmanager
def serving(data: Path, log: Path, tokens: dict[str, str], **settings: str) -> Iterator[Served]:
    """`mianjiao serve` as a process, with settings from the environment."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*SERVE, "--data", str(data)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "MIANJIAO_LOG_LEVEL": "INFO", **settings},
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            url = json.loads(line)["url"]
            yield Served(url, int(url.rpartition(":")[2]), process.pid, data, log, tokens)
        finally:
            process.terminate()
            process.wait(timeout=30)


Serve = Callable[..., Served]


@pytest.fixture(scope="session")
def server(played: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real server over a copy of the played store; files of at most 2 MiB."""
    folder = tmp_path_factory.mktemp("server")
    data = played.copy(folder / "store")
    with serving(
        data, folder / "log.txt", dict(played.tokens), MIANJIAO_UPLOAD_LIMIT_MIB="2"
    ) as served:
        yield served


@pytest.fixture(scope="session")
def strict_server(played: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that gives up slow senders soon."""
    folder = tmp_path_factory.mktemp("strict")
    data = played.copy(folder / "store")
    with serving(
        data,
        folder / "log.txt",
        dict(played.tokens),
        MIANJIAO_RECEIVE_IDLE_SECONDS="1.2",
        MIANJIAO_RECEIVE_GRACE_SECONDS="1",
        MIANJIAO_RECEIVE_RATE_BYTES="65536",
    ) as served:
        yield served


@pytest.fixture(scope="session")
def window(server: Served) -> Window:
    """The window's system, connected to the real server."""
    return Window(server)


@pytest.fixture(scope="session")
def case(window: Window) -> str:
    """An open case at the real server. Nothing is to be added to it."""
    return window.opened()


def issued_anew(store: Any, tokens: dict[str, str]) -> dict[str, str]:
    """For whom the restore withdrew one: the same again."""
    at = store.clock.now()
    issued = {}
    for name, secret in tokens.items():
        with store.database.read() as tx:
            digest = hashlib.sha256(secret.encode()).digest()
            row = tx.one(select(credentials).where(credentials.c.secret_sha256 == digest))
        assert row is not None
        assert row["revoked_at"] is not None or row["expires_at"] < at
        same = {name: row[name] for name in ("org", "unit", "officer", "person", "holder")}
        same |= {"role": Role(row["role"])}
        same |= {"capacity": None if row["capacity"] is None else Capacity(row["capacity"])}
        _, issued[name] = store.database.write(
            lambda tx, same=same: store.credentials.issue(
                tx, at, expires_at=at + timedelta(days=1), **same
            )
        )
    return issued
