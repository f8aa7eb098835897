"""The catalogue as everybody may read it (事项目录): what a matter asks for, on which terms."""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, TypeVar

from fastapi import APIRouter, Depends, Path, Response

from materials_api.catalogue.errors import MatterNotListed
from materials_api.catalogue.fields import Text
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.catalogue.requirements import (
    AssistanceRoute,
    CommitmentRoute,
    DataCheckRoute,
    HistoricMaterialRoute,
    LicenseRoute,
    MaterialType,
    Requirement,
    RouteRule,
    WaivedRoute,
)
from materials_api.catalogue.terms import ROUTE_EN, ROUTE_ZH
from materials_api.errors import CursorInvalid
from materials_api.http.common import Cursor, PageSize, TextOut
from materials_api.room import MaterialsRoom
from parties.http.access import Access
from parties.http.wire import Wire

_CACHE = "public, max-age=60"


class RouteOut(Wire):
    """A route by which a requirement is exempt, with the terms that this route has."""

    route: Literal[
        "data_check",
        "license",
        "historic_material",
        "notified_commitment",
        "administrative_assistance",
        "waived",
    ]
    name: TextOut
    register_key: str | None = None  # data check: the register asked
    fields: list[str] | None = None  # data check: what must agree
    kinds: list[str] | None = None  # licence: any of these kinds
    scopes: list[str] | None = None  # earlier material: same holder, same project
    outcomes: list[str] | None = None  # earlier material: how its case ended
    text: TextOut | None = None  # commitment: what is committed to; waived: on what basis
    body: TextOut | None = None  # assistance: who is asked
    hours: int | None = None  # assistance: within which the answer is due


class RequirementOut(Wire):
    requirement: str
    name: TextOut
    type: str
    mandatory: bool
    variants: list[str]
    subject: Literal["applicant", "person", "related"]
    routes: list[RouteOut]
    provenance: str
    consent: Literal["any", "all"]
    max_age_days: int | None
    stale_on: list[str]


class VariantOut(Wire):
    key: str
    name: TextOut


class MatterItem(Wire):
    code: str
    key: str
    name: TextOut
    department: str
    department_name: TextOut
    holder: Literal["person", "organization", "either"]
    variants: list[VariantOut]


class MatterPage(Wire):
    items: list[MatterItem]
    next: str | None


class TimeLimitsOut(Wire):
    """Working days."""

    acceptance: int
    statutory: int
    promised: int


class MatterOut(MatterItem):
    level: str
    implementing_code: str
    retention: str
    result: str | None
    time_limits: TimeLimitsOut
    requirements: list[RequirementOut]
    catalogue: str  # SHA-256 of the whole catalogue, as cases and records name it
    version: str


class MaterialTypeOut(Wire):
    key: str
    name: TextOut
    form: Literal["original", "form", "commitment"]
    formats: list[str]
    size_limit: int
    max_files: int
    sensitivity: Literal["ordinary", "personal", "sensitive"]
    retention: str
    consent: Literal["any", "all"]
    reusable: bool


class MaterialTypePage(Wire):
    items: list[MaterialTypeOut]
    next: str | None


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


K = TypeVar("K", bound=_Keyed)


def routes(room: MaterialsRoom, access: Access) -> APIRouter:
    """Public routes: no credential, nothing about any one holder."""
    router = APIRouter(
        prefix="/v1/catalogue", tags=["catalogue"], dependencies=[Depends(access.public)]
    )
    catalogue = room.catalogue

    def cached(response: Response) -> None:
        response.headers["Cache-Control"] = _CACHE

    @router.get("/matters", dependencies=[Depends(cached)], summary="事项目录")
    def matters(cursor: Cursor = None, limit: PageSize = 200) -> MatterPage:
        """All matters, by key."""
        page, following = _page(catalogue.matters, cursor, limit)
        return MatterPage(items=[_item(matter) for matter in page], next=following)

    @router.get("/matters/{code}", dependencies=[Depends(cached)], summary="一个事项")
    def matter(
        code: Annotated[str, Path(max_length=64, examples=["000131014000"])],
    ) -> MatterOut:
        """A matter by its basic code (12 digits), implementing code (31) or key."""
        found = catalogue.find_matter(code)
        if found is None:
            raise MatterNotListed()
        return _matter(catalogue, found)

    @router.get("/material-types", dependencies=[Depends(cached)], summary="材料类型")
    def material_types(cursor: Cursor = None, limit: PageSize = 200) -> MaterialTypePage:
        """All material types, by key."""
        page, following = _page(catalogue.types, cursor, limit)
        return MaterialTypePage(items=[_type(type_) for type_ in page], next=following)

    return router


