"""Every sentence of the pages, in both languages. A page is rendered in one of them."""

from collections.abc import Mapping

from portal.language import Language

# key: (Chinese, English)
_TEXTS: Mapping[str, tuple[str, str]] = {
    "brand": ("免交", "Mianjiao"),
    "brand_other": ("Mianjiao", "免交"),
    "tagline": (
        "交过一次的材料，不必再交",
        "What was handed in once is not asked for again",
    ),
    "skip": ("跳到正文", "Skip to the content"),
    "language": ("语言", "Language"),
    "nav": ("页面", "Pages"),
    "nav_home": ("首页", "Home"),
    "nav_upload": ("上传材料", "Upload"),
    "nav_api": ("接口", "API"),
    "footer": (
        "本页不使用外部资源，也不使用 Cookie。",
        "This page loads nothing from elsewhere and sets no cookies.",
    ),
    # home
    "home_title": ("免交：电子材料与电子证照的存证库", "Mianjiao: a proven store of materials"),
    "what_1": (
        "政务服务大厅的电子材料、电子证照存证库。申请人交过的材料、领过的证照，"
        "其摘要写入防篡改账本，原件加密保存；以后办事，经本人授权并核验后直接复用，"
        "不再要求提交（两个免于提交）。",
        "A store of electronic materials and e-licences for government service halls. What an "
        "applicant handed in, or was issued, is hashed into a tamper-evident ledger and kept "
        "encrypted; a later application reuses it after the holder's authorisation and a "
        "verification, instead of asking for it again.",
    ),
    "what_2": (
        "每次复用都由持有人授权、逐项核验、留下记录；办结的案件可整体移交，自带证明，离线可验。",
        "Each reuse is authorised by the holder, checked item by item and recorded. A closed case "
        "leaves as a package that proves itself, offline.",
    ),
    "state": ("存证库现状", "State of the store"),
    "materials": ("材料", "Materials"),
    "licenses": ("电子证照", "E-licences"),
    "cases": ("办件", "Cases"),
    "tree_size": ("账本条目", "Ledger entries"),
    "allowed": ("核验通过", "Allowed"),
    "denied": ("核验未通过", "Denied"),
    "evidence": ("存证进度", "Evidence"),
    "evidenced": ("已存证", "all evidenced"),
    "pending": ("{n} 条存证补全中", "{n} pending"),
    "checkpoint": ("最新检查点", "Latest checkpoint"),
    "no_checkpoint": ("尚未发布检查点。", "No checkpoint has been published yet."),
    "origin": ("日志名称", "Origin"),
    "size": ("条目数", "Size"),
    "root": ("根哈希", "Root hash"),
    "counted_at": ("统计时间", "Counted at"),
    "signed_at": ("签署时间", "Signed at"),
    "raw_checkpoint": ("原始检查点文件", "The checkpoint file as served"),
    "go": ("从这里开始", "Where to go"),
    "go_upload": ("上传材料", "Upload a material"),
    "go_upload_what": (
        "用浏览器为一个办件提交文件，当场看到摘要与存证结果。",
        "Submit files for a case from the browser, and see digests and evidence at once.",
    ),
    "go_docs": ("接口文档", "API documentation"),
    "go_docs_what": (
        "全部接口，可在页面上试用；需要凭证。",
        "Every route, to try out on the page; needs a credential.",
    ),
    "go_matters": ("事项目录", "Catalogue of matters"),
    "go_matters_what": (
        "每个事项要什么材料，哪些可以免交、经哪条途径。",
        "What each matter requires, and by which routes it can be exempted.",
    ),
    "go_types": ("材料类型", "Material types"),
    "go_types_what": (
        "材料的种类、格式、大小与时效要求。",
        "Kinds of material: formats, sizes, freshness.",
    ),
    "go_log": ("公开日志", "The public log"),
    "go_log_what": (
        "任何人都可核对的检查点与哈希树（C2SP tlog-tiles）。",
        "Checkpoint and hash tree that anybody can check (C2SP tlog-tiles).",
    ),
    "proof": ("证明了什么，没有证明什么", "What is proved, and what is not"),
    "proved": ("能证明", "Proved"),
    "not_proved": ("不能证明", "Not proved"),
    "proved_1": (
        "文件与登记时逐字节一致。",
        "A file is, byte for byte, the one that was registered.",
    ),
    "proved_2": (
        "登记发生在检查点签署之前，此后未被改动、删除或插入。",
        "It was registered before the checkpoint was signed; nothing was changed, removed or "
        "slipped in since.",
    ),
    "proved_3": (
        "谁在何时、为哪个办件、依据什么使用过它。",
        "Who used it, when, for which case, on what basis.",
    ),
    "proved_4": (
        "凭回执、文件与信任策略，离线、多年以后仍可验证，不必相信运营者。",
        "With receipt, file and trust policy it verifies offline, decades later, without "
        "trusting the operator.",
    ),
    "not_proved_1": (
        "材料内容是否属实：登记时是假的，存证后仍是假的。",
        "That the content is true: what was false when registered is still false.",
    ),
    "not_proved_2": (
        "现在是否仍然有效：回执说明“当时已登记”，不说明“现在有效”。",
        "That it is still valid: a receipt says “logged then”, not “valid now”.",
    ),
    "not_proved_3": (
        "登记之前的来历：由来源等级说明（如“与原件核对一致”）。",
        "Its history before registration: its provenance level tells, such as a certified copy.",
    ),
    "not_proved_4": (
        "没有见证方共签时，运营者是否向不同的人出示了不同的日志。",
        "Without cosigning witnesses: that the operator shows everyone the same log.",
    ),
    # upload
    "upload_title": ("为办件上传材料", "Upload a material for a case"),
    "upload_intro": (
        "文件在传输的同时计算摘要（SHA-256、SM3）并加密保存，登记后写入账本。"
        "凭证只随请求头发送，不会出现在网址里，也不会保存在浏览器中。",
        "Files are hashed (SHA-256, SM3) and encrypted while they arrive, registered, and written "
        "into the ledger. The credential travels in a request header only: never in an address, "
        "never kept by the browser.",
    ),
    "token": ("访问凭证", "Credential"),
    "token_hint": ("以 mj_ 开头，由运营者发放。", "Begins with mj_; issued by the operator."),
    "case": ("办件", "Case"),
    "case_hint": ("办件标识，以 cas_ 开头。", "The id of the case; begins with cas_."),
    "requirement": ("对应的申请材料", "Requirement that it meets"),
    "requirement_hint": (
        "填好凭证和办件后，列出该办件所需材料。",
        "With credential and case filled in, what the case requires is listed.",
    ),
    "requirement_none": ("补充材料", "None: additional material"),
    "met": ("已有", "met"),
    "missing": ("尚缺", "not met yet"),
    "optional": ("可选", "optional"),
    "applicant": ("申请人", "applicant"),
    "type": ("材料类型", "Material type"),
    "choose": ("请选择", "Choose"),
    "material_title": ("材料名称", "Title"),
    "provenance": ("来源等级", "Provenance"),
    "unchecked_copy": ("未核对的复印件或照片", "Unchecked copy"),
    "back_scan": ("历史档案扫描件", "Scan of back files"),
    "certified_copy": ("与原件核对一致", "Certified copy, compared with the original"),
    "certified_by": ("核对人", "Compared by"),
    "certified_hint": ("不填则为凭证上的经办人员。", "Empty: the officer of the credential."),
    "issued_at": ("签发日期", "Date on the document"),
    "valid_until": ("有效期至", "Valid to the end of"),
    "party": ("当事人", "Party"),
    "party_hint": (
        "材料属于谁；不填则为办件的申请人。",
        "Whose material it is; empty: the applicant of the case.",
    ),
    "party_type": ("证件类型", "Kind of identifier"),
    "citizen": ("居民身份证", "Citizen number"),
    "organization": ("统一社会信用代码", "Unified social credit code"),
    "passport": ("护照", "Passport"),
    "party_code": ("证件号码", "Number"),
    "party_name": ("姓名或名称", "Name"),
    "party_role": ("身份", "Role"),
    "owner": ("所有人", "owner"),
    "co_owner": ("共有人", "co-owner"),
    "tenant": ("承租人", "tenant"),
    "spouse": ("配偶", "spouse"),
    "child": ("子女", "child"),
    "guardian": ("监护人", "guardian"),
    "add_party": ("增加当事人", "Add a party"),
    "remove_party": ("移除", "Remove"),
    "files": ("文件", "Files"),
    "files_hint": ("可选多个，按顺序组成一份材料。", "Several make up one material, in order."),
    "reason": ("要求提交的理由", "Why it is asked for"),
    "reason_hint": (
        "该材料本可免交时必填（应免未免）。",
        "Needed when the material could have been exempted.",
    ),
    "reason_none": ("不适用", "Does not apply"),
    "submit": ("上传并登记", "Upload and register"),
    "cancel": ("取消", "Cancel"),
    "progress": ("上传进度", "Progress"),
    "sending": ("正在上传", "Sending"),
    "registering": ("正在登记", "Registering"),
    "cancelled": ("已取消，未登记。", "Cancelled; nothing was registered."),
    "failed_network": (
        "连接中断，未收到答复。可原样重试。",
        "The connection broke before an answer came. Try again unchanged.",
    ),
    "done": ("已登记", "Registered"),
    "material_id": ("材料标识", "Material"),
    "file_digests": ("文件摘要", "Digests"),
    "file": ("文件", "File"),
    "bytes": ("字节", "bytes"),
    "receipt": ("存证回执", "Receipt"),
    "receipt_pending": ("存证补全中……", "Evidence pending …"),
    "receipt_ready": ("已存证", "Evidenced"),
    "receipt_save": ("保存回执", "Save the receipt"),
    "refused": ("未被接受", "Not accepted"),
    "no_script": (
        "此表单需要 JavaScript：凭证须放在请求头中。也可使用接口上传。",
        "This form needs JavaScript, to put the credential into a header. The API works without.",
    ),
    # docs
    "docs_title": ("接口文档", "API documentation"),
}


class Texts:
    """The sentences of one language: `t.skip`. An unknown key is an error, never an empty text."""

    def __init__(self, language: Language) -> None:
        column = 0 if language is Language.ZH else 1
        self._texts = {key: pair[column] for key, pair in _TEXTS.items()}

    def __getattr__(self, key: str) -> str:
        try:
            return self._texts[key]
        except KeyError as error:
            raise AttributeError(key) from error

    def __getitem__(self, key: str) -> str:
        return self._texts[key]


TEXTS: Mapping[Language, Texts] = {language: Texts(language) for language in Language}
KEYS = frozenset(_TEXTS)
