"""The site in a real browser: Playwright with Debian's Chromium."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldmscene import gains
from ldmscene.report import write_site
from tests.report.conftest import MODULES, repeated, with_steps

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
CLOSED = {"preload": False}  # or axe asks for style sheets, which a file may not
SCREENS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
if not CHROMIUM.exists():
    pytest.skip(f"needs {CHROMIUM}: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def started() -> Iterator:
    with playwright.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(started) -> Iterator:
    browser = started.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def readable(started, site) -> Iterator:
    """The opened site in a browser that gives scripts the pixels of pictures that came from files."""
    flags = [*FLAGS, "--allow-file-access-from-files"]
    browser = started.chromium.launch(executable_path=str(CHROMIUM), args=flags)
    yield from opened(browser.new_page(viewport=SCREENS["desktop"]), site)
    browser.close()


@pytest.fixture
def page(browser, site) -> Iterator:
    """The opened site; any message on the console or request that isn't a file fails the test."""
    page = browser.new_page(viewport=SCREENS["desktop"])
    yield from opened(page, site)


def address(site, words: str = "") -> str:
    return f"file://{site / 'index.html'}{words}"


def opened(page, site) -> Iterator:
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(request.url[:200]))
    page.on("request", lambda r: None if r.url[:5] in ("file:", "data:") else troubles.append(r.url[:200]))
    page.goto(address(site))
    settle(page)
    yield page
    assert troubles == []
    page.close()


def settle(page) -> None:
    """Wait until every picture that was asked for is drawn."""
    ready = "(c) => c.width > 1 && c.dataset.shown === c.dataset.wanted"
    page.wait_for_function(f"[...document.querySelectorAll('#board canvas')].every({ready})")


def drawn(page) -> list[str]:
    """The pixels of each picture of the browser: x_t, predicted x_0 and the image, then four for each target."""
    settle(page)
    return page.evaluate("[...document.querySelectorAll('#board canvas')].map((canvas) => canvas.toDataURL())")


def changed(page, before: list[str]) -> list[int]:
    return [i for i, (old, new) in enumerate(zip(before, drawn(page), strict=True)) if old != new]


# Canvases that the step changes: all but the image and each target's label.
WITH_STEP = [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13]


def test_the_slider_changes_pictures_and_scores(readable):
    before, score = drawn(readable), readable.locator("#board .score").first.inner_text()
    readable.locator("#step").fill("9")
    assert changed(readable, before) == WITH_STEP
    assert readable.locator("#board .score").first.inner_text() != score
    assert readable.locator("#now").inner_text() == "step 9, timestep 357"
    readable.locator("#step").press("ArrowLeft")
    assert readable.locator("#step").get_attribute("aria-valuetext").startswith("step 8,")


def test_scores_beside_the_pictures_are_the_grids(page, data):
    page.locator("#step").fill("4")
    shown = [page.locator("#board .score").nth(i).inner_text() for i in range(3)]
    scores = data.grid["probe"].sel(target="depth", metric="spearman", step=4)
    best = scores.sel(module=data.grid["module"][13]).values[0]
    assert shown[0] == f"{best:.3f}"


def test_another_module_of_the_probe_can_be_looked_at(readable):
    before = drawn(readable)
    readable.get_by_label("Module of the depth probe").select_option(label="mid 0")
    assert changed(readable, before) == [3]


def test_another_sample_can_be_chosen(page, data):
    page.locator("#thumbs button").nth(5).click()
    assert page.locator("#prompt").inner_text() == data.samples["prompt"].iloc[5]
    assert page.locator("#thumbs [aria-current=true]").count() == 1


def test_the_picture_is_that_of_the_last_sample_clicked_however_slow_the_others(readable):
    readable.locator("#thumbs button").nth(4).click()
    expected = drawn(readable)
    readable.evaluate("""() => {
        const wait = picture, slow = (image) => new Promise((done) => setTimeout(done, 300, image));
        picture = (url) => url.includes('/0003/') ? wait(url).then(slow) : wait(url);
    }""")
    for i in (3, 4):
        readable.locator("#thumbs button").nth(i).click()
    readable.wait_for_timeout(400)
    assert changed(readable, expected) == []


