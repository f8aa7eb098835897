"""Whether the archive of a case is complete: what is missing before it may be exported. Pure.

Every exemption leaves its document in the case (核验结果单, 告知承诺书, 协查函), every
verification its slip, every decision its notice; every mandatory requirement of an
approved case is met, or was named as a gap when it was approved (容缺).
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

SLIP: Final = "verification_slip"
COMMITMENT: Final = "commitment"
LETTER: Final = "assistance_letter"

# Which document proves an exemption route.
_BY_ROUTE: Final[Mapping[str, str]] = {
    "data_check": SLIP,
    "license": SLIP,
    "historic_material": SLIP,
    "notified_commitment": COMMITMENT,
    "administrative_assistance": LETTER,
}
_BY_EVENT: Final[Mapping[str, str]] = {
    "accept": "acceptance_notice",
    "not_accept": "acceptance_notice",
    "ask_correction": "correction_notice",
    "approve": "decision_notice",
    "refuse": "decision_notice",
}


@dataclass(frozen=True, slots=True)
class RequirementFacts:
    """One requirement: `route` None when nothing meets it; `verification` what proves it."""

    key: str
    mandatory: bool
    route: str | None
    verification: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    kind: str
    requirement: str | None
    verification: str | None
    record: str


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the check looks at. `events`: event and record of each step, in order."""

    outcome: str | None
    requirements: Sequence[RequirementFacts]
    gaps: AbstractSet[str]
    verifications: AbstractSet[str]
    documents: Sequence[DocumentFacts]
    events: Sequence[tuple[str, str]]
    erased: Sequence[str] = ()  # ids of materials of the case whose content is gone
    imported: bool = False  # a back file: nothing is known of its requirements and decisions


@dataclass(frozen=True, slots=True)
class Missing:
    """`code:subject`; the subject is a key of the catalogue, an event or an id."""

    code: str
    subject: str

    def __str__(self) -> str:
        return f"{self.code}:{self.subject}"


def check_complete(facts: CaseFacts) -> list[Missing]:
    """Everything that is missing; empty when the case can be archived."""
    if facts.imported:
        return [*_slips(facts), *_erased(facts)]
    return [*_requirements(facts), *_slips(facts), *_notices(facts), *_erased(facts)]


def _requirements(facts: CaseFacts) -> Iterator[Missing]:
    for need in facts.requirements:
        if need.route is None:
            if need.mandatory and facts.outcome == "approved" and need.key not in facts.gaps:
                yield Missing("requirement_unmet", need.key)
            continue
        kind = _BY_ROUTE.get(need.route)
        if kind is None:
            continue  # brought in paper, or waived: no document is due
        if kind == SLIP and need.verification not in facts.verifications:
            yield Missing("verification_missing", need.key)
        if not any(_proves(document, kind, need) for document in facts.documents):
            yield Missing(f"{kind}_missing", need.key)


def _proves(document: DocumentFacts, kind: str, need: RequirementFacts) -> bool:
    if document.kind != kind:
        return False
    if kind == SLIP:
        return need.verification is not None and document.verification == need.verification
    return document.requirement == need.key


def _slips(facts: CaseFacts) -> Iterator[Missing]:
    have = {item.verification for item in facts.documents if item.kind == SLIP}
    for verification in sorted(facts.verifications - have):
        yield Missing("verification_slip_missing", verification)


def _notices(facts: CaseFacts) -> Iterator[Missing]:
    for event, record in facts.events:
        kind = _BY_EVENT.get(event)
        if kind is None:
            continue
        if not any(item.kind == kind and item.record == record for item in facts.documents):
            yield Missing(f"{kind}_missing", event)


def _erased(facts: CaseFacts) -> Iterator[Missing]:
    for material in facts.erased:
        yield Missing("material_erased", material)
