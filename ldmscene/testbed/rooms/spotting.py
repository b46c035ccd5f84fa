"""Which solids a picture shows, read off the picture: for counting what a model draws right.

A small net names the noun at every pixel; connected pixels of one noun are a solid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ldmscene.testbed.nets import MapNet
from ldmscene.testbed.rooms.scenes import COLORS
from ldmscene.testbed.rooms.solids import SHAPES

NOUNS = tuple(f"{color} {shape}" for color, shape in product(COLORS, SHAPES))
MAPS = 1 + len(SHAPES) + len(COLORS)  # logits: no solid, the shapes, then the colours
MIN_PIXELS = 20  # of 64 × 64: what is smaller is an edge, not a solid


@dataclass(frozen=True)
class Spotted:
    """One solid in a picture."""

    noun: str  # such as "red cube"
    pixels: np.ndarray  # [y, x] bool


def spot(net: MapNet, images: np.ndarray, batch: int = 64) -> list[list[Spotted]]:
    """The solids of each picture, largest first.

    Parameters
    ----------
    net : MapNet
        Trained by `ldmscene.testbed.rooms.train.readers.train_spotter`.
    images : np.ndarray
        uint8 [n, y, x, 3].
    batch : int, default 64
        Pictures at a time.
    """
    return [solids(noun) for i in range(0, len(images), batch) for noun in _nouns(net, images[i : i + batch])]


@torch.no_grad()
def _nouns(net: MapNet, images: np.ndarray) -> np.ndarray:
    """0 or 1 + the noun's number at each pixel, [n, y, x]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    shapes, colors = net(pixels).split([1 + len(SHAPES), len(COLORS)], 1)
    shape = shapes.argmax(1)
    return torch.where(shape > 0, colors.argmax(1) * len(SHAPES) + shape, 0).numpy()


def solids(nouns: np.ndarray) -> list[Spotted]:
    """Connected solids, each of the noun that most of its pixels have, largest first.

    Two that touch are two where each noun has pixels enough of its own.
    """
    found = []
    for number in np.unique(nouns[nouns > 0]):
        labelled, count = ndimage.label(nouns == number)
        found += [Spotted(NOUNS[number - 1], labelled == k) for k in range(1, count + 1)]
    found = [solid for solid in found if solid.pixels.sum() >= MIN_PIXELS]
    return sorted(found, key=lambda solid: -solid.pixels.sum())


def targets(nouns: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of 0 or 1 + noun as class numbers: 0 or 1 + shape; colour, -1 where there is no solid."""
    noun = (nouns.long() - 1).clamp_min(0)
    there = nouns > 0
    return torch.where(there, 1 + noun % len(SHAPES), 0), torch.where(there, noun // len(SHAPES), -1)
