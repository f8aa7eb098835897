"""A real store with a clock that stands still, and an office that works in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kernel.clock import FixedClock
from kernel.ids import IdKind, new_id
from kernel.principals import Channel, Principal, Role
from license_service.lifecycle import Event
from license_service.model import DraftLicense
from materials_api.case_events import EventRequest, apply_event
from materials_api.case_lifecycle import CaseEvent
from materials_api.case_opening import OpenCase, open_case
from materials_api.catalogue.terms import Provenance
from materials_api.material_registration import register_material
from materials_api.registration_checks import FileInput, RegisterMaterial
from materials_api.uploads import begin_upload, keep_upload
from parties import HolderRef
from runtime.store import Store, create_store, open_store
from storage.database import WriteTx

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
    window: Principal = field(
        default_factory=lambda: officer(Role.WINDOW, "11310199MB2Y01016G", "陈晓岚")
    )
    department: Principal = field(
        default_factory=lambda: officer(Role.DEPARTMENT, CIVIL_AFFAIRS, "林知远")
    )
    archivist: Principal = field(
        default_factory=lambda: officer(Role.ARCHIVIST, "12310199MB2Y04049F", "档案员")
    )

    def write(self, work: Callable[[WriteTx], T]) -> T:
        self.clock.set(self.clock.now() + timedelta(seconds=1))
        return self.store.database.write(work)

    def open(self, holder: HolderRef = ELDER, matter: str = ALLOWANCE) -> str:
        wanted = OpenCase(matter=matter, applicant=holder, channel=Channel.WINDOW)
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

    def license(self, case_id: str) -> str:
        """Issue the allowance certificate as the result of the case."""
        store = self.store

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
            made = store.licenses.draft(tx, at, self.department, draft)
            store.licenses.apply(tx, at, self.department, made.license_id, Event.ISSUE)
            return made.license_id

        return self.write(work)

    def closed_case(self) -> str:
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
        self.happen(case_id, "submit", "accept", "approve")
        self.license(case_id)
        self.happen(case_id, "close")
        self.publish()
        return case_id

    def publish(self) -> None:
        self.store.ledger.sequence(self.clock.now())


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    clock = FixedClock(START)
    create_store(tmp_path / "data", "archive.example", clock)
    with open_store(tmp_path / "data", clock=clock) as store:
        yield Office(store, clock)
