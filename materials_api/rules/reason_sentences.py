"""The sentences of the reasons, in both languages, and the remedy of each.

No sentence holds personal data: they are shown at a counter and printed on slips.
"""

from collections.abc import Mapping
from types import MappingProxyType

from materials_api.rules.remedies import Remedy

# By reason code: Chinese, English, remedy.
SENTENCES: Mapping[str, tuple[str, str, Remedy]] = MappingProxyType(
    {
        "route_not_open": (
            "该事项的此项要求未开放此途径",
            "this requirement does not open this route",
            Remedy.OTHER_ROUTE,
        ),
        "type_mismatch": (
            "材料类型与要求不符",
            "the item is not of the type required",
            Remedy.CHOOSE_TYPE,
        ),
        "form_not_reusable": (
            "申请表单和一次性承诺不可复用",
            "forms and one-off commitments are never reused",
            Remedy.FILL_ANEW,
        ),
        "holder_mismatch": (
            "材料或证照不属于本办件的主体",
            "the item does not belong to this case's holder",
            Remedy.CHOOSE_HOLDER,
        ),
        "not_same_project": (
            "不属于同一项目",
            "the item does not belong to the same project",
            Remedy.BRING_NEW,
        ),
        "capacity_missing": (
            "办理人没有有效的代办关系",
            "the person acting has no valid capacity for the applicant",
            Remedy.REGISTER_CAPACITY,
        ),
        "capacity_ended": (
            "办理人的代办关系已终止",
            "the capacity of the person acting has ended",
            Remedy.PRESENT_AGENT,
        ),
        "holder_ended": (
            "授权主体已死亡或终止",
            "the party that authorised has died or was dissolved",
            Remedy.SUCCESSOR,
        ),
        "grant_missing": ("没有授权", "there is no authorisation", Remedy.ASK_GRANT),
        "grant_pending": (
            "权利人尚未处理授权申请",
            "the holder has not answered the request yet",
            Remedy.REMIND,
        ),
        "grant_declined": ("权利人已拒绝授权", "the holder declined", Remedy.OTHER_ROUTE),
        "grant_lapsed": (
            "授权申请逾期未处理",
            "the request for authorisation lapsed",
            Remedy.ASK_AGAIN,
        ),
        "grant_expired": ("授权已过期", "the authorisation has expired", Remedy.ASK_AGAIN),
        "grant_not_yet_valid": (
            "授权尚未生效",
            "the authorisation is not valid yet",
            Remedy.ASK_AGAIN,
        ),
        "grant_revoked": ("授权已撤回", "the authorisation was revoked", Remedy.ASK_AGAIN),
        "grant_spent": (
            "一次性授权已用于其他办件",
            "this once-only authorisation was spent by another case",
            Remedy.ASK_AGAIN,
        ),
        "grant_other_case": (
            "授权仅限原办件",
            "the authorisation belongs to another case",
            Remedy.ASK_AGAIN,
        ),
        "grant_other_audience": (
            "授权对象不是本单位",
            "the authorisation was given to another body",
            Remedy.ASK_AGAIN,
        ),
        "grant_other_matter": (
            "授权不适用于本事项",
            "the authorisation is for another matter",
            Remedy.ASK_AGAIN,
        ),
        "grant_not_for_item": (
            "授权不包含此材料",
            "the authorisation does not cover this item",
            Remedy.ASK_AGAIN,
        ),
        "grantor_not_entitled": (
            "授权人当时无权授权",
            "who authorised was not entitled to do so then",
            Remedy.ENTITLED_PERSON,
        ),
        "co_owner_consent_missing": (
            "共有人未授权",
            "a co-owner has not authorised",
            Remedy.ASK_CO_OWNERS,
        ),
        "party_consent_missing": (
            "材料当事人未授权",
            "no party of the material has authorised",
            Remedy.ASK_PARTY,
        ),
        "statutory_basis_incomplete": (
            "依职能查验缺少人员姓名、编号或岗位",
            "a statutory-duty check names the officer, number and role; something is missing",
            Remedy.NAME_OFFICER,
        ),
        "asker_not_handling": (
            "查验单位不经办本办件",
            "the body that asks does not handle this case",
            Remedy.HANDLING_BODY,
        ),
        "material_not_verified": (
            "材料尚未经办件核定",
            "the material was not verified by its case",
            Remedy.BRING_NEW,
        ),
        "material_stopped": (
            "权利人已停止复用",
            "the holder stopped its reuse",
            Remedy.RESUME_REUSE,
        ),
        "material_invalidated": (
            "材料已被认定无效",
            "the material was declared invalid",
            Remedy.BRING_NEW,
        ),
        "material_superseded": (
            "材料已有新版本",
            "a newer version of the material exists",
            Remedy.NEWEST_VERSION,
        ),
        "material_rejected": (
            "该版本在补正时已被退回",
            "this version was rejected in a correction",
            Remedy.BRING_NEW,
        ),
        "material_erased": ("材料已删除", "the material was erased", Remedy.BRING_NEW),
        "license_not_issued": ("证照尚未签发", "the licence is not issued yet", Remedy.OTHER_ROUTE),
        "license_suspended": ("证照被暂扣", "the licence is suspended", Remedy.RESUME_LICENSE),
        "license_superseded": (
            "证照已有新版本",
            "a newer version of the licence exists",
            Remedy.NEWEST_VERSION,
        ),
        "license_ended": ("证照已失效", "the licence has ended", Remedy.OTHER_ROUTE),
        "license_tainted": (
            "证照已被撤销或废止，自始无效",
            "the licence was rescinded or annulled, from the start",
            Remedy.OTHER_ROUTE,
        ),
        "license_expired": ("证照已过有效期", "the licence has expired", Remedy.RENEW),
        "license_not_yet_valid": (
            "证照尚未生效",
            "the licence is not valid yet",
            Remedy.OTHER_ROUTE,
        ),
        "source_outage": (
            "数据或证照来源暂不可用",
            "the source does not answer at present",
            Remedy.RETRY_OR_ASSIST,
        ),
        "source_case_state": (
            "来源办件尚未办结",
            "the case it comes from is not decided yet",
            Remedy.AWAIT_DECISION,
        ),
        "source_case_outcome": (
            "来源办件的结果不支持复用",
            "the outcome of the case it comes from does not count",
            Remedy.BRING_NEW,
        ),
        "provenance_too_weak": (
            "材料来源可信程度不足",
            "the provenance of the material is too weak",
            Remedy.BRING_ORIGINAL,
        ),
        "expired": ("材料已过有效期", "the material has expired", Remedy.BRING_NEW),
        "not_yet_valid": ("材料尚未生效", "the material is not valid yet", Remedy.BRING_NEW),
        "too_old": ("材料出具时间过久", "the material is too old", Remedy.BRING_NEW),
        "date_unknown": (
            "材料日期不明，无法判断时效",
            "the date of the material is unknown, so is its freshness",
            Remedy.BRING_NEW,
        ),
        "address_changed_since": (
            "与现登记住所不一致",
            "the registered address changed after it was made",
            Remedy.BRING_NEW,
        ),
        "name_changed_since": (
            "与现登记名称不一致",
            "the registered name changed after it was made",
            Remedy.BRING_NEW,
        ),
        "representative_changed_since": (
            "与现任法定代表人不一致",
            "the legal representative changed after it was made",
            Remedy.BRING_NEW,
        ),
        "ownership_changed_since": (
            "与现登记权属不一致",
            "the ownership changed after it was made",
            Remedy.BRING_NEW,
        ),
        "marital_status_changed_since": (
            "与现婚姻状况不一致",
            "the marital status changed after it was made",
            Remedy.BRING_NEW,
        ),
        "employment_changed_since": (
            "与现就业状况不一致",
            "the employment changed after it was made",
            Remedy.BRING_NEW,
        ),
        "record_mismatch": (
            "数据库与存证记录不一致",
            "the database does not agree with the record",
            Remedy.REPORT,
        ),
        "content_mismatch": (
            "内容与存证不一致",
            "the content does not match what was recorded",
            Remedy.REPORT,
        ),
        "content_missing": (
            "存储中找不到内容",
            "the content is missing from the store",
            Remedy.REPORT,
        ),
        "not_yet_logged": ("存证补全中", "the evidence is not in the log yet", Remedy.RETRY),
        "not_in_log": ("存证记录不在日志中", "the record is not in the log", Remedy.REPORT),
        "data_no_record": (
            "登记库查无记录",
            "the register has no such record",
            Remedy.CHECK_DETAILS,
        ),
        "data_mismatch": ("登记信息不一致", "the register's data do not agree", Remedy.DISPUTE),
        "data_ended": ("登记已注销或终止", "the registration has ended", Remedy.OTHER_ROUTE),
        "data_incomplete": (
            "登记库未答复全部核验项",
            "the register did not answer every field",
            Remedy.OTHER_ROUTE,
        ),
        "no_candidate": ("没有可用的材料或证照", "nothing suitable is at hand", Remedy.BRING_NEW),
    }
)
