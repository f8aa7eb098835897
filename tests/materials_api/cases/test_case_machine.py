"""The lifecycle of cases and their materials, driven at random through the real database.

Nobody models the outcome: whatever happens, what is stored must hold together,
and what is refused must have changed nothing.
"""

import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from kernel.clock import FixedClock
from kernel.errors import CodedError
from materials_api.cases.access import events_of
from materials_api.cases.lifecycle import TRANSITIONS, CaseEvent, CaseState
from materials_api.cases.requirements import currently_met, ways_met
from materials_api.catalogue.terms import Provenance
from materials_api.materials.checks import FileInput, RegisterMaterial
from materials_api.materials.control import resume_reuse, stop_reuse
from materials_api.materials.invalidation import InvalidReason, invalidate
from materials_api.materials.lifecycle import MaterialState
from materials_api.materials.registration import register_material
from materials_api.tables import (
    case_events,
    case_requirements,
    cases,
    material_files,
    materials,
    tasks,
)
from storage.tables import audit, objects

WATCHED = (cases, case_events, case_requirements, materials, material_files, tasks, audit, objects)
REQUIREMENTS = ("lease_contract", "layout_plan", "application_form", None)


rarely = st.sampled_from((False, False, False, True))


def machine_of(template, folder, build, noon, engine) -> type[RuleBasedStateMachine]:
    class CaseMachine(RuleBasedStateMachine):
        opened = Bundle("opened")
        registered = Bundle("registered")

        @initialize()
        def begin(self) -> None:
            path = folder / "store"
            shutil.rmtree(path, ignore_errors=True)
            engine.copy_folder(template, path, "db.sqlite3")
            self.hall = build(path, FixedClock(noon), create=False, engine=engine)
            self.company = self.hall.applicant(self.hall.COMPANY, self.hall.SHEN)
            self.rejected: set[str] = set()
            self.invalidated: set[str] = set()

        def teardown(self) -> None:
            if hasattr(self, "hall"):
                try:
                    assert self.hall.problems() == []
                finally:
                    self.hall.room.database.close()

        def snapshot(self) -> list[list[tuple[object, ...]]]:
            with self.hall.room.database.read() as tx:
                return [
                    sorted(tuple(map(repr, row.values())) for row in tx.all(select(table)))
                    for table in WATCHED
                ]

        def attempt(self, work) -> bool:
            """Do it, or be refused with a code and have changed nothing."""
            before = self.snapshot()
            try:
                work()
            except CodedError:
                assert self.snapshot() == before
                return False
            return True

        @rule(target=opened)
        def open_case(self) -> str:
            return str(self.hall.open_case().case_id)

        @rule(target=registered, case=opened, requirement=st.sampled_from(REQUIREMENTS))
        def register(self, case: str, requirement: str | None) -> str:
            made: list[str] = []
            fields = {"type": requirement or "other", "requirement": requirement}
            upload = self.hall.upload(self.hall.pdf("x"))
            wanted = RegisterMaterial(
                title="x",
                provenance=Provenance.CERTIFIED_COPY,
                files=(FileInput(upload.upload_id, "x.pdf"),),
                reason="other",
                **fields,
            )
            hall = self.hall
            self.attempt(
                lambda: made.append(
                    hall.write(
                        lambda tx: register_material(
                            hall.room, tx, hall.now, hall.window, case, wanted
                        )
                    ).material_id
                )
            )
            return made[0] if made else ""

        @rule(case=opened, event=st.sampled_from(CaseEvent), wrong=rarely, gaps=st.booleans())
        def happen(self, case: str, event: CaseEvent, wrong: bool, gaps: bool) -> None:
            hall = self.hall
            who = hall.archivist if wrong else None
            items = ("补一页",) if event is CaseEvent.ASK_CORRECTION else ()
            done = self.attempt(
                lambda: hall.event(case, event.value, who, items=items, with_gaps=gaps)
            )
            if wrong and event is not CaseEvent.FILE:
                assert not done

        @rule(case=opened, material=registered)
        def correct(self, case: str, material: str) -> None:
            hall = self.hall
            if self.attempt(
                lambda: hall.event(case, "ask_correction", items=("x",), reject=(material,))
            ):
                self.rejected.add(material)

        @rule(material=registered, resume=st.booleans())
        def control(self, material: str, resume: bool) -> None:
            hall, use = self.hall, resume_reuse if resume else stop_reuse
            self.attempt(
                lambda: hall.write(lambda tx: use(hall.room, tx, hall.now, self.company, material))
            )

        @rule(material=registered)
        def declare_false(self, material: str) -> None:
            hall = self.hall
            if self.attempt(
                lambda: hall.write(
                    lambda tx: invalidate(
                        hall.room, tx, hall.now, hall.department, material, InvalidReason.FORGED
                    )
                )
            ):
                self.invalidated.add(material)

        @rule(hours=st.sampled_from((1, 24, 24 * 9)))
        def wait(self, hours: int) -> None:
            self.hall.advance(hours=hours)

        @invariant()
        def everything_holds_together(self) -> None:
            if not hasattr(self, "hall"):
                return
            hall = self.hall
            with hall.room.database.read() as tx:
                for row in tx.all(select(cases)):
                    self.check_case(tx, row)
                for row in tx.all(select(materials)):
                    self.check_material(tx, row)

        def check_case(self, tx, row) -> None:
            events = events_of(tx, row["case_id"])
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert row["version"] == len(events)
            state = CaseState.DRAFT
            for event in events[1:]:
                state = TRANSITIONS[state, CaseEvent(event.event)]
                assert event.state is state
            assert row["state"] == state
            passed = [event.event for event in events]
            assert passed.count("ask_correction") <= 1
            assert (row["accepted_at"] is not None) == ("accept" in passed)
            assert (row["closed_at"] is not None) == ("close" in passed)
            latest = self.hall.room.ledger.records.latest(tx, row["case_id"])
            assert latest.body["status"] == row["state"]

        def check_material(self, tx, row) -> None:
            material = row["material_id"]
            facts = self.hall.material(material)
            assert facts.agrees
            states = [event.state for event in events_of(tx, row["case_id"])]
            if row["status"] in (MaterialState.REUSABLE, MaterialState.STOPPED):
                assert CaseState.APPROVED in states
                assert material not in self.rejected
            if material in self.invalidated:
                assert row["status"] == MaterialState.INVALIDATED
            elif material in self.rejected:
                assert row["status"] == MaterialState.REJECTED
            assert (row["retain_until"] is not None) == (CaseState.ACCEPTED in states)
            case = self.hall.case(row["case_id"])
            matter = self.hall.room.catalogue.matter(case.matter)
            met = currently_met(tx, case, matter)
            if material in self.rejected:
                assert material not in {way.item for way in met.values()}
            assert all(way.sequence >= 1 for way in ways_met(tx, row["case_id"]))

    return CaseMachine


@pytest.mark.timeout(300)
def test_cases_hold_together_whatever_happens(template, tmp_path, tools, engine) -> None:
    machine = machine_of(template, tmp_path, tools.build_hall, tools.NOON, engine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=18,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
