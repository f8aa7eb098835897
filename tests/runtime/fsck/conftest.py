"""A small store with at least one row in every table, made by the use cases of the rooms.

It is made once; each test gets a copy. Time goes on by a second with every
look at the clock, so that no two things happen at the same moment.
"""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from archive.package import export_to_folder, export_to_store
from archive.records import forget_stale
from kernel.canonical import canonical_bytes
from kernel.clock import FixedClock
from kernel.principals import Capacity, Principal, Role
from ledger.anchoring.publishing import EvidencePublisher
from ledger.anchoring.rows import Transaction, keep, save
from ledger.anchoring.signing import AnchorKey
from ledger.anchors import chain_fields
from ledger.evm.contract import anchor_call
from ledger.evm.origins import origin_id
from ledger.problems import Problem
from license_service.lifecycle import Event
from license_service.model import DraftLicense, Successor
from materials_api.back_files.collection import import_rows
from materials_api.back_files.manifest import ManifestRow
from materials_api.cases.assistance import AssistanceOutcome, answer_assistance, ask_assistance
from materials_api.cases.commitments import commit
from materials_api.cases.tasks import finish_task
from materials_api.catalogue.terms import PartyEventKind, PartyRole
from materials_api.grants.granting import decline
from materials_api.grants.lifecycle import GrantUse
from materials_api.grants.show_codes import redeem, show_code
from materials_api.materials.control import resume_reuse, stop_reuse
from materials_api.materials.erasure import continue_erasures, request_erasure
from materials_api.materials.invalidation import InvalidReason, invalidate
from materials_api.registers.party_events import record_event
from materials_api.registers.register import end_facts, load_facts
from materials_api.releases.byte_ranges import RangeRequest
from materials_api.releases.downloads import begin_download
from materials_api.releases.tickets import ticket_for_own, ticket_for_verification
from materials_api.rules.reuse_facts import StatutoryDuty
from parties import HolderRef
from runtime.commands.fsck import run_checks
from runtime.store import Store, create_store, open_store
from storage.idempotency import RequestKey
from storage.objects.erasure import finish_erasures
from tests.ledger.evm import world

_CONFTESTS = Path(__file__).parents[2] / "materials_api"


