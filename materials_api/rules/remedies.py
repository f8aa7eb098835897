"""What can be done about a no: stable codes, and a sentence in both languages."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Remedy(StrEnum):
    """What can be done about a no. Stable codes, so that a page can offer the action."""

    BRING_NEW = "bring_new"
    ASK_AGAIN = "ask_again"
    OTHER_ROUTE = "other_route"
    REPORT = "report"
    RETRY = "retry"
    CHOOSE_TYPE = "choose_type"
    FILL_ANEW = "fill_anew"
    CHOOSE_HOLDER = "choose_holder"
    REGISTER_CAPACITY = "register_capacity"
    PRESENT_AGENT = "present_agent"
    SUCCESSOR = "successor"
    ASK_GRANT = "ask_grant"
    REMIND = "remind"
    ENTITLED_PERSON = "entitled_person"
    ASK_CO_OWNERS = "ask_co_owners"
    ASK_PARTY = "ask_party"
    NAME_OFFICER = "name_officer"
    RESUME_REUSE = "resume_reuse"
    NEWEST_VERSION = "newest_version"
    RESUME_LICENSE = "resume_license"
    RENEW = "renew"
    RETRY_OR_ASSIST = "retry_or_assist"
    AWAIT_DECISION = "await_decision"
    BRING_ORIGINAL = "bring_original"
    CHECK_DETAILS = "check_details"
    DISPUTE = "dispute"
    HANDLING_BODY = "handling_body"


REMEDIES: Mapping[Remedy, tuple[str, str]] = MappingProxyType(
    {
        Remedy.BRING_NEW: (
            "请提交新的材料，并与原件核对",
            "bring a new one, to be compared with the original",
        ),
        Remedy.ASK_AGAIN: ("请向权利人重新申请授权", "ask the holder for a new authorisation"),
        Remedy.OTHER_ROUTE: (
            "请改用其他免交途径，或提交原件",
            "use another exemption route, or bring the original",
        ),
        Remedy.REPORT: (
            "请勿使用，改走其他途径，并报告运维核查",
            "do not use it; take another route and report it to the operator",
        ),
        Remedy.RETRY: ("请稍后重试", "try again in a moment"),
        Remedy.CHOOSE_TYPE: ("请选择类型相符的材料或证照", "choose an item of the type required"),
        Remedy.FILL_ANEW: ("请重新填写", "fill in a new one"),
        Remedy.CHOOSE_HOLDER: (
            "请选择本主体的材料，或提交原件",
            "choose an item of this holder, or bring the original",
        ),
        Remedy.REGISTER_CAPACITY: (
            "请登记法定代表、授权代办或监护关系",
            "register the representation, agency or guardianship",
        ),
        Remedy.PRESENT_AGENT: (
            "请由现任代表人或新的代办人办理",
            "let the present representative or a new agent act",
        ),
        Remedy.SUCCESSOR: ("请由继承人或承继单位重新授权", "let the successor authorise anew"),
        Remedy.ASK_GRANT: (
            "请向权利人申请授权，或请其亮证",
            "ask the holder to authorise, or to show a code",
        ),
        Remedy.REMIND: ("请提醒权利人处理后重试", "remind the holder, then try again"),
        Remedy.ENTITLED_PERSON: (
            "请由权利人本人、法定代表人或监护人授权",
            "let the holder, legal representative or guardian authorise",
        ),
        Remedy.ASK_CO_OWNERS: (
            "请共有人授权，或改用数据核验",
            "ask the co-owners to authorise, or use a data check",
        ),
        Remedy.ASK_PARTY: ("请材料当事人授权", "ask a party of the material to authorise"),
        Remedy.NAME_OFFICER: ("请补全查验人员信息", "name the officer completely"),
        Remedy.RESUME_REUSE: (
            "请权利人恢复复用，或提交新的材料",
            "let the holder resume reuse, or bring a new one",
        ),
        Remedy.NEWEST_VERSION: ("请使用最新版本", "use the newest version"),
        Remedy.RESUME_LICENSE: ("请先向发证部门办理恢复", "have the issuer resume it first"),
        Remedy.RENEW: ("请先办理延续或换发", "renew it first"),
        Remedy.RETRY_OR_ASSIST: (
            "请稍后重试，或改用行政协助、提交原件",
            "try again later, ask for assistance, or bring the original",
        ),
        Remedy.AWAIT_DECISION: (
            "请待来源办件决定后再复用，或提交新的材料",
            "wait for that decision, or bring a new one",
        ),
        Remedy.BRING_ORIGINAL: (
            "请提交原件核对，核对后可供今后复用",
            "bring the original once; after that it can be reused",
        ),
        Remedy.CHECK_DETAILS: (
            "请核对主体信息，或提交原件",
            "check the holder's details, or bring the original",
        ),
        Remedy.HANDLING_BODY: (
            "请由本办件的窗口或审批部门查验",
            "let the window or a department of this case ask",
        ),
        Remedy.DISPUTE: (
            "可提出数据异议，或提交原件",
            "raise a data dispute, or bring the original",
        ),
    }
)
