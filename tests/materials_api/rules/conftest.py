"""Facts of a use that is allowed, to be broken one by one."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from kernel.principals import Capacity
from materials_api.cases.lifecycle import CaseOutcome
from materials_api.catalogue import Catalogue, load_catalogue
from materials_api.catalogue.model import MaterialType, Requirement, Text
from materials_api.catalogue.requirements import (
    DataCheckRoute,
    HistoricMaterialRoute,
    LicenseRoute,
)
from materials_api.catalogue.terms import (
    ConsentRule,
    Format,
    MaterialForm,
    PartyEventKind,
    PartyRole,
    Provenance,
    Route,
    Scope,
    Sensitivity,
)
from materials_api.grants.lifecycle import GrantState, GrantUse
from materials_api.materials.lifecycle import MaterialState
from materials_api.rules.reuse_facts import (
    CapacityFacts,
    CaseFacts,
    Consent,
    DataCheckFacts,
    FileOutcome,
    GrantFacts,
    LicenseItem,
    LicenseStanding,
    MaterialItem,
    PartyShare,
    ProofFacts,
    ProofOutcome,
    RegisterOutcome,
    ReuseFacts,
    SourceCase,
)

NOW = datetime(2026, 11, 24, 4, 20, 21, 123000, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = "12310199MB2Y04049F"
DEPARTMENT = "11310199MB2Y01016G"


@dataclass(frozen=True)
class Sample:
    """Builders of allowed facts. `NOW`, `DAY` and the parties' ids come along."""

    NOW: datetime = NOW
    DAY: timedelta = DAY
    WINDOW: str = WINDOW
    DEPARTMENT: str = DEPARTMENT
    company: str = "pty_company"
    boss: str = "pty_boss"
    clerk: str = "pty_clerk"
    owner: str = "pty_owner"
    co_owner: str = "pty_co_owner"
    stranger: str = "pty_stranger"

    def type(self, sensitivity: Sensitivity = Sensitivity.PERSONAL) -> MaterialType:
        return MaterialType(
            key="lease_contract",
            name=Text(zh="租赁合同", en="Lease contract"),
            form=MaterialForm.ORIGINAL,
            formats=(Format.PDF,),
            size_limit=1 << 20,
            max_files=3,
            sensitivity=sensitivity,
            retention=10,
            consent=ConsentRule.ANY,
        )

    def requirement(self, **changes: object) -> Requirement:
        base = Requirement(
            key="lease",
            type="lease_contract",
            provenance=Provenance.CERTIFIED_COPY,
            max_age_days=365,
            stale_on=(PartyEventKind.ADDRESS_CHANGED, PartyEventKind.OWNERSHIP_CHANGED),
            routes=(
                HistoricMaterialRoute(route=Route.HISTORIC_MATERIAL, scopes=(Scope.SAME_HOLDER,)),
                LicenseRoute(route=Route.LICENSE, kinds=("business_license",)),
                DataCheckRoute(
                    route=Route.DATA_CHECK, register="real_estate", fields=("owners", "location")
                ),
            ),
        )
        return base.model_copy(update=changes)

    def capacity(self, person: str = "", kind: Capacity = Capacity.OPERATOR) -> CapacityFacts:
        return CapacityFacts(self.company, person or self.clerk, kind, NOW - 100 * DAY)

    def case(self) -> CaseFacts:
        return CaseFacts(
            case_id="cas_now",
            matter="000131014000",
            applicant=self.company,
            person=self.clerk,
            people=frozenset({self.clerk, self.boss}),
            organizations=frozenset({WINDOW, DEPARTMENT}),
            asking=WINDOW,
            project=None,
        )

    def grant(self, holder: str = "", **changes: object) -> GrantFacts:
        holder = holder or self.company
        boss = self.capacity(self.boss, Capacity.LEGAL_REPRESENTATIVE)
        base = GrantFacts(
            grant_id=f"grt_{holder}",
            holder=holder,
            person=self.boss if holder == self.company else holder,
            state=GrantState.GRANTED,
            use=GrantUse.ONCE,
            items=frozenset({"mat_lease", "lic_business"}),
            decided_at=NOW - DAY,
            expires_at=NOW + DAY,
            case_id="cas_now",
            audience=WINDOW,
            matter="000131014000",
            capacity=boss if holder == self.company else None,
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    def material(self) -> MaterialItem:
        return MaterialItem(
            item="mat_lease",
            type="lease_contract",
            form=MaterialForm.ORIGINAL,
            state=MaterialState.REUSABLE,
            provenance=Provenance.CERTIFIED_COPY,
            parties=(
                PartyShare(self.company, PartyRole.TENANT),
                PartyShare(self.owner, PartyRole.OWNER),
            ),
            source=SourceCase("cas_old", self.company, CaseOutcome.APPROVED),
            registered_at=NOW - 50 * DAY,
            issued_at=NOW - 60 * DAY,
            valid_until=NOW + 300 * DAY,
        )

    def license(self) -> LicenseItem:
        return LicenseItem(
            item="lic_business",
            kind="business_license",
            holder=self.company,
            standing=LicenseStanding.IN_FORCE,
            issued_at=NOW - 60 * DAY,
            valid_from=NOW - 60 * DAY,
            valid_until=NOW + 300 * DAY,
        )

    def reuse(self, **changes: object) -> ReuseFacts:
        base = ReuseFacts(
            requirement=self.requirement(),
            type=self.type(),
            consent=ConsentRule.ANY,
            case=self.case(),
            item=self.material(),
            basis=Consent(),
            capacity=self.capacity(),
            grants=(self.grant(),),
            events=(),
            files=(FileOutcome.MATCH, FileOutcome.MATCH),
            proof=ProofFacts(ProofOutcome.PROVED, "2026", 17, 40),
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    def license_reuse(self, **changes: object) -> ReuseFacts:
        return replace(self.reuse(item=self.license(), files=None), **changes)  # type: ignore[arg-type]

    def co_owned(self, *grants: GrantFacts) -> ReuseFacts:
        """A property of two owners, handed in by the company; all must consent."""
        item = replace(
            self.material(),
            parties=(
                PartyShare(self.owner, PartyRole.OWNER),
                PartyShare(self.co_owner, PartyRole.CO_OWNER),
            ),
        )
        return self.reuse(item=item, consent=ConsentRule.ALL, grants=grants)

    def data_check(self, **changes: object) -> DataCheckFacts:
        base = DataCheckFacts(
            requirement=self.requirement(),
            case=self.case(),
            basis=Consent(),
            capacity=self.capacity(),
            register_key="real_estate",
            subject=self.company,
            named=frozenset({self.owner}),
            outcome=RegisterOutcome.FOUND,
            agreed={"owners": True, "location": True},
        )
        return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def sample() -> Sample:
    return Sample()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def food(catalogue: Catalogue) -> SimpleNamespace:
    """The demo's matter: 食品经营许可（迁址新办）."""
    matter = catalogue.matter("000131014000")
    return SimpleNamespace(catalogue=catalogue, matter=matter, variant="moved")
