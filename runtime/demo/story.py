"""The demo story, step by step, as the people in it would act through the API.

`people` says who they are; `stage` how they act. 云间区 and everybody in it are
fictional.
"""

from collections.abc import Sequence
from pathlib import Path

from runtime.demo import people
from runtime.demo.people import COMPANY
from runtime.demo.stage import Stage

PREFERS_PAPER = {"reason": "holder_prefers_paper"}


def play(stage: Stage, extra: Sequence[tuple[Path, str]]) -> None:
    """All acts, in order. `extra`: files of the user's own, with the names they are given."""
    authority(stage)
    kept, own = establishment(stage, extra)
    first_permit(stage, kept)
    the_move(stage, kept)
    moved(stage, kept, own)
    elder(stage)


def authority(stage: Stage) -> None:
    """The registers that data checks will ask, as other bodies filled them."""
    stage.say("0 登记库就绪 / registers are loaded")
    operator = stage["operator"]
    for who in (people.LEGAL_REPRESENTATIVE, people.OPERATOR_PERSON, people.ELDER):
        operator.post(
            "/v1/register-facts",
            {
                "register": "population",
                "holder": who.ref(),
                "facts": {
                    "name": who.name,
                    "citizen_number": who.code,
                    "birth_date": f"{who.code[6:10]}-{who.code[10:12]}-{who.code[12:14]}",
                    "household_address": "云间区禾苗路 18 号",
                },
            },
        )
    operator.post(
        "/v1/register-facts",
        {
            "register": "social_insurance",
            "holder": people.ELDER.ref(),
            "facts": {"name": people.ELDER.name, "bank_account": "尾号 5521"},
        },
    )
    operator.post(
        "/v1/register-facts",
        {
            "register": "real_estate",
            "holder": people.LANDLORD.ref(),
            "facts": {
                "owners": [people.LANDLORD.name, people.CO_OWNER.name],
                "location": people.NEW_ADDRESS,
                "usage": "商业",
            },
        },
    )


def establishment(
    stage: Stage, extra: Sequence[tuple[Path, str]]
) -> tuple[dict[str, str], list[str]]:
    """1 设立登记: the papers come in for the first time. Returns them, and the user's own."""
    stage.say("1 企业设立登记：首次提交材料 / company establishment: papers come in once")
    papers = stage.papers
    case = stage.case(people.ESTABLISHMENT, COMPANY, acting=people.ACTS_FOR_COMPANY)
    stage.hand_in(
        case,
        papers.ofd(
            "企业设立登记申请书", "申请设立：" + COMPANY.name, "住所：" + people.OLD_ADDRESS
        ),
        "application_form",
        "企业设立登记申请书",
    )
    stage.hand_in(
        case,
        papers.photo("法定代表人身份证", 1),
        "identity_proof",
        "沈云舟居民身份证",
        parties=[{**people.LEGAL_REPRESENTATIVE.ref(), "role": "owner"}],
        **PREFERS_PAPER,
    )
    stage.hand_in(
        case,
        papers.pdf("公司章程", "第一条 公司名称：" + COMPANY.name, "第二条 注册资本：伍拾万元"),
        "articles_of_association",
        "公司章程",
        issued_at="2024-02-20",
    )
    lease = stage.hand_in(
        case,
        papers.pdf(
            "房屋租赁合同",
            f"出租人：{people.LANDLORD.name}、{people.CO_OWNER.name}",
            f"承租人：{COMPANY.name}",
            f"坐落：{people.OLD_ADDRESS}",
        ),
        "lease_contract",
        "房屋租赁合同（101 室）",
        parties=[{**COMPANY.ref(), "role": "tenant"}],
        issued_at="2024-03-01",
        **PREFERS_PAPER,
    )
    deed = stage.hand_in(
        case,
        papers.pdf(
            "不动产权证书",
            f"权利人：{people.LANDLORD.name}、{people.CO_OWNER.name}（共同共有）",
            "坐落：云间区禾苗路 18 号",
        ),
        "real_estate_certificate",
        "不动产权证书",
        parties=[
            {**people.LANDLORD.ref(), "role": "owner"},
            {**people.CO_OWNER.ref(), "role": "co_owner"},
        ],
        issued_at="2019-05-17",
        **PREFERS_PAPER,
    )
    before = stage.objects.keys()
    plan = stage.hand_in(
        case,
        papers.scan("营业场所测绘图"),
        "other",
        "营业场所测绘图（64 MiB 扫描件）",
        issued_at="2024-02-11",
    )
    (stage.plan_object,) = stage.objects.keys() - before
    stage["window"].post(f"/v1/cases/{case}/commitments", {"requirement": "appointment_document"})
    own = [stage.hand_in_plain(case, file, name) for file, name in extra]
    stage.decide(case)
    license_ = stage.issue(
        "department",
        kind="business_license",
        holder=COMPANY.ref(),
        issuer_name="云间区市场监督管理局",
        number="310199000187",
        identifier=people.OLD_LICENSE,
        valid_from="2024-03-12T00:00:00+08:00",
        source_case=case,
        attributes={
            "address": people.OLD_ADDRESS,
            "legal_representative": people.LEGAL_REPRESENTATIVE.name,
        },
    )
    return {"lease": lease, "deed": deed, "plan": plan, "license": license_}, own


