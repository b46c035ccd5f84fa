"""A whole small study, from prompts of one's own to an intervention: `python examples/study.py` in an empty folder.

Does the embedded model know where an object will stand before its picture shows it, and does it use that?
"""

from __future__ import annotations

import csv
from pathlib import Path

import ldmscene

MODULES = ["up_blocks.2.attentions.0.*.attn1.to_out.0", "up_blocks.3.attentions.0.*.attn1.to_out.0"]
SHORT = "up_blocks.3.attentions.0"
STEPS = 6
COLOURS, SOLIDS = ("red", "green", "blue", "yellow"), ("sphere", "cube", "cone", "cylinder")
PROMPT = "a large {} {} on a grey floor, lit from the left"


def main() -> None:
    store = capture(write_prompts(Path("prompts.csv")))
    grid = ldmscene.evaluate(store)
    print(ldmscene.emergence(grid).loc["mask", "sentence"])
    ldmscene.plot.save(ldmscene.plot.curves(grid, "mask"), "figures/mask")
    print("report:", ldmscene.write_report(store, grid, "report"))
    print(f"a probe of my own: {own_probe():.3f} of the pixels are right")
    print(intervene(store, grid))


def write_prompts(path: Path) -> Path:
    """A manifest: prompts and seeds. Which prompts are held out is said, too."""
    prompts = [PROMPT.format(colour, solid) for colour in COLOURS for solid in SOLIDS]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "seed", "split"])
        rows.writerows([prompt, 7, "test" if i % 4 == i // 4 else "train"] for i, prompt in enumerate(prompts))
    return path


def capture(prompts: Path) -> ldmscene.ActivationStore:
    """Activations and labels; `estimate` says first what they take."""
    how = {"modules": MODULES, "steps": STEPS, "batch_size": 8, "previews": "test"}
    print(f"{ldmscene.estimate('tiny-scenes', prompts, 'stores/study', **how)['bytes']:,} bytes")
    store = ldmscene.extract("tiny-scenes", prompts, "stores/study", **how)
    ldmscene.label(store, "mask", "tiny-mask")
    return ldmscene.label(store, "redness", lambda images: images[..., 0] / 255)


def own_probe() -> float:
    """On the store, opened again: no model is needed."""
    store = ldmscene.open("stores/study")
    X, y = store.activations(SHORT, step=-1, split="train"), store.labels("mask", "train", binary=True)
    probe = ldmscene.LogisticProbe(cv=3).fit(X, y, groups=X["prompt"])
    held_out = store.activations(SHORT, step=-1, split="test")
    return probe.score(held_out, store.labels("mask", "test", binary=True))


def intervene(store: ldmscene.ActivationStore, grid: ldmscene.Grid) -> str:
    """The held-out pictures again, while the probes are made to read a mask further to the right."""
    edit = ldmscene.Edit.of(grid, "mask", wanted="shift:0,16", modules="best:1", steps=slice(0, 3))
    edited = ldmscene.intervene(store, edit, "stores/edited", controls=("none", "shuffled", "random:1"))
    ldmscene.label(edited, "mask", "tiny-mask")
    return ldmscene.effect_sentence(ldmscene.effect(edited, store))


if __name__ == "__main__":
    main()
