"""A real store of this room on a temporary folder; nothing is mocked."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from reportlab.pdfgen.canvas import Canvas
from sqlalchemy import URL, make_url

import archive.tables  # noqa: F401 - registers its tables
from kernel.clock import FixedClock
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Channel, Principal, Role
from ledger.fsck import fsck as ledger_fsck
from ledger.problems import Problem
from ledger.service import Ledger
from license_service.kinds import load_kinds
from license_service.licenses import Licenses
from license_service.sources import LocalSource
from materials_api.adoption import adopt
from materials_api.cases.access import CaseView, load_case
from materials_api.cases.events import CorrectionItem, EventRequest, apply_event
from materials_api.cases.lifecycle import CaseEvent
from materials_api.cases.opening import Acting, OpenCase, open_case
from materials_api.catalogue import Catalogue, load_catalogue
from materials_api.catalogue.terms import PartyRole, Provenance
from materials_api.fsck.checking import fsck
from materials_api.http import cases as cases_http
from materials_api.http import documents as documents_http
from materials_api.http import material_form as form_http
from materials_api.http import materials as materials_http
from materials_api.http import tasks as tasks_http
from materials_api.http import uploads as uploads_http
from materials_api.limits import Limits
from materials_api.materials.access import MaterialFacts, open_material
from materials_api.materials.checks import FileInput, PartyInput, RegisterMaterial
from materials_api.materials.registration import Registered, register_material
from materials_api.room import MaterialsRoom
from materials_api.uploads.incoming import Upload, begin_upload, keep_upload
from parties import Credentials, HolderRef, Parties
from parties.http.access import Access
from runtime.metrics import Metrics
from runtime.middleware import ReceiveLimits, ReceiveTimeout, RequestContext
from runtime.observing import Observing
from runtime.problems import install
from storage.database import Database, ReadTx, WriteTx
from storage.database.metadata import metadata
from storage.keyvault import FileKeyVault
from storage.objects import FilesystemStore, SealedObjects
from tests.engines import Engine

T = TypeVar("T")
DATABASE = "db.sqlite3"
NOON = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)  # noon in China, a Tuesday
COMPANY = HolderRef("001", "91310199MA1Y7K2D1G", "上海云间禾味餐饮管理有限公司")
SHEN = HolderRef("111", "310199198802299064", "沈云舟")
ZHOU = HolderRef("111", "310199199207089155", "周文博")
LANDLORD = HolderRef("111", "310199196105179316", "顾明远")
CO_OWNER = HolderRef("111", "310199196311029247", "陆静宜")
ELDER = HolderRef("111", "310199194803219179", "赵阿福")
MARKET = "11310199MB2Y01016G"
ARCHIVE = "12310199MB2Y04049F"
HALL = "11310199MB2Y050411"
FOOD = "000131014000"


def make_pdf(text: str, pages: int = 1) -> bytes:
    """A small PDF whose bytes depend on the text."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1, pageCompression=0)
    for page in range(pages):
        canvas.drawString(72, 720, f"{text} {page}")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@dataclass
