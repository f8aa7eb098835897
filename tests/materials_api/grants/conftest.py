"""The store of the case tests, with short forms for grants and verifications."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kernel.principals import Capacity, Principal
from materials_api.cases.access import CaseView
from materials_api.catalogue.terms import PartyRole
from materials_api.grants.granting import MakeGrant, approve, make_grant, revoke
from materials_api.grants.lifecycle import GrantUse
from materials_api.grants.records import Grant, open_grant
from materials_api.grants.requests import AskGrant, ask_grants
from materials_api.registers.data_checks import CheckData, check_data
from materials_api.registers.register import DataSource, LocalRegisters
from materials_api.room import MaterialsRoom
from materials_api.rules.reuse_facts import Basis, Consent
from materials_api.verification.answers import call_answer, encode, item_answer
from materials_api.verification.facts import AskedItem
from materials_api.verification.verifying import Call, Verify, verify
from storage.idempotency import Reply, RequestKey


def _cases_conftest() -> ModuleType:
    path = Path(__file__).parents[1] / "cases" / "conftest.py"
    name = "materials_api_cases_conftest"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


_cases = _cases_conftest()
template = _cases.template
hall = _cases.hall
build_hall = _cases.build_hall


def render(call: Call) -> Reply:
    items = [
        item_answer(one.verification_id, one.entry_id, one.slip, one.body) for one in call.items
    ]
    return Reply(201, encode(call_answer(call.call_id, call.case_id, call.at, items)))


@dataclass
class Desk:
    """A window with holders around it."""

    hall: Any

    @property
    def room(self) -> MaterialsRoom:
        return self.hall.room  # type: ignore[no-any-return]

    @property
    def now(self) -> datetime:
        return self.hall.now  # type: ignore[no-any-return]

    def company(self, capacity: Capacity = Capacity.LEGAL_REPRESENTATIVE) -> Principal:
        person = self.hall.SHEN if capacity is not Capacity.OPERATOR else self.hall.ZHOU
        return self.hall.applicant(self.hall.COMPANY, person, capacity)  # type: ignore[no-any-return]

    def lease(self, **fields: object) -> str:
        """A lease of the company in an approved case, in the log."""
        case = self.hall.open_case()
        values: dict[str, object] = {
            "requirement": "lease_contract",
            "parties": (
                (self.hall.COMPANY, PartyRole.TENANT),
                (self.hall.LANDLORD, PartyRole.OWNER),
            ),
            "issued_at": date(2026, 1, 5),
            "reason": "other",
        } | fields
        made = self.hall.register(case.case_id, **values)
        for event in ("submit", "accept", "approve"):
            self.hall.event(case.case_id, event)
        self.hall.sequence()
        return made.material_id  # type: ignore[no-any-return]

    def certificate(self) -> str:
        """A property certificate of two co-owners, handed in by the company."""
        return self.lease(
            type="real_estate_certificate",
            title="不动产权证书",
            requirement="real_estate_certificate",
            parties=(
                (self.hall.LANDLORD, PartyRole.OWNER),
                (self.hall.CO_OWNER, PartyRole.CO_OWNER),
            ),
        )

    def case(self, **more: object) -> CaseView:
        return self.hall.open_case(variant="moved", **more)  # type: ignore[no-any-return]

    def ask(self, case_id: str, **wanted: object) -> list[Grant]:
        values: dict[str, object] = {"purpose": "食品经营许可", "use": GrantUse.ONCE} | wanted
        asked = AskGrant(**values)  # type: ignore[arg-type]
        return self.hall.write(  # type: ignore[no-any-return]
            lambda tx: ask_grants(self.room, tx, self.now, self.hall.window, case_id, asked)
        )

    def approve(self, grant: Grant, by: Principal, items: list[str] | None = None) -> Grant:
        return self.hall.write(  # type: ignore[no-any-return]
            lambda tx: approve(self.room, tx, self.now, by, grant.grant_id, items)
        )

    def granted(self, case_id: str, item: str, by: Principal | None = None) -> Grant:
        """Asked for and approved, for this case."""
        grants = self.ask(case_id, items=(item,))
        who = by or self.company()
        mine = next(grant for grant in grants if grant.holder == who.holder)
        return self.approve(mine, who)

    def make(self, by: Principal, items: tuple[str, ...], **wanted: object) -> Grant:
        values: dict[str, object] = {"purpose": "办事", "use": GrantUse.ONCE} | wanted
        made = MakeGrant(items=items, **values)  # type: ignore[arg-type]
        return self.hall.write(lambda tx: make_grant(self.room, tx, self.now, by, made))  # type: ignore[no-any-return]

    def revoke(self, grant: Grant, by: Principal) -> Grant:
        return self.hall.write(lambda tx: revoke(self.room, tx, self.now, by, grant.grant_id))  # type: ignore[no-any-return]

    def grant(self, grant_id: str) -> Grant:
        return self.hall.read(lambda tx: open_grant(self.room, tx, grant_id))  # type: ignore[no-any-return]

    def verify(
        self,
        case_id: str,
        *items: str,
        requirement: str = "lease_contract",
        grant: str | None = None,
        basis: Basis | None = None,
        by: Principal | None = None,
        key: RequestKey | None = None,
    ) -> dict[str, Any]:
        asked = tuple(AskedItem(requirement, item, grant) for item in items)
        wanted = Verify(case_id, asked, basis or Consent())
        reply = verify(self.room, self.now, by or self.hall.window, wanted, render, key)
        return json.loads(reply.body)  # type: ignore[no-any-return]

    def check(
        self, case_id: str, requirement: str, source: DataSource | None = None, **wanted: object
    ) -> dict[str, Any]:
        asked = CheckData(case_id, requirement, **wanted)  # type: ignore[arg-type]
        reply = check_data(
            self.room,
            source or LocalRegisters(self.room),
            self.now,
            self.hall.window,
            asked,
            render,
        )
        return json.loads(reply.body)  # type: ignore[no-any-return]


@pytest.fixture
def desk(hall: Any) -> Iterator[Desk]:
    hall.advance(hours=1)
    return Desk(hall)


@pytest.fixture
def make_desk(template: Path, tmp_path: Path, engine: Any) -> Iterator[Callable[..., Desk]]:
    """Desks with limits or a licence source of their own."""
    opened: list[Any] = []

    def make(**more: Any) -> Desk:
        path = engine.copy_folder(template, tmp_path / f"desk-{len(opened)}", _cases.DATABASE)
        clock = _cases.FixedClock(_cases.NOON)
        made = build_hall(path, clock, create=False, engine=engine, **more)
        opened.append(made)
        return Desk(made)

    yield make
    for made in opened:
        made.room.database.close()


@pytest.fixture(scope="session")
def conftest_module() -> ModuleType:
    """This module, for tests that build stores of their own."""
    return sys.modules[__name__]
