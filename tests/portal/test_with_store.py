"""The pages over a real store: the state they show, the catalogue they link to, an upload."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect

from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from runtime import demo_files
from runtime.app import build_app
from runtime.commands.token import TokenRequest, issue
from runtime.store import Store
from tests.portal.losing_proxy import LosingProxy

WINDOW = "12310199MB2Y080841"
ELDER = {"type": "111", "code": "310199194803219179", "name": "赵阿福"}


@dataclass
class Hall:
    """A started store, its application, and a case at a window."""

    store: Store
    app: FastAPI
    client: TestClient
    token: str
    case: str


@pytest.fixture
def hall(store: Store) -> Hall:
    store.start()
    app = build_app(store, store.settings)
    client = TestClient(app)
    token = issue(store, TokenRequest("window", org=WINDOW, unit="综窗3号", officer="陈晓岚"))
    matter = client.get("/v1/catalogue/matters/elderly_allowance").json()
    opened = client.post(
        "/v1/cases",
        headers={"Authorization": f"Bearer {token}"},
        json={"matter": matter["code"], "applicant": ELDER, "channel": "window"},
    )
    assert opened.status_code == 201, opened.text
    return Hall(store, app, client, token, opened.json()["case_id"])


def test_the_home_page_counts_what_the_store_holds(hall: Hall) -> None:
    hall.store.ledger.stop()  # publishes what waits, so that the size stands still
    text = hall.client.get("/").text
    assert '<dd id="cases">1</dd>' in text
    assert '<dd id="materials">0</dd>' in text
    assert hall.store.ledger.origin in text
    size = hall.store.ledger.checkpoint().size
    assert f'<dd id="tree-size">{size}</dd>' in text


def test_whatever_the_home_page_links_to_answers(hall: Hall) -> None:
    text = hall.client.get("/").text
    links = {part.split('"')[0] for part in text.split('href="')[1:]}
    assert any(link.startswith("/log/") for link in links)
    for link in sorted(link for link in links if link.startswith("/")):
        assert hall.client.get(link).status_code == 200, link


def test_the_catalogue_says_what_a_matter_asks_for_and_on_which_terms(hall: Hall) -> None:
    client = hall.client
    matter = client.get("/v1/catalogue/matters/000131014000").json()
    assert matter["name"] == {"zh": "食品经营许可", "en": "Food business permit"}
    assert matter["implementing_code"] == "11310199MB2Y01016G4000131014000"
    assert client.get(f"/v1/catalogue/matters/{matter['implementing_code']}").json() == matter
    rules = {rule["requirement"]: rule for rule in matter["requirements"]}
    lease = rules["lease_contract"]
    assert lease["stale_on"] == ["address_changed"]
    assert [(route["route"], route["scopes"]) for route in lease["routes"]] == [
        ("historic_material", ["same_holder"])
    ]
    assert rules["real_estate_certificate"]["consent"] == "all"
    assert rules["health_certificate"]["routes"][0]["kinds"] == ["health_certificate"]
    assert rules["food_safety_rules"]["routes"][0]["text"]["zh"].startswith("已建立并执行")
    assert bytes.fromhex(matter["catalogue"]) == hall.store.materials.catalogue.sha256
    unknown = client.get("/v1/catalogue/matters/999999999999")
    assert unknown.status_code == 404
    assert unknown.json()["code"] == "matter_not_listed"


@pytest.mark.parametrize("path", ["matters", "material-types"])
def test_the_catalogue_is_read_in_pages(hall: Hall, path: str) -> None:
    whole = hall.client.get(f"/v1/catalogue/{path}").json()
    assert whole["next"] is None
    assert len(whole["items"]) >= (12 if path == "matters" else 30)
    found, cursor = [], None
    while True:
        query = {"limit": 5} if cursor is None else {"limit": 5, "cursor": cursor}
        page = hall.client.get(f"/v1/catalogue/{path}", params=query).json()
        assert 1 <= len(page["items"]) <= 5
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == whole["items"]
    refused = hall.client.get(f"/v1/catalogue/{path}", params={"cursor": "nonsense"})
    assert refused.status_code == 422


@pytest.fixture
def proxy(hall: Hall, serve: Callable[[FastAPI], str]) -> Iterator[LosingProxy]:
    port = int(serve(hall.app).rpartition(":")[2])
    between = LosingProxy(port)
    yield between
    between.close()


@pytest.fixture
def page(browser: Browser, proxy: LosingProxy) -> Iterator[Page]:
    context = browser.new_context(locale="zh-CN", accept_downloads=True)
    context.set_default_timeout(15_000)
    opened = context.new_page()
    opened.goto(proxy.address + "/upload")
    yield opened
    context.close()


def _fill(page: Page, hall: Hall, *files: Path) -> None:
    page.get_by_label("访问凭证").fill(hall.token)
    page.get_by_label("办件", exact=True).fill(hall.case)
    page.locator("select[name=type]").select_option("other")
    page.get_by_label("材料名称").fill("照片与说明 <b>")
    page.locator("input[name=files]").set_input_files(files)


def test_a_person_uploads_files_and_saves_a_receipt_that_verifies(
    hall: Hall, page: Page, tmp_path: Path
) -> None:
    photo, paper = tmp_path / "照片 <i>1.jpg", tmp_path / "说明.pdf"
    demo_files.photo(photo, 7)
    demo_files.pdf(paper, "说明", ["云间区（虚构）"])
    _fill(page, hall, photo, paper)
    page.get_by_role("button", name="上传并登记").click()

    expect(page.locator("#result h2")).to_have_text("已登记")
    # The digests are read back from the record that the store made.
    for file in (photo, paper):
        data = file.read_bytes()
        expect(page.locator("#result")).to_contain_text(hashlib.sha256(data).hexdigest())
        expect(page.locator("#result")).to_contain_text(f"{file.name} ({len(data)} 字节)")
    expect(page.locator("#receipt-state")).to_contain_text("已存证")
    with page.expect_download() as download:
        page.get_by_role("link", name="保存回执").click()
    receipt = Path(download.value.path()).read_bytes()
    material = page.locator("#material-id").inner_text()
    assert download.value.suggested_filename == f"{material}.json"

    outcome = verify_receipt(receipt, parse_policy(hall.store.ledger.policy_text().encode()))
    assert isinstance(outcome, Evidence)
    assert outcome.record["entity"] == material
    named = [file["name"] for file in json.loads(receipt)["record"]["files"]]
    assert named == [photo.name, paper.name]
    assert hall.token not in page.url


def test_a_refusal_is_told_in_words_and_nothing_is_stored(
    hall: Hall, page: Page, tmp_path: Path
) -> None:
    empty = tmp_path / "空.pdf"
    empty.touch()
    _fill(page, hall, empty)
    page.get_by_role("button", name="上传并登记").click()
    expect(page.locator("#refusal")).to_have_text("文件为空，不能存证")
    expect(page.locator("#result code")).to_have_text("empty_file")
    page.get_by_label("访问凭证").fill("mj_" + "A" * 43)
    page.get_by_role("button", name="上传并登记").click()
    expect(page.locator("#result code")).to_have_text("credential_unknown")
    assert hall.store.snapshot().materials == 0


def test_credential_and_case_tell_which_case_it_is_and_what_it_requires(
    hall: Hall, page: Page, tmp_path: Path
) -> None:
    page.get_by_label("访问凭证").fill(hall.token)
    page.get_by_label("办件", exact=True).fill("cas_" + "0" * 26)
    page.get_by_label("材料名称").focus()
    expect(page.locator("#about")).to_have_text("找不到办件")
    page.get_by_label("办件", exact=True).fill(hall.case)
    page.get_by_label("材料名称").focus()
    expect(page.locator("#about")).to_contain_text("高龄津贴")
    expect(page.locator("#about")).to_contain_text("申请人 赵阿福")
    requirement = page.locator("select[name=requirement]")
    expect(requirement.locator("option").first).to_have_text("补充材料")
    requirement.select_option(label="身份证明 · 尚缺")
    expect(page.locator("select[name=type]")).to_have_value("identity_proof")
    photo = tmp_path / "表.docx"
    photo.write_bytes(b"MZ not a picture")
    page.get_by_label("材料名称").fill("身份证")
    page.locator("input[name=files]").set_input_files(photo)
    page.locator("select[name=reason]").select_option("holder_prefers_paper")
    page.get_by_role("button", name="上传并登记").click()
    expect(page.locator("#refusal")).to_contain_text("可接受的格式：pdf, jpeg, png")


def test_what_is_missing_is_marked_before_anything_is_sent(hall: Hall, page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.get_by_label("办件", exact=True).fill("cas_wrong")
    page.get_by_role("button", name="上传并登记").click()
    marked = page.locator("[aria-invalid=true]").evaluate_all("all => all.map((one) => one.name)")
    assert marked == ["token", "case", "type", "title", "files"]
    expect(page.locator("input[name=token]")).to_be_focused()
    assert [url for url in sent if "/v1/" in url] == []


def test_a_broken_connection_can_be_tried_again_without_a_second_material(
    hall: Hall, page: Page, proxy: LosingProxy, tmp_path: Path
) -> None:
    paper = tmp_path / "说明.pdf"
    demo_files.pdf(paper, "说明", ["云间区（虚构）"])
    _fill(page, hall, paper)

    proxy.losing = True
    page.get_by_role("button", name="上传并登记").click()
    expect(page.locator("#refusal")).to_contain_text("连接中断")
    assert proxy.lost.is_set()
    assert hall.store.snapshot().materials == 1
    proxy.losing = False
    page.get_by_role("button", name="上传并登记").click()
    expect(page.locator("#result h2")).to_have_text("已登记")
    assert hall.store.snapshot().materials == 1


def test_several_parties_can_be_named(hall: Hall, page: Page, tmp_path: Path) -> None:
    paper = tmp_path / "不动产权证.pdf"
    demo_files.pdf(paper, "不动产权证", ["云间区（虚构）"])
    _fill(page, hall, paper)
    people = [
        ("310199196105179316", "顾明远", "owner"),
        ("310199196311029247", "陆静宜", "co_owner"),
    ]
    page.get_by_role("button", name="增加当事人").click()
    for number, (code, name, role) in enumerate(people):
        block = page.locator(".party").nth(number)
        block.locator("[name=party_code]").fill(code)
        block.locator("[name=party_name]").fill(name)
        block.locator("[name=party_role]").select_option(role)
    page.get_by_role("button", name="上传并登记").click()
    expect(page.locator("#result h2")).to_have_text("已登记")
    material = page.locator("#material-id").inner_text()
    shown = hall.client.get(
        f"/v1/materials/{material}", headers={"Authorization": f"Bearer {hall.token}"}
    ).json()
    assert [(party["name"], party["role"]) for party in shown["parties"]] == [
        ("顾明远", "owner"),
        ("陆静宜", "co_owner"),
    ]