class Hall:
    """The room with its people, and short forms of what tests do all the time."""

    NOON = NOON
    COMPANY, SHEN, ZHOU = COMPANY, SHEN, ZHOU
    LANDLORD, CO_OWNER, ELDER = LANDLORD, CO_OWNER, ELDER
    MARKET, HALL, FOOD = MARKET, HALL, FOOD
    pdf = staticmethod(make_pdf)

    path: Path
    clock: FixedClock
    engine: Engine | None
    room: MaterialsRoom
    credentials: Credentials
    window: Principal
    department: Principal
    archivist: Principal
    operator: Principal

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def write(self, work: Callable[[WriteTx], T]) -> T:
        return self.room.database.write(work)

    def read(self, work: Callable[[ReadTx], T]) -> T:
        with self.room.database.read() as tx:
            return work(tx)

    def advance(self, **by: float) -> datetime:
        self.clock.set(self.clock.now() + timedelta(**by))
        return self.clock.now()

    def sequence(self) -> int:
        return self.room.ledger.sequence(self.clock.now())

    def party(self, ref: HolderRef) -> str:
        return self.write(lambda tx: self.room.parties.ensure(tx, self.now, ref))

    def applicant(
        self, holder: HolderRef, person: HolderRef | None = None, capacity: Capacity = Capacity.SELF
    ) -> Principal:
        """A principal for a holder, with its credential's row."""
        return Principal(
            subject=new_id(IdKind.CREDENTIAL),
            role=Role.APPLICANT,
            person=self.party(person or holder),
            holder=self.party(holder),
            capacity=capacity,
        )

    def other_clerk(self) -> Principal:
        """Another credential of the same window."""
        return replace(self.window, subject=new_id(IdKind.CREDENTIAL))

    def register_capacity(self, holder: HolderRef, person: HolderRef, capacity: Capacity) -> str:
        holder_id, person_id = self.party(holder), self.party(person)
        return self.write(
            lambda tx: self.room.parties.register_capacity(
                tx, self.now, holder_id, person_id, capacity, "registration"
            )
        )

    def open_case(
        self,
        matter: str = FOOD,
        applicant: HolderRef = COMPANY,
        person: HolderRef | None = ZHOU,
        capacity: Capacity = Capacity.OPERATOR,
        principal: Principal | None = None,
        **more: object,
    ) -> CaseView:
        acting = None if person is None else Acting(person, capacity)
        wanted = OpenCase(
            matter=matter,
            applicant=applicant,
            channel=Channel.WINDOW,
            variant="new" if matter == FOOD else None,
            acting=acting,
        )
        wanted = replace(wanted, **more)  # type: ignore[arg-type]
        return self.write(
            lambda tx: open_case(self.room, tx, self.now, principal or self.window, wanted)
        )

    def upload(self, data: bytes, principal: Principal | None = None) -> Upload:
        who = principal or self.window
        upload_id = new_id(IdKind.UPLOAD)
        receiver = begin_upload(self.room, who, upload_id, len(data))
        receiver.write(data)
        return keep_upload(self.room, self.now, who, upload_id, receiver.finish())

    def register(
        self,
        case_id: str,
        data: bytes | None = None,
        *,
        principal: Principal | None = None,
        parties: tuple[tuple[HolderRef, PartyRole], ...] = (),
        name: str = "合同.pdf",
        **fields: object,
    ) -> Registered:
        who = principal or self.window
        upload = self.upload(data if data is not None else make_pdf("lease"), who)
        values: dict[str, object] = {
            "type": "lease_contract",
            "title": "房屋租赁合同",
            "provenance": Provenance.CERTIFIED_COPY
            if who.role is not Role.APPLICANT
            else Provenance.UNCHECKED_COPY,
            "parties": tuple(PartyInput(ref, role) for ref, role in parties),
        } | fields
        wanted = RegisterMaterial(files=(FileInput(upload.upload_id, name),), **values)  # type: ignore[arg-type]
        return self.write(
            lambda tx: register_material(self.room, tx, self.now, who, case_id, wanted)
        )

    def event(
        self,
        case_id: str,
        event: str,
        principal: Principal | None = None,
        *,
        note: str | None = None,
        items: tuple[str, ...] = (),
        reject: tuple[str, ...] = (),
        with_gaps: bool = True,
    ) -> CaseView:
        by = {"submit": self.window, "withdraw": self.window, "file": self.archivist}
        if note is None and event in ("approve", "refuse", "not_accept", "terminate"):
            note = "理由"
        wanted = EventRequest(
            CaseEvent(event),
            note,
            tuple(CorrectionItem(text) for text in items),
            reject,
            with_gaps,
        )
        who = principal or by.get(event, self.department)
        return self.write(lambda tx: apply_event(self.room, tx, self.now, who, case_id, wanted))

    def approved_case(self, **more: object) -> tuple[CaseView, str]:
        """A food business case with one lease, approved; the case and the lease."""
        case = self.open_case(**more)  # type: ignore[arg-type]
        lease = self.register(
            case.case_id,
            requirement="lease_contract",
            parties=((COMPANY, PartyRole.TENANT), (LANDLORD, PartyRole.OWNER)),
        )
        for event in ("submit", "accept", "approve"):
            self.event(case.case_id, event)
        return self.case(case.case_id), lease.material_id

    def case(self, case_id: str) -> CaseView:
        return self.read(lambda tx: load_case(tx, case_id))

    def material(self, material_id: str) -> MaterialFacts:
        return self.read(lambda tx: open_material(self.room, tx, material_id))

    def reopen(self, limits: Limits | None = None) -> "Hall":
        """The store as a new process finds it. The old database must be closed or dead."""
        return build_hall(self.path, self.clock, create=False, limits=limits, engine=self.engine)

    def problems(self) -> list[Problem]:
        """What `fsck` finds, once everything is sequenced."""
        self.sequence()
        return [*ledger_fsck(self.room.ledger), *fsck(self.room)]

    def everything_on_disk(self) -> bytes:
        """All bytes of database, objects and log."""
        files = (file.read_bytes() for file in sorted(self.path.rglob("*")) if file.is_file())
        rows = b"" if self.engine is None else self.engine.content(self.path / DATABASE)
        return b"".join(files) + rows


