"""The route that says what need not be brought (免交清单)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends

from kernel.principals import Principal, Role
from materials_api.cases.exempting import exemptions_of
from materials_api.catalogue.terms import ROUTE_EN, ROUTE_GROUP, ROUTE_ZH
from materials_api.http.common import CaseId, TextOut
from materials_api.room import MaterialsRoom
from materials_api.rules.exemption_facts import (
    WHY_OPEN,
    Assessment,
    CandidateCount,
    RequirementAssessment,
    RouteAssessment,
)
from materials_api.rules.reasons import ReasonCode, reason
from parties.http.access import Access
from parties.http.wire import Wire


class WhyOut(Wire):
    """Why a route is open or closed. `code` and `remedy` are set when it is closed."""

    zh: str
    en: str
    code: str | None = None
    remedy: TextOut | None = None


class RouteStateOut(Wire):
    """A route. `caution`: it is open, but a verification will probably deny for this."""

    route: str
    name: TextOut
    group: Literal["two_exemptions", "historic_reuse", "other"]
    open: bool
    why: WhyOut
    caution: WhyOut | None


class CandidateOut(Wire):
    """Types and counts only, until the holder consents."""

    kind: Literal["material", "license"]
    type: str
    count: int


class RequirementOut(Wire):
    requirement: str
    type: str
    name: TextOut
    mandatory: bool
    exemptible: bool
    exempted: bool
    met: bool
    met_by: str | None
    missing: bool
    routes: list[RouteStateOut]
    candidates: list[CandidateOut]


class ExemptionsOut(Wire):
    """Counts are over the mandatory requirements; `share` is exemptible of required, in percent."""

    case: str
    requirements: list[RequirementOut]
    required: int
    exemptible: int
    exempted: int
    share: int
    missing: list[str]
    exemptible_by_group: dict[str, int]
    exempted_by_group: dict[str, int]


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """`POST /v1/cases/{case_id}/exemptions`."""
    router = APIRouter(prefix="/v1", tags=["cases"])
    asker = access.require(Role.APPLICANT, Role.WINDOW)

    @router.post("/cases/{case_id}/exemptions", response_model=ExemptionsOut, summary="免交清单")
    def exemptions(
        case_id: CaseId, principal: Annotated[Principal, Depends(asker)]
    ) -> ExemptionsOut:
        """Per requirement of an open case: which routes exempt it, what is missing."""
        _, found = exemptions_of(room, room.clock.now(), principal, case_id)
        return _out(case_id, found)

    return router


def _out(case_id: str, found: Assessment) -> ExemptionsOut:
    return ExemptionsOut(
        case=case_id,
        requirements=[_requirement(one) for one in found.requirements],
        required=found.required,
        exemptible=found.exemptible,
        exempted=found.exempted,
        share=found.share_percent,
        missing=list(found.missing),
        exemptible_by_group={key.value: n for key, n in found.exemptible_by_group().items()},
        exempted_by_group={key.value: n for key, n in found.exempted_by_group().items()},
    )


def _requirement(one: RequirementAssessment) -> RequirementOut:
    met_by: str | None = None
    if one.met is not None:
        met_by = "upload" if one.met.route is None else one.met.route.value
    return RequirementOut(
        requirement=one.requirement.key,
        type=one.requirement.type,
        name=TextOut(zh=one.name.zh, en=one.name.en),
        mandatory=one.requirement.mandatory,
        exemptible=one.exemptible,
        exempted=one.exempted,
        met=one.met is not None,
        met_by=met_by,
        missing=one.missing,
        routes=[_route(route) for route in one.routes],
        candidates=[_candidate(count) for count in one.candidates],
    )


def _route(route: RouteAssessment) -> RouteStateOut:
    if route.reason is None:
        zh, en = WHY_OPEN[route.route]
        why = WhyOut(zh=zh, en=en)
    else:
        why = _why(route.reason)
    return RouteStateOut(
        route=route.route.value,
        name=TextOut(zh=ROUTE_ZH[route.route], en=ROUTE_EN[route.route]),
        group=ROUTE_GROUP[route.route].value,
        open=route.open,
        why=why,
        caution=None if route.caution is None else _why(route.caution),
    )


def _why(code: ReasonCode) -> WhyOut:
    found = reason(code)
    return WhyOut(
        zh=found.zh,
        en=found.en,
        code=found.code.value,
        remedy=TextOut(zh=found.remedy_zh, en=found.remedy_en),
    )


def _candidate(count: CandidateCount) -> CandidateOut:
    kind: Literal["material", "license"] = "license" if count.kind == "license" else "material"
    return CandidateOut(kind=kind, type=count.type, count=count.count)
