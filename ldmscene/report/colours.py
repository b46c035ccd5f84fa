"""Colours that survive print, a grey copy and colour blindness.

Colour maps rise in lightness alone; lines differ in dash and width besides hue (Okabe and Ito 2008).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, to_hex
from numpy.typing import ArrayLike, NDArray
from PIL import Image

SCORES = "viridis"
Bound = float | NDArray[np.floating]
LEVELS = 255  # a byte less the one value that means "no label"
_MAPS = {"depth": "magma", "mask": "cividis", "shading": "gray"}
_MISSING = {"gray": "#9db7d9"}  # a hue that no grey can be taken for
_MISSING_ELSEWHERE = "#c9ccd1"


@dataclass(frozen=True)
class Line:
    """How one series is drawn; `dash` is in points, empty for a solid line."""

    colour: str
    dash: tuple[float, ...]
    width: float


LINES = {
    "probe": Line("#0b5cad", (), 1.8),
    "permuted": Line("#6b7280", (4, 2), 1.2),
    "shuffled": Line("#8a7a3c", (1, 1, 3, 1), 1.2),
    "noisy": Line("#b8500b", (), 1.2),
    "predicted": Line("#b8500b", (5, 1.5, 1, 1.5), 1.2),
    "position": Line("#0a7a5a", (1, 1.5), 1.2),
    "latent": Line("#a1437f", (2.5, 1.5), 1.2),
    "other": Line("#6b7280", (1, 2.5), 1.0),
}


def colormap(target: str) -> Colormap:
    """A target's colour map, with a colour of its own for pixels without a label."""
    name = _MAPS.get(target, "viridis")
    return matplotlib.colormaps[name].with_extremes(bad=_MISSING.get(name, _MISSING_ELSEWHERE))


@functools.cache
def score_colours() -> Colormap:
    """The colour map of scores, once for all: matplotlib hands out copies, and each computes its table anew."""
    return matplotlib.colormaps[SCORES]


def ramp() -> list[str]:
    """Nine colours from the lowest score to the highest."""
    return [to_hex(colour) for colour in score_colours()(np.linspace(0, 1, 9))]


@functools.cache
def palette(target: str) -> NDArray[np.uint8]:
    """A target's colours as a table (256, 3): levels 0 to 254, then the colour of a missing label."""
    colours = colormap(target)
    table = np.vstack([colours(np.linspace(0, 1, LEVELS)), colours.get_bad()])
    return np.round(table[:, :3] * 255).astype(np.uint8)


def levels(values: ArrayLike, low: Bound, high: Bound, apart: int = 1) -> NDArray[np.uint8]:
    """Values as indices into `palette`: clipped to [low, high], 255 for NaN.

    Indices are `apart` from each other but for the last; fewer of them compress better.
    """
    scaled = (np.asarray(values, np.float32) - low) / (high - low)
    missing = np.isnan(scaled)
    share = np.clip(np.where(missing, 0, scaled), 0, 1)
    index = np.minimum(np.round(share * (LEVELS - 1) / apart) * apart, LEVELS - 1).astype(np.uint8)
    return np.where(missing, np.uint8(LEVELS), index)


def indexed(found: NDArray[np.uint8], target: str) -> Image.Image:
    """Levels (y, x) as a picture in their target's colours, a byte for each pixel."""
    picture = Image.fromarray(found).convert("P")
    picture.putpalette(palette(target).tobytes())
    return picture


def limits(label: ArrayLike, kind: str) -> tuple[float, float]:
    """The range in which a target's maps of one sample are drawn, so that they can be compared by eye."""
    values = np.asarray(label, np.float32)
    if kind == "binary" or np.isnan(values).all():
        return 0.0, 1.0
    low, high = (float(q) for q in np.nanpercentile(values, (1, 99)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def ink_on(rgb: tuple[float, float, float]) -> str:
    """Black or white, whichever contrasts more with a background (WCAG 2.1's relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#fff"
