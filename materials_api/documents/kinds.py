"""The kinds of documents that a case leaves behind, and what they are called. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class DocumentKind(StrEnum):
    VERIFICATION_SLIP = "verification_slip"  # 核验结果单
    COMMITMENT = "commitment"  # 告知承诺书
    ASSISTANCE_LETTER = "assistance_letter"  # 协查函
    CORRECTION_NOTICE = "correction_notice"  # 补正告知书
    ACCEPTANCE_NOTICE = "acceptance_notice"  # 受理（不予受理）通知书
    DECISION_NOTICE = "decision_notice"  # 准予（不予许可）决定书


NAMES: Mapping[DocumentKind, tuple[str, str]] = MappingProxyType(
    {
        DocumentKind.VERIFICATION_SLIP: ("核验结果单", "Verification slip"),
        DocumentKind.COMMITMENT: ("告知承诺书", "Notified commitment"),
        DocumentKind.ASSISTANCE_LETTER: ("协查函", "Letter asking for assistance"),
        DocumentKind.CORRECTION_NOTICE: ("补正告知书", "Correction notice"),
        DocumentKind.ACCEPTANCE_NOTICE: ("受理通知书", "Notice on acceptance"),
        DocumentKind.DECISION_NOTICE: ("决定书", "Decision"),
    }
)
