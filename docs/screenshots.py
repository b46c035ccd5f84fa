"""Take the README's pictures of the demo's report anew: python docs/screenshots.py

After `make demo`, in the clone; needs Playwright and Chromium. The sample is one that the model drew well, which not
all are. Look at the pictures before they are committed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import ldmscene

HERE = Path(__file__).parent
WIDE = {"viewport": {"width": 1180, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "color_scheme": "dark"}
STEP = 5
SAMPLE = "9b66193e088d-102000"  # a large purple sphere left of a large green cylinder
PRINTED = 1380  # pixels


def take(report: Path, store: Path) -> None:
    """Write the pictures beside this file."""
    address = f"{(report / 'index.html').resolve().as_uri()}#sample={SAMPLE}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(**WIDE)
        page.goto(address, wait_until="networkidle")
        _part(page, "header", "#findings", HERE / "report.png")
        _part(page, "#modules", "#modules", HERE / "modules.png")
        _at_step(page, STEP)
        _part(page, "#samples", "#samples", HERE / "samples.png")
        page = browser.new_page(**PHONE)
        page.goto(address)
        _at_step(page, STEP)
        page.locator("input[type=range]").evaluate(
            """slider => {
                scrollTo({top: 0, behavior: "instant"});
                scrollTo({top: slider.getBoundingClientRect().top - 150, behavior: "instant"});
            }"""
        )
        page.wait_for_timeout(500)
        page.screenshot(path=HERE / "phone.png")
        browser.close()
    for figure in ("curves-mask", "heatmap-mask"):
        printed = Image.open(report / "figures" / f"{figure}.png").convert("RGB")
        printed.thumbnail((PRINTED, PRINTED))
        printed.save(HERE / f"{figure}.png")
    grid = ldmscene.evaluate(store, permuted=store.with_name(f"{store.name}-permuted"))  # as `make demo` left it
    rows = ldmscene.plot.seven_rows(store, grid, SAMPLE)
    rows.savefig(HERE / "seven-rows.png", dpi=PRINTED / rows.get_figwidth(), bbox_inches="tight")
    for name in ("report", "modules", "curves-mask", "heatmap-mask"):  # 256 colours are enough where no picture is
        path = HERE / f"{name}.png"
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def _at_step(page: Page, step: int) -> None:
    page.locator("input[type=range]").fill(str(step))
    page.locator("input[type=range]").blur()
    page.locator("#samples").scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # pictures come as they scroll into view


def _part(page: Page, first: str, last: str, path: Path) -> None:
    """From the top of one part to the end of another, by their selectors."""
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    page.wait_for_timeout(500)  # fonts move what is below them
    boxes = [page.locator(name).first.bounding_box() for name in (first, last)]
    top, end = boxes[0]["y"], boxes[1]["y"] + boxes[1]["height"]
    clip = {"x": 0, "y": top, "width": WIDE["viewport"]["width"], "height": end - top}
    page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":
    take(Path("report"), Path("stores/demo"))
