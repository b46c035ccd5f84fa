"""Pictures that fell apart, by their colours.

All that a scene shows is a floor, the sky, and one or two solids, each of one colour under more or less light: in RGB,
three or four line segments. A trajectory that got lost ends in rainbows and smears, which lie on none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ldmscene.array_types import Array, Bools
from ldmscene.testbed.scenes import AMBIENT, COLORS, FLOORS, MAX_OBJECTS

SKY = ((0.80, 0.88, 0.95), (0.38, 0.58, 0.88))  # from the horizon to a deep zenith
NEAR = 0.09  # as far as the autoencoder's blur takes colours from their segment; RGB in 0 to 1
MOST = 0.5  # share of strange pixels beyond which a picture has fallen apart


def fell_apart(images: NDArray[np.uint8]) -> Bools:
    """Which pictures have objects whose colours no scene of the world has.

    Of 480 samples that were labelled by eye, 76 as fallen apart, 82 as doubtful and 322 as whole, it finds 67 of the
    76 and calls one of the 322 so; of 1,500 renderings that went through the autoencoder, one.

    Parameters
    ----------
    images : ndarray
        uint8 (n, y, x, rgb).

    Returns
    -------
    ndarray
        bool (n,): whether `strange_share` is above a half.

    Examples
    --------
    >>> from ldmscene.testbed.scenes import render, sample_scenes
    >>> fell_apart(render(sample_scenes(3, seed=0)).image)
    array([False, False, False])
    """
    return strange_share(images) > MOST


def strange_share(images: NDArray[np.uint8]) -> Array:
    """Of the pixels that are neither floor nor sky, the share that has none of two solids' colours, float64 (n,).

    The floor and the two colours are those that leave the least. `images` are uint8 (n, y, x, rgb).
    """
    pixels = images.reshape(len(images), -1, 3) / 255
    solids = [_far(pixels, *_lit(color)) for color in COLORS.values()]
    sky = _far(pixels, *SKY)
    shares = []
    for floor in FLOORS.values():
        above = sky & _far(pixels, *_lit(floor))
        some = np.maximum(above.sum(1), 1)
        for pair in combinations(solids, MAX_OBJECTS):
            shares.append((above & np.logical_and.reduce(pair)).sum(1) / some)
    least: Array = np.min(shares, 0)
    return least


def _lit(albedo: Sequence[float]) -> tuple[Array, Array]:
    """A colour in the shade, and in full light."""
    return AMBIENT * np.asarray(albedo), np.asarray(albedo)


def _far(pixels: Array, start: Sequence[float] | Array, end: Sequence[float] | Array) -> Bools:
    """Which pixels (n, pixel, rgb) are further than NEAR from a segment of RGB."""
    start, along = np.asarray(start), np.subtract(end, start)
    at = ((pixels - start) @ along / (along @ along)).clip(0, 1)
    far: Bools = np.linalg.norm(pixels - start - at[..., None] * along, axis=-1) > NEAR
    return far
