"""Pictures as everybody sees them: files read to RGB, and a name for what they show."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ldmscene.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def read_picture(path: Path) -> np.ndarray:
    """uint8 (Y, X, rgb) of a file as its viewers show it.

    It is turned as EXIF says, laid over white where it is transparent, and read from 0 to 65535 where it has 16 bits,
    from 0 to 1 where it holds floats.

    Raises
    ------
    InputError
        If it can't be read as a picture.
    """
    try:
        with Image.open(path) as image:
            return _rgb(image)
    except (OSError, ValueError, UnidentifiedImageError) as error:
        raise InputError(f"{path} can't be read as an image: {error}") from error


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 (Y, X, rgb)."""
    form, frames = image.format, getattr(image, "n_frames", 1)
    if frames > 1 and form != "MPO":  # in which cameras put a JPEG and its previews
        raise ValueError(f"it holds {frames} pictures; save the one that is meant alone")
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_eight_bits(np.asarray(image), form)[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(grey: np.ndarray, form: str | None) -> np.ndarray:
    """Deeper grey as uint8, from the range of its type."""
    top = 1.0 if grey.dtype.kind == "f" else 65535.0
    whole = grey.dtype.itemsize == 2 or form == "PNG"  # which has no more than 16 bits
    if not (whole or grey.dtype.kind == "f") or not (grey.min() >= 0 and grey.max() <= top):
        raise ValueError(
            f"it holds {grey.dtype} from {grey.min():g} to {grey.max():g}; expected 8 or 16 bits, or floats from 0 to 1"
        )
    return np.rint(grey / top * 255).astype(np.uint8)


def pixels_hash(image: np.ndarray) -> str:
    """The SHA-256 of a picture's shape and pixels: the same for files that show the same."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
