"""Pictures and maps as the text that a page shows."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ldmscene.report.colours import indexed, levels

Array = np.ndarray

SMALL = 1 << 16  # pixels; larger photographs are WebP, which is a tenth of PNG's size


def photograph(pixels: Array) -> str:
    """A picture uint8 (Y, X, rgb) as a data address."""
    picture = Image.fromarray(pixels)
    if pixels.shape[0] * pixels.shape[1] > SMALL:
        return _address(picture, "webp", quality=85)
    return _address(picture, "png", compress_level=3)


def map_picture(values: Array, target: str, low: float, high: float) -> str:
    """A target's map (y, x) in its colours, from low to high."""
    return _address(indexed(levels(values, low, high), target), "png", compress_level=3)


def thumbnail(pixels: Array, side: int) -> bytes:
    """A picture of at most this side, as WebP."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return _bytes(picture, "webp", quality=80)


def _address(picture: Image.Image, kind: str, **how: int) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(_bytes(picture, kind, **how)).decode()}"


def _bytes(picture: Image.Image, kind: str, **how: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()
