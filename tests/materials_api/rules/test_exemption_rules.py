"""assess: which routes are open, why not, and the counts that a district is judged by."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from materials_api.cases.lifecycle import CaseOutcome
from materials_api.cases.upload_reasons import UPLOAD_REASONS, UploadReason, accepted_reason
from materials_api.catalogue.terms import (
    MaterialForm,
    PartyEventKind,
    Provenance,
    Route,
    RouteGroup,
    Subject,
)
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.exemption_facts import (
    Available,
    CandidateCount,
    LicenseCandidate,
    MaterialCandidate,
    Met,
    RouteAssessment,
    subjects_of,
)
from materials_api.rules.exemptions import assess, upload_needs_reason
from materials_api.rules.reasons import ReasonCode as R
from materials_api.rules.reuse_facts import LicenseStanding
from materials_api.rules.rule_errors import UploadReasonNeeded, UploadReasonUnknown

COMPANY = frozenset({Subject.APPLICANT, Subject.RELATED})
PERSON = frozenset({Subject.PERSON, Subject.RELATED})


@pytest.fixture(scope="session")
def lease(sample: Any) -> MaterialCandidate:
    return MaterialCandidate(
        type="lease_contract",
        form=MaterialForm.ORIGINAL,
        state=MaterialState.REUSABLE,
        provenance=Provenance.CERTIFIED_COPY,
        whose=COMPANY,
        same_project=False,
        outcome=CaseOutcome.APPROVED,
        registered_at=sample.NOW - 50 * sample.DAY,
        issued_at=sample.NOW - 60 * sample.DAY,
    )


@pytest.fixture(scope="session")
def demo(sample: Any, lease: MaterialCandidate) -> Available:
    """What 禾味餐饮 has when it opens the case of the demo story."""
    business = LicenseCandidate("business_license", LicenseStanding.IN_FORCE, COMPANY)
    health = LicenseCandidate(
        "health_certificate",
        LicenseStanding.IN_FORCE,
        PERSON,
        issued_at=sample.NOW - 30 * sample.DAY,
        valid_from=sample.NOW - 30 * sample.DAY,
        valid_until=sample.NOW + 300 * sample.DAY,
    )
    return Available(
        materials=(lease, replace(lease, type="real_estate_certificate")),
        licenses=(business, health),
        registers=frozenset({"population", "real_estate"}),
        events=((PartyEventKind.ADDRESS_CHANGED, sample.NOW - sample.DAY),),
    )


def route(sample: Any, food: Any, available: Available, key: str, which: Route) -> RouteAssessment:
    assessment = assess(sample.NOW, food.catalogue, food.matter, food.variant, available)
    found = assessment.of(key)
    assert found is not None
    return next(one for one in found.routes if one.route is which)


def test_the_demo_exempts_six_of_eight(sample: Any, food: Any, demo: Available) -> None:
    assessment = assess(sample.NOW, food.catalogue, food.matter, food.variant, demo)
    assert (assessment.exemptible, assessment.required) == (6, 8)
    assert assessment.missing == ("application_form", "layout_plan")
    assert assessment.share_percent == 75
    assert {one.requirement.key: one.preferred for one in assessment.mandatory} == {
        "application_form": None,
        "business_license": Route.LICENSE,
        "identity_proof": Route.DATA_CHECK,
        "health_certificate": Route.LICENSE,
        "food_safety_rules": Route.NOTIFIED_COMMITMENT,
        "lease_contract": Route.HISTORIC_MATERIAL,
        "real_estate_certificate": Route.HISTORIC_MATERIAL,
        "layout_plan": None,
    }
    assert assessment.exemptible_by_group() == {
        RouteGroup.TWO_EXEMPTIONS: 3,
        RouteGroup.HISTORIC_REUSE: 2,
        RouteGroup.OTHER: 1,
    }


def test_the_lease_is_offered_with_a_caution_because_the_address_changed(
    sample: Any, food: Any, demo: Available
) -> None:
    found = route(sample, food, demo, "lease_contract", Route.HISTORIC_MATERIAL)
    assert found.open
    assert found.caution is R.ADDRESS_CHANGED_SINCE
    assert found.candidates == (CandidateCount("material", "lease_contract", 1),)
    newer = replace(demo.materials[0], issued_at=sample.NOW)
    both = replace(demo, materials=(*demo.materials, newer))
    found = route(sample, food, both, "lease_contract", Route.HISTORIC_MATERIAL)
    assert (found.caution, found.candidates[0].count) == (None, 2)


def test_the_property_certificate_has_the_data_check_as_second_route(
    sample: Any, food: Any, demo: Available
) -> None:
    assert route(sample, food, demo, "real_estate_certificate", Route.DATA_CHECK).open
    down = replace(demo, registers=frozenset())
    found = route(sample, food, down, "real_estate_certificate", Route.DATA_CHECK)
    assert (found.open, found.reason) == (False, R.SOURCE_OUTAGE)


def test_what_was_met_is_counted_and_the_uploaded_rest_is_not(
    sample: Any, food: Any, demo: Available
) -> None:
    met = {
        "application_form": Met(None),
        "layout_plan": Met(None),
        "business_license": Met(Route.LICENSE, True),
        "identity_proof": Met(Route.DATA_CHECK, True),
        "health_certificate": Met(Route.LICENSE, True),
        "food_safety_rules": Met(Route.NOTIFIED_COMMITMENT, True),
        "lease_contract": Met(None, exemptible=True),
        "real_estate_certificate": Met(Route.DATA_CHECK, True),
    }
    # After the story the lease was superseded; it stays exemptible, as recorded then.
    available = replace(demo, met=met, materials=demo.materials[1:])
    assessment = assess(sample.NOW, food.catalogue, food.matter, food.variant, available)
    assert (assessment.exemptible, assessment.exempted, assessment.missing) == (6, 5, ())
    assert assessment.exempted_by_group() == {
        RouteGroup.TWO_EXEMPTIONS: 4,
        RouteGroup.HISTORIC_REUSE: 0,
        RouteGroup.OTHER: 1,
    }


def test_an_elder_brings_nothing(sample: Any, catalogue: Any) -> None:
    matter = catalogue.matter("elderly_allowance")
    available = Available(registers=frozenset({"population", "social_insurance"}))
    assessment = assess(sample.NOW, catalogue, matter, "general", available)
    assert assessment.missing == ()
    assert assessment.exemptible == assessment.required == 4
    assert assessment.share_percent == 100


BAD: list[tuple[dict[str, Any], R]] = [
    ({"provenance": Provenance.UNCHECKED_COPY}, R.PROVENANCE_TOO_WEAK),
    ({"state": MaterialState.STOPPED}, R.MATERIAL_STOPPED),
    ({"state": MaterialState.INVALIDATED}, R.MATERIAL_INVALIDATED),
    ({"outcome": None}, R.SOURCE_CASE_STATE),
    ({"outcome": CaseOutcome.REFUSED}, R.SOURCE_CASE_OUTCOME),
    ({"whose": frozenset()}, R.HOLDER_MISMATCH),
    ({"form": MaterialForm.FORM}, R.FORM_NOT_REUSABLE),
]


@pytest.mark.parametrize(("changes", "code"), BAD)
def test_a_material_that_does_not_fit_says_why(
    sample: Any,
    food: Any,
    demo: Available,
    lease: MaterialCandidate,
    changes: dict[str, Any],
    code: R,
) -> None:
    available = replace(demo, materials=(replace(lease, **changes),))
    found = route(sample, food, available, "lease_contract", Route.HISTORIC_MATERIAL)
    assert (found.open, found.reason, found.candidates) == (False, code, ())


def test_of_several_bad_ones_the_nearest_is_named_and_none_is_no_candidate(
    sample: Any, food: Any, demo: Available, lease: MaterialCandidate
) -> None:
    worse = replace(lease, outcome=None, provenance=Provenance.UNCHECKED_COPY)
    near = replace(lease, provenance=Provenance.BACK_SCAN)
    available = replace(demo, materials=(worse, near))
    found = route(sample, food, available, "lease_contract", Route.HISTORIC_MATERIAL)
    assert found.reason is R.PROVENANCE_TOO_WEAK
    nothing = replace(demo, materials=())
    found = route(sample, food, nothing, "lease_contract", Route.HISTORIC_MATERIAL)
    assert found.reason is R.NO_CANDIDATE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"standing": LicenseStanding.SUSPENDED}, R.LICENSE_SUSPENDED),
        ({"issued_at": None}, R.DATE_UNKNOWN),
        ({"whose": COMPANY - {Subject.RELATED}}, R.NO_CANDIDATE),
        ({"kind": "identity_card"}, R.NO_CANDIDATE),
    ],
)
def test_a_licence_that_does_not_fit_says_why(
    sample: Any, food: Any, demo: Available, changes: dict[str, Any], code: R
) -> None:
    available = replace(demo, licenses=(replace(demo.licenses[1], **changes),))
    found = route(sample, food, available, "health_certificate", Route.LICENSE)
    assert (found.open, found.reason) == (False, code)


@pytest.mark.parametrize(("days", "open_"), [(0, False), (1, True)])
def test_a_licence_ends_at_its_own_instant(
    sample: Any, food: Any, demo: Available, days: int, open_: bool
) -> None:
    health = replace(demo.licenses[1], valid_until=sample.NOW + days * sample.DAY)
    available = replace(demo, licenses=(health,))
    assert route(sample, food, available, "health_certificate", Route.LICENSE).open is open_


def test_a_source_that_is_down_closes_every_licence_route(
    sample: Any, food: Any, demo: Available
) -> None:
    down = replace(demo, license_source=False)
    found = route(sample, food, down, "business_license", Route.LICENSE)
    assert (found.open, found.reason) == (False, R.SOURCE_OUTAGE)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_each_other_and_more_never_exempts_less(
    sample: Any, catalogue: Any, lease: MaterialCandidate, data: st.DataObject
) -> None:
    matter = data.draw(st.sampled_from(catalogue.matters))
    variant = data.draw(st.sampled_from([one.key for one in matter.variants]))
    kinds = sorted({k for m in catalogue.matters for r in m.requirements for k in kinds_of(r)})
    types = sorted({type_.key for type_ in catalogue.types})
    some = Available(
        materials=tuple(
            replace(lease, type=key, provenance=data.draw(st.sampled_from(Provenance)))
            for key in data.draw(st.lists(st.sampled_from(types), max_size=6))
        ),
        licenses=tuple(
            LicenseCandidate(key, LicenseStanding.IN_FORCE, COMPANY | PERSON)
            for key in data.draw(st.lists(st.sampled_from(kinds), max_size=4))
        ),
        registers=frozenset(
            data.draw(st.lists(st.sampled_from([one.key for one in catalogue.registers])))
        ),
    )
    less = replace(some, materials=some.materials[1:], licenses=some.licenses[1:])
    assessment = assess(sample.NOW, catalogue, matter, variant, some)
    assert assessment.exemptible + len(assessment.missing) == assessment.required
    assert sum(assessment.exemptible_by_group().values()) == assessment.exemptible
    assert 0 <= assessment.share_percent <= 100
    for one in assessment.requirements:
        assert all((route.reason is None) == route.open for route in one.routes)
        demanded = one.exemptible and one.requirement.mandatory
        assert upload_needs_reason(assessment, one.requirement.key) == demanded
    fewer = assess(sample.NOW, catalogue, matter, variant, less)
    assert fewer.exemptible <= assessment.exemptible


def kinds_of(requirement: Any) -> tuple[str, ...]:
    return requirement.license.kinds if requirement.license is not None else ()


def test_an_upload_needs_a_reason_only_where_a_route_is_open(
    sample: Any, food: Any, demo: Available
) -> None:
    assessment = assess(sample.NOW, food.catalogue, food.matter, food.variant, demo)
    assert upload_needs_reason(assessment, "lease_contract")
    assert not upload_needs_reason(assessment, "layout_plan")
    assert not upload_needs_reason(assessment, "no_such_requirement")


def test_upload_reasons_are_a_closed_list_in_both_languages() -> None:
    assert set(UPLOAD_REASONS) == set(UploadReason)
    assert all(zh and en and zh != en for zh, en in UPLOAD_REASONS.values())
    assert accepted_reason(True, "evidence_stale") is UploadReason.EVIDENCE_STALE
    assert accepted_reason(False, None) is None
    with pytest.raises(UploadReasonNeeded):
        accepted_reason(True, None)
    for needed in (True, False):
        with pytest.raises(UploadReasonUnknown):
            accepted_reason(needed, "because")


def test_whose_an_item_is(sample: Any) -> None:
    case = sample.case()
    assert subjects_of([sample.company], case) == COMPANY
    assert subjects_of([sample.boss], case) == PERSON
    assert subjects_of([sample.stranger], case) == frozenset()
    assert subjects_of([], case) == frozenset()
