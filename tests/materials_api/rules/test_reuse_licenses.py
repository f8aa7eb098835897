"""decide_reuse for e-licences: standing, kind, and no files yet."""

from dataclasses import replace
from typing import Any

import pytest

from materials_api.catalogue.terms import Route
from materials_api.rules.decisions import Allowed, Denied
from materials_api.rules.reasons import ReasonCode as R
from materials_api.rules.reuse import decide_reuse
from materials_api.rules.reuse_facts import FileOutcome, LicenseStanding


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        (LicenseStanding.NOT_ISSUED, R.LICENSE_NOT_ISSUED),
        (LicenseStanding.SUSPENDED, R.LICENSE_SUSPENDED),
        (LicenseStanding.SUPERSEDED, R.LICENSE_SUPERSEDED),
        (LicenseStanding.ENDED, R.LICENSE_ENDED),
        (LicenseStanding.TAINTED, R.LICENSE_TAINTED),
        (LicenseStanding.UNKNOWN, R.SOURCE_OUTAGE),
    ],
)
def test_a_licence_that_is_not_in_force_is_denied(
    sample: Any, standing: LicenseStanding, code: R
) -> None:
    facts = sample.license_reuse(item=replace(sample.license(), standing=standing))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (code,)


def test_a_licence_in_force_is_allowed_without_files(sample: Any) -> None:
    decision = decide_reuse(sample.NOW, sample.license_reuse())
    assert isinstance(decision, Allowed)
    assert decision.evidence.route is Route.LICENSE


def test_a_licence_of_another_kind_is_a_type_mismatch(sample: Any) -> None:
    facts = sample.license_reuse(item=replace(sample.license(), kind="identity_card"))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.TYPE_MISMATCH,)


def test_a_licence_that_comes_with_a_file_is_checked_like_any_other(sample: Any) -> None:
    good = sample.license_reuse(files=(FileOutcome.MATCH,))
    assert isinstance(decide_reuse(sample.NOW, good), Allowed)
    flipped = decide_reuse(sample.NOW, replace(good, files=(FileOutcome.MISMATCH,)))
    assert isinstance(flipped, Denied)
    assert flipped.reasons == (R.CONTENT_MISMATCH,)


def test_a_requirement_without_a_licence_route_takes_none(sample: Any) -> None:
    routes = tuple(rule for rule in sample.requirement().routes if rule.route is not Route.LICENSE)
    facts = sample.license_reuse(requirement=sample.requirement(routes=routes))
    decision = decide_reuse(sample.NOW, facts)
    assert isinstance(decision, Denied)
    assert decision.reasons == (R.ROUTE_NOT_OPEN,)
    assert decision.alternatives == (Route.HISTORIC_MATERIAL, Route.DATA_CHECK)
