"""Which solids a picture shows, read off the picture: for counting what a model draws right.

A small net names colour and shape at every pixel; connected pixels of one colour are a solid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ldmscene.testbed.nets import MapNet, load, pixels
from ldmscene.testbed.precision import in_float32
from ldmscene.testbed.scenes import COLORS
from ldmscene.testbed.solids import SHAPES

LOGITS = 1 + len(SHAPES) + len(COLORS)  # maps of a net that names solids: no solid, the shapes, then the colours
BATCH = 64  # images at a time
MIN_PIXELS = 20  # of 64 × 64: what is smaller is an edge, not a solid


@dataclass(frozen=True)
class Spotted:
    """One solid in a picture."""

    noun: str  # such as "red cube"
    pixels: np.ndarray  # [y, x] bool


def load_spotter(path: Path) -> MapNet:
    """A net that names solids, from where `train.export.export_nets` wrote it."""
    return load(path, LOGITS)


@in_float32
def spot(net: MapNet, images: np.ndarray) -> list[list[Spotted]]:
    """The solids of each picture, largest first.

    Parameters
    ----------
    net : MapNet
        Trained by `ldmscene.testbed.train.readers.train_spotter`.
    images : np.ndarray
        uint8 [n, y, x, 3].
    """
    maps = (net(pixels(images[i : i + BATCH])) for i in range(0, len(images), BATCH))
    return [solids(*each.split([1 + len(SHAPES), len(COLORS)])) for some in maps for each in some]


def solids(shapes: Tensor, colors: Tensor) -> list[Spotted]:
    """Solids, largest first: pixels of one colour that touch, of the shape that is likeliest for all of them.

    Parameters
    ----------
    shapes : torch.Tensor
        Logits [1 + shape, y, x], the first of no solid.
    colors : torch.Tensor
        Logits [colour, y, x].
    """
    color = torch.where(shapes.argmax(0) > 0, colors.argmax(0), -1).numpy()
    found = []
    for number, name in enumerate(COLORS):
        labelled, count = ndimage.label(color == number)
        for k in range(1, count + 1):
            here = labelled == k
            likely = shapes[1:, torch.from_numpy(here)].log_softmax(0).sum(1)
            found.append(Spotted(f"{name} {SHAPES[int(likely.argmax())]}", here))
    found = [solid for solid in found if solid.pixels.sum() >= MIN_PIXELS]
    return sorted(found, key=lambda solid: -solid.pixels.sum())


def targets(nouns: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of 0 or 1 + noun as class numbers: 0 or 1 + shape; colour, -1 where there is no solid."""
    noun = (nouns.long() - 1).clamp_min(0)
    there = nouns > 0
    return torch.where(there, 1 + noun % len(SHAPES), 0), torch.where(there, noun // len(SHAPES), -1)
