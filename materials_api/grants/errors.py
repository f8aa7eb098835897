"""Refusals about grants, verifications, tickets, registers and receipts.

A denial of a verification is no error but an outcome: see `reasons`.
"""

from kernel.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NotFound,
    NotPermitted,
    TooLarge,
    Unavailable,
)

# Grants.


class GrantUnknown(NotFound):
    code = "grant_unknown"
    zh = "找不到授权"
    en = "no such authorisation"


class GrantItemsInvalid(InvalidInput):
    code = "grant_items_invalid"
    zh = "授权须写明 1 至 {limit} 份材料或证照，且不重复"
    en = "an authorisation names 1 to {limit} items, each once"


class GrantItemsNotAsked(InvalidInput):
    code = "grant_items_not_asked"
    zh = "只能同意申请中列出的材料或证照"
    en = "only what was asked for can be approved"


class ItemUnknown(NotFound):
    """Unknown, or nothing that this case or holder has to do with: never told apart."""

    code = "item_unknown"
    zh = "找不到材料或证照"
    en = "no such material or licence"


class NothingToAsk(Conflict):
    code = "nothing_to_authorise"
    zh = "要求 {requirement} 没有可以申请授权的材料或证照"
    en = "nothing is stored that could be authorised for {requirement}"


class GrantPeriodInvalid(InvalidInput):
    code = "grant_period_invalid"
    zh = "授权截止时间须晚于现在，且不超过 {days} 天；长期授权须写明截止时间"
    en = "an end lies in the future, at most {days} days away; use `until` needs one"


class MayNotDecide(NotPermitted):
    """The person acts for the holder, but not in a capacity that decides about grants."""

    code = "capacity_may_not_grant"
    zh = "以“{capacity}”身份不能处理授权，请由本人、法定代表人、证照管理员或监护人办理"
    en = (
        "the capacity {capacity} does not decide about authorisations: the holder, legal "
        "representative, licence manager or guardian does"
    )


class SensitiveItem(NotPermitted):
    code = "capacity_may_not_grant_item"
    zh = "该材料含敏感个人信息，以“{capacity}”身份不能授权"
    en = "this item holds sensitive personal information: the capacity {capacity} cannot grant it"


class HolderEnded(NotPermitted):
    code = "holder_ended"
    zh = "主体已死亡或终止，不能再授权"
    en = "this holder has died or was dissolved and can authorise nothing"


class GrantRequestLapsed(Conflict):
    code = "grant_lapsed"
    zh = "授权申请已逾期，请窗口重新申请"
    en = "this request has lapsed; the window has to ask again"


class GrantExpired(Conflict):
    code = "grant_expired"
    zh = "授权已过期"
    en = "this authorisation has expired"


class GrantBound(Conflict):
    code = "grant_already_bound"
    zh = "授权已限定于一个办件，不需要亮证码"
    en = "this authorisation belongs to a case already and needs no show code"


# Show codes.


class ShowCodeInvalid(InvalidInput):
    """Wrong, expired, used, or not for this case: never told apart."""

    code = "show_code_invalid"
    zh = "亮证码无效或已过期，请权利人刷新后重试"
    en = "this show code is not valid or has expired; let the holder show a new one"


class ShowCodeTries(TooLarge):
    code = "show_code_tries"
    zh = "亮证码错误次数过多，请 {seconds} 秒后再试"
    en = "too many wrong show codes; try again in {seconds} seconds"


# Verifications.


class VerificationItemsInvalid(InvalidInput):
    code = "verification_items_invalid"
    zh = "一次核验须有 1 至 {limit} 项，且不重复"
    en = "a verification names 1 to {limit} items, each once"


class StatutoryDutyIncomplete(InvalidInput):
    code = "statutory_basis_incomplete"
    zh = "依职能查验须写明人员姓名、编号和岗位"
    en = "a statutory-duty check names the officer, the number and the role"


class VerificationUnknown(NotFound):
    code = "verification_unknown"
    zh = "找不到核验"
    en = "no such verification"


class VerificationContended(Unavailable):
    code = "verification_contended"
    zh = "相关数据正被频繁修改，请重试"
    en = "what this rests on kept changing; try again"


# Registers and party events.


class RegisterFactsInvalid(InvalidInput):
    code = "register_facts_invalid"
    zh = "登记信息不正确：{problem}"
    en = "these register facts are not valid: {problem}"


class RegisterFactUnknown(NotFound):
    code = "register_fact_unknown"
    zh = "找不到登记信息"
    en = "no such register entry"


class RegisterFactEnded(Conflict):
    code = "register_fact_ended"
    zh = "该登记信息已终止"
    en = "this register entry has already ended"


class PartyEventInvalid(InvalidInput):
    code = "party_event_invalid"
    zh = "事件时间不能晚于现在"
    en = "an event lies in the past, or now"


# Tickets and downloads.


class TicketUnknown(NotFound):
    code = "ticket_unknown"
    zh = "下载凭票无效"
    en = "no such ticket"


class TicketExpired(NotPermitted):
    code = "ticket_expired"
    zh = "下载凭票已过期"
    en = "this ticket has expired"


class TicketUsed(NotPermitted):
    code = "ticket_used"
    zh = "下载凭票已使用"
    en = "this ticket was already used"


class NotAllowedToRelease(NotPermitted):
    """The verification was denied, or what it rested on holds no longer."""

    code = "release_not_allowed"
    zh = "不能提供内容：{reason}"
    en = "the content cannot be released: {reason}"


class FileUnknown(NotFound):
    code = "file_unknown"
    zh = "材料没有第 {position} 个文件"
    en = "the material has no file {position}"


class RangeUnsatisfiable(InvalidInput):
    """HTTP's 416; `size` is the length of the content in bytes."""

    code = "range_not_satisfiable"
    zh = "请求的范围超出内容（共 {size} 字节）"
    en = "the range lies outside the content of {size} bytes"


class ReleaseStopped(Corrupt):
    """In the middle of a download: the connection is cut, nobody takes a part for the whole."""

    code = "release_stopped"
    zh = "下载已中止：{reason}"
    en = "the download was stopped: {reason}"
