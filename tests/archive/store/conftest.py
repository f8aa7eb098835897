"""A real store with a clock that stands still, and an office that works in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from kernel.clock import FixedClock
from kernel.ids import IdKind, new_id
from kernel.principals import Capacity, Channel, Principal, Role
from license_service.lifecycle import Event
from license_service.model import DraftLicense
from materials_api.cases.events import EventRequest, apply_event
from materials_api.cases.lifecycle import CaseEvent
from materials_api.cases.opening import OpenCase, open_case
from materials_api.catalogue.terms import Provenance
from materials_api.grants.granting import approve
from materials_api.grants.lifecycle import GrantUse
from materials_api.grants.requests import AskGrant, ask_grants
from materials_api.materials.checks import FileInput, RegisterMaterial
from materials_api.materials.registration import register_material
from materials_api.rules.reuse_facts import Consent
from materials_api.tables import materials
from materials_api.uploads.incoming import begin_upload, keep_upload
from materials_api.verification.facts import AskedItem
from materials_api.verification.verifying import Verify, verify
from parties import HolderRef
from runtime.store import DATABASE, Store, create_store, open_store
from storage.database import WriteTx
from storage.idempotency import Reply
from tests.engines import Engine

START = datetime(2026, 11, 24, 4, 20, 21, tzinfo=UTC)
ELDER = HolderRef("111", "310199194803219179", "赵阿福")
CIVIL_AFFAIRS = "11310199MB2Y050411"
ALLOWANCE = "000511008000"
PDF = b"%PDF-1.7\n1 0 obj<<>>endobj\n" + "证明".encode() * 500 + b"\n%%EOF\n"
T = TypeVar("T")


def officer(role: Role, org: str | None, name: str) -> Principal:
    return Principal(subject=new_id(IdKind.CREDENTIAL), role=role, org=org, officer=name)


@dataclass
class Office:
    """Plays a window, a department and an archive on one store."""

    store: Store
    clock: FixedClock
    closed: str = ""
    window: Principal = field(
        default_factory=lambda: officer(Role.WINDOW, "11310199MB2Y01016G", "陈晓岚")
    )
    department: Principal = field(
        default_factory=lambda: officer(Role.DEPARTMENT, CIVIL_AFFAIRS, "林知远")
    )
    archivist: Principal = field(
        default_factory=lambda: replace(
            officer(Role.ARCHIVIST, "12310199MB2Y04049F", "档案员"),
            keeps=frozenset({CIVIL_AFFAIRS}),
        )
    )

    def write(self, work: Callable[[WriteTx], T]) -> T:
        self.clock.set(self.clock.now() + timedelta(seconds=1))
        return self.store.database.write(work)

    def open(
        self, holder: HolderRef = ELDER, matter: str = ALLOWANCE, variant: str | None = None
    ) -> str:
        wanted = OpenCase(matter=matter, applicant=holder, channel=Channel.WINDOW, variant=variant)
        room = self.store.materials
        return self.write(
            lambda tx: open_case(room, tx, self.clock.now(), self.window, wanted).case_id
        )

    def bring(self, case_id: str, requirement: str | None, *files: tuple[str, bytes],
              **more: Any) -> str:  # fmt: skip
        """Upload files and register them as one material; its id."""
        room = self.store.materials
        inputs = []
        for name, data in files:
            upload_id = new_id(IdKind.UPLOAD)
            receiver = begin_upload(room, self.window, upload_id, len(data))
            receiver.write(data)
            keep_upload(room, self.clock.now(), self.window, upload_id, receiver.finish())
            inputs.append(FileInput(upload_id, name))
        wanted = RegisterMaterial(
            type=more.pop("type", requirement or "other"),
            title=more.pop("title", "材料"),
            provenance=Provenance.CERTIFIED_COPY,
            files=tuple(inputs),
            requirement=requirement,
            **more,
        )
        return self.write(
            lambda tx: (
                register_material(
                    room, tx, self.clock.now(), self.window, case_id, wanted
                ).material_id
            )
        )

    def happen(self, case_id: str, *events: str, by: Principal | None = None) -> None:
        room = self.store.materials
        for name in events:
            event = CaseEvent(name)
            actor = by or (self.window if name in ("submit", "withdraw") else self.department)
            self.write(
                lambda tx, event=event, actor=actor: apply_event(
                    room, tx, self.clock.now(), actor, case_id, EventRequest(event)
                )
            )

    def license(self, case_id: str, by: Principal | None = None) -> str:
        """Issue the allowance certificate as the result of the case."""
        store, issuer = self.store, by or self.department

        def work(tx: WriteTx) -> str:
            at = self.clock.now()
            holder = store.parties.ensure(tx, at, ELDER)
            draft = DraftLicense(
                kind="elderly_allowance_certificate",
                holder=holder,
                issuer_name="云间区民政局",
                number="沪云间老〔2026〕1号",
                area_code="310199",
                source_case=case_id,
            )
            made = store.licenses.draft(tx, at, issuer, draft)
            store.licenses.apply(tx, at, issuer, made.license_id, Event.ISSUE)
            return made.license_id

        return self.write(work)

    def closed_case(self) -> str:
        """The closed case that every test's store begins with."""
        return self.closed

    def make_closed_case(self) -> str:
        """An approved and closed case with three materials, one of two files, and a licence."""
        case_id = self.open()
        reason = {"reason": "holder_prefers_paper"}
        self.bring(
            case_id,
            "identity_proof",
            ("身份证 正面.pdf", PDF + b"1"),
            ("身份证 反面.pdf", PDF + b"2"),
            title="身份证 <赵阿福>",
            **reason,
        )
        self.bring(case_id, "household_register", ("户口簿.pdf", PDF + b"3"), **reason)
        self.bring(case_id, "bank_account_proof", ("账户.pdf", PDF + b"4" * 300_000), **reason)
        self.bring(case_id, None, ("租赁.pdf", PDF + b"5"), type="lease_contract", title="租赁合同")
        self.bring(
            case_id, None, ("劳动.pdf", PDF + b"6"), type="employment_contract", title="聘书"
        )
        self.happen(case_id, "submit", "accept", "approve")
        self.license(case_id)
        self.happen(case_id, "close")
        self.publish()
        return case_id

    def residence_case(
        self, before_verifying: Callable[[], None] = lambda: None
    ) -> tuple[str, dict[str, str]]:
        """A residence permit is endorsed: identity by licence, the lease reused with the
        holder's authorisation, the employment contract denied and brought; its id and
        the ids of what was used."""
        room, store = self.store.materials, self.store
        security = officer(Role.DEPARTMENT, "11310199MB2Y030387", "周警官")
        card = self.identity_card(security)
        case_id = self.open(matter="000709021000", variant="endorsement")
        with store.database.read() as tx:
            lease, contract = (
                tx.scalar(select(materials.c.material_id).where(materials.c.type == type_))
                for type_ in ("lease_contract", "employment_contract")
            )
            elder = store.parties.find(tx, ELDER.type, ELDER.code, at=self.clock.now())
        holder = Principal(
            subject=new_id(IdKind.CREDENTIAL),
            role=Role.APPLICANT,
            person=elder,
            holder=elder,
            capacity=Capacity.SELF,
        )
        ask = AskGrant("居住证签注", GrantUse.ONCE, items=(lease, card))
        asked = self.write(
            lambda tx: ask_grants(room, tx, self.clock.now(), self.window, case_id, ask)
        )
        for grant in asked:
            self.write(
                lambda tx, grant=grant: approve(room, tx, self.clock.now(), holder, grant.grant_id)
            )
        self.publish()
        before_verifying()
        room = self.store.materials
        items = (
            AskedItem("identity_proof", card),
            AskedItem("residence_proof", lease),
            AskedItem("employment_contract", contract),
        )
        verify(
            room,
            self.clock.now(),
            self.window,
            Verify(case_id, items, Consent()),
            lambda _call: Reply(201, b"{}"),
        )
        self.bring(
            case_id, "employment_contract", ("新聘书.pdf", PDF + b"7"), reason="verification_denied"
        )
        self.happen(case_id, "submit")
        self.happen(case_id, "accept", "approve", "close", by=security)
        self.publish()
        return case_id, {"lease": lease, "contract": contract, "card": card}

    def identity_card(self, security: Principal) -> str:
        store = self.store

        def work(tx: WriteTx) -> str:
            at = self.clock.now()
            draft = DraftLicense(
                kind="identity_card",
                holder=store.parties.ensure(tx, at, ELDER),
                issuer_name="上海市公安局云间分局",
                number=ELDER.code,
                area_code="310199",
            )
            made = store.licenses.draft(tx, at, security, draft)
            store.licenses.apply(tx, at, security, made.license_id, Event.ISSUE)
            return made.license_id

        return self.write(work)

    def publish(self) -> None:
        self.store.ledger.sequence(self.clock.now())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> tuple[Path, str]:
    """A store with one closed case, made once and copied for every test."""
    data = tmp_path_factory.mktemp("template") / "data"
    clock = FixedClock(START)
    settings = engine.settings(data / DATABASE)
    create_store(data, "archive.example", clock, settings)
    with open_store(data, settings, clock) as store:
        case_id = Office(store, clock).make_closed_case()
    return data, case_id


@pytest.fixture
def office(
    template: tuple[Path, str], tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    data, case_id = template
    own = engine.copy_folder(data, tmp_path / "data", DATABASE)
    clock = FixedClock(START + timedelta(hours=1))
    for name, value in engine.environment(own / DATABASE).items():
        monkeypatch.setenv(name, value)  # for commands
    with open_store(own, engine.settings(own / DATABASE), clock) as store:
        yield Office(store, clock, case_id)
