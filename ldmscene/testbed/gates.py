"""What a model of the testbed's world must do before it ships, counted on fresh samples of captions new to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DiffusionPipeline

from ldmscene.choices import EMBEDDED_GUIDANCE
from ldmscene.testbed.drawing import draw_rooms
from ldmscene.testbed.labelers import label_maps, relative
from ldmscene.testbed.nets import MapNet
from ldmscene.testbed.palette import fell_apart
from ldmscene.testbed.rendering import Truth
from ldmscene.testbed.scenes import COLORS, RELATIONS
from ldmscene.testbed.solids import SHAPES
from ldmscene.testbed.spotting import Spotted, spot
from ldmscene.testbed.words import captions

STEPS = 15  # the demo's
SEED = 70_000
BATCH = 20
GATES = {
    "one solid, right in colour and shape": 0.98,
    "two solids, both right": 0.85,
    "two solids, relation right": 0.85,
    "whole pictures": 0.995,
    "depth beyond position, correlation": 0.95,
    "mask, Dice": 0.97,
    "shading, correlation": 0.95,
}
LIMITS = {"position reads depth, Spearman": 0.6, "mask explains of depth beyond position, R²": 0.4}  # of the world
_NOUN = re.compile(rf"(?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)})")
_HOW = re.compile(rf" ({'|'.join(RELATIONS)}) a ")


@dataclass(frozen=True)
class Asked:
    """A caption and what its picture must show."""

    caption: str
    nouns: list[str]  # in the caption's order
    how: str | None  # the relation of the first to the second

    @classmethod
    def of(cls, caption: str) -> Asked:
        how = _HOW.search(caption)
        return cls(caption, _NOUN.findall(caption), how[1] if how else None)


def ask(count: int, solids: int, seed: int, known: Collection[str] = ()) -> list[Asked]:
    """Captions of fresh scenes with so many solids, none of them known; with two, their relation is said.

    Parameters
    ----------
    count : int
        How many.
    solids : int
        One or two.
    seed : int
        Of the scenes and their words.
    known : collection of str, default empty
        Captions to leave out: those of the training.
    """
    found: dict[str, Asked] = {}
    while len(found) < count:
        fresh = [Asked.of(text) for text in captions(draw_rooms(1000, seed), seed) if text not in known]
        wanted = [a for a in fresh if len(a.nouns) == solids and (a.how is not None) == (solids == 2)]
        found |= {a.caption: a for a in wanted}
        seed += 1
    return list(found.values())[:count]


def relation_holds(how: str, first: Spotted, second: Spotted, depth: np.ndarray) -> bool:
    """Whether the first stands so to the second, by their middles in the picture or their depth [y, x] (inverse)."""
    if how in ("left of", "right of"):
        across = np.argwhere(first.pixels)[:, 1].mean() - np.argwhere(second.pixels)[:, 1].mean()
        return bool((across < 0) == (how == "left of"))
    nearer = np.median(depth[first.pixels]) - np.median(depth[second.pixels])
    return bool((nearer > 0) == (how == "in front of"))


def judge(asked: Asked, seen: Sequence[Spotted], depth: np.ndarray) -> tuple[bool, bool]:
    """Whether a picture shows just the solids asked for, and in the relation asked for."""
    by_noun = {solid.noun: solid for solid in seen}
    shown = len(seen) == len(asked.nouns) and set(by_noun) == set(asked.nouns)
    if not shown or asked.how is None:
        return shown, shown
    return True, relation_holds(asked.how, by_noun[asked.nouns[0]], by_noun[asked.nouns[1]], depth)


def sample_gates(
    pipeline: DiffusionPipeline,
    spotter: MapNet,
    labelers: MapNet,
    *,
    count: int = 200,
    known: Collection[str] = (),
) -> tuple[dict[str, float], np.ndarray]:
    """Shares of right pictures, `count` of one solid and as many of two; the pictures."""
    asked = [*ask(count, 1, SEED, known), *ask(count, 2, SEED + 1000, known)]
    images = generate(pipeline, [a.caption for a in asked], SEED)
    return picture_gates(asked, images, spotter, labelers), images


def picture_gates(asked: Sequence[Asked], images: np.ndarray, spotter: MapNet, labelers: MapNet) -> dict[str, float]:
    """The shares for pictures [n, y, x, 3] of what was asked."""
    depth = label_maps(labelers, images)["depth"]
    right = np.array([judge(*each) for each in zip(asked, spot(spotter, images), depth, strict=True)])
    two = np.array([a.how is not None for a in asked])
    shares = {
        "one solid, right in colour and shape": right[~two, 0],
        "two solids, both right": right[two, 0],
        "two solids, relation right": right[two, 1],
        "whole pictures": ~fell_apart(images),
    }
    return {name: float(share.mean()) for name, share in shares.items() if len(share)}


def generate(
    pipeline: DiffusionPipeline, prompts: list[str], seed: int, *, guidance: float = EMBEDDED_GUIDANCE
) -> np.ndarray:
    """uint8 samples [n, y, x, 3], each with a generator of its own."""
    pipeline.set_progress_bar_config(disable=True)
    parts = []
    for i in range(0, len(prompts), BATCH):
        some = prompts[i : i + BATCH]
        generators = [torch.Generator().manual_seed(seed * 100_000 + i + k) for k in range(len(some))]
        images = pipeline(
            some, num_inference_steps=STEPS, guidance_scale=guidance, generator=generators, output_type="np"
        ).images
        parts.append((images * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def labeler_gates(labelers: MapNet, images: np.ndarray, truth: Truth, position: np.ndarray) -> dict[str, float]:
    """The labelers on pictures whose truth is known; `position` [y, x] is the mean relative depth of other scenes."""
    maps = label_maps(labelers, images)
    lit = np.isfinite(truth.shading) & np.isfinite(maps["shading"])
    mask = maps["mask"] > 0.5
    overlap = 2 * (mask & truth.mask).sum((1, 2)) / (mask.sum((1, 2)) + truth.mask.sum((1, 2)))
    return {
        "depth beyond position, correlation": _correlation(maps["depth"] - position, relative(truth.depth) - position),
        "mask, Dice": float(overlap.mean()),
        "shading, correlation": _correlation(maps["shading"][lit], truth.shading[lit]),
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
