"""Prompts for `tiny-scenes`: `python -m ldmscene.testbed.prompts manifests/demo.csv` writes the demo's manifest."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from ldmscene.manifest import Manifest, read_manifest
from ldmscene.testbed.scenes import COLORS, FLOORS, LIGHTS, RELATIONS, SHAPES, SIZES, describe

DEMO_PROMPTS = {"train": 96, "test": 24}
SEEDS_PER_PROMPT = 2
TWO_OBJECTS = 0.4  # share of prompts


def random_prompts(count: int, seed: int) -> list[str]:
    """Distinct captions of the testbed's world, one or two objects each."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[_prompt(rng)] = None
    return list(found)


def _prompt(rng: np.random.Generator) -> str:
    def pick(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    count = 2 if rng.random() < TWO_OBJECTS else 1
    colors = rng.permutation(list(COLORS))[:count]
    nouns = [f"{pick(SIZES)} {color} {pick(SHAPES)}" for color in colors]
    relation = pick(RELATIONS) if count == 2 else None
    return describe(nouns, relation, pick(list(FLOORS)), pick(LIGHTS))


def demo_manifest(seed: int = 2023) -> Manifest:
    """The 240 samples of `manifests/demo.csv`: 120 prompts, two seeds each, split by prompt."""
    prompts = random_prompts(sum(DEMO_PROMPTS.values()), seed)
    splits = [split for split, count in DEMO_PROMPTS.items() for _ in range(count)]
    rows = [
        (p, 1000 * i + k, split)
        for i, (p, split) in enumerate(zip(prompts, splits, strict=True))
        for k in range(SEEDS_PER_PROMPT)
    ]
    return read_manifest([(prompt, seed) for prompt, seed, _ in rows]).with_splits([split for *_, split in rows])


if __name__ == "__main__":
    demo_manifest().to_csv(sys.argv[1])