def _page(things: Sequence[K], cursor: str | None, limit: int) -> tuple[list[K], str | None]:
    """At most `limit` things after the key `cursor`, and the cursor of the next page."""
    ordered = sorted(things, key=lambda thing: thing.key)
    if cursor is not None:
        if all(thing.key != cursor for thing in ordered):
            raise CursorInvalid()
        ordered = [thing for thing in ordered if thing.key > cursor]
    page = ordered[:limit]
    return page, page[-1].key if len(ordered) > limit else None


def _item(matter: Matter) -> MatterItem:
    return MatterItem(
        code=matter.code,
        key=matter.key,
        name=_text(matter.name),
        department=matter.department,
        department_name=_text(matter.department_name),
        holder=matter.holder,
        variants=[
            VariantOut(key=variant.key, name=_text(variant.name)) for variant in matter.variants
        ],
    )


def _matter(catalogue: Catalogue, matter: Matter) -> MatterOut:
    limits = matter.time_limits
    return MatterOut(
        **dict(_item(matter)),
        level=matter.level,
        implementing_code=matter.full_code,
        retention=str(matter.retention),
        result=matter.result,
        time_limits=TimeLimitsOut(
            acceptance=limits.acceptance, statutory=limits.statutory, promised=limits.promised
        ),
        requirements=[_requirement(catalogue, rule) for rule in matter.requirements],
        catalogue=catalogue.sha256.hex(),
        version=catalogue.version,
    )


def _requirement(catalogue: Catalogue, rule: Requirement) -> RequirementOut:
    return RequirementOut(
        requirement=rule.key,
        name=_text(catalogue.name_of(rule)),
        type=rule.type,
        mandatory=rule.mandatory,
        variants=list(rule.variants),
        subject=rule.subject.value,
        routes=[_route(route) for route in rule.routes],
        provenance=rule.provenance.value,
        consent=catalogue.consent_of(rule).value,
        max_age_days=rule.max_age_days,
        stale_on=[event.value for event in rule.stale_on],
    )


def _route(rule: RouteRule) -> RouteOut:
    name = TextOut(zh=ROUTE_ZH[rule.route], en=ROUTE_EN[rule.route])
    match rule:
        case DataCheckRoute():
            return RouteOut(
                route="data_check",
                name=name,
                register_key=rule.register_key,
                fields=list(rule.fields),
            )
        case LicenseRoute():
            return RouteOut(route="license", name=name, kinds=list(rule.kinds))
        case HistoricMaterialRoute():
            return RouteOut(
                route="historic_material",
                name=name,
                scopes=[scope.value for scope in rule.scopes],
                outcomes=[outcome.value for outcome in rule.outcomes],
            )
        case CommitmentRoute():
            return RouteOut(route="notified_commitment", name=name, text=_text(rule.text))
        case AssistanceRoute():
            return RouteOut(
                route="administrative_assistance",
                name=name,
                body=_text(rule.body),
                hours=rule.hours,
            )
        case WaivedRoute():
            return RouteOut(route="waived", name=name, text=_text(rule.basis))


def _type(type_: MaterialType) -> MaterialTypeOut:
    return MaterialTypeOut(
        key=type_.key,
        name=_text(type_.name),
        form=type_.form.value,
        formats=[format_.value for format_ in type_.formats],
        size_limit=type_.size_limit,
        max_files=type_.max_files,
        sensitivity=type_.sensitivity.value,
        retention=str(type_.retention),
        consent=type_.consent.value,
        reusable=type_.reusable,
    )


def _text(text: Text) -> TextOut:
    return TextOut(zh=text.zh, en=text.en)
