"""The audit's own page in a real browser: complete, and no request leaves it."""

from pathlib import Path

import pytest

from tests.audit.conftest import Audited

pytestmark = pytest.mark.browser

PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_an_audit_asks_the_network_for_nothing(
    audited: Audited, tmp_path: Path, width: int
) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, extra 'browser'")
    path = next((place for place in PLACES if Path(place).exists()), None)
    if path is None:
        pytest.skip(f"needs Chromium: none of {', '.join(PLACES)} is there")
    report = audited(model="tests.audit.brought:nearest", defense="reconstruct")
    address = (tmp_path / "out" / "report.html").as_uri()
    asked: list[str] = []
    slips: list[str] = []
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: slips.append(message.text))
        page.on("pageerror", lambda error: slips.append(str(error)))
        page.goto(address, wait_until="networkidle")
        text = page.inner_text("body")
        images = page.locator(".grid img").count()
        broken = page.locator("img").evaluate_all("all => all.filter(e => !e.naturalWidth).length")
        overflow = page.evaluate("document.documentElement.scrollWidth") - width
        browser.close()
    assert [url for url in asked if url != address and not url.startswith("data:")] == []
    assert slips == []
    assert overflow <= 0
    assert images > 0
    assert broken == 0
    for words in (*(f.headline for f in report.findings), *report.untested):
        assert words in text
