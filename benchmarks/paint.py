"""How soon a painted picture comes, what many of them leave in memory, and how well they fit what was painted.

python -m benchmarks.paint speed [STORE]    after `make demo`
python -m benchmarks.paint page [STORE]     the same in a browser; needs Playwright and Chromium
python -m benchmarks.paint memory [STORE]
python -m benchmarks.paint dice [STORE]     writes what the page says of the embedded model
"""

from __future__ import annotations

import gc
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from rich.console import Console

import ldmscene
from benchmarks import harness
from ldmscene.calls.loading import load_model
from ldmscene.edits import moved
from ldmscene.painting import Studio, runs
from ldmscene.painting.asked import Asked
from ldmscene.painting.measured import MEASURED, weights
from ldmscene.painting.offer import BEGIN

PROMPTS = 20
TIMED = 3  # of them
LEAST = 60  # pixels of an object that is one
AIMS = {"first": 0.3, "picture": 2.0}  # seconds
GROWTH = 0.05
DRAWS = 100
RUNS = {"own": "none", "edit": "edit", "random": "random"}

PRESS = """() => new Promise((resolve) => {
    const began = performance.now(), found = {};
    document.getElementById("draw").click();
    const look = () => {
        const now = (performance.now() - began) / 1000;
        if (document.querySelector("#film img")) found.first ??= now;
        if (document.querySelector("#edit-result .score").textContent) resolve({ ...found, picture: now });
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})"""


@dataclass
class Watch:
    """What a draw tells, and when."""

    started: float
    first: float = float("nan")
    picture: float = float("nan")
    scores: dict[str, float] | None = None

    def __call__(self, event: str, **words: Any) -> None:
        now = time.perf_counter() - self.started
        run = words.get("run")
        if event == "step" and run == "edit" and words["step"] == 0:
            self.first = now
        if event == "picture":
            self.scores = {**(self.scores or {}), RUNS[run]: words["score"]}
            self.picture = now if run == "edit" else self.picture


def studio_of(store: str) -> Studio:
    opened = ldmscene.open(store)
    return Studio(opened, ldmscene.evaluate(opened, progress=False), load_model(opened.model, "cpu"))


def asked_of(studio: Studio, prompt: str, seed: int, levels: np.ndarray, **change: Any) -> Asked:
    """With the page's own settings."""
    known = {
        "target": "mask", "wanted": runs.encode(levels), "rule": "conditional", "strength": BEGIN["strength"],
        "modules": list(studio.offer.modules[: BEGIN["modules"]]), "steps": list(studio.offer.steps[: BEGIN["steps"]]),
    }  # fmt: skip
    return Asked.of({"prompt": prompt, "seed": str(seed), "change": known | change}, studio.offer)


def draw(studio: Studio, asked: Asked) -> Watch:
    watch = Watch(time.perf_counter())
    studio.draw(asked, watch)
    return watch


def sound_masks(studio: Studio, count: int, split: str = "test") -> Iterator[tuple[str, int, np.ndarray]]:
    """Prompts and seeds of a split's pictures, with their own object's mask moved somewhere random inside the frame."""
    store, rng = studio.store, np.random.default_rng(0)
    frame = store.manifest.frame.query("split == @split").drop_duplicates("prompt_id")
    for row in frame.itertuples():
        own = np.asarray(store.labels("mask", samples=[row.sample_id]).values[0] > 0.5)
        rows, columns = np.nonzero(own)
        if len(rows) < LEAST or not count:
            continue
        count -= 1
        dy = rng.integers(-rows.min(), own.shape[0] - rows.max())
        dx = rng.integers(-columns.min(), own.shape[1] - columns.max())
        yield row.prompt, int(row.seed), runs.as_levels(moved(own, int(dy), int(dx), fill=True))


def speed(store: str = "stores/demo", rounds: int = 9) -> None:
    """Seconds from asking to the first live step and to the picture; aims: 0.3 and 2."""
    studio = studio_of(store)
    asked = [asked_of(studio, *one) for one in sound_masks(studio, TIMED)]
    for one in asked:
        draw(studio, one)  # own pictures and readouts are there now, as after a first look
    found = [draw(studio, one) for _ in range(rounds // len(asked)) for one in asked]
    _show("speed", [{name: getattr(one, name) for name in AIMS} for one in found])


def page(store: str = "stores/demo", rounds: int = 9) -> None:
    """Seconds from pressing Draw until a browser shows the first live step and the picture."""
    from playwright.sync_api import expect, sync_playwright

    with ldmscene.paint(store, device="cpu") as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened, found = browser.new_page(), []
        opened.goto(served.address)
        for _ in range(rounds):
            expect(opened.locator("#status")).to_have_text("done", timeout=90_000)
            found.append(pressed(opened))
        browser.close()
    _show("page", found)


def pressed(page: Any) -> dict[str, float]:
    """Seconds until a Playwright page shows what `AIMS` names, after its Draw is pressed."""
    found: dict[str, float] = page.evaluate(PRESS)
    return found


def _show(name: str, found: Sequence[Mapping[str, float]]) -> None:
    rows = [
        {"until": until, "seconds": round(statistics.median(one[until] for one in found), 3), "aim": aim}
        for until, aim in AIMS.items()
    ]
    harness.save(f"paint-{name}", rows)
    Console().print(harness.table(rows, f"from pressing draw, {len(found)} times"))


def memory(store: str = "stores/demo", draws: int = DRAWS) -> None:
    """Megabytes of the process after a few draws and after many; aim: 5 % more at most."""
    studio = studio_of(store)
    masks = list(sound_masks(studio, 5))
    process = psutil.Process()

    def some(count: int) -> float:
        for i in range(count):
            draw(studio, asked_of(studio, *masks[i % len(masks)]))
        gc.collect()
        return process.memory_info().rss / 1e6

    before, after = some(10), some(draws)
    rows = [{"draws": draws, "MB before": round(before), "after": round(after), "growth": round(after / before - 1, 4)}]
    harness.save("paint-memory", rows)
    Console().print(harness.table(rows, f"aim: at most {GROWTH}"))


def dice(store: str = "stores/demo", split: str = "test") -> None:
    """Mean Dice of what was drawn with what was painted, beside no edit and a random one.

    On training prompts, several settings, of which the page begins with one; on held-out ones, that and all steps.
    """
    studio = studio_of(store)
    every = list(studio.offer.steps)
    ways: dict[str, dict[str, Any]] = {
        "as the page begins": {},
        "all steps, strength 1": {"strength": 1, "steps": every},
    }
    if split == "train":
        ways |= {"strength 1": {"strength": 1}}
    rows, masks = [], list(sound_masks(studio, PROMPTS, split))
    for name, change in ways.items():
        found = [draw(studio, asked_of(studio, *one, **change)).scores or {} for one in masks]
        means = {run: float(np.mean([one[run] for one in found])) for run in RUNS.values()}
        rows.append({"way": name, "prompts": len(masks), **{run: round(mean, 3) for run, mean in means.items()}})
        print(rows[-1], flush=True)
    harness.save(f"paint-dice-{split}", rows)
    Console().print(harness.table(rows, f"mean Dice with what was painted, {split}"))
    if split == "test":
        config = studio.store.config
        said = {"weights": weights(config), "steps": config["steps"], "guidance": config["guidance_scale"]}
        said |= {k: v for k, v in rows[0].items() if k != "way"}
        MEASURED.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    WAYS: dict[str, Callable[..., None]] = {"speed": speed, "page": page, "memory": memory, "dice": dice}
    WAYS[sys.argv[1] if len(sys.argv) > 1 else "speed"](*sys.argv[2:])