def _module(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


_desks = _module("materials_api_grants_conftest", _CONFTESTS / "grants" / "conftest.py")
_halls = sys.modules["materials_api_cases_conftest"]
HALL, MARKET, NOON, FOOD = _halls.HALL, _halls.MARKET, _halls.NOON, _halls.FOOD
COMPANY, SHEN, ZHOU = _halls.COMPANY, _halls.SHEN, _halls.ZHOU
LANDLORD, CO_OWNER, ELDER = _halls.LANDLORD, _halls.CO_OWNER, _halls.ELDER
STRANGER = HolderRef("passport", "USA-123456789", "Somebody Else")
SECURITY = "11310199MB2Y030387"
PERMIT = "000709021000"  # residence permit


class Hall(_halls.Hall):  # type: ignore[misc, name-defined]
    """The hall of the material tests over a whole store; everybody has a credential."""

    store: Store

    @property
    def now(self) -> Any:
        return self.advance(seconds=1)

    def login(self, role: Role, **more: Any) -> Principal:
        issued = self.store.credentials.issue

        def work(tx: Any) -> Principal:
            at = self.now
            _, secret = issued(tx, at, role=role, expires_at=at + timedelta(days=30), **more)
            return self.store.credentials.authenticate(tx, at, secret)

        return self.write(work)  # type: ignore[no-any-return]

    def applicant(
        self, holder: HolderRef, person: HolderRef | None = None, capacity: Capacity = Capacity.SELF
    ) -> Principal:
        acting: dict[str, Any] = {"person": self.party(person or holder)}
        if person is not None:
            acting |= {"holder": self.party(holder), "capacity": capacity}
        return self.login(Role.APPLICANT, **acting)


@dataclass
class Office:
    """A store, opened, with the short forms of the material tests around it."""

    store: Store
    hall: Any
    desk: Any
    ids: dict[str, str]

    def check(self) -> list[Problem]:
        return run_checks(self.store, lambda *_: None)


def open_hall(store: Store, clock: FixedClock, folder: Path) -> Hall:
    nobody = Principal("local", Role.OPERATOR)
    hall = Hall(
        folder, clock, None, store.materials, store.credentials, nobody, nobody, nobody, nobody
    )
    hall.store = store
    hall.window = hall.login(Role.WINDOW, org=HALL, unit="综窗3号", officer="陈晓岚")
    hall.department = hall.login(Role.DEPARTMENT, org=MARKET, officer="林知远")
    hall.archivist = hall.login(Role.ARCHIVIST, org="12310199MB2Y04049F", officer="方致远")
    hall.operator = hall.login(Role.OPERATOR)
    return hall


def make(store: Store, clock: FixedClock, folder: Path) -> dict[str, str]:
    """Play what fills every table; the ids of what tests want to name."""
    hall = open_hall(store, clock, folder)
    desk = _desks.Desk(hall)
    ids: dict[str, str] = {}
    hall.register_capacity(COMPANY, ZHOU, Capacity.OPERATOR)
    hall.register_capacity(COMPANY, SHEN, Capacity.LEGAL_REPRESENTATIVE)
    _licenses(hall, ids)
    _first_case(hall, ids)
    _exports(hall, ids)
    _registers(hall)
    hall.sequence()
    _second_case(hall, desk, ids)
    _permit(hall, ids)
    _erasures(hall, ids)
    _imports(hall, folder)
    hall.sequence()
    return ids


def _licenses(hall: Hall, ids: dict[str, str]) -> None:
    licenses, by = hall.store.licenses, hall.department

    def draft(kind: str, number: str) -> str:
        wanted = DraftLicense(
            kind=kind,
            holder=hall.party(COMPANY),
            issuer_name="云间区市场监督管理局",
            number=number,
            area_code="310199",
        )
        return hall.write(lambda tx: licenses.draft(tx, hall.now, by, wanted).license_id)  # type: ignore[no-any-return]

    def happen(license_id: str, *events: Event) -> None:
        for event in events:
            hall.write(lambda tx, event=event: licenses.apply(tx, hall.now, by, license_id, event))

    old = draft("business_license", COMPANY.code)
    happen(old, Event.ISSUE)
    ids["license"] = hall.write(
        lambda tx: licenses.supersede(tx, hall.now, by, old, Event.CHANGE, Successor()).license_id
    )
    happen(draft("food_business_permit", "JY13101990000001"), Event.ISSUE, Event.SUSPEND)
    draft("food_business_permit", "JY13101990000002")


def _first_case(hall: Hall, ids: dict[str, str]) -> None:
    """A lease and a certificate, a rejected plan, a commitment; approved and closed."""
    case_id = hall.open_case(project="P-2026-1", number="HS-1").case_id
    ids["first"] = case_id
    shares = ((COMPANY, PartyRole.TENANT), (LANDLORD, PartyRole.OWNER))
    paper = {"reason": "other", "issued_at": date(2026, 1, 5)}
    ids["lease"] = hall.register(
        case_id, requirement="lease_contract", parties=shares, valid_until=date(2028, 1, 5), **paper
    ).material_id
    ids["certificate"] = hall.register(
        case_id,
        hall.pdf("certificate"),
        type="real_estate_certificate",
        title="不动产权证书",
        requirement="real_estate_certificate",
        parties=((LANDLORD, PartyRole.OWNER), (CO_OWNER, PartyRole.CO_OWNER)),
        **paper,
    ).material_id
    plan = {"type": "layout_plan", "title": "布局图", "requirement": "layout_plan"}
    rejected = hall.register(case_id, hall.pdf("bad plan"), **plan).material_id
    hall.write(lambda tx: commit(hall.room, tx, hall.now, hall.window, case_id, _RULES))
    hall.event(case_id, "submit")
    hall.event(case_id, "ask_correction", items=("布局图不清",), reject=(rejected,))
    hall.register(case_id, hall.pdf("plan"), supersedes=rejected, **plan)
    for event in ("submit", "accept", "approve", "close"):
        hall.event(case_id, event)


_RULES = "food_safety_rules"


def _registers(hall: Hall) -> None:
    def load(holder: HolderRef, name: str) -> str:
        who = hall.party(holder)
        return hall.write(  # type: ignore[no-any-return]
            lambda tx: load_facts(
                hall.room, tx, hall.now, hall.operator, "population", who, {"name": name}
            )[0]
        )

    load(SHEN, "旧名")
    load(SHEN, SHEN.name or "")
    ended = load(ELDER, ELDER.name or "")
    hall.write(lambda tx: end_facts(hall.room, tx, hall.now, hall.operator, ended))


def _second_case(hall: Hall, desk: Any, ids: dict[str, str]) -> None:
    """Reuse of all kinds, with denials, downloads, codes and an invalidation."""
    room, store = hall.room, hall.store
    boss = hall.applicant(COMPANY, SHEN, Capacity.LEGAL_REPRESENTATIVE)
    landlord = hall.applicant(LANDLORD)
    case_id = desk.case().case_id
    ids["second"] = case_id
    for item in ("lease", "license"):
        desk.granted(case_id, ids[item], boss)
    ids["grant"] = hall.read(lambda tx: _grant_of(tx, ids["lease"]))
    allowed = desk.verify(
        case_id,
        ids["lease"],
        key=RequestKey.of(hall.room.vault, hall.window.subject, "POST /v", "k", b"{}"),
    )
    ids["verification"] = allowed["items"][0]["verification"]
    desk.verify(case_id, ids["license"], requirement="business_license")
    desk.check(case_id, "identity_proof")
    desk.verify(case_id, ids["certificate"], requirement="real_estate_certificate")
    duty = StatutoryDuty("周警官", "031", "民警")
    desk.verify(case_id, ids["lease"], basis=duty)

    def ticket(verification: str) -> str:
        return hall.write(  # type: ignore[no-any-return]
            lambda tx: ticket_for_verification(room, tx, hall.now, hall.window, verification, 1)
        ).ticket

    begin_download(room, hall.now, hall.window, ticket(ids["verification"]), RangeRequest())
    ticket(ids["verification"])
    own = hall.write(lambda tx: ticket_for_own(room, tx, hall.now, landlord, ids["lease"], 1))
    begin_download(room, hall.now, landlord, own.ticket, RangeRequest())

    items = (ids["certificate"],)
    shown = desk.make(landlord, items)
    code = hall.write(lambda tx: show_code(room, tx, hall.now, landlord, shown.grant_id)).code
    hall.write(lambda tx: redeem(room, tx, hall.now, hall.window, case_id, "WRONG000"))
    hall.write(lambda tx: redeem(room, tx, hall.now, hall.window, case_id, code))
    hall.write(lambda tx: redeem(room, tx, hall.now, hall.window, case_id, "WRONG111"))
    hall.write(lambda tx: redeem(room, tx, hall.now, hall.window, case_id, "WRONG222"))
    out = desk.make(landlord, items, use=GrantUse.UNTIL, expires_at=NOON + timedelta(days=30))
    hall.write(lambda tx: show_code(room, tx, hall.now, landlord, out.grant_id))
    asked = desk.ask(case_id, items=items)
    refused = next(one for one in asked if one.holder == landlord.holder)
    hall.write(lambda tx: decline(room, tx, hall.now, landlord, refused.grant_id))
    desk.revoke(desk.grant(ids["grant"]), boss)

    who = hall.party(COMPANY)
    moved = PartyEventKind.ADDRESS_CHANGED
    hall.write(lambda tx: record_event(room, tx, hall.now, hall.operator, who, moved, NOON))
    desk.verify(case_id, ids["lease"])
    new = hall.register(
        case_id, hall.pdf("new lease"), requirement="lease_contract", reason="verification_denied"
    ).material_id
    hall.event(case_id, "submit")
    hall.event(case_id, "accept")
    desk.verify(case_id, ids["license"], requirement="health_certificate")
    for change in (stop_reuse, resume_reuse):
        hall.write(lambda tx, change=change: change(room, tx, hall.now, boss, new))
    forged = hall.write(
        lambda tx: invalidate(
            room, tx, hall.now, hall.department, ids["lease"], InvalidReason.FORGED
        )
    )
    hall.write(
        lambda tx: finish_task(room, tx, hall.now, hall.department, forged.tasks[0], "已复核")
    )
    revoked = hall.login(Role.AUDITOR)
    hall.write(lambda tx: store.credentials.revoke(tx, hall.now, revoked.subject))
    hall.upload(hall.pdf("not used yet"))


def _grant_of(tx: Any, item: str) -> str:
    from sqlalchemy import select

    from materials_api.tables import grant_items

    return str(tx.scalar(select(grant_items.c.grant_id).where(grant_items.c.item == item)))


def _permit(hall: Hall, ids: dict[str, str]) -> None:
    """A person's case, with a letter of assistance that was answered."""
    room = hall.room
    case_id = hall.open_case(PERMIT, ELDER, None, variant="endorsement").case_id
    letter = hall.write(
        lambda tx: ask_assistance(
            room, tx, hall.now, hall.window, case_id, "employment_contract", "是否在职"
        )
    )
    ids["letter"] = letter.document_id
    outcome = AssistanceOutcome.CONFIRMED
    hall.write(
        lambda tx: answer_assistance(
            room, tx, hall.now, hall.window, case_id, letter.document_id, outcome, None
        )
    )
    person = hall.party(HolderRef(ELDER.type, ELDER.code))
    hall.write(lambda tx: hall.store.parties.rename(tx, hall.now, person, "赵阿富", "registration"))
    agent = hall.register_capacity(ELDER_NOW, ZHOU, Capacity.AGENT)
    hall.write(lambda tx: hall.store.parties.end_capacity(tx, hall.now, agent, "withdrawn"))


ELDER_NOW = HolderRef(ELDER.type, ELDER.code)


def _erasures(hall: Hall, ids: dict[str, str]) -> None:
    case_id = hall.open_case(number="HS-3").case_id
    gone = hall.register(case_id, hall.pdf("to be erased"), requirement="lease_contract",
                         reason="other").material_id  # fmt: skip
    ids["erased"] = gone
    owner = hall.applicant(COMPANY, SHEN, Capacity.LEGAL_REPRESENTATIVE)
    hall.write(lambda tx: request_erasure(hall.room, tx, hall.now, owner, gone))
    stranger = hall.party(STRANGER)
    hall.sequence()
    continue_erasures(hall.room, hall.now)
    hall.write(lambda tx: hall.store.parties.erase(tx, hall.now, stranger))


def _imports(hall: Hall, folder: Path) -> None:
    row = ManifestRow(
        line=2,
        holder_type="001",
        holder_code=COMPANY.code,
        holder_name=COMPANY.name or "",
        material_type="lease_contract",
        title="旧租赁合同",
        source_case="HS-2019-0001",
        matter=FOOD,
        provenance="certified_copy",
        certified_by="老李",
        certified_at=NOON.replace(year=2019),
        issued_at=None,
        valid_until=None,
        files=("old.pdf",),
    )
    (folder / "old.pdf").write_bytes(hall.pdf("old"))
    import_rows(hall.room, hall.operator, [row], folder, lambda _: None)


def _exports(hall: Hall, ids: dict[str, str]) -> None:
    """One package in a folder, one whose time is over, one that waits to be fetched."""
    store = hall.store
    hall.sequence()
    export_to_folder(store.archive, hall.archivist, ids["first"], hall.path / "package")
    for _ in range(2):
        hall.advance(days=8)
        forget_stale(store.archive, hall.now)
        hall.sequence()
        made = export_to_store(store.archive, hall.archivist, ids["first"], store.database.write)
        ids["export"] = made.export_id
    finish_erasures(store.database, store.object_store, store.vault, hall.now)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], FixedClock]:
    """The store's folder, made once a session and closed, with its ids. Not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    clock = FixedClock(NOON)
    create_store(folder / "store", "test.example", clock)
    with open_store(folder / "store", clock=clock) as store:
        ids = make(store, clock, folder)
        anchor(store, clock)
        assert run_checks(store, lambda *_: None) == []
    return folder / "store", ids, clock


def anchor(store: Store, clock: FixedClock) -> None:
    """A transaction that was sent, and evidence of a chain: what no node is needed for."""
    signed = store.ledger.signed_checkpoint()
    head, address = signed.checkpoint, world.CONTRACT
    sent = AnchorKey("11" * 32).sign(
        chain_id=20200,
        nonce=0,
        price=10**9,
        gas=150_000,
        to=address,
        data=anchor_call(head.origin, 0, head.size, head.root),
    )
    source = f"20200:0x{address.hex()}"
    made = Transaction(
        hash=sent.hash,
        source=source,
        nonce=0,
        price=10**9,
        raw=sent.raw,
        shard=store.ledger.shard,
        previous_size=0,
        size=head.size,
        root=head.root,
        checkpoint=signed.encode(),
        state="pending",
        reason=None,
        block=None,
        block_hash=None,
        signed_at=clock.now(),
    )
    chain = world.World(origin=origin_id(head.origin), size=head.size, root=head.root)
    evidence = canonical_bytes(chain_fields(20200, chain.evidence(chain.plain())))
    store.database.write(lambda tx: save(tx, made, replaces=False))
    store.database.write(
        lambda tx: keep(
            tx,
            clock.now(),
            kind="chain",
            source=source,
            shard=store.ledger.shard,
            size=head.size,
            checkpoint=signed.encode(),
            evidence=evidence,
            state="final",
        )
    )
    EvidencePublisher(store.ledger, 1).step(clock.now())
    store.ledger.sequence(clock.now())


@contextmanager
def _copied(
    small: tuple[Path, dict[str, str], FixedClock], target: Path, *, people: bool
) -> Iterator[Office]:
    folder, ids, clock = small
    shutil.copytree(folder, target / "store")
    later = FixedClock(clock.now() + timedelta(seconds=1))
    with open_store(target / "store", clock=later) as store:
        hall = open_hall(store, later, target) if people else None
        yield Office(store, hall, _desks.Desk(hall), ids)


@pytest.fixture
def office(small: tuple[Path, dict[str, str], FixedClock], tmp_path: Path) -> Iterator[Office]:
    """A copy of the small store, opened, with people who log in anew."""
    with _copied(small, tmp_path, people=True) as made:
        yield made


@pytest.fixture(scope="module")
def peopled_office(
    small: tuple[Path, dict[str, str], FixedClock], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    """A copy for a whole module, with people, whose tests keep to things of their own."""
    with _copied(small, tmp_path_factory.mktemp("peopled"), people=True) as made:
        yield made


@pytest.fixture(scope="module")
def module_office(
    small: tuple[Path, dict[str, str], FixedClock], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    """A copy for a whole module, whose tests put back what they change."""
    with _copied(small, tmp_path_factory.mktemp("module"), people=False) as made:
        yield made
