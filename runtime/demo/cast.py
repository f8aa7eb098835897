"""The callers of the story, each with a token of its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.commands.token import TokenRequest, issue
from runtime.demo.client import Client
from runtime.demo.people import (
    ARCHIVE,
    CIVIL_AFFAIRS,
    CLERK,
    CO_OWNER,
    COMPANY,
    COUNTER,
    ELDER,
    HEALTH,
    LANDLORD,
    LEGAL_REPRESENTATIVE,
    MARKET_AUTHORITY,
    OPERATOR_PERSON,
    REVIEWER,
    SERVICE_CENTRE,
    Someone,
)
from runtime.store import open_store

DAYS = 365  # a demo store may stand for a while


def _acts(who: Someone, *, for_company: str | None = None) -> TokenRequest:
    return TokenRequest(
        "applicant",
        holder=f"{who.type}:{who.code}",
        holder_name=who.name,
        for_holder=f"{COMPANY.type}:{COMPANY.code}" if for_company else None,
        capacity=for_company,
    )


# Key, what a reader is told, how the token is made.
CALLERS: tuple[tuple[str, str, TokenRequest], ...] = (
    ("window", f"{COUNTER} {CLERK}", TokenRequest("window", SERVICE_CENTRE, COUNTER, CLERK)),
    (
        "department",
        f"区市场监督管理局 {REVIEWER}",
        TokenRequest("department", MARKET_AUTHORITY, officer=REVIEWER),
    ),
    ("health", "区卫生健康委员会", TokenRequest("department", HEALTH, officer="许安然")),
    ("civil", "区民政局", TokenRequest("department", CIVIL_AFFAIRS, officer="何嘉宁")),
    (
        "representative",
        "沈云舟（法定代表人）",
        _acts(LEGAL_REPRESENTATIVE, for_company="legal_representative"),
    ),
    ("agent", "周文博（办事人）", _acts(OPERATOR_PERSON, for_company="operator")),
    ("cook", "周文博（本人）", _acts(OPERATOR_PERSON)),
    ("landlord", "顾明远（房东）", _acts(LANDLORD)),
    ("co_owner", "陆静宜（共有人）", _acts(CO_OWNER)),
    ("elder", "赵阿福（老人）", _acts(ELDER)),
    ("archivist", "区档案馆", TokenRequest("archivist", ARCHIVE, officer="方致远")),
    ("auditor", "审计人员", TokenRequest("auditor")),
    ("operator", "运维人员", TokenRequest("operator")),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller as `make run` shows it: who it is, in which role, and the token."""

    key: str
    who: str
    role: str
    token: str


def issue_tokens(data: Path) -> list[Identity]:
    """Make every caller's token in a store that no server holds."""
    with open_store(data) as store:
        return [
            Identity(key, who, request.role, issue(store, replace(request, days=DAYS)))
            for key, who, request in CALLERS
        ]


def clients(
    base: str, identities: list[Identity], progress: Callable[[int], None]
) -> dict[str, Client]:
    return {one.key: Client(base, one.token, progress) for one in identities}
