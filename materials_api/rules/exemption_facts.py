"""What an exemption assessment looks at, and what it answers. Plain values, no decision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from materials_api.cases.lifecycle import CaseOutcome
from materials_api.catalogue.model import Requirement, Text
from materials_api.catalogue.terms import (
    ROUTE_GROUP,
    MaterialForm,
    PartyEventKind,
    Provenance,
    Route,
    RouteGroup,
    Subject,
)
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.reasons import ReasonCode
from materials_api.rules.reuse_facts import CaseFacts, LicenseStanding

WHY_OPEN: Mapping[Route, tuple[str, str]] = MappingProxyType(
    {
        Route.DATA_CHECK: ("可由登记库核验", "a register can be asked"),
        Route.LICENSE: ("已有电子证照", "an e-licence exists"),
        Route.HISTORIC_MATERIAL: ("以往办件已提交过", "an earlier case holds it"),
        Route.NOTIFIED_COMMITMENT: ("可以告知承诺代替", "a commitment may stand in"),
        Route.ADMINISTRATIVE_ASSISTANCE: ("可由部门之间协查", "another body can be asked to help"),
        Route.WAIVED: ("已取消，无须提交", "it is no longer asked for"),
    }
)


def subjects_of(owners: Iterable[str], case: CaseFacts) -> frozenset[Subject]:
    """For which subjects an item of these parties counts in this case."""
    mine = frozenset(owners)
    found: set[Subject] = set()
    if case.applicant in mine:
        found.add(Subject.APPLICANT)
    if mine & case.people:
        found.add(Subject.PERSON)
    return frozenset(found | {Subject.RELATED}) if found else frozenset()


@dataclass(frozen=True, slots=True)
class MaterialCandidate:
    """A stored material that might serve. `whose`: from `subjects_of`, over its parties
    and the applicant of its source case. `outcome`: of that case, None undecided."""

    type: str
    form: MaterialForm
    state: MaterialState
    provenance: Provenance
    whose: frozenset[Subject]
    same_project: bool
    outcome: CaseOutcome | None
    registered_at: datetime
    issued_at: datetime | None = None
    valid_until: datetime | None = None
    item: str | None = None  # its id, never shown before consent


@dataclass(frozen=True, slots=True)
class LicenseCandidate:
    """A licence that might serve. Dates are [valid_from, valid_until)."""

    kind: str
    standing: LicenseStanding
    whose: frozenset[Subject]
    issued_at: datetime | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    item: str | None = None  # its id, if it was issued here


@dataclass(frozen=True, slots=True)
class Met:
    """How a requirement was already met: by a route, or by an upload (`route` None).
    `exemptible`: whether a route was open then, as recorded with the case."""

    route: Route | None
    exemptible: bool = False


@dataclass(frozen=True, slots=True)
class Available:
    """What exists for the case. `registers`: those that can be asked now.
    `license_source`: whether it answers. `events`: of the applicant."""

    materials: tuple[MaterialCandidate, ...] = ()
    licenses: tuple[LicenseCandidate, ...] = ()
    registers: frozenset[str] = frozenset()
    license_source: bool = True
    events: tuple[tuple[PartyEventKind, datetime], ...] = ()
    met: Mapping[str, Met] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CandidateCount:
    """`kind` is `material` or `license`; `type` the material type or licence kind."""

    kind: str
    type: str
    count: int


@dataclass(frozen=True, slots=True)
class RouteAssessment:
    """A route, open or not. `reason` is set exactly when it is closed. `caution`: it is
    open, but a verification will probably deny for this reason."""

    route: Route
    open: bool
    reason: ReasonCode | None = None
    caution: ReasonCode | None = None
    candidates: tuple[CandidateCount, ...] = ()


@dataclass(frozen=True, slots=True)
class RequirementAssessment:
    requirement: Requirement
    name: Text
    routes: tuple[RouteAssessment, ...]
    met: Met | None

    @property
    def preferred(self) -> Route | None:
        """The first open route, in the catalogue's order."""
        return next((route.route for route in self.routes if route.open), None)

    @property
    def exemptible(self) -> bool:
        return self.preferred is not None or (
            self.met is not None and (self.met.exemptible or self.met.route is not None)
        )

    @property
    def exempted(self) -> bool:
        return self.met is not None and self.met.route is not None

    @property
    def missing(self) -> bool:
        """Neither met nor exemptible: it has to be brought."""
        return self.met is None and not self.exemptible

    @property
    def candidates(self) -> tuple[CandidateCount, ...]:
        return tuple(count for route in self.routes for count in route.candidates)

    @property
    def group(self) -> RouteGroup | None:
        """Under what it is reported: by the route that met it, else by the first open one."""
        route = self.met.route if self.met is not None and self.met.route else self.preferred
        return None if route is None else ROUTE_GROUP[route]


@dataclass(frozen=True, slots=True)
class Assessment:
    """All requirements of the variant. Counts are over the mandatory ones."""

    requirements: tuple[RequirementAssessment, ...]

    @property
    def mandatory(self) -> tuple[RequirementAssessment, ...]:
        return tuple(one for one in self.requirements if one.requirement.mandatory)

    @property
    def required(self) -> int:
        return len(self.mandatory)

    @property
    def exemptible(self) -> int:
        return sum(one.exemptible for one in self.mandatory)

    @property
    def exempted(self) -> int:
        return sum(one.exempted for one in self.mandatory)

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys of mandatory requirements that have to be brought and were not yet."""
        return tuple(one.requirement.key for one in self.mandatory if one.missing)

    @property
    def share_percent(self) -> int:
        """Exemptible of required, in whole percent, rounded down; 100 when nothing is required."""
        return 100 * self.exemptible // self.required if self.required else 100

    def exemptible_by_group(self) -> Mapping[RouteGroup, int]:
        return _by_group(one for one in self.mandatory if one.exemptible)

    def exempted_by_group(self) -> Mapping[RouteGroup, int]:
        return _by_group(one for one in self.mandatory if one.exempted)

    def of(self, requirement: str) -> RequirementAssessment | None:
        return next((one for one in self.requirements if one.requirement.key == requirement), None)


def _by_group(assessed: Iterable[RequirementAssessment]) -> Mapping[RouteGroup, int]:
    groups = [one.group for one in assessed]
    return {group: groups.count(group) for group in RouteGroup}
