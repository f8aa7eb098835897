"""The forms of `case.json`, `case.xml` and `process.xml`, version 1. Pure.

Modelled on the e-file metadata of GB/T 42727 and DA/T 85 (基本信息元数据,
管理过程元数据); their full texts were not at hand, so no conformance is claimed.
Append-only: see `archive.form`.
"""

from typing import Final

from archive.form import Field, Form, Kind, ListOf

FORMAT: Final = "mianjiao.package/v1"
CASE_NAMESPACE: Final = "urn:mianjiao:package:case:v1"
PROCESS_NAMESPACE: Final = "urn:mianjiao:package:process:v1"
CASE_ROOT: Final = "case_file"
PROCESS_ROOT: Final = "process"

_RECORDS: Final = Field("records", "存证记录", ListOf("record", Kind.WORD))


def _optional(name: str, zh: str, of: Kind | Form | ListOf) -> Field:
    return Field(name, zh, of, required=False)


_CHECKPOINT: Final = Form(
    (
        Field("shard", "日志分片", Kind.WORD),
        Field("origin", "日志名称", Kind.TEXT),
        Field("size", "日志条目数", Kind.NUMBER),
        Field("root", "根摘要", Kind.WORD),
        Field("path", "检查点文件", Kind.WORD),
    )
)

_CASE: Final = Form(
    (
        Field("id", "办件标识", Kind.WORD),
        Field("number", "办件编码", Kind.TEXT),
        Field("matter", "事项基本编码", Kind.WORD),
        Field("matter_name", "事项名称", Kind.TEXT),
        _optional("matter_name_en", "事项英文名称", Kind.TEXT),
        Field("variant", "业务情形", Kind.WORD),
        Field("catalogue", "事项目录摘要", Kind.WORD),
        Field("applicant", "申请人标识", Kind.WORD),
        Field("person", "办理人标识", Kind.WORD),
        Field("capacity", "办理身份", Kind.WORD),
        _optional("project", "项目代码", Kind.TEXT),
        Field("channel", "申请渠道", Kind.WORD),
        _optional("window_org", "受理窗口机构", Kind.WORD),
        Field("department", "审批部门", Kind.WORD),
        _optional("department_name", "审批部门名称", Kind.TEXT),
        Field("state", "办件状态", Kind.WORD),
        _optional("outcome", "办理结果", Kind.WORD),
        Field("opened_at", "建件时间", Kind.TIME),
        _optional("accepted_at", "受理时间", Kind.TIME),
        _optional("closed_at", "办结时间", Kind.TIME),
        Field("retention", "保管期限（年）", Kind.WORD),
        _RECORDS,
    )
)

_PARTY: Final = Form(
    (
        Field("id", "主体标识", Kind.WORD),
        Field("type", "证件类型", Kind.WORD),
        Field("code", "证件号码", Kind.TEXT),
        _optional("name", "姓名或名称", Kind.TEXT),
        _RECORDS,
    )
)

_REQUIREMENT: Final = Form(
    (
        Field("requirement", "应交材料", Kind.WORD),
        Field("name", "材料名称", Kind.TEXT),
        Field("mandatory", "是否必要", Kind.FLAG),
        Field("exemptible", "可免交", Kind.FLAG),
        Field("exempted", "已免交", Kind.FLAG),
        _optional("route", "提交或免交途径", Kind.WORD),
        _optional("item", "材料或证照标识", Kind.WORD),
        _optional("verification", "核验标识", Kind.WORD),
        _optional("reason", "应免未免原因", Kind.WORD),
        _optional("at", "时间", Kind.TIME),
    )
)

_ROLE: Final = Form(
    (
        Field("party", "主体标识", Kind.WORD),
        Field("role", "角色", Kind.WORD),
        _optional("stated_name", "所述姓名", Kind.TEXT),
    )
)

_CERTIFIED: Final = Form(
    (
        Field("by", "核对人", Kind.TEXT),
        Field("at", "核对时间", Kind.TIME),
    )
)

