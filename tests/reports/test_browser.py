"""The page in a real browser: no request, no overflow, both schemes, phone and desk."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from trompe.reports import compare, write

pytestmark = pytest.mark.browser

PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, extra 'browser'")
    path = next((place for place in PLACES if Path(place).exists()), None)
    if path is None:
        pytest.skip(f"needs Chromium: none of {', '.join(PLACES)} is there")
    with api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(params=["audit", "comparison"])
def address(request, report, tmp_path):
    if request.param == "comparison":
        worse = replace(report.metrics[0], value=0.5, low=0.45, high=0.55)
        other = replace(report, metrics=(worse, *report.metrics[1:]), partial=True)
        report = compare(report, other)
    return write(report, tmp_path).html.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 768, 1280, 1400])
def test_the_page_fits_and_asks_for_nothing(browser, address, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    requests, slips = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: slips.append(message.text))
    page.on("pageerror", lambda error: slips.append(str(error)))
    page.goto(address, wait_until="networkidle")
    asked = [url for url in requests if url != address and not url.startswith("data:")]
    assert asked == []
    assert slips == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(part) for part in re.findall(r"\d+", paper)[:3]]
    assert min(levels) > 240 if scheme == "light" else max(levels) < 40
    page.close()


def _shown(page, selector):
    return page.locator(selector).evaluate_all("all => all.map(e => e.getClientRects().length > 0)")


def test_figures_change_their_layout_and_images_keep_their_pixels(browser, report, tmp_path):
    address = write(report, tmp_path).html.as_uri()
    for width, wide in ((390, False), (1280, True)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(address)
        assert set(_shown(page, ".plot .wide")) == {wide}
        assert set(_shown(page, ".plot .narrow")) == {not wide}
        assert page.locator(".grid img").evaluate_all(
            "all => all.every(e => e.naturalWidth === 8 && e.width >= 56 && "
            "Math.abs(e.width - e.height) < 1 && getComputedStyle(e).imageRendering === 'pixelated')"
        )
        page.close()


def test_labels_of_figures_stay_inside_them(browser, report, tmp_path):
    address = write(report, tmp_path).html.as_uri()
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(address)
        outside = page.evaluate(
            """() => [...document.querySelectorAll('.plot svg')].flatMap(svg => {
                const box = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].filter(text => {
                    const r = text.getBoundingClientRect();
                    return r.left < box.left - 1 || r.right > box.right + 1 ||
                        r.top < box.top - 1 || r.bottom > box.bottom + 1;
                }).map(text => text.textContent);
            })"""
        )
        assert outside == []
        page.close()


def test_the_page_can_be_used_by_keyboard_and_prints(browser, report, tmp_path):
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.goto(write(report, tmp_path).html.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the findings"
    page.locator(".scroll:visible").first.focus()
    assert page.evaluate("document.activeElement.className") == "scroll"
    page.emulate_media(media="print")
    paper = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')")
    assert paper.strip() == "#ffffff", "paper is white whatever the screen's scheme"
    assert set(_shown(page, ".toc")) == {False}
    page.set_viewport_size({"width": 672, "height": 950})
    assert page.evaluate("document.documentElement.scrollWidth") <= 672, "A4 between its margins"
    assert page.pdf(format="A4")[:4] == b"%PDF"
    page.close()
