"""Material types, registers, and what a matter requires of whom on which terms. Pure."""

from collections import Counter
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from materials_api.cases.lifecycle import CaseOutcome
from materials_api.catalogue.errors import ProblemCode
from materials_api.catalogue.fields import PERMANENT, Key, Retention, Strict, Text, fail
from materials_api.catalogue.terms import (
    ENDING_EVENTS,
    MEDIA_TYPES,
    ConsentRule,
    Format,
    MaterialForm,
    PartyEventKind,
    Provenance,
    Route,
    Scope,
    Sensitivity,
    Subject,
)


class Register(Strict):
    """A register of another body that data checks ask (登记库、数据源)."""

    key: Key
    name: Text
    owner: Text  # the body that keeps it
    fields: tuple[Key, ...] = Field(min_length=1)  # what an answer can be compared on


class MaterialType(Strict):
    """A kind of material, whatever matter asks for it."""

    key: Key
    name: Text
    form: MaterialForm
    formats: tuple[Format, ...] = Field(min_length=1)
    size_limit: int = Field(ge=1)  # bytes, per file
    max_files: int = Field(ge=1, le=200)
    sensitivity: Sensitivity
    retention: Retention  # years, or permanent
    consent: ConsentRule

    @property
    def reusable(self) -> bool:
        return self.form is MaterialForm.ORIGINAL

    @property
    def retention_years(self) -> int | None:
        """Years of retention; None means permanent."""
        return None if self.retention == PERMANENT else self.retention

    def accepts(self, media_type: str) -> bool:
        """Whether a file whose content is of this media type may be part of it."""
        return Format.ANY in self.formats or any(
            MEDIA_TYPES[format_] == media_type for format_ in self.formats
        )


class DataCheckRoute(Strict):
    route: Literal[Route.DATA_CHECK]
    register_key: Key = Field(alias="register")
    fields: tuple[Key, ...] = Field(min_length=1)  # all of these must agree


class LicenseRoute(Strict):
    route: Literal[Route.LICENSE]
    kinds: tuple[Key, ...] = Field(min_length=1)  # any of these licence kinds will do


class HistoricMaterialRoute(Strict):
    route: Literal[Route.HISTORIC_MATERIAL]
    scopes: tuple[Scope, ...] = Field(min_length=1)  # any of these will do
    outcomes: tuple[CaseOutcome, ...] = Field(default=(CaseOutcome.APPROVED,), min_length=1)


class CommitmentRoute(Strict):
    route: Literal[Route.NOTIFIED_COMMITMENT]
    text: Text  # what the applicant commits to


class AssistanceRoute(Strict):
    route: Literal[Route.ADMINISTRATIVE_ASSISTANCE]
    body: Text  # whom the department asks
    hours: int = Field(ge=1, le=24 * 60)  # within which the answer is due


class WaivedRoute(Strict):
    route: Literal[Route.WAIVED]
    basis: Text  # why it is no longer asked for


RouteRule: TypeAlias = Annotated[
    DataCheckRoute
    | LicenseRoute
    | HistoricMaterialRoute
    | CommitmentRoute
    | AssistanceRoute
    | WaivedRoute,
    Field(discriminator="route"),
]


class Requirement(Strict):
    """What a matter asks for, and on which terms a stored item may stand in.

    `routes` stand in the order of preference. Freshness (`max_age_days`,
    `stale_on`) counts from the item's own date. `variants` empty: every variant.
    """

    key: Key
    type: Key
    name: Text | None = None  # default: the type's name
    mandatory: bool = True
    variants: tuple[Key, ...] = ()
    subject: Subject = Subject.APPLICANT
    routes: tuple[RouteRule, ...] = ()
    provenance: Provenance = Provenance.CERTIFIED_COPY
    consent: ConsentRule | None = None  # default: the type's rule
    max_age_days: int | None = Field(default=None, ge=1, le=36_500)
    stale_on: tuple[PartyEventKind, ...] = ()

    def rule(self, route: Route) -> RouteRule | None:
        """The rule of this route, or None when the requirement has no such route."""
        return next((rule for rule in self.routes if rule.route is route), None)

    @property
    def data_check(self) -> DataCheckRoute | None:
        return next((rule for rule in self.routes if isinstance(rule, DataCheckRoute)), None)

    @property
    def license(self) -> LicenseRoute | None:
        return next((rule for rule in self.routes if isinstance(rule, LicenseRoute)), None)

    @property
    def historic_material(self) -> HistoricMaterialRoute | None:
        return next((rule for rule in self.routes if isinstance(rule, HistoricMaterialRoute)), None)

    @property
    def commitment(self) -> CommitmentRoute | None:
        return next((rule for rule in self.routes if isinstance(rule, CommitmentRoute)), None)

    def in_variant(self, variant: str) -> bool:
        return not self.variants or variant in self.variants

    @model_validator(mode="after")
    def _routes_once(self) -> "Requirement":
        double = [
            route for route, n in Counter(rule.route for rule in self.routes).items() if n > 1
        ]
        if double:
            raise fail(
                ProblemCode.CONTRADICTION,
                f"同一途径写了两次：{double[0]}",
                f"this route stands twice: {double[0]}",
            )
        if ENDING_EVENTS & set(self.stale_on):
            raise fail(
                ProblemCode.CONTRADICTION,
                "死亡、终止影响授权，不作为材料时效条件",
                "death and dissolution end authorisations; they are no condition of freshness",
            )
        return self