def first_permit(stage: Stage, kept: dict[str, str]) -> None:
    """1 A first 食品经营许可, which already reuses lease and property certificate."""
    stage.say("1 首次食品经营许可：复用租赁合同、不动产权证 / a first permit reuses two papers")
    papers = stage.papers
    case = stage.case(people.FOOD_MATTER, COMPANY, variant="new", acting=people.ACTS_FOR_COMPANY)
    stage.hand_in(
        case,
        papers.pdf("食品经营许可申请书", "申请人：" + COMPANY.name),
        "application_form",
        "食品经营许可申请书",
    )
    stage.hand_in(
        case,
        papers.pdf("经营场所布局图", people.OLD_ADDRESS, "热厨 12 平方米，冷菜间 6 平方米"),
        "layout_plan",
        "经营场所布局图",
    )
    stage.hand_in(
        case,
        papers.sheet(
            "设备清单", [["区域", "设备", "数量"], ["热厨", "灶台", 4], ["冷菜间", "冰柜", 2]]
        ),
        "other",
        "设备清单",
    )
    kept["cook"] = stage.issue(
        "health",
        kind="health_certificate",
        holder=people.OPERATOR_PERSON.ref(),
        issuer_name="云间区卫生健康委员会",
        number="JK2026110233",
        valid_from="2026-11-02T00:00:00+08:00",
    )
    items = [
        ("business_license", kept["license"]),
        ("health_certificate", kept["cook"]),
        ("lease_contract", kept["lease"]),
        ("real_estate_certificate", kept["deed"]),
    ]
    denied = stage.verify(case, items)
    stage.expect("1", denied[kept["lease"]]["outcome"], "denied")
    grants = stage.ask(case, "食品经营许可（新办）", items=[item for _, item in items])
    for caller in ("representative", "cook", "landlord", "co_owner"):
        stage.approve(grants, caller)
    allowed = stage.verify(case, items)
    for _, item in items:
        stage.expect("1", allowed[item]["outcome"], "allowed")
    stage.check_data(case, "identity_proof")
    stage["window"].post(f"/v1/cases/{case}/commitments", {"requirement": "food_safety_rules"})
    stage.decide(case)
    stage.issue(
        "department",
        kind="food_business_permit",
        holder=COMPANY.ref(),
        issuer_name="云间区市场监督管理局",
        number="JY23101990000042",
        identifier=people.OLD_FOOD_PERMIT,
        valid_from="2026-05-18T00:00:00+08:00",
        source_case=case,
        attributes={"address": people.OLD_ADDRESS},
    )


def the_move(stage: Stage, kept: dict[str, str]) -> None:
    """The company moves from 101 to 205 室: the register and the licence say so."""
    stage.say("1 公司迁址：营业执照换新版本 / the company moves; its licence gets a new version")
    stage["department"].post(
        "/v1/party-events",
        {
            "holder": COMPANY.ref(),
            "event": "address_changed",
            "at": "2026-06-15T00:00:00+08:00",
        },
    )
    new = stage["department"].post(
        f"/v1/licenses/{kept['license']}/events",
        {
            "event": "change",
            "successor": {
                "identifier": people.NEW_LICENSE,
                "attributes": {
                    "address": people.NEW_ADDRESS,
                    "legal_representative": people.LEGAL_REPRESENTATIVE.name,
                },
            },
        },
    )
    kept["license"] = str(new["license_id"])
    stage.keep_license(kept["license"], new, "department")


