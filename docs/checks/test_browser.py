"""Every page as a reader has it: opened in a browser without a network, in light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import get_browser
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
_WIDER = """() => [...document.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.right > innerWidth + 1 && box.width && getComputedStyle(e).visibility != 'hidden';
}).map(e => e.tagName + '.' + e.className).slice(0, 5).join(' ')"""
_WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = get_browser.installed()
    with sync_playwright() as playwright:
        options = {"executable_path": path, "env": get_browser.environment(path)}
        found = playwright.chromium.launch(args=["--no-sandbox", "--disable-gpu", "--headless"], **options)
        yield found
        found.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_alone_and_fits_a_phone(site: Path, browser: Browser, scheme: str) -> None:
    wrong: list[str] = []
    with browser.new_context(color_scheme=scheme, offline=True, viewport=PHONE) as context:
        page = _watched(context.new_page(), wrong)
        for path in sorted(site.rglob("*.html")):
            name = path.relative_to(site)
            page.goto(path.as_uri())
            for size in (PHONE, DESK):
                page.set_viewport_size(size)
                if (width := page.evaluate(_WIDTH)) > size["width"]:
                    wrong.append(f"{name}: {width} pixels wide on {size['width']}: {page.evaluate(_WIDER)}")
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
            if dark != (scheme == "dark"):
                wrong.append(f"{name}: is {'dark' if dark else 'light'}")
    assert wrong == []


def test_mathematics_is_drawn_by_the_browser(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto((site / "vae.html").as_uri())
    sizes = page.evaluate("[...document.querySelectorAll('math')].map(e => e.getBoundingClientRect().height)")
    assert len(sizes) > 3 and min(sizes) > 5
    assert page.evaluate("document.querySelectorAll('merror').length") == 0


@pytest.mark.parametrize(
    ("asked", "page_found"),
    [("gaussian_kl", "reference/gaussian.html"), ("free bits", "glossary.html"), ("single cells", "counts.html")],
)
def test_search_works_from_a_file(site: Path, browser: Browser, asked: str, page_found: str) -> None:
    wrong: list[str] = []
    page = _watched(browser.new_page(), wrong)
    page.goto((site / "index.html").as_uri())
    page.locator("input[name=q]").first.fill(asked)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#search-results a[href^='{page_found}']", timeout=20_000)
    assert wrong == []


def _watched(page: Page, wrong: list[str]) -> Page:
    """Notes what the console says and what is asked of a network."""

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"{page.url}: {message.type}: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            wrong.append(f"{page.url}: asks for {request.url}")

    page.on("console", heard)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("request", asked)
    return page