def test_a_missing_file_leaves_no_other_samples_picture(browser, small, tmp_path):
    site = write_site(small, tmp_path).parent
    (site / "samples/0001/maps-0.png").unlink()
    page = browser.new_page()
    page.goto(address(site))
    settle(page)
    page.locator("#thumbs button").nth(1).click()
    page.wait_for_function("document.querySelectorAll('#board canvas')[3].width === 1")
    assert page.locator("#board canvas").nth(3).get_attribute("aria-label").endswith(": not kept")
    assert page.locator("#board canvas").nth(0).evaluate("(canvas) => canvas.width") == 64
    page.close()


def test_an_address_leads_to_what_it_names_and_back_leads_back(browser, site, page, data):
    module = MODULES[4]
    page.goto(address(site, f"#sample={data.samples.index[6]}&step=5&target=mask&module={module}"))
    assert data.samples.index[6] in page.locator("#sample-id").inner_text()
    assert page.locator("#step").input_value() == "5"
    assert page.get_by_role("radio", name="mask").is_checked()
    assert page.get_by_label("Module of the mask probe").input_value() == "4"
    page.locator("#thumbs button").nth(2).click()
    assert f"sample={data.samples.index[2]}&step=5&target=mask" in page.url
    page.locator("#step").fill("8")
    page.wait_for_function("location.hash.includes('step=8')")
    page.go_back()
    page.wait_for_function(f"document.getElementById('sample-id').textContent.includes('{data.samples.index[6]}')")
    page.go_forward()
    page.wait_for_function("document.getElementById('step').value === '8'")
    assert data.samples.index[2] in page.locator("#sample-id").inner_text()
    again = page.url
    other = browser.new_page()
    other.goto(again)
    assert other.locator("#step").input_value() == "8"
    other.close()


def test_an_address_of_nothing_is_the_first_sample(browser, site, data):
    page = browser.new_page()
    page.goto(address(site, "#sample=nobody&step=99&module=%3Cscript%3E"))
    settle(page)
    assert data.samples.index[0] in page.locator("#sample-id").inner_text()
    page.close()


def test_keys_turn_to_the_next_sample(page, data):
    page.locator("#step").focus()
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert data.samples.index[1] in page.locator("#sample-id").inner_text()
    page.get_by_label("Prompt has").press("n")
    assert data.samples.index[1] in page.locator("#sample-id").inner_text()


def test_samples_can_be_found_by_their_prompts(page):
    page.get_by_label("Prompt has").fill("RED number 1")
    assert page.locator("#thumbs button").count() == 2  # 10 and 11; 1 has a prompt of its own
    page.locator("#thumbs button").nth(1).click()
    assert "p011" in page.locator("#sample-id").inner_text()
    assert page.locator("#thumbs button").count() == 2
    assert page.locator("#found").inner_text().startswith("2 of 12 prompts have these words; 10 are left out.")
    page.get_by_label("Prompt has").fill("no such words")
    assert page.get_by_text("No prompt has these words; all 12 are left out.").is_visible()
    assert not page.locator("#pages").is_visible()
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#thumbs button").count() == 12
    assert not page.locator("#found").is_visible()
    assert page.get_by_label("Prompt has").input_value() == ""


