"""The page of interventions in a real browser."""

from __future__ import annotations

import pytest

from tests.report.test_report_browser import CLOSED, SCREENS, browser, serious, started  # noqa: F401, fixtures


@pytest.mark.parametrize(("screen", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_everything_is_shown_and_no_fault_of_accessibility(browser, edited_site, screen, scheme):  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page, troubles = browser.new_page(viewport=SCREENS[screen], color_scheme=scheme), []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("request", lambda r: None if r.url[:5] in ("file:", "data:") else troubles.append(r.url[:200]))
    page.goto(f"file://{edited_site / 'interventions.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen]["width"]
    pictures = "[...document.querySelectorAll('.samples img')]"
    page.evaluate(f"{pictures}.forEach((one) => one.loading = 'eager')")
    page.wait_for_function(f"{pictures}.every((one) => one.naturalWidth === 64)")
    assert page.locator(".samples img").count() == 2 * 2 * 4
    page.locator("summary").first.click()
    assert page.get_by_role("row", name="rule-adam").first.is_visible()
    assert serious(axe.Axe().run(page, options=CLOSED)) == []
    assert troubles == []
    page.close()
