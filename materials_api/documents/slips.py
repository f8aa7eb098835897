"""What stands on each document, from the bodies of records. Pure.

Keys read from a verification's record (all but `outcome` may be missing):

    outcome "allowed" | "denied"; requirement; item; item_kind; item_type;
    checks [{check, result, reasons [code, …]}] in the order of `CheckName`;
    route; basis "consent" | "statutory_duty" (or {kind, officer, number, role});
    officer, number, role of the statutory duty; grants [id, …];
    register, fields [name, …] of a data check;
    org, unit, by_officer or officer of who asked; purpose
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kernel.canonical import JsonValue
from kernel.clock import CHINA
from materials_api.catalogue.model import Catalogue, Matter
from materials_api.catalogue.terms import ROUTE_EN, ROUTE_ZH, Route
from materials_api.documents.kinds import NAMES, DocumentKind
from materials_api.documents.layout import Field, Grid, Sheet
from materials_api.errors import RecordMismatch
from materials_api.rules.decisions import CHECK_EN, CHECK_ZH, CheckName, CheckResult
from materials_api.rules.reasons import REASONS, ReasonCode

Body = Mapping[str, JsonValue]

_RESULT_ZH = {
    CheckResult.PASSED: "通过 passed",
    CheckResult.FAILED: "未通过 failed",
    CheckResult.NOT_APPLICABLE: "不适用 n/a",
}
_CAPACITY_ZH = {
    "self": "本人",
    "legal_representative": "法定代表人",
    "license_manager": "证照管理员",
    "operator": "办事人",
    "guardian": "监护人",
    "agent": "代理人",
}


@dataclass(frozen=True, slots=True)
class Head:
    """What every document says of its case. `applicant`: the name at the time, or a dash."""

    number: str
    variant: str
    applicant: str
    person: str
    capacity: str
    matter: Matter
    catalogue: Catalogue


def sheet_of(kind: DocumentKind, document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    """The content of a document; `RecordMismatch` when the record is of another kind."""
    make = {
        DocumentKind.VERIFICATION_SLIP: _verification,
        DocumentKind.COMMITMENT: _commitment,
        DocumentKind.ASSISTANCE_LETTER: _assistance,
        DocumentKind.CORRECTION_NOTICE: _correction,
        DocumentKind.ACCEPTANCE_NOTICE: _acceptance,
        DocumentKind.DECISION_NOTICE: _decision,
    }[kind]
    try:
        return make(document_id, head, at, body)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordMismatch(entity=document_id) from error


def _verification(document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    allowed = _text(body["outcome"]) == "allowed"
    rows: list[tuple[str, ...]] = []
    for check in _list(body.get("checks")):
        entry = _object(check)
        name = CheckName(_text(entry["check"]))
        result = CheckResult(_text(entry["result"]))
        reasons = [REASONS[ReasonCode(_text(code))] for code in _list(entry.get("reasons"))]
        notes = [f"{reason.zh}；{reason.remedy_zh} / {reason.en}" for reason in reasons]
        label = f"{CHECK_ZH[name]} {CHECK_EN[name]}"
        rows.append((label, _RESULT_ZH[result], "\n".join(notes) or "-"))
    fields = [
        *_head_fields(head),
        Field("要求", "Requirement", _requirement(head, body.get("requirement"))),
        Field("核验对象", "Item", _item(head, body)),
        Field("免交途径", "Route", _route(body.get("route"))),
        *_register(head, body),
        Field("依据", "Basis", _basis(body)),
        Field("核验人", "Checked by", _who(body)),
        Field("核验时间", "Time", _moment(at)),
        Field("结果", "Outcome", "准许复用 allowed" if allowed else "不予复用 denied"),
    ]
    return _sheet(
        DocumentKind.VERIFICATION_SLIP,
        document_id,
        fields,
        ("本单记录对下列材料或证照代替提交的核验。存证记录可凭回执离线验证。",),
        Grid(("检查项 Check", "结果 Result", "说明 Explanation"), tuple(rows), (4, 3, 8)),
        (_moment(at),),
    )


def _commitment(document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    fields = [
        *_head_fields(head),
        Field("承诺事项", "Requirement", _requirement(head, body["requirement"])),
    ]
    return _sheet(
        DocumentKind.COMMITMENT,
        document_id,
        fields,
        (
            "申请人已被告知该事项的条件、标准和不实承诺的后果，现承诺：",
            _text(body["text_zh"]),
            _text(body["text_en"]),
        ),
        None,
        (f"承诺人：{head.applicant}", f"办理人：{head.person}（{head.capacity}）", _day(at)),
    )


def _assistance(document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    due = _moment_of(body["due_at"])
    return _sheet(
        DocumentKind.ASSISTANCE_LETTER,
        document_id,
        [
            *_head_fields(head),
            Field("协查事项", "Requirement", _requirement(head, body["requirement"])),
            Field("协助单位", "Asked", f"{_text(body['to_zh'])} {_text(body['to_en'])}"),
            Field("答复期限", "Due", due),
        ],
        (
            f"{_text(body['to_zh'])}：",
            "因办理上述事项，请贵单位协助核查下列情况，并在期限内答复。",
            _text(body["question"]),
        ),
        None,
        (head.matter.department_name.zh, _day(at)),
    )


def _correction(document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    rows = tuple(
        (
            str(number),
            _requirement(head, _object(item)["requirement"]),
            _text(_object(item)["text"]),
        )
        for number, item in enumerate(_list(body["items"]), start=1)
    )
    rejected = len(_list(body.get("rejected")))
    notes = ["你（单位）提交的申请材料不齐全或者不符合法定形式，现一次性告知需要补正的全部内容："]
    if rejected:
        notes.append(f"其中退回材料 {rejected} 份；退回的版本留存备查，不得复用。")
    return _sheet(
        DocumentKind.CORRECTION_NOTICE,
        document_id,
        _head_fields(head),
        tuple(notes),
        Grid(("序号 No.", "要求 Requirement", "补正内容 What to correct"), rows, (1, 4, 8)),
        (head.matter.department_name.zh, _day(at)),
    )


def _acceptance(document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    accepted = _text(body["event"]) == "accept"
    gaps = [_requirement(head, key) for key in _list(body.get("gaps"))]
    text = (
        "你（单位）的申请符合受理条件，现予受理。"
        if accepted
        else "你（单位）的申请依法不予受理。理由如下："
    )
    notes = [text, *_note(body)]
    if gaps:
        notes.append("容缺受理，尚缺下列材料，请在承诺期限内补齐：" + "、".join(gaps))
    return _sheet(
        DocumentKind.ACCEPTANCE_NOTICE,
        document_id,
        _head_fields(head),
        tuple(notes),
        None,
        (head.matter.department_name.zh, _day(at)),
        title_zh="受理通知书" if accepted else "不予受理通知书",
        title_en="Notice of acceptance" if accepted else "Notice of non-acceptance",
    )


def _decision(document_id: str, head: Head, at: datetime, body: Body) -> Sheet:
    approved = _text(body["event"]) == "approve"
    text = (
        "经审查，你（单位）的申请符合法定条件、标准，决定准予。"
        if approved
        else "经审查，你（单位）的申请不符合法定条件、标准，决定不予许可。理由如下："
    )
    closing = () if approved else ("如不服本决定，可依法申请行政复议或者提起行政诉讼。",)
    return _sheet(
        DocumentKind.DECISION_NOTICE,
        document_id,
        _head_fields(head),
        (text, *_note(body), *closing),
        None,
        (head.matter.department_name.zh, _day(at)),
        title_zh="准予决定书" if approved else "不予许可决定书",
        title_en="Decision to approve" if approved else "Decision to refuse",
    )


def _sheet(
    kind: DocumentKind,
    document_id: str,
    fields: Sequence[Field],
    paragraphs: tuple[str, ...],
    grid: Grid | None,
    closing: tuple[str, ...],
    *,
    title_zh: str | None = None,
    title_en: str | None = None,
) -> Sheet:
    zh, en = NAMES[kind]
    return Sheet(
        title_zh=title_zh or zh,
        title_en=title_en or en,
        number=document_id,
        fields=tuple(fields),
        paragraphs=paragraphs,
        grid=grid,
        closing=closing,
        foot=f"免交 Mianjiao  {document_id}",
    )


def _head_fields(head: Head) -> list[Field]:
    name = head.matter.name_of(head.variant)
    return [
        Field("办件编码", "Case number", head.number),
        Field("事项", "Matter", f"{name.zh}\n{name.en}"),
        Field("办理部门", "Department", head.matter.department_name.zh),
        Field("申请人", "Applicant", head.applicant),
        Field("办理人", "Acting", f"{head.person}（{head.capacity}）"),
    ]


def _requirement(head: Head, key: JsonValue) -> str:
    if key is None:
        return "-"
    rule = head.matter.requirement(head.variant, _text(key))
    return head.catalogue.name_of(rule).zh


def _item(head: Head, body: Body) -> str:
    kind = body.get("item_type")
    names = {type_.key: type_.name.zh for type_ in head.catalogue.types}
    name = names.get(kind, kind) if isinstance(kind, str) else ""
    item = body.get("item")
    return " ".join(part for part in (name, item) if isinstance(part, str) and part) or "-"


def _register(head: Head, body: Body) -> list[Field]:
    """Of a data check: which register was asked, and on what it was compared."""
    key = body.get("register")
    if not isinstance(key, str):
        return []
    names = {register.key: register.name.zh for register in head.catalogue.registers}
    fields = body.get("fields")
    compared = ", ".join(field for field in _list(fields) if isinstance(field, str))
    return [
        Field("登记库", "Register", names.get(key, key)),
        Field("核验项", "Compared", compared or "-"),
    ]


def _route(value: JsonValue) -> str:
    if not isinstance(value, str):
        return "-"
    route = Route(value)
    return f"{ROUTE_ZH[route]} {ROUTE_EN[route]}"


def _basis(body: Body) -> str:
    value = body.get("basis")
    duty: Body = value if isinstance(value, dict) else body
    kind = duty.get("kind") if isinstance(value, dict) else value
    if kind == "statutory_duty":
        named = [duty.get(key) for key in ("officer", "number", "role")]
        return "依职能查验 " + "，".join(text for text in named if isinstance(text, str))
    grants = [grant for grant in _list(body.get("grants")) if isinstance(grant, str)]
    return "权利人授权 " + "，".join(grants)


def _who(body: Body) -> str:
    officer = body.get("by_officer", body.get("officer"))
    parts = (body.get("org"), body.get("unit"), officer)
    return " ".join(part for part in parts if isinstance(part, str)) or "-"


def _note(body: Body) -> list[str]:
    note = body.get("note")
    return [note] if isinstance(note, str) else []


def _moment(at: datetime) -> str:
    return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}（北京时间）"


def _moment_of(value: JsonValue) -> str:
    return _moment(datetime.fromisoformat(_text(value)))


def _day(at: datetime) -> str:
    day = at.astimezone(CHINA)
    return f"{day.year}年{day.month}月{day.day}日"


def capacity_name(capacity: str) -> str:
    """A capacity as documents show it."""
    return _CAPACITY_ZH.get(capacity, capacity)


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _object(value: JsonValue) -> Body:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list(value: JsonValue) -> Sequence[JsonValue]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
