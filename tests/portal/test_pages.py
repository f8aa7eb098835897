"""What the pages answer over HTTP."""

import re
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from portal.static_files import load

PAGES = ("/", "/upload", "/docs")


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app)


def test_the_home_page_shows_the_state_of_the_store(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert '<html lang="zh-CN">' in answer.text
    for shown in (
        '<dd id="materials">1,027</dd>',
        '<dd id="licenses">6</dd>',
        '<dd id="cases">9</dd>',
        '<dd id="allowed">41</dd>',
        '<dd id="denied">12</dd>',
        '<dd id="tree-size">1,234</dd>',
        "example.org/yunjian/2026",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        '<time datetime="2026-11-24T20:20:21+00:00">2026-11-25 04:20:21 (UTC+8)</time>',
        'href="/log/2026/checkpoint"',
        "云间区示例库",
        "已存证",
    ):
        assert shown in answer.text


def test_waiting_evidence_is_called_pending(client: TestClient, described) -> None:
    described.state = replace(described.state, pending=3)
    assert "3 条存证补全中" in client.get("/").text
    assert "3 pending" in client.get("/?lang=en").text
    assert "已存证" not in client.get("/").text


def test_a_store_before_its_first_checkpoint_has_a_page_too(client: TestClient, described) -> None:
    described.without_checkpoint()
    answer = client.get("/")
    assert answer.status_code == 200
    assert "尚未发布检查点" in answer.text
    assert "/log/" not in answer.text


def test_a_name_with_markup_is_shown_as_text(client: TestClient, described) -> None:
    described.state = replace(described.state, name="<script>alert(1)</script>")
    text = client.get("/").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("path", PAGES)
def test_each_page_speaks_both_languages_and_links_to_the_other(
    client: TestClient, path: str
) -> None:
    chinese = client.get(path, headers={"accept-language": "en"}, params={"lang": "zh"})
    english = client.get(path, headers={"accept-language": "en-GB"})
    assert '<html lang="zh-CN">' in chinese.text
    assert '<html lang="en">' in english.text
    assert english.headers["content-language"] == "en"
    assert english.headers["vary"] == "Accept-Language"
    for answer in (chinese, english):
        assert f'href="{path}?lang=zh"' in answer.text
        assert f'href="{path}?lang=en"' in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/static/style.css"])
def test_head_answers_like_get_without_a_body(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_code_or_style_inside_or_loads_from_elsewhere(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text)
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_what_a_page_loads_is_served_with_the_digest_it_names(
    client: TestClient, path: str
) -> None:
    loaded = re.findall(
        r'(?:src|href)="(/static/[^"]+)" integrity="([^"]+)"', client.get(path).text
    )
    assert loaded
    static = load()
    for address, integrity in loaded:
        name = address.removeprefix("/static/")
        assert static[name].integrity == integrity
        assert client.get(address).content == static[name].data


def test_a_file_that_is_known_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/static/style.css")
    again = client.get("/static/style.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = client.get("/static/style.css", headers={"if-none-match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "name", ["none.css", "../http.py", "%2e%2e/http.py", "VENDORED.md", "vendor/", ""]
)
def test_only_listed_files_are_served(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_vendored_files_are_the_ones_recorded() -> None:
    folder = files("portal").joinpath("static")
    recorded = dict(
        re.findall(
            r"^\| `vendor/([^`]+)` .*`([0-9a-f]{64})` \|$",
            folder.joinpath("VENDORED.md").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    there = {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in folder.joinpath("vendor").iterdir()
    }
    assert there == recorded
