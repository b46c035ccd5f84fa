"""The page in a real browser: Playwright with Debian's Chromium, on the embedded model."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks import paint
from ldmscene.painting import runs, serve, studio
from tests.report.test_report_browser import CHROMIUM, FLAGS, SCREENS, serious

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
if not CHROMIUM.exists():
    pytest.skip(f"needs {CHROMIUM}: apt-get install chromium", allow_module_level=True)

PIXELS = 64


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


def opened(browser, address: str, **how):
    """A page, and what went wrong on it: messages on the console, and requests to anybody else."""
    context = browser.new_context(viewport=SCREENS["desktop"], accept_downloads=True, **how)
    page, troubles = context.new_page(), []
    home = address.split("#")[0]
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((home, "data:", "blob:")) else troubles.append(r.url[:200]))
    page.goto(address)
    return page, troubles


@pytest.fixture
def page(browser, painting) -> Iterator:
    page, troubles = opened(browser, painting.address)
    ready(page)
    yield page
    assert troubles == []
    page.context.close()


def ready(page, words: str = "done") -> None:
    """Wait until the page has drawn what was asked for."""
    playwright.expect(page.locator("html")).to_have_attribute("data-ready", "yes", timeout=60_000)
    playwright.expect(page.locator("#status")).to_have_text(words, timeout=60_000)


def wanted(page) -> np.ndarray:
    """What is painted, as the address says it."""
    page.wait_for_timeout(250)
    text = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('wanted')")
    return runs.decode(text, (PIXELS, PIXELS))


def spot(page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the map is on the screen."""
    box = page.locator("#wanted").bounding_box()
    return box["x"] + x / PIXELS * box["width"], box["y"] + y / PIXELS * box["height"]


