"""The life of grants through the real database, against a model of a dozen lines."""

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.errors import CodedError
from materials_api.grants.granting import decline
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.grants.show_codes import WrongCode, redeem, show_code


@dataclass
class Model:
    """What a grant must be. `until`: its end; `case`: what it is bound to."""

    state: str
    use: GrantUse
    until: object
    asked_until: object = None
    case: str | None = None
    history: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def prepared(template: Path, tmp_path_factory: pytest.TempPathFactory, request, engine):
    """A store with one lease and three cases, copied for every run of the machine."""
    conftest = request.getfixturevalue("conftest_module")
    path = tmp_path_factory.mktemp("machine")
    shutil.rmtree(path)
    engine.copy_folder(template, path, "db.sqlite3")
    clock = conftest._cases.FixedClock(conftest._cases.NOON)
    hall = conftest.build_hall(path, clock, create=False, engine=engine)
    desk = conftest.Desk(hall)
    lease = desk.lease()
    cases = [desk.case().case_id for _ in range(3)]
    at = desk.now
    hall.room.database.close()
    return conftest, path, lease, cases, at


def test_grants_follow_the_model(prepared, engine) -> None:
    conftest, path, lease, cases, at = prepared

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp())
            own = engine.copy_folder(path, self.folder / "s", "db.sqlite3")
            clock = conftest._cases.FixedClock(at)
            hall = conftest.build_hall(own, clock, create=False, engine=engine)
            self.desk = conftest.Desk(hall)
            self.holder = self.desk.company()
            self.models: dict[str, Model] = {}
            self.codes: dict[str, tuple[str, object]] = {}

        def teardown(self) -> None:
            self.desk.room.database.close()
            shutil.rmtree(self.folder)

        def pick(self, data, known=None) -> str:
            """By its place: in order of their random ids a replay would pick another one."""
            return data.draw(st.sampled_from(list(self.models if known is None else known)))

        def live(self, model: Model) -> bool:
            return self.desk.now < model.until

        @rule(case=st.sampled_from(cases))
        def ask(self, case: str) -> None:
            (grant,) = self.desk.ask(case, items=(lease,))
            self.models[grant.grant_id] = Model(
                "requested", GrantUse.ONCE, grant.expires_at, case=case
            )

        @rule(use=st.sampled_from(list(GrantUse)), days=st.integers(1, 60))
        def make(self, use: GrantUse, days: int) -> None:
            end = self.desk.now + timedelta(days=days)
            grant = self.desk.make(self.holder, (lease,), use=use, expires_at=end)
            self.models[grant.grant_id] = Model("granted", use, end)

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def approve(self, data) -> None:
            grant_id = self.pick(data)
            model = self.models[grant_id]
            possible = model.state == "requested" and self.live(model)
            assert (
                self.does(lambda: self.desk.approve(self.desk.grant(grant_id), self.holder))
                is possible
            )
            if possible:
                model.state = "granted"
                life = self.desk.room.limits.grants.once_life
                model.until = self.desk.now + timedelta(seconds=life)

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def decline(self, data) -> None:
            grant_id = self.pick(data)
            model = self.models[grant_id]
            possible = model.state == "requested"
            desk = self.desk
            done = self.does(
                lambda: desk.hall.write(
                    lambda tx: decline(desk.room, tx, desk.now, self.holder, grant_id)
                )
            )
            assert done is possible
            if possible:
                model.state = "declined"

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def revoke(self, data) -> None:
            grant_id = self.pick(data)
            model = self.models[grant_id]
            possible = model.state in ("granted", "spent")
            done = self.does(lambda: self.desk.revoke(self.desk.grant(grant_id), self.holder))
            assert done is possible
            if possible:
                model.state = "revoked"

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def show(self, data) -> None:
            grant_id = self.pick(data)
            model = self.models[grant_id]
            possible = model.state == "granted" and self.live(model) and model.case is None
            desk = self.desk
            code: list[str] = []
            done = self.does(
                lambda: code.append(
                    desk.hall.write(
                        lambda tx: show_code(desk.room, tx, desk.now, self.holder, grant_id)
                    ).code
                )
            )
            assert done is possible
            if possible:
                self.codes[grant_id] = code[0], desk.now + timedelta(seconds=60)

        @precondition(lambda self: self.codes)
        @rule(data=st.data(), case=st.sampled_from(cases))
        def redeem(self, data, case: str) -> None:
            grant_id = self.pick(data, self.codes)
            model = self.models[grant_id]
            code, until = self.codes.pop(grant_id)
            desk = self.desk
            possible = (
                desk.now < until
                and model.state == "granted"
                and self.live(model)
                and model.case is None
            )
            found = desk.hall.write(
                lambda tx: redeem(desk.room, tx, desk.now, desk.hall.other_clerk(), case, code)
            )
            assert isinstance(found, WrongCode) is not possible
            if possible and model.use is GrantUse.ONCE:
                model.case = case

        @precondition(lambda self: self.models)
        @rule(data=st.data(), case=st.sampled_from(cases))
        def verify(self, data, case: str) -> None:
            """Named explicitly; others that are bound to the case may serve as well."""
            grant_id = self.pick(data)
            usable = {
                one
                for one, model in self.models.items()
                if model.state in ("granted", "spent")
                and self.live(model)
                and (model.case == case or (model.case is None and one == grant_id))
            }
            answer = self.desk.verify(case, lease, grant=grant_id)["items"][0]
            assert (answer["outcome"] == "allowed") is bool(usable)
            if usable:
                (used,) = answer["grants"]
                assert used in usable
                model = self.models[used]
                if model.use is GrantUse.ONCE:
                    model.state, model.case = "spent", case

        @rule(seconds=st.sampled_from([1, 59, 60, 86_400, 40 * 86_400]))
        def wait(self, seconds: int) -> None:
            self.desk.hall.advance(seconds=seconds)

        @invariant()
        def rows_records_and_model_agree(self) -> None:
            for grant_id, model in self.models.items():
                grant = self.desk.grant(grant_id)  # compares row and record itself
                assert (grant.state, grant.case_id) == (GrantState(model.state), model.case)
                assert grant.expires_at == model.until

        def does(self, act) -> bool:
            try:
                act()
            except CodedError:
                return False
            return True

    Machine.TestCase.settings = settings(
        max_examples=12,
        stateful_step_count=18,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run = Machine.TestCase()
    run.runTest()
