"""Given images: where they are, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ldmscene.errors import InputError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class GivenImages:
    """Images by the hash of their pixels, read when they are needed.

    Attributes
    ----------
    places : dict of str to (Path or numpy.ndarray)
        In the order in which they were given; an image that was given twice stands once.
    hashes : list of str
        One for each image that was given.
    size : (int, int)
        Height and width.
    """

    places: dict[str, Path | np.ndarray]
    hashes: list[str]
    size: tuple[int, int]

    def load(self, hashes: Sequence[str]) -> np.ndarray:
        """uint8 (n, Y, X, rgb).

        Raises
        ------
        InputError
            If a file was changed or lost since it was first read.
        """
        images = [_pixels(self.places[name]) for name in hashes]
        for name, image in zip(hashes, images, strict=True):
            if _hash(image) != name:
                raise InputError(f"{self.places[name]} was changed while its activations were being extracted")
        return np.stack(images)


def read_images(source: np.ndarray | str | Path | Sequence[str | Path]) -> GivenImages:
    """Images from an array, uint8 (n, Y, X, rgb), a folder, by name, or a list of files.

    Raises
    ------
    InputError
        If there are none, one can't be read, or they are of several sizes.
    """
    places = list(source) if isinstance(source, np.ndarray) else _files(source)
    if not places:
        raise InputError("there are no images; expected an array, a folder or a list of files with at least one")
    first = _pixels(places[0]).shape[:2]
    hashes = []
    for place in places:
        image = _pixels(place)
        if image.shape[:2] != first:
            raise InputError(
                f"{_name(place)} has {image.shape[0]} × {image.shape[1]} pixels, the first image has {first[0]} × "
                f"{first[1]}; bring them to one size, and their labels with them"
            )
        hashes.append(_hash(image))
    return GivenImages(dict(zip(hashes, places, strict=True)), hashes, (first[0], first[1]))


def _files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return [Path(path) for path in source]
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"no folder of images at {folder}; expected an array, a folder or a list of files")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def _pixels(place: Path | np.ndarray) -> np.ndarray:
    if isinstance(place, np.ndarray):
        if place.dtype != np.uint8 or place.ndim != 3 or place.shape[2] != 3:
            raise InputError(f"images must be uint8 (n, Y, X, 3); got {place.dtype} {('n', *place.shape)}")
        return place
    try:
        with Image.open(place) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{place} can't be read as an image: {error}") from error


def _name(place: Path | np.ndarray) -> str:
    return str(place) if isinstance(place, Path) else "an image"


def _hash(image: np.ndarray) -> str:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
