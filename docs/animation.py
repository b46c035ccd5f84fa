"""Take the animation of the painting page: python docs/animation.py [STORE]

After `make demo`; needs Playwright and Chromium, and an idle machine, since the film runs as fast as the page did. Look
at it before it is committed.
"""

from __future__ import annotations

import io
import shutil
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

import ldmscene

HERE = Path(__file__).parent
SCREEN, SIZE = {"width": 1120, "height": 1180}, (680, 716)  # of what is shown, before and after it is made smaller
# One that comes out well, which not all do: docs/paint.md has the counts.
SUBJECT = {"prompt": "a purple sphere in a checked khaki room", "seed": 94001}
PATIENCE = 90_000  # milliseconds that a picture may take
SHORTEST, LAST = 40, 3000  # milliseconds that a frame is shown


def take(store: str) -> None:
    """Write `paint.webp` beside this file."""
    with ldmscene.paint(store, device="cpu") as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SCREEN)
        page.goto(f"{served.address}#{urlencode(SUBJECT)}")
        expect(page.locator("#status")).to_have_text("done", timeout=PATIENCE)
        page.locator(".bench").evaluate("(bench) => bench.scrollIntoView()")
        with _filmed(page) as frames:
            page.wait_for_timeout(800)
            _drag(page)
            page.locator("#draw").click()
            expect(page.locator("#verdict")).to_contain_text("A random edit", timeout=PATIENCE)
            page.wait_for_timeout(500)
        browser.close()
    _save(frames)


@contextmanager
def _filmed(page: Page) -> Iterator[list[tuple[float, bytes]]]:
    """What the page shows inside the block: when, in seconds, and as JPEG."""
    frames: list[tuple[float, bytes]] = []
    cast = page.context.new_cdp_session(page)

    def shot(event: dict) -> None:
        frames.append((event["metadata"]["timestamp"], b64decode(event["data"])))
        cast.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    cast.on("Page.screencastFrame", shot)
    cast.send("Page.startScreencast", {"format": "jpeg", "quality": 95})
    yield frames
    cast.send("Page.stopScreencast")


def _drag(page: Page) -> None:
    """The object, a fifth of the picture to the right, or as far as the frame lets it."""
    box = page.locator("#wanted").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for part in range(1, 9):
        page.mouse.move(x + part * box["width"] / 40, y)
        page.wait_for_timeout(80)
    page.mouse.up()
    page.wait_for_timeout(400)


def _save(frames: list[tuple[float, bytes]]) -> None:
    shown = [max(SHORTEST, round(1000 * (after - before))) for (before, _), (after, _) in pairwise(frames)]
    first, *others = [
        Image.open(io.BytesIO(jpeg)).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS) for _, jpeg in frames
    ]
    first.save(HERE / "paint.webp", save_all=True, append_images=others, duration=[*shown, LAST], loop=0, quality=35)


if __name__ == "__main__":
    take(sys.argv[1] if len(sys.argv) > 1 else "stores/demo")