_FILE: Final = Form(
    (
        Field("path", "计算机文件名", Kind.WORD),
        Field("name", "原文件名", Kind.TEXT),
        Field("media_type", "格式", Kind.TEXT),
        Field("size", "字节数", Kind.NUMBER),
        Field("sha256", "SHA-256 摘要", Kind.WORD),
        Field("sm3", "SM3 摘要", Kind.WORD),
    )
)

_MATERIAL: Final = Form(
    (
        Field("id", "材料标识", Kind.WORD),
        Field("number", "顺序号", Kind.NUMBER),
        Field("own", "本办件提交", Kind.FLAG),
        Field("case", "来源办件标识", Kind.WORD),
        Field("type", "材料类型", Kind.WORD),
        Field("type_name", "材料类型名称", Kind.TEXT),
        Field("title", "题名", Kind.TEXT),
        Field("form", "材料形式", Kind.WORD),
        _optional("requirement", "应交材料", Kind.WORD),
        Field("provenance", "来源可信程度", Kind.WORD),
        _optional("certified", "与原件核对一致", _CERTIFIED),
        Field("status", "状态", Kind.WORD),
        _optional("supersedes", "被取代的版本", Kind.WORD),
        _optional("issued_at", "形成时间", Kind.TIME),
        _optional("valid_until", "有效期至", Kind.TIME),
        Field("registered_at", "登记时间", Kind.TIME),
        Field("parties", "当事人", ListOf("holder", _ROLE)),
        Field("files", "文件", ListOf("file", _FILE)),
        _RECORDS,
    )
)

_LICENSE: Final = Form(
    (
        Field("id", "证照内部标识", Kind.WORD),
        Field("number", "顺序号", Kind.NUMBER),
        Field("result", "本办件结果", Kind.FLAG),
        _optional("identifier", "电子证照标识", Kind.WORD),
        Field("kind", "证照类型", Kind.WORD),
        _optional("kind_name", "证照类型名称", Kind.TEXT),
        Field("holder", "持证主体标识", Kind.WORD),
        Field("issuer", "颁发机构", Kind.WORD),
        Field("status", "证照状态", Kind.WORD),
        Field("path", "元数据文件", Kind.WORD),
        _RECORDS,
    )
)

_CHECK: Final = Form(
    (
        Field("check", "检查项", Kind.WORD),
        Field("result", "结果", Kind.WORD),
        _optional("reasons", "原因", ListOf("reason", Kind.WORD)),
    )
)

_BASIS: Final = Form(
    (
        Field("kind", "依据种类", Kind.WORD),
        _optional("officer", "依职能查验人员", Kind.TEXT),
        _optional("number", "人员编号", Kind.TEXT),
        _optional("role", "职务", Kind.TEXT),
    )
)

_VERIFICATION: Final = Form(
    (
        Field("id", "核验标识", Kind.WORD),
        Field("requirement", "应交材料", Kind.WORD),
        Field("item", "被核验对象", Kind.WORD),
        Field("item_kind", "对象种类", Kind.WORD),
        Field("item_type", "对象类型", Kind.WORD),
        Field("route", "免交途径", Kind.WORD),
        Field("outcome", "核验结果", Kind.WORD),
        Field("reasons", "不通过原因", ListOf("reason", Kind.WORD)),
        Field("checks", "检查项目", ListOf("check", _CHECK)),
        Field("basis", "依据", _BASIS),
        Field("grants", "授权标识", ListOf("grant", Kind.WORD)),
        _optional("answer", "证照来源答复记录", Kind.WORD),
        _optional("org", "核验机构", Kind.WORD),
        _optional("unit", "核验窗口", Kind.TEXT),
        _optional("by_officer", "核验人", Kind.TEXT),
        Field("at", "核验时间", Kind.TIME),
        _RECORDS,
    )
)

_ANSWER: Final = Form(
    (
        Field("id", "答复标识", Kind.WORD),
        Field("source", "来源", Kind.WORD),
        Field("answer", "答复", Kind.WORD),
        Field("asked_at", "查询时间", Kind.TIME),
        _RECORDS,
    )
)

