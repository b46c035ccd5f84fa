"""Pictures that fell apart, found by their colours.

In this world light only dims a surface: a pixel's colour is one of a few albedos times a number, or the sky's. A
picture whose sampling went wrong is full of other colours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ldmscene.array_types import Array, Bools
from ldmscene.testbed.scenes import BLOCK, COLORS, FLOORS, SKY, WALLS

DIMMED = (0.1, 1.25)  # what light and pattern multiply an albedo by
FAR = 0.08  # distance in RGB from all of the world's colours
SHARE = 0.035  # of a picture's pixels: where edges are blurred, fewer are so far


def fell_apart(images: NDArray[np.uint8]) -> Bools:
    """Whether pictures, uint8 [n, y, x, 3], show colours that their world hasn't, bool [n]."""
    return foreign(images) > SHARE


def foreign(images: NDArray[np.uint8]) -> Array:
    """The share of each picture's pixels that are far from all of the world's colours, [n]."""
    color = images.reshape(len(images), -1, 3) / 255
    distance = _to_segment(color, *np.array(SKY))
    for albedo in np.array([*COLORS.values(), *FLOORS.values(), *WALLS.values(), BLOCK]):
        distance = np.minimum(distance, _to_segment(color, DIMMED[0] * albedo, DIMMED[1] * albedo))
    share: Array = (distance > FAR).mean(1)
    return share


def _to_segment(color: Array, start: Array, end: Array) -> Array:
    along = np.clip((color - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    distance: Array = np.linalg.norm(color - start - along[..., None] * (end - start), axis=-1)
    return distance