def test_two_samples_stand_side_by_side_at_one_step(browser, site, readable, data):
    readable.locator("#thumbs button").nth(4).click()
    alone = drawn(readable)
    readable.get_by_role("button", name="compare with another").click()
    readable.locator("#thumbs button").nth(6).click()
    assert readable.locator("#beside-prompt").inner_text() == data.samples["prompt"].iloc[4]
    pixels = "[...document.querySelectorAll('#beside-board canvas')].map((canvas) => canvas.toDataURL())"
    changed(readable, alone)
    assert readable.evaluate(pixels) == alone
    boxes = [readable.locator(name).bounding_box() for name in ("#board", "#beside-board")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert abs(boxes[0]["y"] - boxes[1]["y"]) < 2
    readable.locator("#step").fill("9")
    assert readable.locator("#beside-board .big").inner_text() == readable.locator("#board .big").inner_text() == "9"
    readable.wait_for_function("location.hash.includes('step=9')")
    other = browser.new_page()
    other.goto(readable.url)
    assert other.locator("#beside-prompt").inner_text() == data.samples["prompt"].iloc[4]
    other.get_by_role("button", name="close", exact=True).click()
    assert not other.locator("#beside").is_visible()
    other.wait_for_function("!location.hash.includes('beside')")
    other.close()


def test_numbers_are_saved_as_a_json_file(browser, site):
    page = browser.new_context(accept_downloads=True).new_page()
    page.goto(address(site))
    with page.expect_download() as saved:
        page.get_by_role("link", name="JSON").click()
    assert saved.value.suggested_filename == "scores.json"
    assert json.loads(Path(saved.value.path()).read_text()) == json.loads((site / "scores.json").read_text())
    page.context.close()


def test_the_chosen_target_stays_in_the_address(page):
    page.get_by_role("radio", name="shading").check(force=True)
    page.wait_for_function("location.hash.includes('target=shading')")
    page.locator("#thumbs button").nth(3).click()
    page.locator("#step").fill("4")
    page.wait_for_function("location.hash.includes('step=4')")
    assert "target=shading" in page.url
    page.reload()
    assert page.get_by_role("radio", name="shading").is_checked()
    assert page.locator(".heat:visible").get_attribute("data-target") == "2"


def test_many_samples_have_pages(browser, data, tmp_path):
    page = browser.new_page()
    page.goto(address(write_site(repeated(data, 5), tmp_path).parent))
    settle(page)
    assert page.locator("#thumbs button").count() == 24
    assert page.locator("#pages span").inner_text() == "1 to 24 of 60"
    forth, back = (page.locator("#pages").get_by_role("button", name=name) for name in ("Next", "Previous"))
    assert back.get_attribute("aria-disabled") == "true"
    forth.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("#pages span").inner_text() == "49 to 60 of 60"
    assert page.locator("#thumbs button").count() == 12
    assert forth.evaluate("(button) => button === document.activeElement")
    page.locator("#thumbs button").last.click()
    assert page.locator("#thumbs button").last.get_attribute("aria-current") == "true"
    assert "59" in page.locator("#sample-id").inner_text()
    page.locator(".heat:visible button").first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("li").count() == 12
    dialog.get_by_role("button", name="Next").click()
    assert dialog.get_by_text("13 to 24 of 60").is_visible()
    page.close()


def test_few_samples_have_no_pager(page):
    assert not page.locator("#pages").is_visible()


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


def test_samples_of_a_cell_can_be_ordered_by_score(page, data):
    page.locator(".heat:visible button").nth(15 * 4 + 2).click()
    scores = data.grid["probe"].sel(target="depth", metric="spearman", step=2).isel(module=4).values
    shown = page.locator("#cell-samples .triple > span:nth-child(2)")
    orders = {"best scores first": -np.sort(-scores), "worst scores first": np.sort(scores), "as listed": scores}
    for order, expected in orders.items():
        page.get_by_label("Order").select_option(label=order)
        assert shown.all_inner_texts() == [f"probe {score:.3f}" for score in expected]


def test_a_click_beside_the_window_closes_it(page):
    page.locator(".heat:visible button").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading").click()
    assert dialog.is_visible()
    page.mouse.click(5, 5)
    assert not dialog.is_visible()


def test_a_chart_tells_its_numbers_to_pointer_and_keyboard(page, data):
    strip = page.locator(".chart:visible").nth(1).locator(".strip").nth(3)
    strip.hover()
    mean = float(gains.band(gains.of_probe(data.grid, "mask"))["mean"][3])
    tip = page.locator(".plot:visible").nth(1).locator(".tip")
    assert "step 3, timestep 785" in tip.inner_text()
    assert f"probe, up 3.0: {100 * mean:.0f}\u202f%" in tip.inner_text().replace(" %", "\u202f%")
    chart = page.get_by_role("slider", name="mask: Gain")
    chart.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.locator("#step").input_value() == "4"
    assert chart.get_attribute("aria-valuetext").startswith("step 4, timestep 714; probe, up 3.0")
    page.keyboard.press("Escape")
    assert not tip.is_visible()


@pytest.mark.parametrize("way", ["pointer", "keyboard"])
def test_a_step_of_a_chart_shows_its_samples_there_and_then(page, data, way):
    chart = page.locator(".chart:visible").nth(1)
    if way == "pointer":
        chart.locator(".strip").nth(3).click()
    else:
        page.locator("#step").fill("3")
        chart.focus()
        page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").inner_text() == "mask: up 3.0 at step 3"
    scores = data.grid["probe"].sel(target="mask", metric="dice", step=3, module=MODULES[13]).values
    shown = page.locator("#cell-samples .triple > span:nth-child(2)").all_inner_texts()
    assert shown == [f"probe {score:.3f}" for score in scores]
    page.keyboard.press("Escape")
    assert page.locator("#step").input_value() == "3"
    assert page.get_by_role("radio", name="mask").is_checked()


def test_published_scores_are_one_press_away_and_stay_in_the_address(browser, site, page):
    assert page.locator(".measured:visible").get_attribute("data-measure") == "gain"
    page.get_by_role("radio", name="published scores").last.check(force=True)
    for what in (".measured", ".heat", ".scroll.panel"):
        assert page.locator(f"{what}:visible").evaluate_all("all => all.map(e => e.dataset.measure)") == ["score"]
    page.wait_for_function("location.hash.includes('show=score')")
    other = browser.new_page()
    other.goto(page.url)
    assert other.locator(".measured:visible").get_attribute("data-measure") == "score"
    other.close()


def test_now_is_where_its_step_is_however_far_its_neighbours(browser, small, tmp_path):
    page = browser.new_page()
    page.goto(address(write_site(with_steps(small, [0, 1, 2, 5, 14]), tmp_path).parent))
    chart = page.locator(".chart").first
    for i, step in enumerate(("0", "1", "2", "5", "14")):
        page.locator("#step").fill(str(i))
        x = chart.locator(".now").evaluate("(line) => line.getCTM().e / line.ownerSVGElement.getCTM().a")
        assert x == pytest.approx(float(chart.locator(".strip").nth(i).get_attribute("data-centre")), abs=0.2)
        assert page.locator("#now").inner_text().startswith(f"step {step},")
    page.close()


def test_without_previews_the_browser_has_no_empty_columns(browser, small, tmp_path):
    page = browser.new_page()
    page.goto(address(write_site(replace(small, noisy=None, predicted=None, intermediate={}), tmp_path).parent))
    settle(page)
    assert page.locator("#board thead th").all_inner_texts() == ["probe", "final image"]
    assert page.locator("#board canvas").count() == 3
    page.close()


def test_on_a_phone_nothing_is_cut_off_and_provenance_is_read_in_lines(browser, site):
    page = browser.new_page(viewport=SCREENS["phone"])
    page.goto(address(site))
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for summary in page.locator("#provenance summary").all():
        if not summary.evaluate("(s) => s.parentElement.open"):
            summary.click()
    widths = page.locator("#provenance dd").evaluate_all("(all) => all.map((dd) => dd.getBoundingClientRect().width)")
    assert len(widths) > 15
    assert min(widths) > 300
    heights = page.locator("#provenance dd").evaluate_all("(all) => all.map((dd) => dd.getBoundingClientRect().height)")
    assert max(heights) < 80
    page.close()


@pytest.mark.parametrize("screen", SCREENS)
def test_the_columns_names_stay_below_the_slider(browser, site, screen):
    page = browser.new_page(viewport=SCREENS[screen])
    page.goto(address(site))
    settle(page)
    page.locator("#rows").evaluate("(rows) => scrollBy(0, rows.getBoundingClientRect().top + 40)")
    slider, head = page.locator(".slider").bounding_box(), page.locator("#board thead th").first.bounding_box()
    assert slider["y"] + slider["height"] <= head["y"] + 1
    assert head["y"] < slider["y"] + slider["height"] + 8
    page.close()


def test_on_paper_every_target_is_shown(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".heat:visible").count() == 3
    assert page.locator("nav:visible, #play:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for heat in page.locator(".heat:visible").all():
        assert heat.evaluate("(heat) => getComputedStyle(heat).breakInside") == "avoid"
    page.set_viewport_size({"width": 700, "height": 1000})  # A4 between its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.locator(".heat table").first.bounding_box()["width"] <= 700


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
    page.goto(address(site))
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
    page.goto(address(site))
    assert page.locator(".cards article").count() == 3
    assert page.locator(".heat:visible").count() == 3
    assert page.get_by_text("Scripts are off").is_visible()
    page.close()