def stroke(page, *points: tuple[float, float]) -> None:
    page.locator("#wanted").scroll_into_view_if_needed()
    page.mouse.move(*spot(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*spot(page, *point), steps=3)
    page.mouse.up()


def tool(page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check(force=True)


def object_of(page) -> tuple[float, float, float]:
    """Middle and area of what is painted."""
    rows, columns = np.nonzero(wanted(page))
    return rows.mean(), columns.mean(), len(rows)


def test_paint_draw_and_come_back(page, browser, painting):
    tool(page, "Brush")
    page.locator("#clear").click()
    stroke(page, (20, 20), (44, 20))
    painted = wanted(page)
    assert painted[20, 20:44].all()
    assert not painted[30:].any()
    tool(page, "Eraser")
    stroke(page, (32, 20), (34, 20))
    assert not wanted(page)[20, 33]
    page.locator("#undo").click()
    np.testing.assert_array_equal(wanted(page), painted)
    page.locator("#draw").click()
    ready(page)
    dice = page.locator("#edit-result .score").inner_text()
    assert dice.startswith("Dice 0.")
    assert "A random edit of the same size gives" in page.locator("#verdict").inner_text()
    assert page.locator("#film tbody tr").count() == 4
    assert page.locator("#film tbody tr").first.locator("img").count() == 4
    assert page.locator("#attempts button").count() == 1
    again, troubles = opened(browser, page.url)
    ready(again)
    assert again.locator("#edit-result .score").inner_text() == dice
    np.testing.assert_array_equal(wanted(again), painted)
    assert troubles == []
    again.context.close()
    page.locator("#step").fill("2")
    assert page.locator("#now").inner_text().startswith("step 2, timestep")
    with page.expect_download() as saved:
        page.get_by_role("button", name="edit as JSON").click()
    edit = json.loads(saved.value.path().read_text())
    np.testing.assert_array_equal(runs.decode(edit["wanted"], (PIXELS, PIXELS)), painted)
    with page.expect_download() as saved:
        page.get_by_role("button", name="picture", exact=True).click()
    assert saved.value.path().read_bytes()[:4] == b"\x89PNG"


def test_the_own_object_is_dragged_and_scaled_by_mouse_and_keys(page):
    before, (y, x, area) = wanted(page), object_of(page)
    stroke(page, (x, y), (x + 5, y - 3))
    right = min(5, PIXELS - 1 - np.nonzero(before)[1].max())  # it stays inside the frame
    np.testing.assert_array_equal(wanted(page), np.roll(before, (-3, right), (0, 1)))
    moved = object_of(page)
    page.locator("#wanted").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert object_of(page)[:2] == pytest.approx((moved[0] + 1, moved[1] - 4), abs=0.01)
    page.keyboard.press("-")
    assert object_of(page)[2] < area
    page.keyboard.press("Control+z")
    assert object_of(page)[2] == moved[2]


def test_a_finger_paints_and_two_scale(browser, painting):
    page, troubles = opened(browser, painting.address, has_touch=True)
    ready(page)
    page.locator("#wanted").scroll_into_view_if_needed()
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        at = [dict(zip("xy", spot(page, *point), strict=True)) | {"id": i} for i, point in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    y, x, area = object_of(page)
    touch("touchStart", (x - 4, y))
    touch("touchStart", (x - 4, y), (x + 4, y))
    touch("touchMove", (x - 5, y), (x + 5, y))
    touch("touchEnd")
    assert object_of(page)[2] > 1.2 * area
    page.locator("#clear").click()
    tool(page, "Brush")
    page.locator("#wanted").scroll_into_view_if_needed()
    touch("touchStart", (10, 30))
    touch("touchMove", (20, 30))
    touch("touchMove", (40, 30))
    touch("touchEnd")
    assert wanted(page)[30, 10:40].all()
    assert troubles == []
    page.context.close()


def test_another_prompt_even_a_hostile_one(page):
    before = page.locator("#own-result canvas").evaluate("(canvas) => canvas.toDataURL()")
    page.locator("#prompt").fill("<script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>")
    page.locator("#prompt").press("Enter")
    ready(page)
    assert page.evaluate("window.harmed") is None
    assert page.locator("#own-result canvas").evaluate("(canvas) => canvas.toDataURL()") != before
    page.locator("#draw").click()
    ready(page)
    assert page.evaluate("window.harmed") is None


def test_wrong_input_is_told_beside_its_field(browser, painting):
    page, _ = opened(browser, painting.address)  # the browser itself writes of a refused request on the console
    ready(page)
    page.locator("#seed").fill("-3")
    page.locator("#show").click()
    playwright.expect(page.locator("#seed-wrong")).to_contain_text("whole number")
    assert page.locator("#seed").get_attribute("aria-invalid") == "true"
    page.locator("#seed").fill("3")
    page.locator("#show").click()
    ready(page)
    assert page.locator("#seed-wrong").inner_text() == ""
    page.locator("#settings summary").click()
    page.locator("#steps").fill("0:99")
    page.locator("#draw").click()
    playwright.expect(page.locator("#steps-wrong")).to_contain_text("no '4' here")
    page.context.close()


@pytest.fixture
def held(page, monkeypatch) -> Iterator[tuple[threading.Event, list[int]]]:
    """No picture begins before the event is set; and the seeds of those that were to begin."""
    may, begun, draw = threading.Event(), [], studio.draw

    def wait(plan, prompt, seed, **how):
        begun.append(seed)
        assert may.wait(60)
        return draw(plan, prompt, seed, **how)

    monkeypatch.setattr(studio, "draw", wait)
    yield may, begun
    may.set()


def test_the_benchmarks_seconds_are_until_the_page_shows_something(page):
    began = time.perf_counter()
    found = paint.pressed(page)
    assert 0 < found["first"] < found["picture"] < time.perf_counter() - began
    assert page.locator("#edit-result .score").inner_text().startswith("Dice")
    ready(page)


@pytest.fixture
def notebook(served, tmp_path) -> Iterator[str]:
    """The address of a page that holds what a notebook shows of a painting, on a server of its own."""
    (tmp_path / "notebook.html").write_text(f"<!doctype html>{served._repr_html_()}")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/notebook.html"
        server.shutdown()


def test_a_frame_in_a_notebook_of_another_address_holds_the_page(browser, notebook, studio):
    page = browser.new_page(viewport=SCREENS["desktop"])
    page.goto(notebook)
    frame = page.frame_locator("iframe")
    playwright.expect(frame.get_by_role("heading", level=1)).to_have_text("Paint a map, get a picture")
    assert studio.began.wait(20)  # its script asked for a picture
    frame.locator("#cancel").click()
    studio.may.release()
    playwright.expect(frame.locator("#status")).to_have_text("cancelled")
    assert page.url == notebook
    page.close()


def test_cancel_stops_it(page, held):
    page.locator("#draw").click()
    with page.expect_request(re.compile(r"/cancel/[\w-]+$")) as asked:
        page.locator("#cancel").click()
    assert asked.value.method == "POST"
    playwright.expect(page.locator("#status")).to_have_text("cancelled", timeout=60_000)
    assert page.locator("#attempts button").count() == 0


def test_a_newer_request_takes_the_place_of_an_older_one(page, held):
    may, begun = held
    with page.expect_response("**/draw"):
        page.locator("#draw").click()
    page.locator("#wanted").focus()
    page.keyboard.press("Shift+ArrowRight")
    with page.expect_response("**/draw"):
        page.locator("#draw").click()
    may.set()
    ready(page)
    assert page.locator("#attempts button").count() == 1
    assert len(begun) == 1 + 2  # the older one's edit, which stops at its first step; the newer one's edit and its null


def test_two_tabs_draw_at_once(page, browser, painting):
    other, troubles = opened(browser, painting.address)
    ready(other)
    page.locator("#draw").click()
    other.locator("#draw").click()
    ready(other)
    ready(page)
    assert page.locator("#edit-result .score").inner_text() == other.locator("#edit-result .score").inner_text() != ""
    assert troubles == []
    other.context.close()


def test_depth_is_painted_with_a_value(page):
    page.get_by_role("radio", name="depth").check(force=True)
    page.locator("#value").fill("200")
    stroke(page, (10, 10), (50, 10))
    levels = wanted(page)
    assert set(levels[10, 10:50]) == {200}
    assert levels[40, 40] == runs.UNPAINTED
    page.locator("#draw").click()
    ready(page)
    assert page.locator("#edit-result .score").inner_text().startswith("error ")


def test_labelers_read_unfinished_pictures_where_that_is_asked_for(page):
    page.locator("#labelers").check()
    page.locator("#draw").click()
    ready(page)
    names = page.locator("#film th").all_inner_texts()
    assert [name.replace("\n", "") for name in names][1:3] == ["mask", "mask, labeler"]
    assert page.locator("#film img").count() == 7 * 4
    page.get_by_role("radio", name="own", exact=True).check(force=True)
    assert page.locator("#film img").count() == 7 * 4


def test_back_leads_to_the_attempt_before(page):
    page.locator("#draw").click()
    ready(page)
    first = page.url
    page.locator("#wanted").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.locator("#draw").click()
    ready(page)
    assert page.url != first
    page.locator("#attempts button").first.click()
    ready(page, "attempt 1")
    assert page.url == first
    page.go_back()
    ready(page, "attempt 2")


def test_the_page_encodes_as_python_does(page):
    levels = np.random.default_rng(0).choice([0, 254, 255, 7], (PIXELS, PIXELS)).astype(np.uint8)
    script = """async ([list, text]) => {
        const { encode, decode } = await import("./assets/runs.js");
        return [encode(Uint8Array.from(list)), [...decode(text, list.length)], decode("c-0", list.length)];
    }"""
    text = runs.encode(levels)
    assert page.evaluate(script, [levels.ravel().tolist(), text]) == [text, levels.ravel().tolist(), None]


def test_the_film_of_another_prompt_begins_anew(page):
    script = """async () => {
        const { Film } = await import("./assets/film.js"), film = new Film([]);
        const rest = { run: "own", maps: {}, labels: {}, changed: [], timestep: 0 };
        const event = (step, picture) => ({ ...rest, step, picture });
        for (const step of [0, 1, 2, 3]) film.add(event(step, "data:,first"));
        for (const step of [0, 1]) film.add(event(step, "data:,second"));
        return [...document.querySelectorAll("#film img")].map((image) => image.src);
    }"""
    assert page.evaluate(script) == ["data:,second"] * 2


def test_a_picture_that_no_labeler_reads_has_no_score_and_an_attempt_without_one_has_no_verdict(page):
    script = """async () => {
        const { Results } = await import("./assets/results.js"), results = new Results([64, 64]), told = [];
        const target = { name: "mask", kind: "binary" }, verdict = document.getElementById("verdict");
        const found = { own: { score: null }, edit: { masks: {}, score: 0.5, size: 0.1, seconds: 1 } };
        Object.assign(results, { target, found });
        results.judge();
        told.push(verdict.textContent);
        results.restore({}, target, null, null);
        return [...told, verdict.textContent];
    }"""
    said, after = page.evaluate(script)
    assert said.startswith("The drawn picture’s overlap (Dice) with what was painted is 0.50. The edit changed")
    assert after == ""


def test_what_the_page_cannot_show_does_not_stop_it(page):
    page.evaluate("""() => {
        const known = Image;
        window.Image = function () { window.Image = known; throw new Error("a broken picture"); };
    }""")
    page.locator("#draw").click()
    ready(page)
    assert page.locator("#progress").is_hidden()
    assert page.locator("#edit-result .score").inner_text().startswith("Dice")
    assert "a broken picture" in page.locator("#page-wrong").inner_text()


def test_an_older_requests_refusal_is_not_told_of_a_newer_one(browser, painting):
    page, _ = opened(browser, painting.address)  # the browser itself writes of a refused request on the console
    ready(page)
    held: list = []
    page.route("**/draw", lambda route: route.continue_() if held else held.append(route))
    page.locator("#draw").click()
    page.locator("#draw").click()
    held[0].fulfill(status=422, json={"field": "page", "message": "too late"})
    ready(page)
    assert page.locator("#page-wrong").inner_text() == ""
    assert page.locator("#edit-result .score").inner_text().startswith("Dice")
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_no_serious_fault_of_accessibility(browser, painting, screen, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page, troubles = opened(browser, painting.address, color_scheme=scheme)
    page.set_viewport_size(SCREENS[screen])
    ready(page)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen]["width"]
    assert serious(axe.Axe().run(page)) == []
    assert troubles == []
    page.context.close()


def test_a_server_that_dies_is_told(browser, studio_on_store):
    served = serve(studio_on_store, {"model": "", "measured": ""}, host="127.0.0.1", port=0)
    page, _ = opened(browser, served.address)
    ready(page)
    served.close()
    page.locator("#draw").click()
    playwright.expect(page.locator("#page-wrong")).to_contain_text("doesn’t answer")
    assert page.locator("#progress").is_hidden()
    page.context.close()
