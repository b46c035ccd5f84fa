"""Take the animation of the painting page: python docs/animation.py [STORE]

After `make demo`; needs Playwright and Chromium. Look at it before it is committed.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

import ldmscene

HERE = Path(__file__).parent
SCREEN = {"width": 1120, "height": 2000}  # high enough that nothing scrolls
HIGH, SIZE = 900, (896, 720)  # of what is shown, before and after it is made smaller
SECONDS = 90_000  # milliseconds that a picture may take


def take(store: str) -> None:
    """Write `paint.webp` beside this file."""
    frames: list[tuple[Image.Image, int]] = []
    with ldmscene.paint(store, device="cpu") as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SCREEN)
        page.goto(served.address)
        expect(page.locator("#status")).to_have_text("done", timeout=SECONDS)
        _shoot(page, frames, 900)
        _drag(page, frames)
        page.locator("#draw").click()
        said = page.locator("#status")
        while (now := said.inner_text()) != "done":
            _shoot(page, frames, 160)
            expect(said).not_to_have_text(now, timeout=SECONDS)
        _shoot(page, frames, 3000)
        browser.close()
    first, *others = [frame for frame, _ in frames]
    first.save(
        HERE / "paint.webp", save_all=True, append_images=others, duration=[d for _, d in frames], loop=0, quality=60
    )


def _drag(page: Page, frames: list[tuple[Image.Image, int]]) -> None:
    """The object, a third of the picture to the right, or to the left where it stands on the right already."""
    box = page.locator("#wanted").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for part in range(1, 9):
        page.mouse.move(x + part * box["width"] / 24, y)
        _shoot(page, frames, 90)
    page.mouse.up()
    _shoot(page, frames, 500)


def _shoot(page: Page, frames: list[tuple[Image.Image, int]], milliseconds: int) -> None:
    bench = page.locator(".bench").bounding_box()
    assert bench is not None
    clip = {"x": 0, "y": bench["y"], "width": SCREEN["width"], "height": HIGH}
    shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    frames.append((shot.resize(SIZE, Image.Resampling.LANCZOS), milliseconds))


if __name__ == "__main__":
    take(sys.argv[1] if len(sys.argv) > 1 else "stores/demo")
