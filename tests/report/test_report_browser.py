"""The site in a real browser: Playwright with Debian's Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
CLOSED = {"preload": False}  # or axe asks for style sheets, which a file may not
SCREENS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
if not CHROMIUM.exists():
    pytest.skip(f"needs {CHROMIUM}: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site) -> Iterator:
    """The opened site; any message on the console or request that isn't a file fails the test."""
    page = browser.new_page(viewport=SCREENS["desktop"])
    yield from opened(page, site)


def opened(page, site) -> Iterator:
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url[:200]))
    page.on("request", lambda r: None if r.url[:5] in ("file:", "data:") else troubles.append(r.url[:200]))
    page.goto(f"file://{site / 'index.html'}")
    settle(page)
    yield page
    assert troubles == []
    page.close()


def settle(page) -> None:
    """Wait until every picture that was asked for is drawn."""
    page.wait_for_function("[...document.querySelectorAll('#board canvas')].every((c) => c.width > 1)")
    page.wait_for_timeout(60)


def board(page) -> bytes:
    return page.locator("#board").screenshot(animations="disabled")


def test_the_slider_changes_pictures_and_scores(page):
    before, score = board(page), page.locator("#board .score").first.inner_text()
    page.locator("#step").fill("9")
    settle(page)
    assert board(page) != before
    assert page.locator("#board .score").first.inner_text() != score
    assert page.locator("#now").inner_text() == "step 9, timestep 357"
    page.locator("#step").press("ArrowLeft")
    assert page.locator("#step").get_attribute("aria-valuetext").startswith("step 8,")


def test_scores_beside_the_pictures_are_the_grids(page, data):
    page.locator("#step").fill("4")
    shown = [page.locator("#board .score").nth(i).inner_text() for i in range(3)]
    scores = data.grid["probe"].sel(target="depth", metric="spearman", step=4)
    best = scores.sel(module=data.grid["module"][13]).values[0]
    assert shown[0] == f"{best:.3f}"


def test_another_module_of_the_probe_can_be_looked_at(page):
    before = board(page)
    page.get_by_label("Module of the depth probe").select_option(label="mid 0")
    settle(page)
    assert board(page) != before


def test_another_sample_can_be_chosen(page, data):
    page.locator("#thumbs button").nth(5).click()
    assert page.locator("#prompt").inner_text() == data.samples["prompt"].iloc[5]
    assert page.locator("#thumbs [aria-current=true]").count() == 1


def test_playing_moves_on_and_can_be_stopped(page):
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('step').value === '2'")
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Play"


def test_a_cell_opens_its_samples_and_they_open_the_browser(page):
    page.get_by_role("radio", name="mask").check(force=True)
    page.locator(".heat:visible button").nth(15 * 4 + 2).click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").inner_text() == "mask: down 2.0 at step 2"
    assert dialog.locator("li").count() == 12
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.keyboard.press("Enter")
    dialog.locator("li button").nth(7).click()
    assert not dialog.is_visible()
    assert "p007" in page.locator("#sample-id").inner_text()
    assert page.locator("#step").input_value() == "2"
    assert page.get_by_label("Module of the mask probe").input_value() == "4"


def test_arrow_keys_move_between_cells(page):
    first = page.locator(".heat:visible button").first
    first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    focused = page.evaluate("({ ...document.activeElement.dataset })")
    assert (focused["module"], focused["step"]) == ("2", "0")
    assert page.locator(".heat:visible button[tabindex='0']").count() == 1


def test_hostile_prompts_are_text(page, data):
    for i in range(4):
        page.locator("#thumbs button").nth(i).click()
        assert page.locator("#prompt").evaluate("(e) => e.textContent") == data.samples["prompt"].iloc[i]
        assert page.locator("#prompt").bounding_box()["height"] < 140
    assert page.evaluate("window.harmed") is None
    assert page.locator("#prompt script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_no_serious_fault_of_accessibility(browser, site, screen, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = browser.new_page(viewport=SCREENS[screen], color_scheme=scheme)
    page.goto(f"file://{site / 'index.html'}")
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen]["width"]
    faults = serious(axe.Axe().run(page, options=CLOSED))
    page.locator(".heat:visible button").first.click()
    assert faults + serious(axe.Axe().run(page, options=CLOSED)) == []
    page.close()


def serious(results) -> list[tuple[str, list[str]]]:
    return [
        (fault["id"], [str(node["target"]) for node in fault["nodes"][:5]])
        for fault in results.response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def test_findings_and_tables_are_there_without_scripts(browser, site):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"file://{site / 'index.html'}")
    assert page.locator(".cards article").count() == 3
    assert page.locator(".heat:visible").count() == 3
    assert page.get_by_text("Scripts are off").is_visible()
    page.close()
