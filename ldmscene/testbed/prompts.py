"""Prompts for `tiny-scenes`: `python -m ldmscene.testbed.prompts manifests/demo.csv` writes the demo's manifest."""

from __future__ import annotations

import sys

from ldmscene.manifest import Manifest, read_manifest
from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.words import captions

DEMO_PROMPTS = {"train": 84, "test": 24, "unseen": 24}
DEMO_SEED = 50_000  # of its scenes and their words
SEEDS_PER_PROMPT = {"train": 2, "test": 2, "unseen": 1}
MOST_SOLIDS = 2  # in a prompt: with three, pictures are rarely right
SCENES = 200  # drawn at a time


def random_prompts(count: int, seed: int, *, unseen: bool = False) -> list[str]:
    """Distinct captions of scenes with one or two solids.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the scenes and their words.
    unseen : bool, default False
        True: each names a colour of a shape, or how one shape stands to another, that the model was never trained on.
    """
    found: dict[str, None] = {}
    while len(found) < count:
        rooms = draw_rooms(SCENES, seed, unseen=unseen)
        words = captions(rooms, seed)
        found |= {text: None for text, solids in zip(words, rooms.count, strict=True) if solids <= MOST_SOLIDS}
        seed += 1
    return list(found)[:count]


def demo_manifest() -> Manifest:
    """The samples of `manifests/demo.csv`, split by prompt."""
    known = random_prompts(DEMO_PROMPTS["train"] + DEMO_PROMPTS["test"], DEMO_SEED)
    prompts = [*known, *random_prompts(DEMO_PROMPTS["unseen"], DEMO_SEED, unseen=True)]
    splits = [split for split, count in DEMO_PROMPTS.items() for _ in range(count)]
    rows = [
        (prompt, 1000 * i + k, split)
        for i, (prompt, split) in enumerate(zip(prompts, splits, strict=True))
        for k in range(SEEDS_PER_PROMPT[split])
    ]
    return read_manifest([(prompt, seed) for prompt, seed, _ in rows]).with_splits([split for *_, split in rows])


if __name__ == "__main__":
    demo_manifest().to_csv(sys.argv[1])
