"""Why a material was asked for although it could be exempted (应免未免): a closed list."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from materials_api.rules.rule_errors import UploadReasonNeeded, UploadReasonUnknown


class UploadReason(StrEnum):
    """Codes stand in ledger records and reports; never renamed."""

    HOLDER_REFUSED_CONSENT = "holder_refused_consent"
    CO_OWNER_UNREACHABLE = "co_owner_unreachable"
    EVIDENCE_STALE = "evidence_stale"
    VERIFICATION_DENIED = "verification_denied"
    SOURCE_OUTAGE = "source_outage"
    DATA_DISPUTE = "data_dispute"
    CONTENT_UNREADABLE = "content_unreadable"
    ORIGINAL_REQUIRED_BY_LAW = "original_required_by_law"
    HOLDER_PREFERS_PAPER = "holder_prefers_paper"
    OTHER = "other"


UPLOAD_REASONS: Mapping[UploadReason, tuple[str, str]] = MappingProxyType(
    {
        UploadReason.HOLDER_REFUSED_CONSENT: ("权利人不同意授权", "the holder refused consent"),
        UploadReason.CO_OWNER_UNREACHABLE: ("共有人无法联系", "a co-owner cannot be reached"),
        UploadReason.EVIDENCE_STALE: ("已有材料时效已过", "the stored material is out of date"),
        UploadReason.VERIFICATION_DENIED: ("核验未通过", "the verification was denied"),
        UploadReason.SOURCE_OUTAGE: ("数据或证照来源故障", "the source does not answer"),
        UploadReason.DATA_DISPUTE: ("申请人提出数据异议", "the applicant disputes the data"),
        UploadReason.CONTENT_UNREADABLE: ("已有影像无法辨认", "the stored image cannot be read"),
        UploadReason.ORIGINAL_REQUIRED_BY_LAW: (
            "法律法规要求验看原件",
            "the law demands to see the original",
        ),
        UploadReason.HOLDER_PREFERS_PAPER: (
            "申请人自愿提交",
            "the applicant prefers to hand it in",
        ),
        UploadReason.OTHER: ("其他原因", "another reason"),
    }
)


def accepted_reason(needed: bool, given: str | None) -> UploadReason | None:
    """The reason to record with an upload.

    Needed and not given: `UploadReasonNeeded`. Not in the list: `UploadReasonUnknown`,
    also when none was needed. Given without need: kept, it may explain.
    """
    if given is None:
        if needed:
            raise UploadReasonNeeded()
        return None
    try:
        return UploadReason(given)
    except ValueError:
        raise UploadReasonUnknown(known=[reason.value for reason in UploadReason]) from None
