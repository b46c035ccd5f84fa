"""Take the README's pictures of the demo's report anew: python docs/screenshots.py [REPORT]

After `make demo`; needs Playwright and Chromium. Look at them before they are committed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
WIDE = {"viewport": {"width": 1180, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "color_scheme": "dark"}
STEP = 5


def take(report: Path) -> None:
    """Write the pictures beside this file."""
    address = (report / "index.html").resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(**WIDE)
        page.goto(address)
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
    for figure in ("seven-rows", "curves-mask", "heatmap-mask"):
        (drawn,) = (path for path in report.glob(f"figures/{figure}*.png") if "compact" not in path.name)
        printed = Image.open(drawn).convert("RGB")
        printed.thumbnail((1380, 1380))
        printed.save(HERE / f"{figure}.png")
    for path in HERE.glob("*.png"):  # 256 colours look the same and weigh a third
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def _at_step(page: Page, step: int) -> None:
    page.locator("input[type=range]").fill(str(step))
    page.locator("input[type=range]").blur()
    page.locator("#samples").scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # pictures come as they scroll into view


def _part(page: Page, first: str, last: str, path: Path) -> None:
    """From the top of one part to the end of another, by their selectors."""
    boxes = [page.locator(name).first.bounding_box() for name in (first, last)]
    top, end = boxes[0]["y"], boxes[1]["y"] + boxes[1]["height"]
    scroll = page.evaluate("scrollY")
    clip = {"x": 0, "y": top + scroll, "width": WIDE["viewport"]["width"], "height": end - top}
    page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":
    take(Path(sys.argv[1] if len(sys.argv) > 1 else "report"))