def moved(stage: Stage, kept: dict[str, str], extra: Sequence[str]) -> None:
    """2 to 8, 10, 11: the case that the story is about."""
    stage.say("2 食品经营许可（迁址新办）在综窗3号开办 / the case is opened at counter 3")
    case = stage.case(people.FOOD_MATTER, COMPANY, variant="moved", acting=people.ACTS_FOR_COMPANY)
    before = stage["window"].post(f"/v1/cases/{case}/exemptions")
    stage.say(f"  免交 {before['exemptible']}/{before['required']}")
    stage.expect("2", (before["exemptible"], before["required"]), (6, 8))

    stage.say("3 沈云舟预览并授权 / the holders see what would be shown to whom, and approve")
    grants = stage.ask(
        case,
        "食品经营许可（迁址新办）",
        items=[
            kept["license"], kept["cook"], kept["lease"], kept["deed"], kept["plan"], *extra,
        ],
    )  # fmt: skip
    mine = stage.approve(grants, "representative")
    stage.approve(grants, "cook")
    stage.approve(grants, "landlord")  # 陆静宜 does not answer

    stage.say("4 一次调用核验全部 / one call verifies all")
    items = [
        ("business_license", kept["license"]),
        ("health_certificate", kept["cook"]),
        ("lease_contract", kept["lease"]),
        ("real_estate_certificate", kept["deed"]),
        ("other", kept["plan"]),
    ]
    outcomes = stage.verify(case, items + [("other", item) for item in extra])
    for name, reason in (
        ("license", None),
        ("cook", None),
        ("lease", "address_changed_since"),
        ("deed", "co_owner_consent_missing"),
        ("plan", None),
    ):
        stage.expect("4", outcomes[kept[name]]["reason"], reason)
    for item in extra:
        stage.expect("4 --files", outcomes[item]["outcome"], "allowed")
    stage.expect("4", stage.check_data(case, "identity_proof")["outcome"], "allowed")
    stage["window"].post(f"/v1/cases/{case}/commitments", {"requirement": "food_safety_rules"})
    stage.say("  租赁合同：与现登记住所不一致，重新扫描 / the lease is stale; a new one is scanned")
    stage.hand_in(
        case,
        stage.papers.pdf(
            "房屋租赁合同（205室）",
            f"出租人：{people.LANDLORD.name}、{people.CO_OWNER.name}",
            f"承租人：{COMPANY.name}",
            f"坐落：{people.NEW_ADDRESS}",
        ),
        "lease_contract",
        "房屋租赁合同（205 室）",
        parties=[{**COMPANY.ref(), "role": "tenant"}],
        issued_at="2026-06-20",
        reason="evidence_stale",
    )
    stage.say("  不动产权证：共有人未授权，改为数据核验 / consent missing; a data check passes")
    checked = stage.check_data(case, "real_estate_certificate", subject=people.LANDLORD.ref())
    stage.expect("4", checked["outcome"], "allowed")
    for type_, title in (("application_form", "食品经营许可申请书"), ("layout_plan", "布局图")):
        stage.hand_in(case, stage.papers.pdf(f"{title}（迁址）", people.NEW_ADDRESS), type_, title)

    damaged(stage, case, kept)
    reviewed(stage, case, kept, mine)
    report(stage, case)
    stage.decide(case)
    stage.issue(
        "department",
        kind="food_business_permit",
        holder=COMPANY.ref(),
        issuer_name="云间区市场监督管理局",
        number="JY23101990000077",
        valid_from="2026-11-24T00:00:00+08:00",
        source_case=case,
        attributes={"address": people.NEW_ADDRESS},
    )
    forged(stage, kept)
    stage.packages.append(case)


