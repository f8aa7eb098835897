"""The pages in a real browser: nothing from elsewhere, nothing blocked, usable by keyboard."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

PAGES = ("/", "/upload", "/docs")


@dataclass
class Watch:
    """What a page asked for and complained of."""

    page: Page
    address: str
    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))

    def _request(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.outside.append(url)

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


@pytest.fixture
def watch(browser: Browser, app: FastAPI, serve: Callable[[FastAPI], str]) -> Iterator[Watch]:
    @app.get("/v1/catalogue/material-types")
    def types() -> dict[str, object]:
        return {"items": [], "next": None}

    context = browser.new_context(viewport={"width": 390, "height": 800}, locale="zh-CN")
    watched = Watch(context.new_page(), serve(app))
    watched.listen()
    yield watched
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_telephone_and_loads_from_this_server_alone(watch: Watch, path: str) -> None:
    watch.page.goto(watch.address + path)
    watch.page.wait_for_load_state("networkidle")
    assert watch.outside == []
    assert watch.complaints == []
    assert watch.page.context.cookies() == []
    assert watch.page.evaluate("document.documentElement.scrollWidth") <= 390
    if path == "/docs":
        expect(watch.page.locator(".swagger-ui .info .title")).to_be_visible()
        expect(watch.page.locator(".swagger-ui .opblock-tag")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/upload"])
def test_text_stands_out_from_its_ground(watch: Watch, path: str, scheme: str) -> None:
    watch.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    watch.page.goto(watch.address + path)
    faint = watch.page.evaluate(CONTRAST)
    assert faint == []


def test_every_field_has_a_name_and_every_picture_a_text(watch: Watch) -> None:
    for path in ("/", "/upload"):
        watch.page.goto(watch.address + path)
        unnamed = watch.page.evaluate(
            """() => [...document.querySelectorAll("input, select")]
                 .filter((field) => field.labels.length === 0).map((field) => field.name)"""
        )
        assert unnamed == []
        without = watch.page.evaluate(
            """() => [...document.images].filter((image) => !image.hasAttribute("alt")).length"""
        )
        assert without == 0


def test_the_language_can_be_switched_and_stays_while_walking(watch: Watch) -> None:
    page = watch.page
    page.goto(watch.address + "/")
    expect(page.locator("h1")).to_have_text("交过一次的材料，不必再交")
    page.get_by_role("link", name="English").click()
    expect(page.locator("h1")).to_have_text("What was handed in once is not asked for again")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Upload").click()
    expect(page.locator("h1")).to_have_text("Upload a material for a case")
    page.get_by_role("link", name="中文").click()
    expect(page.locator("h1")).to_have_text("为办件上传材料")


def test_the_first_tab_skips_to_the_content(watch: Watch) -> None:
    page = watch.page
    page.goto(watch.address + "/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="跳到正文")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


# WCAG 2.2 §1.4.3: 4.5 to 1, or 3 to 1 for large text. Returns the texts that are fainter.
CONTRAST = """() => {
  const number = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [x, y, z] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = number(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(number(style.color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) {
      faint.push(`${ratio.toFixed(2)} ${walker.currentNode.data.trim()}`);
    }
  }
  return faint;
}"""
