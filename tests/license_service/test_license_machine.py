"""Stateful test: any course of events, on a real database and ledger, against a model."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from ledger.tables import ledger_entries
from license_service.errors import (
    IllegalLicenseTransition,
    LicenseDraftInvalid,
    LicenseEventTimeInvalid,
)
from license_service.lifecycle import LIFECYCLE, SUPERSEDING, TAINTING, Event, Status
from license_service.model import Successor
from license_service.tables import license_events, licenses
from storage.tables import audit

PLAIN = sorted(set(Event) - SUPERSEDING)


def machine(new_store):
    class Course(RuleBasedStateMachine):
        """The model holds, per licence, its status, its events and how it ended."""

        known = Bundle("known")

        def __init__(self):
            super().__init__()
            self.store = new_store()
            self.model = {}

        @rule(target=known)
        def draft(self):
            made = self.store.drafted().license_id
            self.model[made] = {"status": Status.DRAFTED, "events": [], "last": None}
            return made

        @rule(days=st.integers(0, 3))
        def wait(self, days):
            self.store.advance(days=days, seconds=1)

        @rule(license_id=known, event=st.sampled_from(PLAIN), back=st.integers(0, 2))
        def happen(self, license_id, event, back):
            model = self.model[license_id]
            when = self.store.now - timedelta(days=back)
            after = LIFECYCLE.transitions.get((model["status"], event))
            too_early = model["last"] is not None and when < model["last"]
            if after is None:
                self.refused(
                    IllegalLicenseTransition,
                    lambda: self.store.apply(license_id, event, effective_at=when),
                )
            elif too_early:
                self.refused(
                    LicenseEventTimeInvalid,
                    lambda: self.store.apply(license_id, event, effective_at=when),
                )
            else:
                view = self.store.apply(license_id, event, effective_at=when)
                assert view.status is after
                self.happened(license_id, event, after, when)

        @rule(target=known, license_id=known, event=st.sampled_from(sorted(SUPERSEDING)))
        def replace(self, license_id, event):
            model, when = self.model[license_id], self.store.now
            if model["status"] is not Status.VALID:
                self.refused(
                    IllegalLicenseTransition,
                    lambda: self.store.supersede(license_id, event, Successor()),
                )
                return license_id
            new = self.store.supersede(license_id, event, Successor())
            assert new.supersedes == license_id
            self.happened(license_id, event, Status.SUPERSEDED, when)
            self.model[new.license_id] = {"status": Status.DRAFTED, "events": [], "last": None}
            self.happened(new.license_id, event, Status.VALID, when)
            return new.license_id

        @rule(license_id=known)
        def draft_backwards(self, license_id):
            self.refused(
                LicenseDraftInvalid,
                lambda: self.store.drafted(valid_from=self.store.now, valid_until=self.store.now),
            )

        def happened(self, license_id, event, after, when):
            model = self.model[license_id]
            model["status"], model["last"] = after, when
            model["events"].append((event, after, when))

        def refused(self, error, call):
            before = self.counts()
            with pytest.raises(error):
                call()
            assert self.counts() == before

        def counts(self):
            return self.store.read(
                lambda tx: [
                    tx.scalar(select(func.count()).select_from(table))
                    for table in (licenses, license_events, ledger_entries, audit)
                ]
            )

        @invariant()
        def records_rows_and_model_agree(self):
            for license_id, model in self.model.items():
                facts = self.store.facts(license_id)
                assert facts.disagreements == ()
                assert facts.status is model["status"]
                told = [(item.event, item.status, item.effective_at) for item in facts.history]
                assert told == model["events"]
                tainted = any(event in TAINTING for event, _, _ in model["events"])
                answer = facts.status_at(self.store.now)
                assert answer.tainted is tainted
                assert answer.valid is (model["status"] is Status.VALID and not tainted)

        @invariant()
        def identifiers_are_unique_and_every_issued_licence_has_one(self):
            rows = self.store.read(lambda tx: tx.all(select(licenses)))
            given = [row["identifier"] for row in rows if row["identifier"] is not None]
            assert len(set(given)) == len(given)
            for row in rows:
                assert (row["identifier"] is None) is (row["status"] == "drafted")

        def teardown(self):
            self.store.room.database.close()

    return Course


def test_any_course_of_events_keeps_records_rows_and_rules_in_agreement(new_store):
    run_state_machine_as_test(
        machine(new_store),
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
