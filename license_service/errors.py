"""Refusals of the licence room."""

from kernel.errors import Conflict, Corrupt, InvalidInput, NotFound, NotPermitted, Unavailable
from kernel.lifecycle import IllegalTransition


class KindsInvalid(InvalidInput):
    code = "license_kinds_invalid"
    zh = "证照种类文件有误：{reason}"
    en = "the file of licence kinds is wrong: {reason}"


class LicenseKindUnknown(InvalidInput):
    code = "license_kind_unknown"
    zh = "没有这个证照种类：{kind}"
    en = "no such kind of licence: {kind}"


class LicenseUnknown(NotFound):
    code = "license_unknown"
    zh = "没有这张证照"
    en = "no such licence"


class NotIssuingAuthority(NotPermitted):
    code = "not_issuing_authority"
    zh = "只有发证机关可以办理此证照的变动"
    en = "only the authority that issued a licence may change it"


class IllegalLicenseTransition(IllegalTransition):
    code = "license_transition_illegal"
    zh = "证照当前状态（{state}）不允许此操作（{event}）"
    en = "a licence in the state {state} does not allow the event {event}"


class LicenseChangedMeanwhile(Conflict):
    code = "license_changed_meanwhile"
    zh = "证照刚刚发生变动，请重新查看后再办"
    en = "the licence changed meanwhile; look at it again"


class LicenseIdentifierTaken(Conflict):
    code = "license_identifier_taken"
    zh = "该电子证照标识已被使用"
    en = "this licence identifier is already in use"


class LicenseIdentifierMismatch(InvalidInput):
    """Well formed, but of another type, issuer or version than the licence."""

    code = "license_identifier_mismatch"
    zh = "电子证照标识与证照不符（{part}）"
    en = "the licence identifier does not belong to this licence ({part})"


class LicenseDraftInvalid(InvalidInput):
    code = "license_draft_invalid"
    zh = "证照内容不符合要求（{field}：{reason}）"
    en = "the licence cannot be made like this ({field}: {reason})"


class LicenseEventTimeInvalid(InvalidInput):
    code = "license_event_time_invalid"
    zh = "生效时间不能晚于现在，也不能早于上一次变动"
    en = "an event takes effect not after now, and not before the event that precedes it"


class SuccessorNeeded(InvalidInput):
    code = "license_successor_needed"
    zh = "变更、延续、补发须同时给出新版证照的内容，其他操作不得给出"
    en = "change, renewal and reissue come with a new version, other events without one"


class LicenseRecordMismatch(Corrupt):
    code = "license_record_mismatch"
    zh = "证照登记与存证不一致"
    en = "the row of this licence does not agree with its records"


class LicenseSourceUnavailable(Unavailable):
    code = "license_source_unavailable"
    zh = "证照来源（{source}）暂时无法查询"
    en = "the licence source {source} cannot be asked now"