@cache
def _catalogue() -> Catalogue:
    return load_catalogue(known_kinds=frozenset(kind.key for kind in load_kinds()))


def build_hall(
    path: Path,
    clock: FixedClock,
    *,
    create: bool,
    limits: Limits | None = None,
    engine: Engine | None = None,
) -> Hall:
    """Open a room at `path`; `create` makes the store first.

    Without an engine, for other processes: where one with an engine had its database.
    """
    url = path / "database.url"
    place: Path | URL = path / DATABASE
    if engine is not None:
        place = engine.place(path / DATABASE)
        if isinstance(place, URL):
            url.write_text(place.render_as_string(hide_password=False))
    elif url.is_file():
        place = make_url(url.read_text())
    database = Database(place, create=create)
    if create:
        metadata.create_all(database.writer_engine)
        vault = FileKeyVault.create(path / "vault.json")
        ledger = Ledger.create(
            path, database=database, vault=vault, clock=clock, name="test.example", shard="2026"
        )
    else:
        vault = FileKeyVault.open(path / "vault.json")
        ledger = Ledger.open(path, database=database, vault=vault, clock=clock)
    parties = Parties(ledger.journal, ledger.records, vault)
    licenses = Licenses(ledger.journal, ledger.records, parties, load_kinds())
    room = MaterialsRoom(
        clock=clock,
        database=database,
        vault=vault,
        objects=SealedObjects(FilesystemStore(path / "objects", create=create), vault),
        ledger=ledger,
        parties=parties,
        licenses=licenses,
        license_source=LocalSource(database, parties, licenses),
        catalogue=_catalogue(),
        limits=limits or Limits(),
    )
    if create:
        database.write(lambda tx: adopt(tx, clock.now(), ledger.journal, room.catalogue))

    def principal(role: Role, org: str | None, **more: object) -> Principal:
        return Principal(new_id(IdKind.CREDENTIAL), role, org=org, **more)  # type: ignore[arg-type]

    return Hall(
        path=path,
        clock=clock,
        engine=engine,
        room=room,
        credentials=Credentials(room.catalogue.fonds),
        window=principal(Role.WINDOW, HALL, unit="综窗3号", officer="陈晓岚"),
        department=principal(Role.DEPARTMENT, MARKET, officer="林知远"),
        archivist=principal(Role.ARCHIVIST, ARCHIVE, keeps=room.catalogue.fonds[ARCHIVE]),
        operator=principal(Role.OPERATOR, None),
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A store with the company's operator and representative, made once and copied."""
    path = tmp_path_factory.mktemp("template")
    made = build_hall(path, FixedClock(NOON), create=True, engine=engine)
    made.register_capacity(COMPANY, ZHOU, Capacity.OPERATOR)
    made.register_capacity(COMPANY, SHEN, Capacity.LEGAL_REPRESENTATIVE)
    made.room.database.close()
    return path


@dataclass(frozen=True)
class Tools:
    """What tests need that build stores of their own."""

    NOON = NOON
    build_hall = staticmethod(build_hall)


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools()


@pytest.fixture
def hall(template: Path, tmp_path: Path, engine: Engine) -> Iterator[Hall]:
    """A store of one's own, at noon of the day."""
    path = engine.copy_folder(template, tmp_path / "store", DATABASE)
    made = build_hall(path, FixedClock(NOON), create=False, engine=engine)
    yield made
    made.room.database.close()


@dataclass
class Served:
    """The room behind a real server on loopback."""

    hall: Hall
    port: int
    tokens: dict[str, str]

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, who: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.base,
            headers={"Authorization": f"Bearer {self.tokens[who]}"},
            verify=False,  # no TLS here, and loading the roots takes 0.1 s
            timeout=30,
        )

    def stored_files(self) -> list[Path]:
        """Object files, also those that are being written."""
        return [path for path in (self.hall.path / "objects").rglob("*") if path.is_file()]


