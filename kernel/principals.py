"""Who acts: roles, capacities, and the principal that a credential stands for."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Who a caller is to the service; docs/architecture.md tells what each comes for."""

    APPLICANT = "applicant"
    WINDOW = "window"
    DEPARTMENT = "department"
    ARCHIVIST = "archivist"
    AUDITOR = "auditor"
    OPERATOR = "operator"


class Capacity(StrEnum):
    """In which capacity a natural person acts for a holder."""

    SELF = "self"  # 本人
    LEGAL_REPRESENTATIVE = "legal_representative"  # 法定代表人
    LICENSE_MANAGER = "license_manager"  # 证照管理员
    OPERATOR = "operator"  # 办事人（经办人）
    GUARDIAN = "guardian"  # 监护人
    AGENT = "agent"  # 代理人（授权代办）


class Channel(StrEnum):
    """Through which channel a case came in."""

    WINDOW = "window"  # 综合窗口
    PC = "pc"
    MOBILE = "mobile"
    KIOSK = "kiosk"  # 自助终端


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of one request.

    `subject` is the credential's own random id (`tok_…`): a stable name for
    idempotency and audit that holds no personal data.
    `org` is the unified social credit code of the acting body (window,
    department, archive), `unit` a counter or office inside it (`综窗3号`).
    `person` is the party id of the natural person who acts; `holder` the party
    id on whose behalf (equal to `person` when acting for oneself), and
    `capacity` the capacity in which. Officers have neither holder nor capacity;
    `officer` is then their name as shown on slips. `keeps`: the bodies whose
    archives an archive office (档案馆) keeps, beside its own (全宗); nobody else
    has any.
    """

    subject: str
    role: Role
    org: str | None = None
    unit: str | None = None
    officer: str | None = None
    person: str | None = None
    holder: str | None = None
    capacity: Capacity | None = None
    keeps: frozenset[str] = frozenset()
