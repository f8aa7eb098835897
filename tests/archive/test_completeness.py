"""What must be in the archive of a case before it may be exported."""

from dataclasses import replace

import pytest

from archive.completeness import CaseFacts, DocumentFacts, RequirementFacts, check_complete

SLIP = DocumentFacts("verification_slip", "identity", "vrf_1", "ent_v")
DECISION = DocumentFacts("decision_notice", None, None, "ent_approve")
ACCEPTANCE = DocumentFacts("acceptance_notice", None, None, "ent_accept")
GOOD = CaseFacts(
    outcome="approved",
    requirements=[
        RequirementFacts("form", True, "upload"),
        RequirementFacts("identity", True, "historic_material", "vrf_1"),
        RequirementFacts("rules", True, "notified_commitment"),
        RequirementFacts("tax", True, "administrative_assistance"),
        RequirementFacts("photo", True, "waived"),
        RequirementFacts("extra", False, None),
    ],
    gaps=frozenset(),
    verifications={"vrf_1"},
    documents=[
        SLIP,
        DocumentFacts("commitment", "rules", None, "ent_c"),
        DocumentFacts("assistance_letter", "tax", None, "ent_l"),
        ACCEPTANCE,
        DECISION,
    ],
    events=[
        ("open", "ent_open"),
        ("submit", "ent_submit"),
        ("accept", "ent_accept"),
        ("approve", "ent_approve"),
        ("close", "ent_close"),
    ],
)


def reasons(facts: CaseFacts) -> list[str]:
    return [str(item) for item in check_complete(facts)]


def without(*kinds: str) -> CaseFacts:
    return replace(GOOD, documents=[item for item in GOOD.documents if item.kind not in kinds])


def test_a_complete_case_has_nothing_missing() -> None:
    assert reasons(GOOD) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "verification_slip",
            ["verification_slip_missing:identity", "verification_slip_missing:vrf_1"],
        ),
        ("commitment", ["commitment_missing:rules"]),
        ("assistance_letter", ["assistance_letter_missing:tax"]),
        ("acceptance_notice", ["acceptance_notice_missing:accept"]),
        ("decision_notice", ["decision_notice_missing:approve"]),
    ],
)
def test_every_missing_document_is_named(kind: str, expected: list[str]) -> None:
    assert reasons(without(kind)) == expected


def test_all_reasons_are_listed_at_once() -> None:
    assert len(reasons(without("commitment", "assistance_letter", "decision_notice"))) == 3


def test_a_slip_of_another_verification_does_not_count() -> None:
    other = replace(SLIP, verification="vrf_2")
    facts = replace(GOOD, documents=[other, *GOOD.documents[1:]])
    assert "verification_slip_missing:identity" in reasons(facts)


def test_a_denied_verification_needs_its_slip_too() -> None:
    facts = replace(GOOD, verifications={"vrf_1", "vrf_denied"})
    assert reasons(facts) == ["verification_slip_missing:vrf_denied"]


def test_an_exemption_needs_the_verification_that_it_rests_on() -> None:
    need = RequirementFacts("identity", True, "data_check", None)
    facts = replace(GOOD, requirements=[need], verifications=set(), documents=GOOD.documents[1:])
    assert reasons(facts) == ["verification_missing:identity", "verification_slip_missing:identity"]


def test_unmet_requirements_count_when_approved_and_not_named_as_gaps() -> None:
    need = RequirementFacts("lease", True, None)
    facts = replace(GOOD, requirements=[*GOOD.requirements, need])
    assert reasons(facts) == ["requirement_unmet:lease"]
    assert reasons(replace(facts, gaps=frozenset({"lease"}))) == []
    assert reasons(replace(facts, outcome="withdrawn")) == []


def test_each_decision_needs_a_notice_of_its_own() -> None:
    again = [*GOOD.events, ("ask_correction", "ent_correction"), ("accept", "ent_accept_2")]
    assert reasons(replace(GOOD, events=again)) == [
        "correction_notice_missing:ask_correction",
        "acceptance_notice_missing:accept",
    ]


def test_of_a_back_file_only_what_is_known_is_asked_for() -> None:
    facts = replace(without("decision_notice", "commitment"), imported=True, erased=["mat_1"])
    assert reasons(facts) == ["material_erased:mat_1"]


def test_erased_content_is_named() -> None:
    assert reasons(replace(GOOD, erased=["mat_1"])) == ["material_erased:mat_1"]