_DOCUMENT: Final = Form(
    (
        Field("id", "文书标识", Kind.WORD),
        Field("number", "顺序号", Kind.NUMBER),
        Field("kind", "文书种类", Kind.WORD),
        Field("title", "文书名称", Kind.TEXT),
        _optional("requirement", "应交材料", Kind.WORD),
        _optional("verification", "核验标识", Kind.WORD),
        Field("at", "形成时间", Kind.TIME),
        Field("path", "计算机文件名", Kind.WORD),
        Field("size", "字节数", Kind.NUMBER),
        Field("sha256", "SHA-256 摘要", Kind.WORD),
        _RECORDS,
    )
)

_GRANT: Final = Form(
    (
        Field("id", "授权标识", Kind.WORD),
        Field("holder", "授权主体标识", Kind.WORD),
        Field("purpose", "用途", Kind.TEXT),
        Field("use", "使用方式", Kind.WORD),
        Field("approved", "授权对象", ListOf("item", Kind.WORD)),
        _optional("person", "授权人标识", Kind.WORD),
        _optional("capacity", "授权身份", Kind.WORD),
        _optional("decided_at", "授权时间", Kind.TIME),
        _optional("expires_at", "授权截止", Kind.TIME),
        Field("status", "授权状态", Kind.WORD),
        _RECORDS,
    )
)

_STEP: Final = Form(
    (
        Field("sequence", "序号", Kind.NUMBER),
        Field("event", "管理行为", Kind.WORD),
        Field("event_name", "管理行为名称", Kind.TEXT),
        Field("state", "行为后状态", Kind.WORD),
        Field("at", "行为时间", Kind.TIME),
        Field("role", "责任者角色", Kind.WORD),
        _optional("org", "机构", Kind.TEXT),
        _optional("unit", "窗口或科室", Kind.TEXT),
        _optional("officer", "责任者", Kind.TEXT),
        _optional("note", "说明", Kind.TEXT),
        Field("record", "存证记录", Kind.WORD),
    )
)

_RECEIPT: Final = Form(
    (
        Field("record", "存证记录", Kind.WORD),
        Field("entity", "所属对象", Kind.WORD),
        Field("kind", "记录种类", Kind.WORD),
        Field("at", "记录时间", Kind.TIME),
        Field("shard", "日志分片", Kind.WORD),
        Field("index", "日志序号", Kind.NUMBER),
        Field("path", "凭证文件", Kind.WORD),
    )
)

PROCESS: Final = Form(
    (
        Field("case", "办件标识", Kind.WORD),
        Field("number", "办件编码", Kind.TEXT),
        Field("steps", "管理过程", ListOf("step", _STEP)),
    )
)

CASE_FILE: Final = Form(
    (
        Field("format", "格式", Kind.WORD),
        Field("exported_at", "导出时间", Kind.TIME),
        Field("software", "软件", Kind.TEXT),
        Field("case", "办件基本信息", _CASE),
        Field("parties", "主体", ListOf("party", _PARTY)),
        Field("requirements", "应交材料清单", ListOf("requirement_met", _REQUIREMENT)),
        Field("materials", "材料", ListOf("material", _MATERIAL)),
        Field("licenses", "电子证照", ListOf("license", _LICENSE)),
        Field("verifications", "核验", ListOf("verification", _VERIFICATION)),
        Field("answers", "证照来源答复", ListOf("answer", _ANSWER)),
        Field("documents", "文书", ListOf("document", _DOCUMENT)),
        Field("grants", "授权", ListOf("grant", _GRANT)),
        Field("process", "管理过程", ListOf("step", _STEP)),
        Field("checkpoints", "检查点", ListOf("checkpoint", _CHECKPOINT)),
        Field("receipts", "存证凭证", ListOf("receipt", _RECEIPT)),
    )
)

CASE_TITLE: Final = "办件归档信息（基本信息元数据）"
PROCESS_TITLE: Final = "办件管理过程元数据"