def damaged(stage: Stage, case: str, kept: dict[str, str]) -> None:
    """5 One stored byte is flipped and put back."""
    stage.say("5 翻转存储中的一个字节 / one stored byte is flipped")
    plan = [("other", kept["plan"])]
    with stage.objects.flipped(stage.plan_object):
        outcome = stage.verify(case, plan)[kept["plan"]]
    stage.expect("5", outcome["reason"], "content_mismatch")
    stage.say("  内容与存证不一致，已拒绝；恢复后通过 / refused; restored, it passes again")
    stage.expect("5", stage.verify(case, plan)[kept["plan"]]["outcome"], "allowed")


def reviewed(stage: Stage, case: str, kept: dict[str, str], grants: Sequence[str]) -> None:
    """6 and 7: who may use the grant, who sees it used, and its end."""
    plan = [("other", kept["plan"])]
    stage.say("6 审批人员打开同一授权 / the reviewer opens the same grant")
    outcome = stage.verify(case, plan, "department")[kept["plan"]]
    stage.expect("6", outcome["outcome"], "allowed")
    other = stage.case(people.HYGIENE, COMPANY, variant="new", acting=people.ACTS_FOR_COMPANY)
    denied = stage.verify(other, plan, grant=grants[0])[kept["plan"]]
    stage.expect("6", denied["reason"], "grant_other_case")
    stage.say("  另一办件被拒：授权仅限原办件 / another case is refused")

    stage.say("7 沈云舟查看使用记录，停止复用，撤回授权 / sees the uses, stops reuse, revokes")
    uses = stage["representative"].all("/v1/uses")
    stage.expect("7", {one["case_id"] for one in uses} >= {case, other}, True)
    path = f"/v1/materials/{kept['plan']}"
    stage["representative"].post(f"{path}/stop-reuse")
    stopped = stage.verify(case, plan)[kept["plan"]]
    stage.expect("7", stopped["reason"], "material_stopped")
    stage["representative"].post(f"{path}/resume-reuse")
    for grant in grants:
        stage["representative"].post(f"/v1/grants/{grant}/revoke")
    revoked = stage.verify(case, plan)[kept["plan"]]
    stage.expect("7", revoked["reason"], "grant_revoked")


def forged(stage: Stage, kept: dict[str, str]) -> None:
    """8 The old lease is declared forged."""
    stage.say("8 旧租赁合同被认定伪造 / the old lease is declared forged")
    answer = stage["department"].post(
        f"/v1/materials/{kept['lease']}/invalidate", {"reason": "forged"}
    )
    stage.say(f"  用过它的 {len(answer['cases'])} 个办件各生成一项任务 / a task for each case")
    stage.expect("8", (len(answer["cases"]), len(answer["tasks"])), (2, 2))


def elder(stage: Stage) -> None:
    """9 赵阿福 comes with an identity card only."""
    stage.say("9 赵阿福只带身份证：高龄津贴零材料 / an elder brings nothing but an identity card")
    case = stage.case(people.ELDERLY, people.ELDER)
    for requirement in ("identity_proof", "household_register", "bank_account_proof"):
        checked = stage.check_data(case, requirement)
        stage.expect("9", checked["outcome"], "allowed")
    state = stage["window"].post(f"/v1/cases/{case}/exemptions")
    stage.expect("9", state["missing"], [])
    stage.decide(case, "civil")
    stage.issue(
        "civil",
        kind="elderly_allowance_certificate",
        holder=people.ELDER.ref(),
        issuer_name="云间区民政局",
        number="GL2026000031",
        source_case=case,
    )
    stage.packages.append(case)


def report(stage: Stage, case: str) -> None:
    """11 What could be exempted, what was, and why the rest was not."""
    met = {
        one["requirement"]: one["met"]
        for one in stage["window"].get(f"/v1/cases/{case}")["requirements"]
        if one["met"] is not None
    }
    exemptible = [key for key, way in met.items() if way["exemptible"] and key != "other"]
    exempted = [key for key in exemptible if met[key]["route"] != "upload"]
    reasons = [met[key]["reason"] for key in exemptible if met[key]["route"] == "upload"]
    stage.say(
        f"11 可免 {len(exemptible)}，实免 {len(exempted)}，未免原因 {reasons} / "
        f"exemptible {len(exemptible)}, exempted {len(exempted)}"
    )
    stage.expect("11", (len(exemptible), len(exempted)), (6, 5))