def application(hall: Hall, receive: ReceiveLimits) -> FastAPI:
    """The routes of this part of the room, with the product's own edge around them."""
    app = FastAPI(max_body_size=1 << 20)
    install(app)
    access = Access(hall.room.database, hall.clock, hall.credentials)
    for module in (uploads_http, cases_http, materials_http, form_http, documents_http, tasks_http):
        app.include_router(module.routes(hall.room, access))
    app.add_middleware(ReceiveTimeout, limits=receive)
    app.add_middleware(RequestContext, observing=Observing(Metrics()))
    return app


def issue_tokens(hall: Hall) -> dict[str, str]:
    """A token for everybody of the story, by name."""
    end = NOON + timedelta(days=30)
    ids = {ref.code: hall.party(ref) for ref in (COMPANY, SHEN, ZHOU, LANDLORD, CO_OWNER, ELDER)}
    wanted: dict[str, dict[str, object]] = {
        "window": {"role": Role.WINDOW, "org": HALL, "unit": "综窗3号", "officer": "陈晓岚"},
        "other_window": {"role": Role.WINDOW, "org": MARKET, "officer": "某人"},
        "department": {"role": Role.DEPARTMENT, "org": MARKET, "officer": "林知远"},
        "other_department": {"role": Role.DEPARTMENT, "org": HALL, "officer": "某人"},
        "archivist": {"role": Role.ARCHIVIST, "org": ARCHIVE},
        "record_room": {"role": Role.ARCHIVIST, "org": MARKET},
        "other_record_room": {"role": Role.ARCHIVIST, "org": HALL},
        "operator": {"role": Role.OPERATOR},
        "auditor": {"role": Role.AUDITOR},
        "zhou": {
            "role": Role.APPLICANT,
            "person": ids[ZHOU.code],
            "holder": ids[COMPANY.code],
            "capacity": Capacity.OPERATOR,
        },
        "landlord": {"role": Role.APPLICANT, "person": ids[LANDLORD.code]},
        "elder": {"role": Role.APPLICANT, "person": ids[ELDER.code]},
    }
    return {
        name: hall.write(
            lambda tx, fields=fields: hall.credentials.issue(tx, hall.now, expires_at=end, **fields)
        )[1]
        for name, fields in wanted.items()
    }


@contextmanager
def serve(hall: Hall, receive: ReceiveLimits) -> Iterator[Served]:
    """Run the application in a thread of its own, on a free port."""
    tokens = issue_tokens(hall)
    hall.room.ledger.start()
    config = uvicorn.Config(
        application(hall, receive), host="127.0.0.1", port=0, log_level="error", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield Served(hall, server.servers[0].sockets[0].getsockname()[1], tokens)
    finally:
        server.should_exit = True
        thread.join()
        hall.room.ledger.stop()


@pytest.fixture
def small_limits() -> Limits:
    """Limits that a test can reach quickly."""
    return Limits(upload_bytes=3 << 20, block_bytes=64 << 10, pending_uploads=20)


@pytest.fixture
def served(
    template: Path, tmp_path: Path, small_limits: Limits, engine: Engine
) -> Iterator[Served]:
    """A store with small limits and an impatient server."""
    path = engine.copy_folder(template, tmp_path / "store", DATABASE)
    made = build_hall(path, FixedClock(NOON), create=False, limits=small_limits, engine=engine)
    with serve(made, ReceiveLimits(idle=0.7, grace=2.0, rate=16 * 1024)) as running:
        yield running
    made.room.database.close()
